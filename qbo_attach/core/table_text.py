"""The text of tables as people and spreadsheets write it: encodings, lines, records."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat

from qbo_attach.core.errors import TableError

_BLOCK_LINES = 500


def open_text(stream: io.BufferedIOBase, url: str) -> io.TextIOWrapper:
    """Text of a CSV or JSON file by its byte order mark; UTF-8 where it has none.

    Raises:
        TableError: the file is empty.
    """
    head = stream.read(4)
    if not head:
        raise TableError(url, "the file is empty; it needs at least a header row")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif head[1:2] == b"\0":
        encoding = "utf-16-le"
    elif head[:1] == b"\0":
        encoding = "utf-16-be"
    else:
        encoding = "utf-8-sig"
    return io.TextIOWrapper(
        io.BufferedReader(_Rejoined(head, stream), 1 << 16), encoding=encoding, newline=""
    )


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already, with them put back."""

    def __init__(self, head: bytes, rest: io.BufferedIOBase) -> None:
        super().__init__()
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer
        piece = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def records(
    text: Iterable[str], delimiter: str, url: str, *, first_line: int = 2
) -> Iterator[tuple[int, list[str]]]:
    """CSV records with the 1-based line each begins on; lines are read some hundred ahead.

    Where nothing in a block of lines needs `csv`, which looks at each character, they are split.

    Raises:
        TableError: quotes that do not match, or bytes that are not text.
    """
    blocks = _blocks(text)
    odd: list[list[str]] = []
    lent = 0

    def lend() -> Iterator[list[str]]:
        nonlocal lent
        while block := odd.pop() if odd else next(blocks, []):  # a record may go on in the next one
            lent += len(block)
            yield block

    reader = csv.reader(chain.from_iterable(lend()), delimiter=delimiter, strict=True)
    line, split = first_line, 0
    try:
        for block in blocks:
            if _is_plain(block):
                lines = "".join(block).removesuffix("\n").split("\n")
                yield from enumerate(map(str.split, lines, repeat(delimiter)), line)
                split += len(block)
                line += len(block)
                continue
            odd.append(block)
            for cells in reader:
                yield line, cells
                line = first_line + split + reader.line_num
                if reader.line_num == lent:
                    break
    except (csv.Error, UnicodeDecodeError) as error:
        raise unreadable(error, url, line) from error


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Lines, some at once; what stands before bytes that are not text comes before the error."""
    lines = iter(lines)
    while True:
        block: list[str] = []
        try:
            block.extend(islice(lines, _BLOCK_LINES))
        except UnicodeDecodeError:
            if block:
                yield block
            raise
        if not block:
            return
        yield block


def _is_plain(block: list[str]) -> bool:
    """Whether each of these lines is a record whose cells stand between its delimiters as is."""
    text = "".join(block)
    return (
        '"' not in text
        and "\r" not in text
        and "\0" not in text  # an error before Python 3.11
        and "\n" not in block
        and text.count("\n") in (len(block), len(block) - 1)
        and len(max(block, key=len)) <= csv.field_size_limit()
    )


def unreadable(error: csv.Error | UnicodeDecodeError, url: str, line: int) -> TableError:
    """What is told of a text that cannot be read on from this line."""
    if isinstance(error, UnicodeDecodeError):
        return TableError(url, not_text(error), row=line)
    return TableError(url, f"is not readable as CSV ({error})", row=line)


def not_text(error: UnicodeDecodeError) -> str:
    """What is told of bytes that are no text."""
    return f"is not {error.encoding} text ({error.reason}); save the table as UTF-8"


class Lines:
    """The lines of a text, which tells of blocks of them whether a cell may begin with `'`.

    To look at each cell of each row for the mark, which nearly no table has, would cost as much
    as to read it. `may_be_guarded` holds for all rows whose lines have been given out, and stays
    once it is true: a cell may go on over many lines.
    """

    def __init__(self, text: Iterable[str], delimiter: str) -> None:
        self.may_be_guarded = False
        self._lines = iter(text)
        self._marks = tuple(f"{before}'" for before in (delimiter, "\n", "\r", '"'))

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(map(self._looked_at, _blocks(self._lines)))

    def _looked_at(self, block: list[str]) -> list[str]:
        if not self.may_be_guarded:
            text = "\n".join(("", *block))
            # One character is found far more quickly than two.
            self.may_be_guarded = "'" in text and any(mark in text for mark in self._marks)
        return block

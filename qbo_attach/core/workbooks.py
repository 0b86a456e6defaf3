"""Tables in CSV files and workbooks (XLSX), cell by cell, as people export them."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple

from qbo_attach.core.errors import TableError
from qbo_attach.core.tables import open_text, records

if TYPE_CHECKING:
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

_ZIP = b"PK\x03\x04"
_MOST_BYTES = 2_000_000_000
"""A workbook is packed up to a thousand times smaller; a malicious one would fill the machine."""


_UNREADABLE = (
    *(KeyError, IndexError, ValueError, TypeError, OSError, EOFError, RuntimeError),
    *(zlib.error, SyntaxError),
)
"""What openpyxl and its parts raise of a broken workbook; broken XML is a SyntaxError."""


class Number(str):
    """A cell that a workbook holds as a number: its digits, with a point, without grouping."""

    __slots__ = ()


class Day(str):
    """A cell that a workbook holds as a date, as ISO 8601 without the time of day."""

    __slots__ = ()


def is_workbook(stream: io.BytesIO) -> bool:
    """Whether these bytes are a workbook (or any other zip file)."""
    return stream.getbuffer()[: len(_ZIP)] == _ZIP


class Sheet(NamedTuple):
    """One table: `name` is the sheet's, or the file's without its ending; rows with their lines.

    `place` names it in errors.
    """

    name: str
    place: str
    header: list[str]
    rows: Iterator[tuple[int, list[str]]]


def read_sheets(stream: io.BufferedIOBase, url: str) -> Iterator[Sheet]:
    """The tables of a file: each sheet of a workbook that has a header, or the one of a CSV file.

    Each table's rows must be used up before the next table is asked for. Blank rows are passed
    over; a mark `'` by which a spreadsheet is told that a cell is text is taken off.

    Raises:
        TableError: it is neither, or a row has more cells than the header; names the row.
    """
    whole = io.BytesIO(stream.read())
    if is_workbook(whole):
        yield from _workbook(whole, url)
    else:
        yield _csv(whole, url)


def _csv(stream: io.BufferedIOBase, url: str) -> Sheet:
    text = open_text(stream, url)
    try:
        first = text.readline()
    except UnicodeDecodeError as error:
        raise TableError(url, "is not text; save the table as UTF-8 or as XLSX", row=1) from error
    delimiter = max(",;\t", key=first.count)
    header = next((cells for _, cells in records([first], delimiter, url, first_line=1)), [])
    lines = records(text, delimiter, url)
    return Sheet(_stem(url), url, _header(header, url), _rows(lines, len(header), url))


def _workbook(stream: io.BytesIO, url: str) -> Iterator[Sheet]:
    # Loaded late: it takes a tenth of a second, and most exports are CSV.
    from zipfile import BadZipFile, ZipFile

    from openpyxl import load_workbook

    try:
        # Of each member no more is unpacked than it says here.
        if sum(member.file_size for member in ZipFile(stream).infolist()) > _MOST_BYTES:
            problem = f"unpacks to more than {_MOST_BYTES:,} bytes; export it as CSV"
            raise TableError(url, problem)
        book = load_workbook(stream, read_only=True, data_only=True)
    except (BadZipFile, *_UNREADABLE) as error:
        raise _broken(url, error) from error
    try:
        for sheet in book.worksheets:
            # Sizes that some exporters write are wrong, and would cut the sheet short.
            sheet.reset_dimensions()
            lines = enumerate(_cells(sheet, f"{url}, {sheet.title}"), 1)
            first = next(lines, None)
            if first is None or not any(first[1]):
                continue
            place = f"{url}, {sheet.title}"
            header = _header(first[1], place)
            yield Sheet(sheet.title, place, header, _rows(lines, len(header), place))
    finally:
        book.close()


def _cells(sheet: ReadOnlyWorksheet, place: str) -> Iterator[list[str]]:
    from zipfile import BadZipFile

    try:
        for values in sheet.iter_rows(values_only=True):
            yield [_cell(value) for value in values]
    except (BadZipFile, *_UNREADABLE) as error:
        raise _broken(place, error) from error


def _broken(place: str, error: BaseException) -> TableError:
    said = " ".join(str(error).split())
    return TableError(place, f"is not readable as a workbook ({said}); export it as CSV")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, float)):
        return Number(int(value) if value == int(value) else repr(value))
    if isinstance(value, (datetime, date)):
        return Day(value.isoformat()[:10])
    return str(value)


def _header(cells: list[str], url: str) -> list[str]:
    header = [cell.strip("\ufeff \t") for cell in cells]
    while header and not header[-1]:
        header.pop()
    if not header:
        raise TableError(url, "the first line must name the columns", row=1)
    return header


def _rows(
    lines: Iterator[tuple[int, list[str]]], width: int, url: str
) -> Iterator[tuple[int, list[str]]]:
    for line, cells in lines:
        if not any(cells):
            continue
        if len(cells) > width and any(cells[width:]):
            problem = f"has {len(cells)} cells where the header has {width} columns"
            raise TableError(url, problem, row=line)
        # Some exporters leave out the empty cells at the end of a row.
        missing = [""] * (width - len(cells))
        yield line, [c[1:] if c[:1] == "'" else c for c in cells[:width]] + missing


def _stem(url: str) -> str:
    return url.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]

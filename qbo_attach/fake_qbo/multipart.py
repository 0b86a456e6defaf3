"""A multipart/form-data reader that takes what QuickBooks Online takes from real clients.

Bytes go in as they arrive, finished parts come out; it does no I/O of its own. Beyond RFC 2046 it
takes LF line ends, blank lines and spaces before the first boundary, a trailing `;` in headers,
base64 by header, a quoted boundary, and a missing closing delimiter, either by a boundary without
its final `--` at the very end or by no delimiter at all.

What keeps parts apart: a delimiter is a line end *of the kind that ended the boundary line before
it*, `--`, the boundary, at most some blanks, and a line end or the end of the body. Anything else
is content, also a boundary that is only the beginning of a longer line. A part that is text by its
nature, `file_metadata...` or base64, may end with either line end: Intuit's PHP SDK writes its form
with CRLF, but its XML ends with LF right before the next boundary (DataService.php, `Upload`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from qbo_attach.fake_qbo.vault import Base64Sink, Budget, Content, Sink, Vault

MAX_PARTS = 4_000
_MAX_BOUNDARY = 200
_MAX_PREAMBLE = 64 * 1024
_MAX_HEADERS = 32 * 1024
_MAX_PADDING = 256
_MAX_CLOSING_ENDS = 4
_BLANK = b" \t"

_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')


class MultipartError(Exception):
    """The body is not readable as multipart/form-data; says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its form name, `filename` as sent ("" if none), type, bytes.

    `broken` says that its transfer encoding could not be undone.
    """

    name: str
    file_name: str
    content_type: str
    content: Content
    broken: bool = False


def parameters(header: str) -> tuple[str, dict[str, str]]:
    """A header such as `form-data; name="x";` as its first word and its parameters, both lower.

    Values keep their case. `filename*` (RFC 5987) is decoded and stands as `filename`.
    """
    word = header.split(";", 1)[0].strip().lower()
    found: dict[str, str] = {}
    extended = ""
    for name, value in _PARAMETER.findall(header):
        text = value.strip()
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
            if "\\" in text:
                text = _ESCAPED.sub(r"\1", text)
        if name.lower() == "filename*":
            extended = _extended(text)
        else:
            found.setdefault(name.lower(), text)
    if extended:
        found["filename"] = extended
    return word, found


def _extended(text: str) -> str:
    charset, _, rest = text.partition("'")
    _, _, encoded = rest.partition("'")
    try:
        return unquote(encoded, encoding=charset or "utf-8", errors="strict")
    except (LookupError, UnicodeDecodeError):
        return ""


def boundary_of(content_type: str) -> bytes:
    """The boundary named in a Content-Type header.

    Raises:
        MultipartError: the header names another type, or no boundary.
    """
    word, found = parameters(content_type)
    if not word.startswith("multipart/"):
        raise MultipartError("Operation Cannot consume content type is not supported")
    boundary = found.get("boundary", "").encode("utf-8", "replace")
    if not 0 < len(boundary) <= _MAX_BOUNDARY or b"\n" in boundary or b"\r" in boundary:
        raise MultipartError("the Content-Type header names no usable boundary")
    return boundary


class MultipartReader:
    """Takes a body in pieces of any size; `finish` gives the parts in their order."""

    def __init__(self, boundary: bytes, vault: Vault) -> None:
        self._dashes = b"--" + boundary
        self._vault = vault
        self._budget = Budget()
        self._buffer = bytearray()
        self._scan = 0
        self._step = self._preamble
        self._newline = b"\r\n"
        self._header_bytes = 0
        self._headers: list[tuple[str, str]] = []
        self._disposition: dict[str, str] = {}
        self._content_type = ""
        self._sink: Sink | None = None
        self._ends_freely = False
        self._skip = 0
        self._at_end = False
        self._count = 0
        self.parts: list[Part] = []

    def feed(self, data: bytes) -> None:
        """Add bytes of the body.

        Raises:
            MultipartError: what came so far cannot become a form.
        """
        self._buffer += data
        while self._step():
            pass

    def finish(self) -> list[Part]:
        """The parts, the body being complete.

        Raises:
            MultipartError: no boundary, or a part without a complete header.
        """
        self._at_end = True
        while self._step():
            pass
        if self._step == self._preamble:
            raise MultipartError("the body has no part: its boundary does not occur in it")
        if self._step == self._part_headers and (self._headers or self._buffer.strip()):
            raise MultipartError("a part ends within its headers")
        if self._sink is not None:
            self._end_part(self._without_closing(bytes(self._buffer[self._skip :])))
        self._buffer.clear()
        return self.parts

    def _without_closing(self, rest: bytes) -> bytes:
        """The end of a body without a closing delimiter that has LF where its form has CRLF.

        At the very end, and with no other delimiter there, it is nobody's content.
        """
        body = rest.rstrip(b"\r\n")
        closing = b"\n" + self._dashes + b"--"
        if body.endswith(closing) and len(rest) - len(body) <= _MAX_CLOSING_ENDS:
            return body.removesuffix(closing)
        return rest

    def discard(self) -> None:
        """Forget all parts and the files they lie in."""
        if self._sink is not None:
            self._sink.discard()
        for part in self.parts:
            if part.content.path is not None:
                part.content.path.unlink(missing_ok=True)

    def _preamble(self) -> bool:
        """Look for the first boundary line. True: go on with the next step."""
        at = self._buffer.find(self._dashes, self._scan)
        if at < 0:
            if len(self._buffer) > _MAX_PREAMBLE:
                raise MultipartError("the body does not begin with its boundary")
            self._scan = max(len(self._buffer) - len(self._dashes) + 1, 0)
            return False
        line_start = self._buffer.rfind(b"\n", 0, at) + 1
        if self._buffer[line_start:at].strip():
            self._scan = at + 1
            return True
        return self._delimiter(at, at + len(self._dashes)) is not None

    def _delimiter(self, at: int, end: int) -> int | None:
        """Judge a boundary at `at`, whose text ends at `end`.

        Gives None when more bytes are needed to tell; else where to go on. On a true delimiter the
        part before it is ended and the buffer cut; on a false one only the scan moves.
        """
        buffer = self._buffer
        last = buffer[end : end + 2] == b"--"
        after = end + 2 if last else end
        padding = buffer[after : after + _MAX_PADDING]
        after += len(padding) - len(padding.lstrip(_BLANK))
        tail = bytes(buffer[after : after + 2])
        if tail[:1] == b"\n":
            self._open_part(at, after + 1, b"\n", last=last)
        elif tail == b"\r\n":
            self._open_part(at, after + 2, b"\r\n", last=last)
        elif self._at_end and after == len(buffer):
            self._open_part(at, after, self._newline, last=True)
        elif not self._at_end and (tail in (b"", b"\r") or bytes(buffer[end:]) == b"-"):
            return None
        else:
            self._scan = at + 1
        return at

    def _open_part(self, at: int, after: int, newline: bytes, *, last: bool) -> None:
        if self._sink is not None:
            content = bytes(self._buffer[self._skip : at]) if at > self._skip else b""
            self._end_part(content, marked=True)
        del self._buffer[:after]
        self._scan = self._header_bytes = 0
        self._newline = newline
        self._headers = []
        self._step = self._epilogue if last else self._part_headers

    def _part_headers(self) -> bool:
        """Read one header line."""
        end = self._buffer.find(b"\n", self._scan)
        if end < 0:
            if len(self._buffer) > _MAX_HEADERS:
                raise MultipartError("a part's headers are too long")
            self._scan = len(self._buffer)
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        self._scan = 0
        self._header_bytes += end + 1
        if self._header_bytes > _MAX_HEADERS:
            raise MultipartError("a part's headers are too long")
        if not line:
            self._begin_content()
        elif line[:1] in (b" ", b"\t") and self._headers:
            name, value = self._headers[-1]
            self._headers[-1] = (name, f"{value} {_text(line).strip()}")
        elif b":" not in line:
            raise MultipartError("Could find no content-disposition header with in a part")
        else:
            name, _, value = _text(line).partition(":")
            self._headers.append((name.strip().lower(), value.strip()))
        return True

    def _begin_content(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise MultipartError(f"the body has more than {MAX_PARTS} parts")
        # Of equal headers the first counts.
        headers = dict(reversed(self._headers))
        _, self._disposition = parameters(headers.get("content-disposition", ""))
        self._content_type = headers.get("content-type", "")
        if not self._disposition.get("name"):
            raise MultipartError("Could find no content-disposition header with in a part")
        encoding = headers.get("content-transfer-encoding", "").lower()
        kind = Base64Sink if encoding == "base64" else Sink
        metadata = self._disposition["name"].lower().startswith("file_metadata")
        self._ends_freely = metadata or kind is Base64Sink
        self._sink = kind(self._vault, self._budget)
        # The line end before the content is put back, so that a delimiter right behind the headers
        # (a part without content) looks like any other.
        self._buffer[0:0] = self._newline
        self._skip = len(self._newline)
        self._step = self._content

    def _content(self) -> bool:
        """Pass content on up to the next delimiter."""
        mark = (b"\n" if self._ends_freely else self._newline) + self._dashes
        at = self._buffer.find(mark, self._scan)
        if at >= 0:
            return self._delimiter(at, at + len(mark)) is not None
        # Kept back: what may be the beginning of a mark, or of an end that is judged by `finish`.
        safe = len(self._buffer) - len(mark) - len(b"--") - _MAX_CLOSING_ENDS
        if safe > self._skip and self._sink is not None:
            self._sink.write(bytes(memoryview(self._buffer)[self._skip : safe]))
            del self._buffer[:safe]
            self._skip = 0
        self._scan = max(len(self._buffer) - len(mark) + 1, 0)
        return False

    def _end_part(self, rest: bytes, *, marked: bool = False) -> None:
        sink, self._sink = self._sink, None
        if sink is None:
            return
        if marked and self._ends_freely:
            rest = rest.removesuffix(b"\r")
        if rest:
            sink.write(rest)
        content = sink.finish()
        self.parts.append(
            Part(
                name=self._disposition.get("name", ""),
                file_name=self._disposition.get("filename", ""),
                content_type=self._content_type,
                content=content,
                broken=isinstance(sink, Base64Sink) and sink.broken,
            )
        )

    def _epilogue(self) -> bool:
        """What follows the closing delimiter is nothing."""
        self._buffer.clear()
        return False


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")

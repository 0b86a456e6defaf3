"""The multipart body of an upload: bytes around the files, known before any file is opened.

Form as recorded from Intuit's sandbox: for each file a `file_metadata_NN` part (JSON) and a
`file_content_NN` part, raw bytes. Built here instead of by an HTTP library, so that the same
group is byte-identical whenever it is sent, and its length is known.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/attachable
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from qbo_attach.core.model import EntityRef

MarkerField = Literal["tag", "note", "none"]

MAX_REQUEST_BYTES = 100_000_000
"""Intuit says 100 MB for the whole request (6030); the smaller reading of it."""

_BOUNDARY = re.compile(r"[0-9A-Za-z_\-]{1,70}")
_CONTENT_TYPE = re.compile(r"[!-~][ -~]{0,99}")
_LONGEST_BOUNDARY = "-" * 70
_LONGEST_SUFFIX = 9_999
_CRLF = b"\r\n"
_JSON = json.JSONEncoder(separators=(",", ":"))
"""ASCII by escapes: some servers read a part by another charset than UTF-8."""


@dataclass(frozen=True, slots=True)
class UploadPart:
    """One file of a request group.

    `file_name` is the sent name; metadata `FileName` is what counts, the part header only
    repeats it. `content_type` is one of Intuit's list. `marker` is the idempotency key; it rides
    in Tag or Note, or nowhere. `refs` are the entities that it hangs on.
    """

    file_name: str
    content_type: str
    size_bytes: int
    refs: tuple[EntityRef, ...]
    marker: str = ""


@dataclass(frozen=True, slots=True)
class UploadLayout:
    """The bytes of an upload body but the files: `heads[0] file[0] heads[1] file[1] … tail`."""

    boundary: str
    heads: tuple[bytes, ...]
    sizes_bytes: tuple[int, ...]
    tail: bytes

    @property
    def content_length(self) -> int:
        """Length of the whole body, in bytes."""
        return sum(map(len, self.heads)) + sum(self.sizes_bytes) + len(self.tail)

    @property
    def content_type(self) -> str:
        """The request's Content-Type."""
        return f"multipart/form-data; boundary={self.boundary}"


def lay_out(
    parts: Sequence[UploadPart], boundary: str, marker_field: MarkerField = "tag"
) -> UploadLayout:
    """Lay out one upload: equal parts, order and boundary give equal bytes.

    Raises:
        ValueError: no part, or a boundary, content type or name that cannot be sent.
    """
    if not parts:
        raise ValueError("an upload needs at least one file")
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError(f"boundary {boundary!r}: 1 to 70 letters, digits, - and _ are allowed")
    heads = tuple(
        (_CRLF if number > 1 else b"") + _head(part, number, boundary, marker_field)
        for number, part in enumerate(parts, 1)
    )
    return UploadLayout(boundary, heads, tuple(part.size_bytes for part in parts), _tail(boundary))


def overhead_bytes(part: UploadPart) -> int:
    """Bytes that a file adds to a request beside its own: never less than it really adds.

    The closing delimiter is counted into each part, so that the sum over a group, and the sizes
    of its files, stay within `MAX_REQUEST_BYTES` only if the request does.
    """
    head = _head(part, _LONGEST_SUFFIX, _LONGEST_BOUNDARY, "note")
    return len(_CRLF) + len(head) + len(_tail(_LONGEST_BOUNDARY))


def metadata(part: UploadPart, marker_field: MarkerField) -> dict[str, Any]:
    """The Attachable as sent beside the file.

    Raises:
        ValueError: the file name is not Unicode text (bytes that are not UTF-8).
    """
    name = part.file_name
    if not name.isascii() and any("\ud800" <= ch <= "\udfff" for ch in name):
        raise ValueError(f"file name {part.file_name!r} is not UTF-8; rename the file")
    sent: dict[str, Any] = {
        "AttachableRef": [
            {"EntityRef": {"type": ref.type, "value": ref.id}, "IncludeOnSend": False}
            for ref in part.refs
        ],
        "FileName": part.file_name,
        "ContentType": part.content_type,
    }
    if part.marker and marker_field != "none":
        sent[marker_field.capitalize()] = part.marker
    return sent


def _head(part: UploadPart, number: int, boundary: str, marker_field: MarkerField) -> bytes:
    if not _CONTENT_TYPE.fullmatch(part.content_type):
        raise ValueError(f"content type {part.content_type!r} cannot stand in a header")
    described = _JSON.encode(metadata(part, marker_field))
    disposition = "Content-Disposition: form-data; name="
    lines = (
        f"--{boundary}",
        f'{disposition}"file_metadata_{number:02d}"; filename="attachment.json"',
        "Content-Type: application/json; charset=UTF-8",
        "Content-Transfer-Encoding: binary",
        "",
        described,
        f"--{boundary}",
        f'{disposition}"file_content_{number:02d}"; filename="{header_name(part.file_name)}"',
        f"Content-Type: {part.content_type}",
        "Content-Transfer-Encoding: binary",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def _tail(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def header_name(file_name: str) -> str:
    r"""A file name that cannot end or add a header: UTF-8, the rest percent-encoded.

    Quotes and line ends as browsers do (https://html.spec.whatwg.org, multipart/form-data), and
    also `\` and all that is not printable: some readers take `\"` for a quote, and some split
    lines at U+0085 or U+2028.
    """
    if file_name.isprintable() and '"' not in file_name and "\\" not in file_name:
        return file_name
    return "".join(
        ch if ch.isprintable() and ch not in '"\\' else quote(ch, safe="") for ch in file_name
    )

"""QBO's answers as they arrive: three envelopes of a fault, and the fields of an Attachable.

An answer may hold `Fault` (application, PascalCase), `fault` (gateway, lower case, numeric time)
or XML although JSON was asked for (throttle). Everything here takes any bytes whatever: what is
not as documented is None or "", never an error of Python's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from qbo_attach.core.model import Attachable, EntityRef, Fault

_TEXT_LIMIT = 1_000
"""Characters kept of a message: enough for a person, too few for a page of HTML."""

_ERROR_CODE = re.compile(r"errorCode=0*(\d+)")
_SECRETS = (
    # Intuit prints the bearer token into the detail of a 401.
    (re.compile(r"(?i)\b(token[^:]{0,20}:\s*)\S+"), r"\1***"),
    (re.compile(r"(?i)\b(bearer\s+)[\w\-.~+/]{8,}=*"), r"\1***"),
    (re.compile(r"eyJ[\w\-]{10,}[\w\-.]*"), "***"),
    (re.compile(r"(?i)\b((?:access_token|refresh_token|code|client_secret)=)[^&\s\"']+"), r"\1***"),
    # The query of an address may be its signature.
    (re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*"), r"\1?***"),
)


def masked(text: str) -> str:
    """The text without bearer tokens, OAuth codes and the queries of addresses."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def load_json(body: bytes) -> dict[str, Any] | None:
    """A JSON object, or None for anything else."""
    try:
        loaded = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def text_of(value: object) -> str:
    """Text and numbers as text; anything else is as good as absent."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


def get(record: object, name: str) -> Any:  # noqa: ANN401  # JSON
    """A field by its name in any case; None where there is none, or no record."""
    if not isinstance(record, dict):
        return None
    if name in record:
        return record[name]
    wanted, length = name.lower(), len(name)
    for key, value in record.items():
        if isinstance(key, str) and len(key) == length and key.lower() == wanted:
            return value
    return None


def fault_from_json(record: object, status: int, intuit_tid: str) -> Fault | None:
    """The fault in a JSON answer or in one item of it, in either case of its keys."""
    envelope = get(record, "Fault")
    if not isinstance(envelope, dict):
        return None
    errors = get(envelope, "Error")
    if isinstance(errors, dict):
        errors = [errors]
    first = errors[0] if isinstance(errors, list) and errors else {}
    return _fault(
        {name: text_of(get(first, name)) for name in ("code", "Message", "Detail", "element")},
        text_of(get(envelope, "type")),
        status,
        intuit_tid,
    )


def fault_from_xml(body: bytes, status: int, intuit_tid: str) -> Fault | None:
    """The fault in an XML answer (the throttle's form), or None."""
    # QBO's XML has no document type; one could make the parser expand entities.
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") or b"<!" in body:
        return None
    try:
        root = ET.fromstring(body)  # noqa: S314  # no document type, see above
    except (ET.ParseError, ValueError, LookupError):
        return None
    for element in root.iter():
        if _local(element.tag) == "fault":
            break
    else:
        return None
    found = {"code": "", "Message": "", "Detail": "", "element": ""}
    for child in element.iter():
        name = _local(child.tag)
        if name == "error":
            found["code"] = found["code"] or child.get("code", "")
            found["element"] = found["element"] or child.get("element", "")
        elif name in {"message", "detail"}:
            found[name.capitalize()] = found[name.capitalize()] or (child.text or "")
    return _fault(found, element.get("type", ""), status, intuit_tid)


def _local(tag: object) -> str:
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def _fault(found: Mapping[str, str], kind: str, status: int, intuit_tid: str) -> Fault:
    code = found["code"].strip()
    if not code:
        told = _ERROR_CODE.search(found["Message"])
        code = told.group(1) if told else ""
    return Fault(
        code=short(code),
        message=short(found["Message"]),
        detail=short(found["Detail"]),
        element=short(found["element"]),
        type=short(kind),
        status=status,
        intuit_tid=intuit_tid,
    )


def short(text: str) -> str:
    """A message in one line, without secrets, of bounded length."""
    return masked(" ".join(text[: 4 * _TEXT_LIMIT].split()))[:_TEXT_LIMIT]


def attachable_from_json(record: object) -> Attachable | None:
    """An Attachable as an answer or a query shows it; None where it has no Id.

    Its presigned addresses (`TempDownloadUri`) are left behind: they are secrets.
    """
    identifier = text_of(get(record, "Id"))
    if not identifier:
        return None
    return Attachable(
        id=identifier,
        file_name=text_of(get(record, "FileName")),
        size_bytes=_whole(get(record, "Size")),
        refs=_refs(get(record, "AttachableRef")),
        tag=text_of(get(record, "Tag")),
        note=text_of(get(record, "Note")),
        sync_token=text_of(get(record, "SyncToken")),
        created_at=text_of(get(get(record, "MetaData"), "CreateTime")),
        content_type=text_of(get(record, "ContentType")),
    )


def _whole(value: object) -> int | None:
    text = text_of(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004


def _refs(value: object) -> tuple[EntityRef, ...]:
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return ()
    refs = (get(ref, "EntityRef") for ref in value)
    return tuple(
        EntityRef(text_of(get(ref, "type")), identifier)
        for ref in refs
        if (identifier := text_of(get(ref, "value")))
    )

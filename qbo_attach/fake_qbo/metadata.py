"""Attachable objects that clients send, as JSON or XML, judged field by field."""

from __future__ import annotations

import json
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from qbo_attach.fake_qbo.answers import Refused
from qbo_attach.fake_qbo.ledger import WRITABLE
from qbo_attach.fake_qbo.state import State
from qbo_attach.fake_qbo.values import JSON

_LENGTHS = {
    "FileName": 1000,
    "Note": 2000,
    "Category": 100,
    "ContentType": 100,
    "Lat": 100,
    "Long": 100,
    "Tag": 2000,
    "PlaceName": 2000,
}
_MAX_DEPTH = 30


@dataclass(frozen=True, slots=True)
class Sent:
    """An Attachable as a client sent it: set writable fields, refs as QBO writes them, its ids."""

    fields: dict[str, str]
    refs: list[JSON]
    id: str = ""
    sync_token: str = ""


def read_object(body: bytes, content_type: str, code: str) -> JSON:
    """The object in a body, JSON or XML by its type or its first character.

    Raises:
        Refused: it is neither, with the given code.
    """
    text = body.strip()
    try:
        if "xml" in content_type.lower() or text[:1] == b"<":
            return _from_xml(text)
        found = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused("500", "Invalid byte 1 of 1-byte UTF-8 sequence.") from error
    except (ValueError, ET.ParseError, RecursionError) as error:
        raise Refused(code, f"the object cannot be read: {error}"[:300]) from error
    if not isinstance(found, dict):
        raise Refused(code, "the object is not a JSON object")
    return found


def _from_xml(text: bytes) -> JSON:
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError("document types are not allowed")
    element = ET.fromstring(text)  # noqa: S314  # without document types there are no entities
    found = _element(element, 0)
    return found if isinstance(found, dict) else {}


def _element(element: ET.Element, depth: int) -> object:
    """An XML element as the JSON it stands for: attributes and children by name."""
    if depth > _MAX_DEPTH:
        raise ValueError("elements lie too deep")
    name = _local(element.tag)
    text = (element.text or "").strip()
    found: JSON = {_local(k): v for k, v in element.attrib.items()}
    for child in element:
        key = _local(child.tag)
        value = _element(child, depth + 1)
        if key in ("AttachableRef", "BatchItemRequest"):
            found.setdefault(key, []).append(value)
        else:
            found[key] = value
    if name == "EntityRef":
        return {**found, "value": found.get("value", text)}
    return found if found or len(element) else text


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def read_attachable(sent: JSON, state: State, *, unreadable: str = "2010") -> Sent:
    """Judge an Attachable.

    Raises:
        Refused: with the code of the first thing that is wrong.
    """
    inner = sent.get("Attachable")
    if isinstance(inner, dict):
        sent = inner
    fields = {name: _field(name, sent[name]) for name in WRITABLE if sent.get(name) is not None}
    if set(fields.get("FileName", "")) & set(state.behaviour.refused_characters):
        raise Refused("2040", "FileName has a character that is not allowed", "FileName")
    refs = sent.get("AttachableRef") or []
    if isinstance(refs, dict):
        refs = [refs]
    if not isinstance(refs, list):
        raise Refused(unreadable, "AttachableRef must be a list", "AttachableRef")
    judged = [_ref(ref, state, unreadable) for ref in refs]
    return Sent(
        {k: v for k, v in fields.items() if v},
        judged,
        str(sent.get("Id") or ""),
        str(sent.get("SyncToken") if sent.get("SyncToken") is not None else ""),
    )


def _field(name: str, value: object) -> str:
    if isinstance(value, (dict, list)):
        raise Refused("2010", f"Property Name:{name} must be a text", name)
    text = str(value)
    if len(text) > _LENGTHS[name]:
        detail = f"{name} has {len(text)} characters; at most {_LENGTHS[name]} are allowed"
        raise Refused("2050", detail, name)
    allowed = "" if name == "FileName" else "\t\n\r"
    if any((c < " " and c not in allowed) or "\ud800" <= c <= "\udfff" for c in text):
        raise Refused("2040", f"{name} has a character that is not allowed", name)
    return text


def _ref(ref: object, state: State, unreadable: str) -> JSON:
    if not isinstance(ref, dict):
        raise Refused(unreadable, "an AttachableRef must be an object", "AttachableRef")
    judged: JSON = {}
    entity = ref.get("EntityRef")
    if entity is not None:
        judged["EntityRef"] = _entity_ref(entity, state)
    elif not _true(ref.get("NoRefOnly")):
        raise Refused("2020", "Required parameter EntityRef is missing in the request", "EntityRef")
    judged["IncludeOnSend"] = _true(ref.get("IncludeOnSend"))
    for name in ("NoRefOnly", "Inactive"):
        if name in ref:
            judged[name] = _true(ref[name])
    for name in ("LineInfo", "CustomField"):
        if ref.get(name):
            judged[name] = ref[name]
    return judged


def _true(value: object) -> bool:
    return value is True or str(value).lower() == "true"


def _entity_ref(entity: object, state: State) -> JSON:
    if not isinstance(entity, dict) or not entity.get("type") or not entity.get("value"):
        raise Refused("2020", "EntityRef needs both type and value", "EntityRef")
    sent = str(entity["type"])
    known = {kind.casefold(): kind for kind in state.behaviour.attachable_types}
    kind = known.get(sent.casefold())
    if kind != sent and state.behaviour.types_with_case:
        kind = None
    value = str(entity["value"])
    if kind is None:
        raise Refused("6050", f"Entity type {entity['type']} is unsupported for Attachable")
    if not state.entities.exists(kind, value):
        raise Refused(
            "6000",
            f"Business Validation Error: The entity {kind} {value} that you are trying to link "
            f"does not exist. {kind} {value}",
        )
    return {"value": value, "type": kind}

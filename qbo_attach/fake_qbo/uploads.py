"""POST /upload: parts to pairs, pairs to attachables or faults, one answer item for each."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from qbo_attach.fake_qbo.answers import Refused, fault, stamped
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.ledger import Attachable, as_entity
from qbo_attach.fake_qbo.metadata import Sent, read_attachable, read_object
from qbo_attach.fake_qbo.multipart import Part
from qbo_attach.fake_qbo.state import State
from qbo_attach.fake_qbo.values import JSON

TYPES = {
    "ai": "application/postscript",
    "eps": "application/postscript",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpg",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "pdf": "application/pdf",
    "png": "image/png",
    "rtf": "text/rtf",
    "tif": "image/tif",
    "txt": "text/plain",
    "xls": "application/vnd/ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "text/xml",
}
"""Intuit's approved types by extension, as Intuit prints them."""

_NAME = re.compile(r"file_(metadata|content)_?(.*)", re.IGNORECASE | re.DOTALL)
_MAX_METADATA = 1 << 20


@dataclass(slots=True)
class Pair:
    """The parts of one suffix. `twice`: a part of this name came more than once."""

    suffix: str
    metadata: Part | None = None
    content: Part | None = None
    twice: bool = False


@dataclass(slots=True)
class Item:
    """One judged pair: an attachable to be made, or a fault."""

    content: Part | None = None
    sent: Sent = field(default_factory=lambda: Sent({}, []))
    file_name: str = ""
    content_type: str = ""
    refused: JSON | None = None


def pairs_of(parts: list[Part]) -> list[Pair]:
    """Parts by their suffix, in the order of their first appearance."""
    pairs: dict[str, Pair] = {}
    for part in parts:
        match = _NAME.fullmatch(part.name)
        if match is None:
            continue
        pair = pairs.setdefault(match[2], Pair(match[2]))
        role = match[1].lower()
        pair.twice = pair.twice or getattr(pair, role) is not None
        setattr(pair, role, part)
    return list(pairs.values())


def digest_of(parts: list[Part]) -> str:
    """Digest of what an upload asks for, whatever its boundary."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(f"{part.name}\0{part.file_name}\0{part.content.sha256}\n".encode())
    return sha.hexdigest()


def file_names(pairs: list[Pair]) -> tuple[str, ...]:
    """Names for the fault plan: FileName of the metadata where it can be read, else filename."""
    names: list[str] = []
    for pair in pairs:
        name = ""
        if pair.metadata is not None and pair.metadata.content.size <= _MAX_METADATA:
            try:
                body = pair.metadata.content.load()
                sent = read_object(body, pair.metadata.content_type, "6040")
                name = str(sent.get("FileName") or "")
            except Refused:
                name = ""
        names.append(name or (pair.content.file_name if pair.content else ""))
    return tuple(names)


def judge(pair: Pair, state: State) -> Item:
    """What becomes of a pair."""
    try:
        return _judged(pair, state)
    except Refused as refused:
        return Item(refused=refused.fault)


def _judged(pair: Pair, state: State) -> Item:
    if pair.twice:
        raise Refused("6041", f"Two parts have the same name, of suffix {pair.suffix}")
    content = pair.content
    if content is None:
        raise Refused("6041", f"There is no file_content_{pair.suffix} for its metadata")
    sent = Sent({}, [])
    if pair.metadata is not None:
        sent = _metadata(pair.metadata, state)
    name = sent.fields.get("FileName", "")
    if not name or (state.behaviour.filename_wins == "part" and content.file_name):
        name = read_attachable({"FileName": content.file_name}, state).fields.get("FileName", "")
    _judge_file(name, content, state)
    extension = _extension(name)
    given = sent.fields.get("ContentType") or content.content_type.split(";")[0].strip().lower()
    if not given or given == "application/octet-stream":
        given = TYPES[extension]
    kind = "image/jpeg" if given == "image/jpg" else given
    return Item(content, sent, name, kind)


def _metadata(part: Part, state: State) -> Sent:
    if part.broken or part.content.size > _MAX_METADATA:
        raise Refused("6040", "The metadata cannot be read as an Attachable")
    found = read_object(part.content.load(), part.content_type, "6040")
    return read_attachable(found, state, unreadable="6040")


def _judge_file(name: str, content: Part, state: State) -> None:
    behaviour = state.behaviour
    extension = _extension(name)
    if content.broken:
        raise Refused("6041", f"{name}: the content is not base64")
    if extension not in TYPES:
        raise Refused("6041", f"{name}: files of this type are not supported")
    if extension == "txt" and behaviour.text_files == "refuse":
        raise Refused("6041", f"{name}: text files are refused for security reasons")
    if behaviour.max_file_bytes and content.content.size > behaviour.max_file_bytes:
        raise Refused("6041", f"{name}: the file is larger than {behaviour.max_file_bytes} bytes")
    if content.content.size == 0 and behaviour.empty_files == "refuse":
        raise Refused("6041", f"{name}: the file is empty")
    octets = content.content_type.lower().startswith("application/octet-stream")
    if octets and behaviour.octet_stream == "refuse":
        raise Refused("6041", f"{name}: application/octet-stream is not supported")


def _extension(name: str) -> str:
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


@dataclass(slots=True)
class Upload:
    """One upload request on its way to its effect.

    `remembers`: whether its answer is kept for its requestid.
    """

    realm: str
    requestid: str
    number: int
    base_url: str
    digest: str
    pairs: list[Pair]
    remembers: bool = True

    def items(self, state: State, rule: Rule | None) -> list[Item]:
        """Judge every pair; a scripted item fault and `one_bad_part` have their say."""
        items = [judge(pair, state) for pair in self.pairs]
        if rule is not None and rule.kind == "item_fault":
            index = (rule.item or 1) - 1
            if index < len(items):
                items[index] = Item(refused=fault(rule.code or "6000", "by the fault plan"))
        bad = next((i.refused for i in items if i.refused is not None), None)
        if bad is not None and state.behaviour.one_bad_part == "all":
            return [Item(refused=i.refused or bad) for i in items]
        return items

    def commit(self, items: list[Item], state: State, at: float) -> JSON:
        """Make the attachables; the answer's payload. Remembers the requestid."""
        answers = [self._apply(item, state, at) for item in items]
        if state.behaviour.items_order == "shuffled":
            state.random.shuffle(answers)
        payload = stamped({"AttachableResponse": answers}, at)
        if self.remembers:
            state.remember(self.realm, self.requestid, self.digest, payload)
        return payload

    def _apply(self, item: Item, state: State, at: float) -> JSON:
        if item.refused is not None or item.content is None:
            return {"Fault": item.refused}
        content = item.content.content
        state.vault.keep(content)
        fields = {**item.sent.fields, "FileName": item.file_name, "ContentType": item.content_type}
        one = Attachable(
            realm=self.realm,
            id=state.ledger.new_id(),
            fields=fields,
            refs=item.sent.refs,
            size=content.size,
            sha256=content.sha256,
            key=f"{state.random.getrandbits(128):032x}",
            created_at=at,
            updated_at=at,
            requestid=self.requestid,
            request=self.number,
            visible_at=at + state.behaviour.query_lag_s,
        )
        state.save(one)
        return {"Attachable": as_entity(one, state.download_address(one, self.base_url))}

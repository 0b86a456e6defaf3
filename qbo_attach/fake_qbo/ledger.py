"""The attachables of each realm, with the bytes' digests and who made them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from urllib.parse import quote

from qbo_attach.fake_qbo.answers import offset_time
from qbo_attach.fake_qbo.values import JSON

FIRST_ID = 5_000_000_000_000_500_000
"""Ids of attachables are numbers of 19 digits in text."""

WRITABLE = ("FileName", "Note", "Category", "ContentType", "PlaceName", "Lat", "Long", "Tag")
_IMAGES = frozenset({"image/gif", "image/jpeg", "image/jpg", "image/png", "image/tif"})


@dataclass(slots=True)
class Attachable:
    """One attachable. `fields` holds the writable ones that are set; `refs` AttachableRefs.

    Times are Unix seconds by the company's clock. `size` is None without bytes.
    """

    realm: str
    id: str
    fields: dict[str, str]
    refs: list[JSON]
    size: int | None
    sha256: str
    key: str
    created_at: float
    updated_at: float
    requestid: str = ""
    request: int = 0
    sync_token: int = 0
    deleted_at: float = 0.0
    visible_at: float = 0.0

    def ref_keys(self) -> list[tuple[str, str]]:
        """Type (in lower case) and value of each ref."""
        found = [r.get("EntityRef", {}) for r in self.refs]
        return [(str(e.get("type", "")).casefold(), str(e.get("value", ""))) for e in found]


def as_entity(one: Attachable, download: str) -> JSON:
    """An attachable as the API shows it; `download` is its temporary address, "" for none."""
    entity: JSON = {name: one.fields[name] for name in WRITABLE if one.fields.get(name)}
    if one.size is not None:
        entity["FileAccessUri"] = f"/v3/company/{one.realm}/download/{one.id}"
        if download:
            entity["TempDownloadUri"] = download
        if one.fields.get("ContentType", "") in _IMAGES:
            thumbnail = f"/v3/company/{one.realm}/attachable-thumbnail/{one.id}"
            entity["ThumbnailFileAccessUri"] = thumbnail
        entity["Size"] = one.size
    entity["domain"] = "QBO"
    entity["sparse"] = False
    entity["Id"] = one.id
    entity["SyncToken"] = str(one.sync_token)
    entity["MetaData"] = {
        "CreateTime": offset_time(one.created_at),
        "LastUpdatedTime": offset_time(one.updated_at),
    }
    if one.refs:
        entity["AttachableRef"] = one.refs
    return entity


def file_address(one: Attachable) -> str:
    """Percent-encoded path under which the bytes lie; equal file names do not meet there."""
    name = quote(one.fields.get("FileName", ""), safe="")
    return f"/intuit-qbo-files/{one.realm}/attachments/{one.id}/{one.key}{name}"


def as_ledger_row(one: Attachable) -> JSON:
    """An attachable as `/_fake/ledger` shows it."""
    made = datetime.fromtimestamp(one.created_at, timezone.utc)
    return {
        "Id": one.id,
        "FileName": one.fields.get("FileName", ""),
        "Size": one.size,
        "sha256": one.sha256,
        "ContentType": one.fields.get("ContentType", ""),
        "refs": [
            {
                "type": r.get("EntityRef", {}).get("type", ""),
                "value": r.get("EntityRef", {}).get("value", ""),
            }
            for r in one.refs
        ],
        "requestid": one.requestid,
        "created_at": made.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "Tag": one.fields.get("Tag", ""),
        "Note": one.fields.get("Note", ""),
        "realm": one.realm,
        "request": one.request,
        "SyncToken": str(one.sync_token),
    }


class Ledger:
    """Attachables by id, by entity ref and by tag; deleted ones apart."""

    def __init__(self) -> None:
        self._live: dict[str, dict[str, Attachable]] = {}
        self._by_ref: dict[tuple[str, str, str], dict[str, Attachable]] = {}
        self._by_tag: dict[tuple[str, str], dict[str, Attachable]] = {}
        self.deleted: list[Attachable] = []
        self._next = FIRST_ID

    def new_id(self) -> str:
        """An id that was never given."""
        self._next += 1
        return str(self._next)

    def get(self, realm: str, one_id: str) -> Attachable | None:
        """The live attachable of this id."""
        return self._live.get(realm, {}).get(one_id)

    def put(self, one: Attachable) -> None:
        """Add an attachable, or put it in the place of the one with its id."""
        old = self.get(one.realm, one.id)
        if old is not None:
            self._unlink(old)
        self._live.setdefault(one.realm, {})[one.id] = one
        for kind, value in one.ref_keys():
            self._by_ref.setdefault((one.realm, kind, value), {})[one.id] = one
        tag = one.fields.get("Tag", "")
        if tag:
            self._by_tag.setdefault((one.realm, tag), {})[one.id] = one
        self._next = max(self._next, int(one.id))

    def delete(self, one: Attachable, now: float) -> None:
        """Take an attachable out; the deleted ones are listed apart."""
        self._unlink(one)
        self._live[one.realm].pop(one.id)
        one.deleted_at = now
        self.deleted.append(one)

    def _unlink(self, one: Attachable) -> None:
        for kind, value in one.ref_keys():
            self._by_ref.get((one.realm, kind, value), {}).pop(one.id, None)
        tag = one.fields.get("Tag", "")
        if tag:
            self._by_tag.get((one.realm, tag), {}).pop(one.id, None)

    def all(self, realm: str | None = None) -> list[Attachable]:
        """Live attachables in the order of their ids; of every realm for None."""
        if realm is not None:
            return list(self._live.get(realm, {}).values())
        return [one for ones in list(self._live.values()) for one in list(ones.values())]

    def with_ref(self, realm: str, kinds: list[str], values: list[str]) -> list[Attachable]:
        """Those that hang on one of these entities, in the order of their ids."""
        found: dict[str, Attachable] = {}
        for kind in kinds:
            for value in values:
                found.update(self._by_ref.get((realm, kind.casefold(), value), {}))
        return sorted(found.values(), key=_by_id)

    def with_tag(self, realm: str, tags: list[str]) -> list[Attachable]:
        """Those with one of these tags, in the order of their ids."""
        found: dict[str, Attachable] = {}
        for tag in tags:
            found.update(self._by_tag.get((realm, tag), {}))
        return sorted(found.values(), key=_by_id)


def _by_id(one: Attachable) -> int:
    return int(one.id)


def record_of(one: Attachable) -> JSON:
    """The journal's record of an attachable as it is now."""
    return {"event": "attachable", **asdict(one)}


def from_record(record: JSON) -> Attachable:
    """The attachable of a journal record."""
    return Attachable(**{k: v for k, v in record.items() if k != "event"})

"""Undo: which attachables a run made, and whether each is still as the run left it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from qbo_attach.core.chain import Done, GroupFile, Intent, Record, Recorded, entity_refs
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.model import DONE_OUTCOMES, Attachable, EntityRef, Outcome
from qbo_attach.core.naming import folded

MADE_OUTCOMES = frozenset({Outcome.SUCCESS, Outcome.ADOPTED})
"""After these the attachable is the run's own work; `already_in_qbo` is somebody else's."""

_UNTOUCHED = frozenset({"0", ""})
"""SyncTokens of an attachable that nobody has written to since it was made (or that is not told).
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/attachable
"""


def parse_entity(text: str) -> EntityRef:
    """`Bill:12` as an entity ref.

    Raises:
        NotStartedError: it is none.
    """
    kind, colon, one_id = text.partition(":")
    if not (kind and colon and one_id):
        raise NotStartedError(f"--entity {text}: must be a type and an id, such as Bill:12")
    return EntityRef(kind, one_id)


def is_undone_by(done: Done, run_id: str, entities: Collection[EntityRef]) -> bool:
    """Whether an undo of this run (of these entities; none: of all) concerns this attachment."""
    if done.run_id != run_id or done.outcome not in MADE_OUTCOMES:
        return False
    refs = entity_refs(done.qbo_entity_type, done.qbo_entity_id)
    return not entities or any(ref in entities for ref in refs)


def why_left(done: Done, one: Attachable, entities: Collection[EntityRef]) -> str:
    """Why an attachable is not deleted: it is not what the run left; "" if it is.

    Args:
        done: as the run log has it.
        one: as QBO shows it now.
        entities: the only ones whose attachables are to go; none: all.
    """
    refs = set(entity_refs(done.qbo_entity_type, done.qbo_entity_id))
    if set(one.refs) != refs:
        return f"it hangs on {_listed(one.refs)} now, and was sent to {_listed(sorted(refs))}"
    if folded(one.file_name) != folded(done.sent_file_name):
        return f"it is called {one.file_name} now, and was sent as {done.sent_file_name}"
    if one.size_bytes != done.size_bytes:
        size = "no file" if one.size_bytes is None else f"{one.size_bytes} bytes"
        return f"it has {size} now, and {done.size_bytes} bytes were sent"
    if one.sync_token not in _UNTOUCHED:
        return f"somebody has edited it in QBO (SyncToken {one.sync_token})"
    others = refs.difference(entities) if entities else set()
    if others:
        return f"it hangs on {_listed(sorted(others))} as well"
    return ""


def _listed(refs: Collection[EntityRef]) -> str:
    return ", ".join(map(str, refs)) or "nothing"


class FilesSent:
    """What the run log says of attachments besides their done rows: legacy ids, client, rule.

    It is asked for them in about the order in which they were sent, and so holds only those that
    it has passed on the way to another.

    Args:
        records: the chain's, from its beginning; snapshots may be left out.
        keys: idempotency keys of all that will be asked for.
    """

    def __init__(self, records: Iterable[Record], keys: Iterable[str]) -> None:
        self._coming = iter(records)
        self._keys = frozenset(keys)
        self._on_their_way: dict[str, GroupFile] = {}
        self._passed: dict[str, tuple[str, GroupFile]] = {}
        """By key: the attachable that came of it last, and the attachment as it went."""

    def of(self, done: Done) -> GroupFile | None:
        """The attachment as it was sent, and where it lies now; None: the run log does not say."""
        while not self._has(done) and (record := next(self._coming, None)) is not None:
            self._take(record)
        if not self._has(done):
            return None
        _, file = self._passed.pop(done.key)
        return replace(
            file,
            path=done.path,
            size_bytes=done.size_bytes,
            modified_at=done.modified_at,
            etag=done.etag,
            sha256=done.sha256,
            file_name=done.path.rpartition("/")[2],
        )

    def _has(self, done: Done) -> bool:
        passed = self._passed.get(done.key)
        return passed is not None and passed[0] == done.attachable_id

    def _take(self, record: Record) -> None:
        if isinstance(record, Intent):
            self._on_their_way.update((f.key, f) for f in record.files if f.key in self._keys)
        elif isinstance(record, Recorded) and record.outcome in DONE_OUTCOMES:
            sent = self._on_their_way.pop(record.key, None) or record.file
            if sent is not None and record.key in self._keys:
                self._passed[record.key] = (record.attachable_id, sent)

"""Undo: which attachables a run made, and whether each is still as the run left it."""

from __future__ import annotations

from collections.abc import Collection

from qbo_attach.core.chain import Done, entity_refs
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.model import Attachable, EntityRef, Outcome
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

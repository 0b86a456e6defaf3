"""Looking: what QBO shows of the groups in doubt, by their markers and at their entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from qbo_attach.core.chain import GroupFile, Intent
from qbo_attach.core.history import SETTLED_LOOKS, Doubt
from qbo_attach.core.model import Attachable, EntityRef, Outcome
from qbo_attach.core.naming import folded
from qbo_attach.core.uploading import is_ours

if TYPE_CHECKING:
    from qbo_attach.engine.session import UploadSession

Found = dict[str, dict[str, Attachable]]
"""By requestid, by key: what QBO shows of the files without an outcome."""

_CLOCKS_DIFFER_S = 2.0
"""Slack of a creation time against the clock of the intent's writer, which may have been another
machine's, after the offset of QBO's `Date` that it had measured is taken off."""


async def look(session: UploadSession, doubts: list[Doubt], *, settled: bool) -> Found:
    """What QBO shows of these groups. A few queries for all.

    The marker is asked for; the entities where an intent has none (or another field than is set
    now has it), and, in a look that counts, of what would else go out under another requestid:
    should QBO not keep the marker, or not find by it, those files would be doubled.
    """
    marked: list[Doubt] = []
    at_entities: list[Doubt] = []
    for doubt in doubts:
        intent = doubt.intent
        by_entity = intent.marker == "none" or is_marked_otherwise(session, intent)
        (at_entities if by_entity else marked).append(doubt)
    found: Found = {}
    if marked:
        keys = [key for doubt in marked for key in doubt.open]
        shown = _Shown(await session.company.attachables_by_marker(keys))
        for doubt in marked:
            # Another size is an older content under the same name: not what was sent.
            theirs = {
                key: one
                for key, file in doubt.open.items()
                for one in shown.marked(key)
                if one.size_bytes in (None, file.size_bytes)
            }
            found[doubt.intent.request_id] = theirs
            if settled and _is_last(doubt) and len(theirs) < len(doubt.open):
                at_entities.append(doubt)
    if at_entities:
        for request_id, there in (await _look_at_entities(session, at_entities)).items():
            found[request_id] = there | found.get(request_id, {})
    return found


def is_marked_otherwise(session: UploadSession, intent: Intent) -> bool:
    """Whether it went out when QBO_MARKER was another: QBO is not asked by that field now.

    It may have been changed because QBO refuses to be.
    """
    return intent.marker != session.options.marker


class _Shown:
    """Attachables by marker, and by entity and name."""

    def __init__(self, attachables: Iterable[Attachable]) -> None:
        self._by_marker: dict[str, list[Attachable]] = {}
        self._by_place: dict[tuple[EntityRef, str], list[Attachable]] = {}
        self.ids: set[str] = set()
        for one in attachables:
            self.ids.add(one.id)
            for marker in {one.tag, one.note}:
                self._by_marker.setdefault(marker, []).append(one)
            for ref in one.refs:
                self._by_place.setdefault((ref, folded(one.file_name)), []).append(one)

    def marked(self, key: str) -> Iterator[Attachable]:
        """Those that carry this key; the one that was shown first comes last."""
        return reversed(self._by_marker.get(key, []))

    def like(self, key: str, file: GroupFile) -> Iterator[Attachable]:
        """Those that carry this key, then those of the file's first entity and name."""
        yield from self._by_marker.get(key, ())
        yield from self._by_place.get((file.refs[0], folded(file.sent_file_name)), ())


async def _look_at_entities(session: UploadSession, doubts: list[Doubt]) -> Found:
    shown = await _shown_at_entities(session, doubts)
    claimed = _claimed(session, shown.ids)
    found: Found = {doubt.intent.request_id: {} for doubt in doubts}
    # First what hangs on just a file's entities: what hangs on more may be another file's.
    for exact in (True, False):
        for doubt in doubts:
            theirs = found[doubt.intent.request_id]
            not_before = _not_before(session, doubt.intent)
            for key, file in doubt.open.items():
                fitting = (
                    one
                    for one in (() if key in theirs else shown.like(key, file))
                    if one.id not in claimed
                    and _fits(doubt, key, one, exact=exact, not_before=not_before)
                )
                if (one := next(fitting, None)) is not None:
                    theirs[key] = one
                    claimed.add(one.id)
    return found


async def _shown_at_entities(session: UploadSession, doubts: list[Doubt]) -> _Shown:
    """What hangs on the files' entities and may be one of them."""
    by_type: dict[str, set[str]] = {}
    names: set[str] = set()
    for doubt in doubts:
        for key, file in doubt.open.items():
            by_type.setdefault(file.refs[0].type, set()).add(file.refs[0].id)
            names |= {key, folded(file.sent_file_name)}
    there: list[Attachable] = []
    for entity_type, ids in by_type.items():
        there += await session.company.attachables_of(entity_type, sorted(ids))
    return _Shown(a for a in there if names & {a.tag, a.note, folded(a.file_name)})


def _fits(
    doubt: Doubt, key: str, attachable: Attachable, *, exact: bool, not_before: datetime
) -> bool:
    """Whether an attachable at its entity is the file of this key, as its intent sent it."""
    file = doubt.open[key]
    if key in (attachable.tag, attachable.note):
        return attachable.size_bytes in (None, file.size_bytes)
    lost = _is_last(doubt) and not (attachable.tag or attachable.note)
    if doubt.intent.marker != "none" and not lost:
        return False
    same = set(attachable.refs) == set(file.refs) or not exact
    return same and is_ours(file, attachable, not_before=not_before)


def _is_last(doubt: Doubt) -> bool:
    """Whether the look under way is the last one before another requestid."""
    return doubt.settled_looks + 1 >= SETTLED_LOOKS


def _claimed(session: UploadSession, ids: set[str]) -> set[str]:
    """Those of these attachables that other attachments are; each done row is read for that.

    What was found for a file of some of its entities may still be what an intent made.
    """
    return {
        done.attachable_id
        for done in (session.log.history.rows.rows() if ids else ())
        if done.attachable_id in ids and done.outcome != Outcome.ALREADY_IN_QBO
    }


def _not_before(session: UploadSession, intent: Intent) -> datetime:
    written = datetime.fromisoformat(intent.written_at.replace("Z", "+00:00"))
    offset_s = intent.clock_offset_s
    if offset_s is None:
        offset_s = session.company.clock_offset_s
    return written + timedelta(seconds=offset_s - _CLOCKS_DIFFER_S)

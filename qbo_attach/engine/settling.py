"""Settling groups in doubt: look at QBO, adopt what is there, send again what is not.

A look counts as settled when it comes `settle_s` after the attempt is known to be over; an
earlier one may adopt a group that is there whole, and never leads to a sending.
"""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from qbo_attach.core.chain import GroupFile, Intent, Looked, Recorded
from qbo_attach.core.errors import StorageError
from qbo_attach.core.history import SETTLED_LOOKS, Doubt
from qbo_attach.core.model import Attachable, Outcome
from qbo_attach.core.naming import folded
from qbo_attach.core.uploading import after_settled_look, is_ours
from qbo_attach.engine.groups import Group
from qbo_attach.engine.ports import SourceState
from qbo_attach.qbo.faults import QboError
from qbo_attach.storage.place import SourceError
from qbo_attach.storage.runlog import utc_text

if TYPE_CHECKING:
    from qbo_attach.engine.session import UploadSession

RESENDS = 6
"""A group that is still in doubt after so many settled looks in one run is left to the next."""

_CLOCKS_DIFFER_S = 2.0
"""Slack of a creation time against the clock of the intent's writer, which may have been another
machine's, after the offset of QBO's `Date` that it had measured is taken off."""


async def settle(session: UploadSession) -> None:
    """Settle every group in doubt, or leave it in doubt when that does not come to an end.

    Ends the run (`session.stopped`) where QBO refuses the looks themselves.
    """
    try:
        await Settling(session).run()
    except QboError as error:
        session.stop(error)


class Settling:
    """One run's settling."""

    def __init__(self, session: UploadSession) -> None:
        self._session = session
        self._history = session.log.history
        self._looks: dict[str, int] = {}
        self._due: dict[str, float] = {}

    async def run(self) -> None:
        """Look until nothing is in doubt, the bound is met, or the run stops."""
        session = self._session
        await session.writer.flush()
        if self._history.doubts and session.options.settle_s > 0:
            await self._adopt_early()
        while session.stopped is None:
            open_ids = [i for i in self._history.doubts if self._looks.get(i, 0) < RESENDS]
            if not open_ids:
                return
            next_due = min(map(self._due_at, open_ids))
            await session.wait(next_due - session.clock.monotonic())
            if session.stopped is None:
                await self._settle_due()
                await session.quiet()
                if session.writer.failure is None:
                    await session.writer.flush()

    def _due_at(self, request_id: str) -> float:
        session = self._session
        over = session.doubt_over.setdefault(request_id, session.clock.monotonic())
        return max(self._due.get(request_id, 0.0), over + session.options.settle_s)

    async def _adopt_early(self) -> None:
        """Groups that are at QBO whole need no waiting."""
        doubts = list(self._history.doubts.values())
        found = await self._look(doubts)
        for doubt in doubts:
            theirs = found.get(doubt.intent.request_id, {})
            if len(theirs) == len(doubt.open):
                await self._adopt(doubt, theirs)
        await self._session.writer.flush()

    async def _settle_due(self) -> None:
        now = self._session.clock.monotonic()
        due = [
            doubt
            for request_id, doubt in self._history.doubts.items()
            if self._looks.get(request_id, 0) < RESENDS and self._due_at(request_id) <= now
        ]
        found = await self._look(due)
        for doubt in due:
            await self._settled(doubt, found.get(doubt.intent.request_id, {}))

    async def _settled(self, doubt: Doubt, found: dict[str, Attachable]) -> None:
        session = self._session
        intent = doubt.intent
        self._looks[intent.request_id] = self._looks.get(intent.request_id, 0) + 1
        self._due[intent.request_id] = session.clock.monotonic() + session.options.settle_s
        at = utc_text(session.clock.utcnow())
        # Counted before the log is told: it may be written, and the doubt count it, at any await.
        looks = doubt.settled_looks + 1
        session.writer.add(Looked(intent.request_id, at, len(found), settled=True))
        rest = [file for file in doubt.open.values() if file.key not in found]
        states = {file.key: await session.sources.state(file) for file in rest}
        then = after_settled_look(
            tuple(doubt.open.values()),
            found,
            looks=looks,
            # With its marker elsewhere, the same group is another request.
            partial=doubt.partial or self._is_marked_otherwise(intent),
            unchanged=frozenset(k for k, s in states.items() if s is SourceState.UNCHANGED),
        )
        await self._adopt(doubt, then.adopt)
        for file in then.give_up:
            missing = states[file.key] is SourceState.MISSING
            self._record(
                intent,
                file,
                Outcome.FILE_MISSING if missing else Outcome.SOURCE_CHANGED,
                error="its answer was lost, QBO does not have it, and the file is not what was "
                "to be sent",
            )
        if then.resend:
            attempt = intent.attempt + 1
            again = Group(intent.request_id, intent.boundary, intent.files, attempt, clean=False)
            again.looks = looks
            session.prepare(again)
        if then.anew:
            group = session.new_group(then.anew)
            group.clean = False
            group.looks = looks
            self._looks[group.request_id] = self._looks[intent.request_id]
            session.prepare(group)

    async def _adopt(self, doubt: Doubt, found: dict[str, Attachable]) -> None:
        files = {key: doubt.open[key] for key in found}
        digests = {key: await self._digest(file) for key, file in files.items()}
        for key, attachable in found.items():
            self._record(
                doubt.intent,
                replace(files[key], sha256=digests[key]),
                Outcome.ADOPTED,
                attachable_id=attachable.id,
            )

    async def _digest(self, file: GroupFile) -> str:
        """Of a file that was sent: a later plan knows it by that, wherever it lies then.

        "" where nothing had read it before it was sent, and it is not there as it was.
        """
        if file.sha256:
            return file.sha256
        digest = hashlib.sha256()
        try:
            async with aclosing(self._session.sources.pieces(file)) as pieces:  # type: ignore[type-var]  # a generator
                async for piece in pieces:
                    digest.update(piece)
        except (SourceError, StorageError, OSError):
            return ""
        return digest.hexdigest()

    def _record(
        self,
        intent: Intent,
        file: GroupFile,
        outcome: Outcome,
        *,
        error: str = "",
        attachable_id: str = "",
    ) -> None:
        self._session.record(
            Recorded(
                at=utc_text(self._session.clock.utcnow()),
                outcome=outcome.value,
                key=file.key,
                path=file.path,
                request_id=intent.request_id,
                attachable_id=attachable_id,
                sha256=file.sha256,
                error=error,
                attempt=intent.attempt,
            )
        )

    # -- looking ------------------------------------------------------------------------------

    async def _look(self, doubts: list[Doubt]) -> dict[str, dict[str, Attachable]]:
        """What QBO shows of these groups: by requestid, by key. A few queries for all."""
        marked: list[Doubt] = []
        plain: list[Doubt] = []
        for doubt in doubts:
            by_entity = doubt.intent.marker == "none" or self._is_marked_otherwise(doubt.intent)
            (plain if by_entity else marked).append(doubt)
        found: dict[str, dict[str, Attachable]] = {}
        if marked:
            keys = [key for doubt in marked for key in doubt.open]
            shown = await self._session.company.attachables_by_marker(keys)
            by_marker = {}
            for attachable in reversed(shown):
                by_marker.update({attachable.tag: attachable, attachable.note: attachable})
            for doubt in marked:
                # Another size is an older content under the same name: not what was sent.
                theirs = {
                    file.key: by_marker[file.key]
                    for file in doubt.open.values()
                    if file.key in by_marker
                    and by_marker[file.key].size_bytes in (None, file.size_bytes)
                }
                found[doubt.intent.request_id] = theirs
                if _is_last(doubt) and len(theirs) < len(doubt.open):
                    plain.append(doubt)
        if plain:
            for request_id, theirs in (await self._look_at_entities(plain)).items():
                found[request_id] = theirs | found.get(request_id, {})
        return found

    async def _look_at_entities(self, doubts: list[Doubt]) -> dict[str, dict[str, Attachable]]:
        by_type: dict[str, set[str]] = {}
        names: set[str] = set()
        for doubt in doubts:
            for key, file in doubt.open.items():
                by_type.setdefault(file.refs[0].type, set()).add(file.refs[0].id)
                names |= {key, folded(file.sent_file_name)}
        shown: list[Attachable] = []
        for entity_type, ids in by_type.items():
            there = await self._session.company.attachables_of(entity_type, sorted(ids))
            shown += (a for a in there if names & {a.tag, a.note, folded(a.file_name)})
        claimed = self._claimed({attachable.id for attachable in shown})
        found: dict[str, dict[str, Attachable]] = {d.intent.request_id: {} for d in doubts}
        # First what hangs on just a file's entities: what hangs on more may be another file's.
        for exact in (True, False):
            for doubt in doubts:
                theirs = found[doubt.intent.request_id]
                not_before = self._not_before(doubt.intent)
                for key, file in doubt.open.items():
                    for attachable in () if key in theirs else shown:
                        same = set(attachable.refs) == set(file.refs) or not exact
                        if key in (attachable.tag, attachable.note):
                            fits = attachable.size_bytes in (None, file.size_bytes)
                        else:
                            bare = doubt.intent.marker == "none" or _is_bare(doubt, attachable)
                            fits = bare and same
                            fits = fits and is_ours(file, attachable, not_before=not_before)
                        if fits and attachable.id not in claimed:
                            theirs[key] = attachable
                            claimed.add(attachable.id)
                            break
        return found

    def _claimed(self, ids: set[str]) -> set[str]:
        """Those of these attachables that other attachments are; each done row is read for that.

        What was found for a file of some of its entities may still be what an intent made.
        """
        return {
            done.attachable_id
            for done in (self._history.rows.rows() if ids else ())
            if done.attachable_id in ids and done.outcome != Outcome.ALREADY_IN_QBO
        }

    def _is_marked_otherwise(self, intent: Intent) -> bool:
        """Whether it went out when QBO_MARKER was another: QBO is not asked by that field now.

        It may have been changed because QBO refuses to be.
        """
        return intent.marker != self._session.options.marker

    def _not_before(self, intent: Intent) -> datetime:
        written = datetime.fromisoformat(intent.written_at.replace("Z", "+00:00"))
        offset_s = intent.clock_offset_s
        if offset_s is None:
            offset_s = self._session.company.clock_offset_s
        return written + timedelta(seconds=offset_s - _CLOCKS_DIFFER_S)


def _is_last(doubt: Doubt) -> bool:
    """Whether what the look under way does not find goes out under another requestid.

    So far QBO was asked for the marker alone. Should it not keep that, or not find by it, the files
    would be doubled.
    """
    return doubt.settled_looks + 1 >= SETTLED_LOOKS


def _is_bare(doubt: Doubt, attachable: Attachable) -> bool:
    """Whether it may be what a marked intent made, with the marker lost."""
    return _is_last(doubt) and not (attachable.tag or attachable.note)

"""Settling groups in doubt: look at QBO, adopt what is there, send again what is not.

A look counts as settled when it comes `settle_s` after the attempt is known to be over; an
earlier one may adopt a group that is there whole, and never leads to a sending.
"""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from qbo_attach.core.chain import GroupFile, Intent, Looked, Recorded
from qbo_attach.core.errors import StorageError
from qbo_attach.core.history import Doubt
from qbo_attach.core.model import Attachable, Outcome
from qbo_attach.core.uploading import after_settled_look
from qbo_attach.engine.groups import Group
from qbo_attach.engine.looking import is_marked_otherwise, look
from qbo_attach.engine.ports import SourceState
from qbo_attach.qbo.faults import QboError, remedy
from qbo_attach.storage.place import SourceError
from qbo_attach.storage.runlog import utc_text

if TYPE_CHECKING:
    from qbo_attach.engine.session import UploadSession

RESENDS = 6
"""A group that is still in doubt after so many settled looks in one run is left to the next."""


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
        found = await look(self._session, doubts, settled=False)
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
        found = await look(self._session, due, settled=True)
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
            partial=doubt.partial or is_marked_otherwise(session, intent),
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
        self._go_anew(doubt, then.anew, looks)

    def _go_anew(self, doubt: Doubt, files: tuple[GroupFile, ...], looks: int) -> None:
        """Send what never came under a new requestid; what was refused alone has its outcome."""
        if not files:
            return
        session, intent = self._session, doubt.intent
        refused = session.refused_in_doubt.pop(intent.request_id, None)
        if refused is not None and len(intent.files) == 1:
            for file in files:
                error = f"{refused}. {remedy(refused)}"
                self._record(intent, file, Outcome.ERROR, error=error)
            return
        # Of several that were refused as one each goes alone, so that one holds up no other.
        for some in [(file,) for file in files] if refused is not None else [files]:
            group = session.new_group(some)
            group.clean = False
            group.looks = looks
            self._looks[group.request_id] = self._looks[intent.request_id]
            session.prepare(group)

    async def _adopt(self, doubt: Doubt, found: dict[str, Attachable]) -> None:
        ours = {
            key: doubt.intent.marker == "none" or key in (one.tag, one.note)
            for key, one in found.items()
        }
        files = {key: doubt.open[key] for key in found}
        digests = {k: await self._digest(file) if ours[k] else "" for k, file in files.items()}
        for key, attachable in found.items():
            # Without its marker it may be a person's: nobody has read it, and no undo takes it.
            self._record(
                doubt.intent,
                replace(files[key], sha256=digests[key]),
                Outcome.ADOPTED if ours[key] else Outcome.ALREADY_IN_QBO,
                error="" if ours[key] else "found by entity, name and size, without our marker",
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

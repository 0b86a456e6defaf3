"""Deleting what a run made: look, intent, delete, outcome.

An attachable is read first, and left if it is not what the run left. What is to be deleted stands
in the run log before its request leaves, and the request carries the SyncToken that was read. A
delete may be asked for twice without harm: what is gone is gone, and no id is ever given again. So
an undo that was cut off is simply run again.

Deletes go 30 to a request. Whatever the answer of such a batch does not settle is looked for, and
deleted by itself if it is still there; so is all of a batch that was lost. Where QBO does nothing
by batches, an undo is as slow as one delete a request, and does the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qbo_attach.core.chain import Deleting, Done, GroupFile, Recorded, RunEnded, RunStarted
from qbo_attach.core.errors import QboAttachError, StoppedError
from qbo_attach.core.model import Attachable, EntityRef, Outcome
from qbo_attach.core.ports import Clock
from qbo_attach.core.undoing import is_undone_by, why_left
from qbo_attach.core.uploading import RefusalWatch
from qbo_attach.engine.ports import Deletes, Log
from qbo_attach.engine.writer import LogWriter
from qbo_attach.qbo import faults
from qbo_attach.qbo.delete_batches import MAX_ITEMS, DeleteBatchAnswer
from qbo_attach.storage.runlog import utc_text

CHUNK = 120
"""Attachables that are read, noted and deleted together: three queries, four batches."""
BATCH_ITEMS = MAX_ITEMS
_LOST_BATCHES = 12
"""So many lost in a row, those of three chunks, and QBO does not bear batches."""
_VAIN_BATCHES = 3
"""So many answered in a row, with none of their items done, and it does not do them."""
_HTTP_OK = 200
_AT_ONCE = 10

_GONE_BEFORE = "it was gone already"
_CUT_OFF = "it is gone: the delete of an undo that was cut off had arrived"
_EDITED = "somebody edited it in QBO at this moment"


Sent = Callable[[Sequence[Done]], Awaitable[Mapping[str, GroupFile]]]
"""Gives attachments as their intents have them, by key, as far as the run log tells."""


@dataclass(frozen=True, slots=True)
class UndoOptions:
    """What an undo goes by. `entities`: the only ones whose attachables are to go; none: all."""

    entities: frozenset[EntityRef] = frozenset()
    drain_s: float = 20.0
    lease_s: float = 60.0


class _HeldError(Exception):
    """The batch has not left, and is not to leave any more."""


@dataclass(frozen=True, slots=True)
class _Going:
    """An attachable whose delete is noted. `in_doubt`: it may be gone by a batch already."""

    done: Done
    attachable: Attachable
    in_doubt: bool = False


@dataclass(slots=True)
class Undoing:
    """One undo at work. Belongs to one event loop.

    `counts` by outcome. `stopped`: why it ended early, None if it did not.
    """

    clock: Clock
    log: Log
    company: Deletes
    options: UndoOptions
    told: Callable[[Done, str, str], None]
    """Called with each attachment that has its outcome, the outcome, and the reason."""
    sent: Sent
    """Asked for each chunk: an outcome carries its attachment, since the done row goes."""

    counts: Counter[str] = field(default_factory=Counter)
    stopped: Exception | None = None
    _batches_help: bool = True
    """False once QBO has refused a batch, or done none of several in a row, or several in a row
    were lost: then no more of them are sent."""
    _lost_batches: int = 0
    _vain_batches: int = 0
    _files: Mapping[str, GroupFile] = field(default_factory=dict)
    _refusals: RefusalWatch = field(default_factory=RefusalWatch)
    _work: asyncio.Task[None] | None = None
    _ending: asyncio.Task[None] | None = None
    _writer: LogWriter = field(init=False)

    def __post_init__(self) -> None:
        self._writer = LogWriter(
            self.log, self.clock, on_failure=self.stop, renew_every_s=self.options.lease_s / 3
        )

    def stop(self, reason: Exception) -> None:
        """Begin no more deletes; those under way get DRAIN_S. The first reason stands."""
        if self.stopped is None:
            self.stopped = reason
            asyncio.get_running_loop().call_later(self.options.drain_s, self._give_up)

    def _give_up(self) -> None:
        if self._work is not None:
            self._ending = asyncio.ensure_future(self._writer.cancel([self._work]))

    async def run(self, started: RunStarted, keys: Sequence[str]) -> None:
        """Undo these attachments, and end the undo in the run log.

        Args:
            started: the undo's start; `undoes` names the run.
            keys: idempotency keys of what the run made.

        Raises:
            LeaseHeldError: another run began at the same moment.
            StorageError, OSError: the run log cannot be written.
        """
        self._writer.add(started)
        await self._writer.flush()
        keeper = asyncio.ensure_future(self._writer.keep())
        self._work = asyncio.ensure_future(self._undo_all(started.undoes, keys))
        try:
            await self._work
        except faults.QboError as error:
            self.stop(error)
        except asyncio.CancelledError:
            if self.stopped is None:
                raise
        except (OSError, QboAttachError):
            if self._writer.failure is None:
                raise
        finally:
            await self._writer.cancel([keeper])
        if self._writer.failure is None:
            try:
                await self._writer.flush()
                await self._end(started.run_id)
            except (OSError, QboAttachError) as error:
                # What was deleted stays deleted; the next undo finds it gone.
                self.stop(error)

    async def _undo_all(self, undoes: str, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), CHUNK):
            if self.stopped is not None:
                break
            await self._undo(undoes, keys[start : start + CHUNK])

    async def _end(self, run_id: str) -> None:
        end = RunEnded(
            run_id,
            utc_text(self.clock.utcnow()),
            dict(self.counts),
            sum(self.company.requests_sent.values()),
            str(self.stopped) if self.stopped is not None else "",
        )
        changed = bool(self.counts[Outcome.DELETED])
        await self.log.append([end], release=not changed)
        if changed:
            await self.log.append_snapshot()

    async def _undo(self, undoes: str, keys: Sequence[str]) -> None:
        """One chunk: what is to go has its intent durable before its request leaves."""
        dones = [
            done
            for key in keys
            if (done := self.log.history.rows.at_key(key)) is not None
            # The keys were found before the lease was held.
            and is_undone_by(done, undoes, self.options.entities)
        ]
        self._files = await self.sent(dones)
        if self.stopped is not None:
            return  # reading the run log may have taken its time
        going: list[_Going] = []
        for done, one in await self._look(dones):
            if one is None:
                cut_off = done.key in self.log.history.deleting
                self._record(done, Outcome.DELETED, _CUT_OFF if cut_off else _GONE_BEFORE)
                continue
            reason = why_left(done, one, self.options.entities)
            if reason:
                self._record(done, Outcome.CHANGED, reason)
            else:
                at = utc_text(self.clock.utcnow())
                self._writer.add(Deleting(at, undoes, done.key, done.path, one.id))
                going.append(_Going(done, one))
        if not going:
            return
        await self._writer.flush()
        await self._delete_all(going)

    async def _look(self, dones: Sequence[Done]) -> list[tuple[Done, Attachable | None]]:
        """Each with its attachable as it is now, or None: it is gone."""
        found = await self.company.attachables_by_id([done.attachable_id for done in dones])
        shown = {one.id: one for one in found}
        # What a query does not show may still be there: its id tells.
        unseen = iter([done.attachable_id for done in dones if done.attachable_id not in shown])

        async def work() -> None:
            for attachable_id in unseen:
                one = await self.company.read_attachable(attachable_id)
                if one is not None:
                    shown[attachable_id] = one

        await _together(work() for _ in range(_AT_ONCE))
        return [(done, shown.get(done.attachable_id)) for done in dones]

    async def _delete_all(self, going: Sequence[_Going]) -> None:
        """In batches, all at once, then one by one what they left open."""
        left: list[_Going] = []

        async def ask(batch: Sequence[_Going]) -> None:
            left.extend(await self._delete_batch(batch) if self._batches_help else batch)

        await _together(
            ask(going[start : start + BATCH_ITEMS]) for start in range(0, len(going), BATCH_ITEMS)
        )
        waiting = iter(await self._still_there(left))

        async def work() -> None:
            for one in waiting:
                await self._delete(one)

        await _together(work() for _ in range(_AT_ONCE))

    async def _still_there(self, left: Sequence[_Going]) -> list[_Going]:
        """Those of what batches left open that may not be gone by them."""
        doubtful = {one.done.key: one for one in left if one.in_doubt}
        try:
            seen = await self._look([one.done for one in doubtful.values()])
        except faults.QboError as error:
            self.stop(error)
            return list(left)
        for done, one in seen:
            if one is None:
                self._settle(done, gone=True)
                del doubtful[done.key]
        return [one for one in left if not one.in_doubt or one.done.key in doubtful]

    async def _delete_batch(self, batch: Sequence[_Going]) -> list[_Going]:
        """Ask for many deletes in one request, and record what is settled; returns the others."""
        try:
            answer = await self.company.delete_unchanged_batch(
                [one.attachable for one in batch], self._check
            )
        except _HeldError:
            return list(batch)
        except faults.InDoubtError:
            answer = DeleteBatchAnswer()
            self._lost_batches += 1
            self._batches_help &= self._lost_batches < _LOST_BATCHES
        except faults.QboError as error:
            if isinstance(error, faults.RefusedError):
                self._batches_help = False
            else:
                self.stop(error)
            # Within a good answer, nobody says that a fault comes before all effect.
            in_doubt = error.fault.status == _HTTP_OK
            return [replace(one, in_doubt=in_doubt) for one in batch]
        else:
            self._lost_batches = 0
            self._vain_batches = 0 if answer.gone or answer.changed else self._vain_batches + 1
            self._batches_help &= self._vain_batches < _VAIN_BATCHES
        left: list[_Going] = []
        for one in batch:
            if one.attachable.id in answer.gone:
                self._settle(one.done, gone=True)
            elif one.attachable.id in answer.changed:
                self._settle(one.done, gone=False)
            else:
                left.append(replace(one, in_doubt=True))
        return left

    def _check(self) -> None:
        """A batch may wait for its turn for seconds, and does not leave when that has no sense."""
        if self.stopped is not None or not self._batches_help:
            raise _HeldError

    async def _delete(self, going: _Going) -> None:
        done, one = going.done, going.attachable
        if self.stopped is not None:
            if not going.in_doubt:
                self._record(done, Outcome.NOT_SENT, "the undo stopped before")
            return
        try:
            gone = await self.company.delete_unchanged(one)
        except faults.RefusedError as error:
            fault = error.fault
            self._record(done, Outcome.ERROR, f"{fault}. {faults.remedy(fault)}")
            if self._refusals.answered(fault.code):
                self.stop(StoppedError(f"QBO refuses most deletes with the same fault: {fault}"))
        except faults.QboError as error:
            # It may be gone by an earlier try; its intent stays open, and the next undo looks.
            self.stop(error)
        else:
            self._settle(done, gone=gone)

    def _settle(self, done: Done, *, gone: bool) -> None:
        self._refusals.answered("")
        if gone:
            self._record(done, Outcome.DELETED, "")
        else:
            self._record(done, Outcome.CHANGED, _EDITED)

    def _record(self, done: Done, outcome: Outcome, reason: str) -> None:
        self._writer.add(
            Recorded(
                at=utc_text(self.clock.utcnow()),
                outcome=outcome.value,
                key=done.key,
                path=done.path,
                attachable_id=done.attachable_id,
                sha256=done.sha256,
                error=reason,
                file=self._files.get(done.key),
            )
        )
        self.counts[outcome.value] += 1
        self.told(done, outcome.value, reason)


async def _together(work: Iterable[Coroutine[None, None, None]]) -> None:
    """Do all of it at once, to its end; then raise what one of it has raised."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if result is not None:
            raise result

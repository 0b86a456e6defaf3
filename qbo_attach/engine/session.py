"""The upload session: one run's engine, in one event loop.

Attachments come in by batches, are packed into request groups, get their intents into the run log
ahead of their slots, are sent, and leave with an outcome in the run log:

    submit → queue → (intent durable) → ready → sent → answer → outcome → (durable)

A group in doubt leaves its batch and is settled at the end (settling.py); what follows from an
answer stands in answers.py. Nothing here decides what is sent under which name (core/planning),
or what an answer means (core/uploading, qbo/faults).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from qbo_attach.core.chain import GroupFile, Record, Recorded, RunEnded
from qbo_attach.core.errors import StoppedError
from qbo_attach.core.model import Fault, Outcome
from qbo_attach.core.ports import Clock
from qbo_attach.core.uploading import GroupBytes, GroupSize, Queue
from qbo_attach.engine.answers import Answers
from qbo_attach.engine.groups import Group
from qbo_attach.engine.ports import Company, Log, Sources
from qbo_attach.engine.settling import settle
from qbo_attach.engine.writer import LogWriter
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.storage.runlog import utc_text

SEND_BY_S = 60.0
"""No first byte leaves later than this after its intent was made."""
AHEAD_S = 10.0
"""Intents are written for the slots of the next so many seconds."""
AHEAD_GROUPS = 50
"""Most groups with a written intent that wait for their slot."""
SENDERS = 10
"""Requests in flight at most."""


class NotNowError(Exception):
    """The run stops: this group is not to be sent any more."""


class TooLateError(Exception):
    """The group's slot came after its `send_by`: its intent must be renewed."""


@dataclass(slots=True)
class Batch:
    """Attachments handed in together; `ended` when each has its outcome or is in doubt."""

    open: set[str]
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What can be set of a session; see settings.py. `files_per_request` None: the ladder."""

    run_id: str
    files_per_request: int | None = 10
    marker: str = "tag"
    settle_s: float = 120.0
    drain_s: float = 20.0
    lease_s: float = 60.0


class UploadSession:
    """One run's engine. Belongs to one event loop; `start` before, `finish` at the end.

    Args:
        clock: the time.
        log: the run log, opened by this run.
        company: QBO.
        sources: the files.
        pacer: the realm's, the one that `company` uses.
        options: what can be set.
        new_id: gives a new text of 32 letters and digits, for requestids and boundaries.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        log: Log,
        company: Company,
        sources: Sources,
        pacer: Pacer,
        options: SessionOptions,
        new_id: Callable[[], str],
    ) -> None:
        self.clock = clock
        self.log = log
        self.company = company
        self.sources = sources
        self.options = options
        self.new_id = new_id
        self.ended: dict[int, str] = {}
        """Outcomes of this run so far, by the hash of the path: a million stay small."""
        self.stopped: Exception | None = None
        self.size = GroupSize(options.files_per_request)
        self.bytes = GroupBytes()
        self.pacer = pacer
        self.writer = LogWriter(log, clock, on_failure=self.stop, renew_every_s=options.lease_s / 3)
        self.doubt_over: dict[str, float] = {}
        """When the attempt of a group in doubt is over for certain, by requestid (monotonic)."""
        self.refused_in_doubt: dict[str, Fault] = {}
        """By requestid what a good answer refused in place of items, till a look tells more."""
        self._answers = Answers(self)
        self._queue = Queue()
        self._prepared: deque[Group] = deque()
        self._ready: asyncio.Queue[Group] = asyncio.Queue()
        self._in_hand = 0
        self._batches: dict[str, Batch] = {}
        self._more = asyncio.Event()
        self._quiet = asyncio.Event()
        self._stopping = asyncio.Event()
        self._changed = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, records: Sequence[Record]) -> None:
        """Take the lease by writing `records` (the run's start), then begin to work.

        Raises:
            LeaseHeldError: another run began at the same moment.
            StorageError, OSError: the run log cannot be written.
        """
        for record in records:
            self.writer.add(record)
        await self.writer.flush()
        now = self.clock.monotonic()
        unproven = self.log.predecessor_unproven_since
        # Whoever came after that one has ended now, at the latest.
        over = now if unproven is None else max(now, unproven + SEND_BY_S + 120.0)
        self.doubt_over = dict.fromkeys(self.log.history.doubts, over)
        self._changed = bool(self.log.history.doubts)
        work = [self.writer.keep(), self._dispatch(), *(self._sender() for _ in range(SENDERS))]
        self._tasks = [asyncio.ensure_future(coroutine) for coroutine in work]

    async def submit(self, files: Iterable[GroupFile]) -> None:
        """Hand in a batch of attachments to send; returns when all have left it, durably.

        Those that the chain knows by now as done or in doubt are left out: a plan is a proposal.

        Raises:
            Exception: what stopped the run; nothing of the batch is lost, the next run goes on.
        """
        fresh = [file for file in files if self._is_fresh(file)]
        batch = Batch({file.path for file in fresh})
        if fresh:
            self._changed = True
            self._batches.update((path, batch) for path in batch.open)
            self._queue.add(fresh)
            self._wake()
            await self._or_stop(batch.ended)
        await self.writer.flush()

    def _is_fresh(self, file: GroupFile) -> bool:
        """Whether the chain, which may have overtaken the plan, knows nothing of it by now."""
        history = self.log.history
        done = history.done_by_key.get(file.key)
        if done is not None and done.path == file.path:
            self.ended[hash(file.path)] = Outcome.SKIPPED_ALREADY_UPLOADED.value
        return not (
            done is not None
            or file.path in history.done
            or file.key in history.doubt_of_key
            or file.path in history.doubt_of_path
            or file.path in self._batches
        )

    def record(self, outcome: Recorded) -> None:
        """Take an attachment's outcome."""
        self._changed = True
        self.writer.add(outcome)
        if outcome.outcome != Outcome.NOT_SENT:
            self.ended[hash(outcome.path)] = outcome.outcome
        self.leave_batch(outcome.path)

    def leave_batch(self, path: str) -> None:
        """This attachment has its outcome, or is in doubt: its batch waits for it no more."""
        batch = self._batches.pop(path, None)
        if batch is not None:
            batch.open.discard(path)
            if not batch.open:
                batch.ended.set()

    def prepare(self, group: Group) -> None:
        """Send a group of just these files, after its intent is written (again)."""
        self._prepared.append(group)
        self._wake()

    def new_group(self, files: tuple[GroupFile, ...]) -> Group:
        """A group with a requestid of its own."""
        return Group(self.new_id(), self.new_id(), files)

    def stop(self, reason: Exception) -> None:
        """Send nothing more; the first reason stands."""
        if self.stopped is None:
            self.stopped = reason
            self._stopping.set()
            self._more.set()

    async def wait(self, seconds: float) -> None:
        """Sleep, or return at once when the run stops."""
        sleeping = asyncio.ensure_future(self.clock.sleep(seconds))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stopping.cancel()

    async def quiet(self) -> None:
        """Return when nothing waits, is ready or in flight, or when the run stops."""
        while not self._is_quiet() and self.stopped is None:
            self._quiet.clear()
            await self._or_stop(self._quiet, raising=False)

    async def _or_stop(self, event: asyncio.Event, *, raising: bool = True) -> None:
        waiting = asyncio.ensure_future(event.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            stopping.cancel()
        if raising and self.stopped is not None and not event.is_set():
            raise self.stopped

    def _is_quiet(self) -> bool:
        return not (self._queue or self._prepared or self._ready.qsize() or self._in_hand)

    def _wake(self) -> None:
        self._more.set()

    # -- intents ahead of their slots ---------------------------------------------------------

    async def _dispatch(self) -> None:
        """Write intents for the next slots, hand the groups to the senders."""
        while self.stopped is None:
            room = min(AHEAD_GROUPS, self.pacer.slots_within(AHEAD_S)) - self._ready.qsize()
            if self.size.on_trial:
                room = min(room, 1 - self._ready.qsize() - self._in_hand)
            waiting = bool(self._queue or self._prepared)
            if not waiting or room <= 0 or self._ready.qsize() > AHEAD_GROUPS // 2:
                self._more.clear()
                await self._woken(timed=waiting)
                continue
            await self._write_intents(self._next_groups(room))

    async def _woken(self, *, timed: bool) -> None:
        """Wait for more to do; while the pace holds groups back, look again after a second."""
        if not timed:
            await self._more.wait()
            return
        more = asyncio.ensure_future(self._more.wait())
        second = asyncio.ensure_future(self.clock.sleep(1.0))
        try:
            await asyncio.wait({more, second}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            more.cancel()
            second.cancel()

    def _next_groups(self, room: int) -> list[Group]:
        groups: list[Group] = []
        while len(groups) < room and (self._prepared or self._queue):
            if self._prepared:
                groups.append(self._prepared.popleft())
            else:
                files = self._queue.take(self.size.most, self.bytes.most)
                groups.append(self.new_group(files))
        self._in_hand += len(groups)
        return groups

    async def _write_intents(self, groups: list[Group]) -> None:
        written_at = self.clock.utcnow()
        send_by = self.clock.monotonic() + SEND_BY_S
        until = utc_text(written_at + timedelta(seconds=SEND_BY_S))
        for group in groups:
            group.send_by = send_by
            intent = group.intent(
                utc_text(written_at), until, self.options.marker, self.company.clock_offset_s
            )
            self.writer.add(intent)
        try:
            await self.writer.flush()
        except Exception:  # noqa: BLE001 - the writer told it to `stop`
            self._in_hand -= len(groups)
            return
        for group in groups:
            self._ready.put_nowait(group)
        self._in_hand -= len(groups)

    # -- sending ------------------------------------------------------------------------------

    async def _sender(self) -> None:
        while True:
            group = await self._ready.get()
            self._in_hand += 1
            self._more.set()
            try:
                await self._send(group)
            finally:
                self._in_hand -= 1
                self._more.set()
                if self._is_quiet():
                    self._quiet.set()

    async def _send(self, group: Group) -> None:
        started = self.clock.monotonic()
        group.may_have_left = False
        try:
            answer = await self.company.upload(
                group.parts(),
                await group.bodies(self.sources),
                request_id=group.request_id,
                boundary=group.boundary,
                before_first_byte=lambda: self._may_send(group),
            )
        except NotNowError:
            self._answers.not_sent(group)
        except TooLateError:
            self.prepare(group)
        except asyncio.CancelledError:
            self._answers.unanswered(group)
            raise
        except Exception as error:  # noqa: BLE001 - each kind has its row in answers.py
            self._answers.failed(group, error)
        else:
            self._answers.answered(group, answer, self.clock.monotonic() - started)

    def _may_send(self, group: Group) -> None:
        """The last check before a first byte."""
        if self.stopped is not None or self.writer.failure is not None:
            raise NotNowError
        if self.clock.monotonic() > group.send_by:
            raise TooLateError
        group.may_have_left = True

    # -- the end ------------------------------------------------------------------------------

    async def finish(self, counts: Callable[[], dict[str, int]]) -> None:
        """Settle what is in doubt, end the run in the log, release the lease.

        Does not raise for what stopped the run (see `stopped`), but for a failure to write the
        end of the log.

        Args:
            counts: tells the run's outcomes when nothing can change them any more.
        """
        await self.quiet()
        if self.stopped is None:
            await settle(self)
        await self._drain()
        if self.writer.failure is not None:
            return
        await self.writer.flush()
        end = RunEnded(
            self.options.run_id,
            utc_text(self.clock.utcnow()),
            counts(),
            sum(self.company.requests_sent.values()),
            str(self.stopped) if self.stopped is not None else "",
        )
        await self.log.append([end], release=not self._changed)
        if self._changed:
            await self.log.append_snapshot()

    async def _drain(self) -> None:
        """Let requests in flight come back, then end all work; what is left stays in doubt."""
        self.stop_sending()
        deadline = self.clock.monotonic() + self.options.drain_s
        while self._in_hand and self.clock.monotonic() < deadline:
            await self.clock.sleep(0.05)
        await self.writer.cancel(self._tasks)

    def stop_sending(self) -> None:
        """Groups that are ready but not under way are given back as not sent."""
        while not self._ready.empty():
            self._answers.not_sent(self._ready.get_nowait())
        while self._prepared:
            self._answers.not_sent(self._prepared.popleft())
        self._queue.drain()
        if self.stopped is None:
            self._stopping.set()
            self._more.set()


def interrupted(signal_name: str) -> StoppedError:
    """The reason of a run that a person stopped."""
    return StoppedError(f"stopped by {signal_name}; run again to go on")

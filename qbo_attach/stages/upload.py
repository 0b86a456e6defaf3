"""The upload stage: one session in one thread; batches are handed to it and waited for.

The command line and Prefect tasks use it alike: open it, `send` each batch (from any thread), then
read `result` after the block.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from qbo_attach import __version__
from qbo_attach.core import tables
from qbo_attach.core.chain import Record, RunStarted
from qbo_attach.core.errors import NotStartedError, QboAttachError, StoppedError, StorageError
from qbo_attach.core.history import History
from qbo_attach.core.model import Action, Artifact, Outcome, Status
from qbo_attach.core.planned import (
    KNOWN_ACTIONS,
    group_file,
    known_outcomes,
    new_facts,
    outcome_so_far,
    taken_attachables,
)
from qbo_attach.core.tables import PlanRow, VerificationRow
from qbo_attach.core.verification import check_gate
from qbo_attach.engine.session import SessionOptions, UploadSession
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QboError
from qbo_attach.qbo.pacing import Pacer, SystemClock
from qbo_attach.settings import Settings
from qbo_attach.stages.batches import (
    Batch,
    copy_plan,
    keep_plan,
    older_plans,
    plan_copy,
    read_batch,
)
from qbo_attach.stages.connection import (
    claim_log_dir,
    environment_name,
    make_client,
    make_pacer,
)
from qbo_attach.stages.existing import (
    Basis,
    deleted,
    is_taken_back,
    read_basis,
    refuse_if_changed,
    settled_plan,
)
from qbo_attach.stages.first_contact import approve_company
from qbo_attach.stages.inputs import log_store
from qbo_attach.stages.sources import StoredSources, store_name
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.done_file import DoneFile
from qbo_attach.storage.files import Store
from qbo_attach.storage.holder import new_run_id, this_holder
from qbo_attach.storage.runlog import RunLog, StoredSegments, ended_here, utc_text

_ROWS_A_SEGMENT = 5_000
"""Planned rows whose outcomes go into one segment, where they need no request."""

T = TypeVar("T")
_Opened = tuple[RunLog, Artifact, list[Record], QboClient, Pacer]


@dataclass(frozen=True, slots=True)
class UploadResult:
    """What a run's upload came to. `counts` by outcome: one for each planned attachment.

    `requests_sent` by kind of request. `stopped` says why the run ended early, "" if it did not.
    """

    run_id: str
    counts: dict[str, int]
    requests_sent: dict[str, int]
    notes: tuple[str, ...]
    stopped: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running upload stands; `in_doubt` does not count what is on its way.

    `wait_s`: how long QBO told us to wait from now; `wait_reason`: its words the last time it did.
    `ended` of `expected` attachments have their outcome; `to_send` are sent if all is well.
    """

    ended: int
    to_send: int
    in_doubt: int
    requests_sent: int
    wait_s: float
    expected: int
    wait_reason: str = ""


def check_verified(settings: Settings, log: Store) -> int:
    """How many attachments are `ok`; upload does not start below MIN_COVERAGE.

    Raises:
        GateClosedError: the coverage is too low.
        StorageError: there is no verification log.
    """
    rows = read_table(log, tables.VERIFICATION, VerificationRow)
    counts = Counter(row.status for row in rows)
    if not settings.accept_coverage:
        check_gate(counts, settings.min_coverage)
    return counts[Status.OK]


class UploadRun:
    """One run's upload. Use as a context manager; leaving it settles, and ends the run's log.

    Args:
        settings: all of them.
        run_id: names the run in the log.
        ask: shows a person a question, True for a yes; None: nobody is there to ask.

    Raises:
        NotStartedError: settings, plan or company do not fit; nothing was sent.
        LeaseHeldError: another run works on this realm.
        RunLogDamagedError: the run log is not whole.
    """

    def __init__(
        self,
        settings: Settings,
        run_id: str | None = None,
        ask: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings
        self._ask = ask
        self.run_id = run_id or new_run_id()
        self.batches: list[Batch] = []
        self.result = UploadResult(self.run_id, {}, {}, (), "")
        self.company = ""
        """The company's name, as QBO has it; "" until it was asked."""
        self.notes: list[str] = []
        self._log = log_store(settings)
        self._plan_name = plan_copy(settings.realm_id, self.run_id)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="upload-session", daemon=True)
        self._session: UploadSession | None = None
        self._client: QboClient | None = None
        self._stop_reason: Exception | None = None
        self._to_send = 0
        self._known = self._doubts = self._settled = 0
        self._older: list[str] = []

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def __enter__(self) -> UploadRun:  # noqa: PYI034 - Self needs Python 3.11
        ok = check_verified(self.settings, self._log)
        claim_log_dir(self.settings, self._log)
        self._thread.start()
        try:
            opened = self._call(self._open(ok)).result()
            # Here, not in the session's thread: whoever is asked can end it with Ctrl-C.
            if self.batches or self._doubts:
                self.notes += approve_company(self.settings, self._log, self.company, self._ask)
            self._call(self._start(opened)).result()
        except BaseException:
            self._end_thread()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None:
            why = error if isinstance(error, QboAttachError) else StoppedError(f"stopped: {error}")
            self.stop(why if isinstance(error, Exception) else StoppedError("stopped by a person"))
        try:
            self._call(self._finish()).result()
        finally:
            self._end_thread()

    def _end_thread(self) -> None:
        ended_here(self.run_id)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- what callers do ----------------------------------------------------------------------

    def send(self, batch: Batch) -> int:
        """Send a batch; returns how many attachments it had, when each has an outcome, durably.

        A stopped run returns 0 at once: what is left has no outcome and goes in the next run.
        """
        stopped = self._opened.stopped
        if stopped is not None:
            return 0
        files = [group_file(row) for row in read_batch(self._log, self._plan_name, batch)]
        try:
            self._call(self._opened.submit(files)).result()
        except Exception as error:
            if error is not self._opened.stopped:
                raise
            return 0  # its reason is in the result; the other batches end the same way
        return len(files)

    def stop(self, reason: Exception) -> None:
        """Send nothing more; requests in flight get DRAIN_S to be answered."""
        self._stop_reason = self._stop_reason or reason  # for a session that is not open yet
        if self._session is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._session.stop, reason)

    def progress(self) -> Progress:
        """Where it stands; from any thread."""
        session = self._opened
        doubts = [session.log.history.doubts.get(each) for each in list(session.doubt_over)]
        return Progress(
            ended=len(session.ended),
            to_send=self._to_send,
            in_doubt=sum(len(doubt.open) for doubt in doubts if doubt is not None),
            requests_sent=sum(session.company.requests_sent.values()),
            wait_s=max(0.0, session.pacer.paused_until - session.clock.monotonic()),
            wait_reason=self._client.wait_reason if self._client is not None else "",
            expected=self._to_send + self._known + self._doubts,
        )

    @property
    def _opened(self) -> UploadSession:
        if self._session is None:
            raise RuntimeError("not entered")
        return self._session

    # -- in the session's thread --------------------------------------------------------------

    async def _open(self, ok: int) -> _Opened:
        """All that is read before something is written or sent."""
        settings = self.settings
        clock = SystemClock()
        runlog = RunLog(
            StoredSegments(self._log, settings.realm_id),
            clock,
            holder=this_holder(),
            run_id=self.run_id,
            new_nonce=lambda: uuid.uuid4().hex,
            lease_s=settings.lease_s,
            new_rows=DoneFile,
        )
        await runlog.open()
        self._doubts = len(runlog.history.doubt_of_key)
        plan, records = await asyncio.to_thread(self._keep_plan, runlog, clock)
        if plan.rows != ok:
            raise NotStartedError(
                f"the plan has {plan.rows} rows where the verification log has {ok} attachments "
                "that are ok: run qbo-attach plan again, then upload"
            )
        basis = read_basis(self._log, plan.sha256)
        if self.batches or self._known:
            asked = bool(self.batches) and settings.existing == "check"
            basis.check(runlog.segments, asked=asked)
        elif basis.segments != runlog.segments:
            if is_taken_back(self._planned(), runlog.history):
                basis.check(runlog.segments, asked=False)
            # Nothing of it is to be done, and a later plan has seen the files since.
            records = []
        pacer = make_pacer(settings, clock)
        client = self._client = make_client(settings, pacer, clock)
        if self.batches or runlog.history.doubts:
            try:
                self.company = await client.company_name()
                await self._look_again(client, runlog.history, basis)
            except QboError as error:
                raise NotStartedError(f"nothing was sent: {error}") from error
        return runlog, plan, records, client, pacer

    async def _start(self, opened: _Opened) -> None:
        runlog, plan, records, client, pacer = opened
        settings, clock = self.settings, SystemClock()
        per_request = settings.files_per_request
        self._session = UploadSession(
            clock=clock,
            log=runlog,
            company=client,
            sources=StoredSources(Store(settings.files_dir, settings.storage_options)),
            pacer=pacer,
            options=SessionOptions(
                run_id=self.run_id,
                files_per_request=per_request if isinstance(per_request, int) else None,
                marker=settings.qbo_marker,
                settle_s=settings.qbo_settle_s,
                drain_s=settings.drain_s,
                lease_s=settings.lease_s,
            ),
            new_id=lambda: uuid.uuid4().hex,
        )
        if self._stop_reason is not None:
            self._session.stop(self._stop_reason)
        before = runlog.history.files_dir
        if before and before != settings.files_dir:
            self.notes.append(f"FILES_DIR was {before} in the last run; compare the plan.")
        started = RunStarted(
            run_id=self.run_id,
            at=utc_text(clock.utcnow()),
            realm_id=settings.realm_id,
            environment=environment_name(settings),
            company=self.company,
            files_dir=settings.files_dir,
            store=store_name(settings.files_dir),
            version=__version__,
            plan_sha256=plan.sha256,
            plan_rows=plan.rows,
        )
        await self._session.start([started, *records])
        # With the lease in hand: no run that began after this one has a plan yet.
        self._older = older_plans(self._log, settings.realm_id, self.run_id)
        if self._known:
            await self._record_known(clock)

    async def _record_known(self, clock: SystemClock) -> None:
        """Planned outcomes that need no request: gone, altered, or in QBO already."""
        session, history = self._opened, self._opened.log.history
        taken = taken_attachables(self._planned(), history)
        for number, row in enumerate(self._planned(), 1):
            for record in known_outcomes(row, history, utc_text(clock.utcnow()), taken):
                session.record(record)
            if number % _ROWS_A_SEGMENT == 0:
                await session.writer.flush()

    async def _look_again(self, client: QboClient, history: History, basis: Basis) -> None:
        """EXISTING=check: what the plan knew of QBO must still be so."""
        if self.settings.existing == "check" and self.batches:
            await refuse_if_changed(client, history, basis.asked_at, self._planned)

    def _planned(self) -> Iterator[PlanRow]:
        """The rows of the run's own plan."""
        return read_table(self._log, self._plan_name, PlanRow)

    def _keep_plan(self, runlog: RunLog, clock: SystemClock) -> tuple[Artifact, list[Record]]:
        """Copy the plan beside the run log; returns what the log has to learn from it."""
        records: list[Record] = []
        settled = settled_plan(self._log, runlog.segments)
        kept = None if self._doubts else copy_plan(self._log, self._plan_name, *settled)
        if kept is not None:
            self._settled = kept.rows
            return kept, records

        def rows() -> Iterator[PlanRow]:
            for row in read_table(self._log, tables.PLAN, PlanRow):
                facts = new_facts(row, runlog.history)
                if facts is not None:
                    records.append(facts)
                gone = row.gone_attachable_id
                done = runlog.history.done.get(row.file_path) if gone else None
                if done is not None and done.attachable_id == gone:
                    records.append(deleted(done, utc_text(clock.utcnow())))
                self._known += row.action in KNOWN_ACTIONS
                self._to_send += row.action == Action.SEND
                yield row

        artifact, self.batches = keep_plan(
            self._log, self._plan_name, self.run_id, rows(), self.settings.batch_size
        )
        return artifact, records

    async def _finish(self) -> None:
        session = self._opened
        try:
            await session.finish(self._outcomes)
        except StorageError as error:
            # What was sent stays sent: the run has stopped, and its tables can still be derived.
            session.stop(StoppedError(f"{error}; run again to go on"))
        finally:
            counts: dict[str, int] = {}
            with suppress(StorageError):  # a run that took over may have removed the plan
                counts = self._outcomes()
            self.result = UploadResult(
                self.run_id,
                counts,
                dict(session.company.requests_sent),
                tuple(self.notes),
                str(session.stopped or ""),
            )
            await session.company.aclose()
            # Its folded log is large; what follows (the report) folds its own.
            self._session = None
        # Without the lease they may be another run's; what is left over, the next one removes.
        for name in self._older if session.writer.failure is None else ():
            with suppress(StorageError):
                self._log.remove(name)

    def _outcomes(self) -> dict[str, int]:
        """Each planned attachment's outcome in this run, counted."""
        if self._settled:
            return {Outcome.SKIPPED_ALREADY_UPLOADED.value: self._settled}
        ended, history = self._opened.ended, self._opened.log.history
        return dict(Counter(outcome_so_far(row, ended, history) for row in self._planned()))

"""One run of the product within a process: plan, run log, session; as stages.upload wires them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import NoneType

from qbo_attach.core.chain import Holder, RunStarted
from qbo_attach.core.done import DoneRows, MemoryRows
from qbo_attach.core.errors import NotStartedError, QboAttachError
from qbo_attach.core.file_types import built_in_file_types
from qbo_attach.core.model import Action, Attachable
from qbo_attach.core.planned import (
    KNOWN_ACTIONS,
    group_file,
    known_outcomes,
    new_facts,
    outcome_so_far,
    taken_attachables,
)
from qbo_attach.core.planning import Planner
from qbo_attach.core.tables import PlanRow
from qbo_attach.engine.holdings import learn_digests, read_holdings
from qbo_attach.engine.session import SessionOptions, UploadSession
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.multipart import MarkerField
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.stages.existing import Basis, refuse_if_changed
from qbo_attach.storage.done_file import DoneFile
from qbo_attach.storage.holder import Life
from qbo_attach.storage.runlog import RunLog, _read, utc_text
from tests.simulation.network import Network
from tests.simulation.scenario import REALM, Scenario
from tests.simulation.storage import LogFolder, SimSegments, SimSources, SourceFolder
from tests.simulation.world import Process, SimulationError, World

STORE = "memory"


MakeClient = Callable[[Process, Network, Pacer, MarkerField], QboClient]


@dataclass(slots=True)
class Trial:
    """Everything that outlives a process. `foreign`: ids of what others put into QBO."""

    world: World
    scenario: Scenario
    log: LogFolder
    sources: SourceFolder
    network: Network
    client: MakeClient
    foreign: frozenset[str] = frozenset()
    ids: int = 0

    def new_id(self) -> str:
        """32 letters and digits, as a uuid has."""
        self.ids += 1
        return f"{self.ids:06d}{'0' * 26}"


@dataclass(slots=True)
class Run:
    """One run and what came of it. `refused`: why it did not begin; `error`: what must not be."""

    trial: Trial
    process: Process
    plan: list[PlanRow] = field(default_factory=list)
    session: UploadSession | None = None
    refused: str = ""
    error: Exception | None = None
    outcomes: dict[str, str] = field(default_factory=dict)
    took_over: str = ""
    looks_begun: list[float] = field(default_factory=list)
    pause_before_open_s: float = 0.0

    async def work(self) -> None:
        """Run; never raises."""
        try:
            await self._work()
        except QboAttachError as error:
            self.refused = f"{type(error).__name__}: {error}"
            self.trial.world.say(f"process {self.process.holder.pid} is refused: {self.refused}")
        except Exception as error:  # noqa: BLE001 - told with the seed
            # A dead process is cleared away by closing it, which is no doing of its own.
            if not self.process.dead:
                self.error = error

    async def _work(self) -> None:
        trial, process, scenario = self.trial, self.process, self.trial.scenario
        rate = 0.0 if trial.network.calm else scenario.storage_rate
        segments = SimSegments(process, trial.log, rate)
        basis = await self._plan_stage(segments)
        await process.sleep(self.pause_before_open_s)
        runlog = RunLog(
            segments,
            process,
            holder=process.holder,
            run_id=f"run-{process.holder.pid}",
            new_nonce=trial.new_id,
            lease_s=scenario.lease_s,
            life=self._life,
            new_rows=self._rows,
        )
        history = await runlog.open()
        if runlog.predecessor_unproven_since is not None:
            self.took_over = "took over without proof of death"
        facts = [fact for row in self.plan if (fact := new_facts(row, history)) is not None]
        pacer = Pacer(process)
        client = trial.client(process, trial.network, pacer, scenario.marker)
        files = [group_file(row) for row in self.plan if row.action == Action.SEND]
        if any(row.action in (Action.SEND, *KNOWN_ACTIONS) for row in self.plan):
            basis.check(runlog.segments, asked=False)
        elif basis.segments != runlog.segments:
            facts = []
        if files or history.doubts:
            await client.company_name()
        if files and basis.asked_at:
            await refuse_if_changed(client, history, basis.asked_at, lambda: self.plan)
        self.session = session = UploadSession(
            clock=process,
            log=runlog,
            company=_Watched(self, client),
            sources=SimSources(process, trial.sources, rate),
            pacer=pacer,
            options=SessionOptions(
                f"run-{process.holder.pid}",
                scenario.per_request,
                marker=scenario.marker,
                settle_s=scenario.settle_s,
                lease_s=scenario.lease_s,
            ),
            new_id=trial.new_id,
        )
        trial.world.say(f"process {process.holder.pid} begins: {_shown(self.plan)}")
        await session.start([self._started(), *facts])
        taken = taken_attachables(self.plan, history)
        for row in self.plan:
            for record in known_outcomes(row, history, utc_text(process.utcnow()), taken):
                session.record(record)
        step = scenario.batch_size
        batches = [files[i : i + step] for i in range(0, len(files), step)]
        await asyncio.gather(*(session.submit(batch) for batch in batches), return_exceptions=True)
        await session.finish(dict)
        self._see_that_nothing_broke(session)
        self.outcomes = {
            row.file_path: outcome_so_far(row, session.ended, session.log.history)
            for row in self.plan
        }
        trial.world.say(
            f"process {process.holder.pid} ends: {self.outcomes}, stopped: {session.stopped}"
        )

    def _see_that_nothing_broke(self, session: UploadSession) -> None:
        """A run may stop for a reason that a person is told; an error of Python's is none."""
        if not isinstance(session.stopped, (QboAttachError, NoneType)):
            raise SimulationError(f"the run stopped by {session.stopped!r}")
        for task in session._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise SimulationError(f"a task of the engine ended by {task.exception()!r}")

    async def _plan_stage(self, segments: SimSegments) -> Basis:
        """As stages.plan: what the next upload would do, and what that was made from."""
        process, trial = self.process, self.trial
        listed = list(trial.sources.files.values())
        await process.sleep(0.01)
        chain = await _read(segments, self._rows())
        planner = Planner(
            realm_id=REALM,
            history=chain.history,
            file_types=built_in_file_types(),
            store=STORE,
        )
        rows = [one.row() for one in listed]
        survey = planner.survey(lambda: rows)
        digests: dict[str, str] = {}

        def read() -> None:
            for one, row in zip(listed, rows, strict=True):
                if one.path not in digests and planner.wants_digest(row, survey):
                    digests[one.path] = trial.sources.digest(one)

        read()
        asked_at = ""
        entities = {}
        if trial.scenario.check_existing:
            entities = planner.entities_to_send(rows, survey, digests)
        if entities:
            client = trial.client(process, trial.network, Pacer(process), trial.scenario.marker)
            reading = await read_holdings(client, process, REALM, planner.history, entities)
            planner, asked_at = replace(planner, existing=reading.existing), reading.asked_at
            if reading.too_many_vanished:
                raise NotStartedError(f"gone from QBO: {reading.vanished}")
            read()
            if planner.existing:
                unclear = planner.to_download(rows, survey, digests)
                await learn_digests(client, planner.existing, unclear)
        self.plan = list(planner.decide(rows, survey, digests))
        return Basis("", chain.segments, asked_at)

    def _rows(self) -> DoneRows:
        return DoneFile() if self.trial.scenario.rows_in_file else MemoryRows()

    def _life(self, holder: Holder) -> Life:
        if holder.host != self.process.holder.host:
            return Life.UNKNOWN
        world = self.trial.world
        if any(p.holder == holder and not p.over for p in world.processes):
            return Life.ALIVE
        self.took_over = "took over from a dead process"
        return Life.GONE

    def _started(self) -> RunStarted:
        at = utc_text(self.process.utcnow())
        run_id = f"run-{self.process.holder.pid}"
        return RunStarted(run_id, at, REALM, "other", "Company", "memory://files", STORE, "1")


class _Watched:
    """The client, noting when looks begin, so that the guarantee's bound can be judged."""

    def __init__(self, run: Run, client: QboClient) -> None:
        self._run = run
        self._client = client
        self.upload = client.upload
        self.aclose = client.aclose

    @property
    def requests_sent(self) -> dict[str, int]:
        return self._client.requests_sent

    @property
    def clock_offset_s(self) -> float:
        return self._client.clock_offset_s

    async def attachables_by_marker(self, markers: Sequence[str]) -> list[Attachable]:
        self._run.looks_begun.append(self._run.trial.world.now)
        return await self._client.attachables_by_marker(markers)

    async def attachables_of(self, entity_type: str, ids: Sequence[str]) -> list[Attachable]:
        self._run.looks_begun.append(self._run.trial.world.now)
        return await self._client.attachables_of(entity_type, ids)


def _shown(plan: Sequence[PlanRow]) -> str:
    return ", ".join(
        f"{row.file_path} {row.action} {row.sent_file_name} {row.idempotency_key[:6]}"
        for row in plan
    )

"""One run of the product as the stages wire it: plan with EXISTING=check, then upload."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from qbo_attach.core.chain import Record
from qbo_attach.core.done import MemoryRows
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.file_types import built_in_file_types
from qbo_attach.core.history import History
from qbo_attach.core.model import Action
from qbo_attach.core.planned import (
    KNOWN_ACTIONS,
    group_file,
    known_outcomes,
    new_facts,
    outcome_so_far,
    taken_attachables,
)
from qbo_attach.core.planning import Planner
from qbo_attach.core.tables import PlanRow, VerificationRow
from qbo_attach.engine.holdings import learn_digests
from qbo_attach.engine.session import SessionOptions, UploadSession
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QboError
from qbo_attach.qbo.multipart import MarkerField
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.qbo.realm import Realm
from qbo_attach.stages.existing import (
    Basis,
    _opened_again,
    _question,
    deleted,
    read_for_plan,
    refuse_if_changed,
)
from qbo_attach.storage.runlog import RunLog, _read, utc_text
from tests.simulation.network import Network, SimClient, SimExchange
from tests.simulation.run import STORE, Run
from tests.simulation.scenario import REALM
from tests.simulation.storage import SimSegments, SimSources
from tests.simulation.world import Process

TOKEN_VALID_S = 3_600.0


class Tokens:
    """Access tokens that the company issued, as all processes share them."""

    def __init__(self, company: FakeCompany) -> None:
        self._company = company
        self._held = self._issued()

    def _issued(self) -> str:
        return self._company.oauth.issue("access", REALM, TOKEN_VALID_S).value

    async def token(self) -> str:
        return self._held

    async def refreshed(self, stale: str) -> str:
        if stale == self._held:
            self._held = self._issued()
        return self._held


class ScriptedNetwork(Network):
    """Each request meets the fault that was put there for it; "" lets one pass."""

    coming: dict[bool, deque[str]]
    tokens: Tokens

    def fault_for(self, *, upload: bool) -> str:
        queue = self.coming[upload]
        kind = queue.popleft() if queue and not self.calm else ""
        if kind:
            self.met[kind] += 1
        return kind


class Client(SimClient):
    """The real client with tokens that end."""

    def __init__(
        self, process: Process, network: Network, pacer: Pacer, marker: MarkerField
    ) -> None:
        super().__init__(process, network, pacer, marker)
        assert isinstance(network, ScriptedNetwork)
        exchange, chance = SimExchange(process, network), process.world.chance
        self._realm = Realm(exchange, network.tokens, pacer, process, chance)


@dataclass(frozen=True, slots=True)
class Plan:
    """upload_plan.csv, and what it was made from."""

    rows: tuple[PlanRow, ...]
    basis: Basis

    @property
    def renamed(self) -> list[PlanRow]:
        """What goes under another name than its own."""
        return [row for row in self.rows if row.sent_file_name not in ("", row.file_name)]


@dataclass(slots=True)
class PipelineRun(Run):
    """A run: plans unless a plan stands, and uploads unless only a plan is wanted.

    `vanished`: the setting VANISHED. `standing`: a plan made before. `finished`: it came to its
    end, with a release of the lease. `storage_rate`: share of the store's calls that fail.
    """

    vanished: str = "stop"
    standing: Plan | None = None
    plan_only: bool = False
    finished: bool = False
    storage_rate: float = 0.0
    made: Plan | None = None
    listed: tuple[VerificationRow, ...] = field(default=())

    async def _work(self) -> None:
        trial, process = self.trial, self.process
        segments = SimSegments(process, trial.log, self.storage_rate)
        self.listed = tuple(one.row() for one in trial.sources.files.values())
        self.made = self.standing or await self._planned(segments)
        self.plan = list(self.made.rows)
        if self.plan_only:
            self.finished = True
            return
        await process.sleep(self.pause_before_open_s)
        runlog = RunLog(
            segments,
            process,
            holder=process.holder,
            run_id=f"run-{process.holder.pid}",
            new_nonce=trial.new_id,
            lease_s=trial.scenario.lease_s,
            life=self._life,
        )
        history = await runlog.open()
        records = self._to_learn(history)
        pacer = Pacer(process)
        client = self._client(pacer)
        files = [group_file(row) for row in self.plan if row.action == Action.SEND]
        if any(row.action in (Action.SEND, *KNOWN_ACTIONS) for row in self.plan):
            self.made.basis.check(runlog.segments, asked=bool(files))
        elif self.made.basis.segments != runlog.segments:
            records = []
        if files:
            with _asking():
                await refuse_if_changed(
                    client, history, self.made.basis.asked_at, lambda: self.plan
                )
        self.session = session = self._opened(runlog, client, pacer)
        trial.world.say(f"process {process.holder.pid} begins: {_shown(self.plan)}")
        started = replace(self._started(), plan_rows=len(self.plan))
        await session.start([started, *records])
        taken = taken_attachables(self.plan, history)
        for row in self.plan:
            for record in known_outcomes(row, history, utc_text(process.utcnow()), taken):
                session.record(record)
        step = trial.scenario.batch_size
        batches = [files[i : i + step] for i in range(0, len(files), step)]
        await asyncio.gather(*(session.submit(batch) for batch in batches), return_exceptions=True)
        await session.finish(dict)
        self.outcomes = {
            row.file_path: outcome_so_far(row, session.ended, session.log.history)
            for row in self.plan
        }
        self.finished = session.writer.failure is None
        trial.world.say(f"process {process.holder.pid} ends: {self.outcomes}, {session.stopped}")

    def _client(self, pacer: Pacer) -> QboClient:
        trial = self.trial
        return trial.client(self.process, trial.network, pacer, trial.scenario.marker)

    def _opened(self, runlog: RunLog, client: QboClient, pacer: Pacer) -> UploadSession:
        scenario = self.trial.scenario
        return UploadSession(
            clock=self.process,
            log=runlog,
            company=client,
            sources=SimSources(self.process, self.trial.sources, self.storage_rate),
            pacer=pacer,
            options=SessionOptions(
                f"run-{self.process.holder.pid}",
                scenario.per_request,
                marker=scenario.marker,
                settle_s=scenario.settle_s,
                lease_s=scenario.lease_s,
            ),
            new_id=self.trial.new_id,
        )

    def _to_learn(self, history: History) -> list[Record]:
        """As stages.upload: what the plan found out, and what is in QBO no more."""
        records: list[Record] = []
        for row in self.plan:
            facts = new_facts(row, history)
            if facts is not None:
                records.append(facts)
            done = history.done.get(row.file_path)
            if row.gone_attachable_id and done and done.attachable_id == row.gone_attachable_id:
                records.append(deleted(done, utc_text(self.process.utcnow())))
        return records

    async def _planned(self, segments: SimSegments) -> Plan:
        """As stages.plan: names, digests, what QBO holds, more digests, bytes, decisions."""
        sources = self.trial.sources
        listed = {one.path: one for one in sources.files.values()}
        rows = self.listed
        await self.process.sleep(0.01)
        chain = await _read(segments, MemoryRows())
        history = chain.history
        planner = Planner(REALM, history, built_in_file_types(), STORE)
        survey = planner.survey(lambda: rows)
        digests: dict[str, str] = {}

        def read() -> None:
            for row in rows:
                path = row.file_path
                if path not in digests and planner.wants_digest(row, survey):
                    digests[path] = sources.digest(listed[path])

        read()
        entities = planner.entities_to_send(rows, survey, digests)
        again = self.vanished == "send"
        if not entities and not (again and history.done):
            basis = Basis("", chain.segments)
            return Plan(tuple(planner.decide(rows, survey, digests)), basis)
        client = self._client(Pacer(self.process))
        with _asking():
            reading, gone = await read_for_plan(
                client, self.process, planner, entities, lambda: rows, again=again
            )
        if self.vanished == "stop" and reading.too_many_vanished:
            raise NotStartedError(_question(reading))
        planner = replace(planner, existing=reading.existing)
        if gone:
            planner = _opened_again(planner, gone, rows)
            survey = planner.survey(lambda: rows)
        read()
        if reading.existing:
            unclear = planner.to_download(rows, survey, digests)
            with _asking():
                await learn_digests(client, reading.existing, unclear)
        basis = Basis("", chain.segments, reading.asked_at)
        return Plan(tuple(planner.decide(rows, survey, digests)), basis)


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except QboError as error:
        raise NotStartedError(f"QBO could not be read: {error}") from error


def _shown(plan: list[PlanRow]) -> str:
    return ", ".join(
        f"{row.file_path} {row.action} {row.sent_file_name} ({row.reason})" for row in plan
    )

"""A trial: lives that end in deaths, restarts, one run without faults, and the comparison."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from qbo_attach.core.chain import Holder, Record
from qbo_attach.core.model import Outcome
from qbo_attach.engine.session import interrupted
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.ledger import Attachable
from qbo_attach.fake_qbo.vault import Content
from qbo_attach.storage import runlog
from tests.simulation.coverage import DEATHS, of_records
from tests.simulation.judge import Verdict, judge, records_of
from tests.simulation.network import Network, SimClient
from tests.simulation.run import MakeClient, Run, Trial
from tests.simulation.scenario import REALM, Scenario, draw, new_source, version
from tests.simulation.storage import LogFolder, SourceFolder
from tests.simulation.world import Process, SimulationError, World

_RUN_AGAIN = frozenset(
    {
        Outcome.NOT_SENT,
        Outcome.IN_DOUBT,
        Outcome.SOURCE_CHANGED,
        Outcome.FILE_MISSING,
        Outcome.ERROR,
    }
)
"""After these a further run has something to do."""
_MUTATIONS = ("new", "changed", "touched", "gone", "moved", "renamed")
LIVES = 4
LAST_RUNS = 6


@dataclass(slots=True)
class Result:
    """A trial's verdict and what was seen on the way, counted. `options`: of its command."""

    seed: int
    verdict: Verdict
    seen: Counter[str] = field(default_factory=Counter)
    options: str = ""

    @property
    def replay(self) -> str:
        """The command that runs the trial again and shows what happens in it."""
        return f"python -m tests.simulation --seeds {self.seed}-{self.seed} --trace{self.options}"


@dataclass(frozen=True, slots=True)
class Setting:
    """What stands between the product and the world. `options`: of the command that asks for it."""

    network: Callable[[World, FakeCompany, Scenario], Network] = Network
    client: MakeClient = SimClient
    log: Callable[[int], LogFolder] = lambda _seed: LogFolder()
    options: str = ""


_PLAIN = Setting()


def run_trial(
    seed: int, trace: Callable[[str], None] | None = None, setting: Setting = _PLAIN
) -> Result:
    """One trial; the seed decides everything."""
    world = World(seed, trace)
    scenario = draw(world.random)
    company = FakeCompany(
        clock=world.unix, seed=seed, realms=(REALM,), behaviour=scenario.behaviour
    )
    # There is no journal; making its records would be a tenth of a trial's time.
    company.state.save = company.state.ledger.put  # type: ignore[method-assign]
    trial = Trial(
        world,
        scenario,
        setting.log(seed),
        SourceFolder(scenario.files),
        setting.network(world, company, scenario),
        setting.client,
        foreign=_put_foreign(company, scenario),
    )
    world.say(str(scenario))
    course = _Course(trial)
    verdict = Verdict()
    records: list[Record] = []
    records_a_segment = runlog.SNAPSHOT_RECORDS
    runlog.SNAPSHOT_RECORDS = scenario.snapshot_records
    try:
        last = course.run()
        records = records_of(trial)
        verdict = judge(trial, course.runs, last, records)
    except SimulationError as error:
        verdict.wrong.append(str(error))
    finally:
        runlog.SNAPSHOT_RECORDS = records_a_segment
    world.bury(everyone=True)
    for run in course.runs:
        if run.error is not None:
            verdict.wrong.append(f"process {run.process.holder.pid}: {run.error!r}")
    seen = course.seen(verdict, records)
    trial.log.clear()
    return Result(seed, verdict, seen, setting.options)


class _Course:
    """The lives of one trial, one after another, and now and then two at once."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.runs: list[Run] = []
        self.happened: Counter[str] = Counter()
        self._pids = 100
        self._mutations = 0

    def run(self) -> Run:
        """All lives; returns the last run."""
        world, scenario = self.trial.world, self.trial.scenario
        for life in range(LIVES):
            run = self._life()
            if not run.process.dead and world.chance() < 0.3 + 0.3 * life:
                break
            self._between()
        self.trial.network.calm = True
        state = self.trial.network.company.state
        last = self.runs[-1]
        for _ in range(LAST_RUNS):
            world.let_pass(10.0)
            last = self._launch(calm=True)
            world.run(world.all_over)
            if state.pending_count():
                world.let_pass(10 * scenario.settle_s + 400.0)
                state.settle()
                continue
            if not last.refused and not self._unfinished(last):
                break
        return last

    def _unfinished(self, run: Run) -> bool:
        """Whether a further run has something to do, or to say of a file that changed meanwhile."""
        outcomes = set(run.outcomes.values())
        adopted = Outcome.ADOPTED in outcomes and self._mutations > 0
        return adopted or bool(_RUN_AGAIN & outcomes)

    def _life(self) -> Run:
        world, scenario = self.trial.world, self.trial.scenario
        run = self._launch()
        if world.chance() < scenario.rival_rate:
            world.later(30.0 * world.chance(), self._launch_rival)
        if world.chance() < scenario.mutation_rate:
            world.later(3.0 * world.chance() ** 2, self._mutate)
        if world.chance() < 0.1:
            world.later(5.0 * world.chance() ** 2, lambda: self._interrupt(run))
        if world.chance() < 0.1:
            world.later(5.0 * world.chance() ** 2, lambda: self._suspend(run))
        world.run(world.all_over)
        return run

    def _launch_rival(self) -> None:
        if not self.trial.network.calm:
            self._launch()

    def _launch(self, *, calm: bool = False) -> Run:
        world, scenario = self.trial.world, self.trial.scenario
        self._pids += 1
        host = "a" if scenario.one_host else world.random.choice("ab")
        skew_s = world.random.choice((0.0, 30.0, -30.0)) if scenario.skewed else 0.0
        holder = Holder(host, self._pids, "boot", "ns", str(self._pids))
        process = Process(world, holder, skew_s)  # type: ignore[abstract]
        run = Run(self.trial, process)
        if not calm:
            self._fate(run)
        self.runs.append(run)
        world.start(process, run.work())
        return run

    def _fate(self, run: Run) -> None:
        world = self.trial.world
        if world.chance() < 0.2:
            run.pause_before_open_s = 60.0 * world.chance() ** 2
        if world.chance() >= self.trial.scenario.death_rate:
            return
        phase = world.random.choice(DEATHS)
        if phase == "any step":
            run.process.steps_left = int(2 ** (5 + 6 * world.chance()))
        else:
            run.process.die_at = (phase, 1 + int(world.random.expovariate(0.5)))

    def _between(self) -> None:
        """What happens to the files while no run is there."""
        world = self.trial.world
        while world.chance() < self.trial.scenario.mutation_rate:
            self._mutate()
        world.bury()
        world.let_pass(20.0 * world.chance() ** 4)
        if self.trial.scenario.loses_log and world.chance() < 0.5:
            # Later than anything that was under way.
            world.let_pass(1_000.0)
            self.trial.network.company.state.settle()
            self.trial.log.clear()
            self.happened["lost its run log"] += 1
            world.say("the run log is lost")

    def _mutate(self) -> None:
        """A file is changed, touched, removed, moved, renamed, or a new one is there."""
        trial, world = self.trial, self.trial.world
        if trial.network.calm:
            return
        self._mutations += 1
        number = 100 + self._mutations
        folder, etags = trial.sources, trial.scenario.etags
        kind = world.random.choice(_MUTATIONS)
        if kind == "new" or not folder.files:
            if len(folder.files) >= 12:
                return
            like = world.random.choice(trial.scenario.files)
            one = new_source(world.random, number, like.entity, etags=etags)
            if world.chance() < 0.5:
                one = replace(one, name=like.name, path=one.path.replace(one.name, like.name))
            folder.put(one)
            return
        one = folder.files[world.random.choice(sorted(folder.files))]
        world.say(f"{one.path} is {kind}")
        if kind == "gone":
            folder.drop(one.path)
        elif kind == "touched":
            folder.put(version(one, number, etags=etags))
        elif kind in ("moved", "renamed"):
            folder.drop(one.path)
            name = one.name if kind == "moved" else f"r{number} {one.name}"
            path = "/".join([one.path.split("/")[0], f"m{number}", name])
            folder.put(replace(one, path=path, name=name))
            folder.renamed[path] = (one.path, world.now)
        else:
            again = replace(one, content=b"changed%d" % number)
            folder.put(version(again, number, etags=etags))

    def _interrupt(self, run: Run) -> None:
        if run.session is not None and not run.process.over:
            self.trial.world.say("SIGTERM")
            self.happened["stopped by a signal"] += 1
            run.session.stop(interrupted("SIGTERM"))

    def _suspend(self, run: Run) -> None:
        """The machine sleeps, or the process is stopped for a while."""
        world = self.trial.world
        if run.process.over:
            return
        seconds = world.random.choice((5.0, 70.0, 200.0))
        world.say(f"process {run.process.holder.pid} is suspended for {seconds}")
        self.happened["suspended"] += 1
        run.process.paused_until = world.now + seconds
        world.later(seconds, lambda: None)
        if world.chance() < 0.5:
            world.later(seconds * world.chance(), self._launch_rival)

    def seen(self, verdict: Verdict, records: list[Record]) -> Counter[str]:
        """What the trial went through."""
        seen = of_records(records)
        trial = self.trial
        for run in self.runs:
            if run.process.died_in:
                seen[f"died: {run.process.died_in}"] += 1
            if run.refused.startswith("LeaseHeldError"):
                seen["refused by the lease"] += 1
            if run.took_over:
                seen[run.took_over] += 1
        seen.update(f"row: {outcome}" for outcome in self.runs[-1].outcomes.values())
        seen.update({f"fault: {kind}": count for kind, count in trial.network.met.items()})
        seen.update(self.happened)
        seen["outside the guarantee"] += bool(verdict.outside)
        seen["doubled outside the guarantee"] += bool(verdict.outside and verdict.doubled)
        seen["stale outside the guarantee"] += bool(verdict.outside and verdict.stale)
        seen["renamed while in doubt, there twice"] += len(verdict.renamed)
        seen["believed by name and size"] += len(verdict.believed)
        seen["files"] += len(trial.sources.files)
        seen["runs"] += len(self.runs)
        seen["segments"] += len(trial.log.names())
        return seen


def _put_foreign(company: FakeCompany, scenario: Scenario) -> frozenset[str]:
    """What somebody else has put there before: files of this tree, and others of their names."""
    ids: list[str] = []
    for source, content in scenario.foreign:
        state = company.state
        refs = [
            {"EntityRef": {"type": kind, "value": value}}
            for kind, value in zip(*(cell.split(";") for cell in source.entity), strict=True)
        ]
        digest = hashlib.sha256(content).hexdigest()
        at = state.now() - 86_400.0
        fields = {"FileName": source.name, "ContentType": "application/pdf"}
        held = Content(len(content), digest, content)
        state.vault.keep(held)
        one = Attachable(REALM, state.ledger.new_id(), fields, refs, held.size, digest, "k", at, at)
        state.ledger.put(one)
        ids.append(one.id)
    return frozenset(ids)

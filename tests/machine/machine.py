"""A hypothesis state machine over whole runs: people, faults and deaths in any order.

Outside the guarantee, and excluded by construction:

- QBO shows an upload later than the settle time (`settle_s` is 120 s, every late commit is
  earlier), so that replay may be on or off.
- Somebody else works on the entities while a run does, or less than some seconds apart: people act
  between runs, and time passes with each of their acts.
- LOG_DIR is lost while an upload is under way: it is lost when the company is quiet.
- Nothing but name and size tells two attachables of others apart: where contents have equal sizes,
  there are no strangers and LOG_DIR is not lost (`sizes_tell`).
- A stranger's copy of a file in doubt, where intents carry no marker.
- A stranger's copy of a file that a plan made before sends under a digest name: the look before
  sending knows what came since by the names that are about to be sent.
- A file that is renamed while its upload is in doubt: it may be sent under its new name as well.
- A file that changes and keeps its size and time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from qbo_attach.core.chain import Holder
from qbo_attach.core.model import Action
from qbo_attach.engine.session import interrupted
from qbo_attach.fake_qbo.faults import KINDS
from tests.machine.invariants import (
    RUN_AGAIN,
    check_always,
    check_at_rest,
    check_conservation,
    check_outcomes,
    read_log,
)
from tests.machine.people import BY_SIZE, INDEX, SEEN, People, has_files
from tests.machine.runs import PipelineRun
from tests.simulation.coverage import DEATHS
from tests.simulation.faults import WIRE
from tests.simulation.world import Process

LAST_RUNS = 5
_HOUR_S = 3_600.0

UPLOAD_KINDS = (
    *WIRE,
    *(kind for kind in KINDS if kind not in {"invalid_grant", "latency", "slow_body", "quota"}),
    "stop",
)
QUERY_KINDS = (
    "no_connection",
    "answer_lost",
    "answer_never",
    "429",
    "500_before",
    "garbage_200",
    "truncated_200",
    "expired_token",
    "revoked_token",
    "403",
)

VANISHED = st.sampled_from(("stop", "keep", "send"))


class Machine(People):
    """Trouble and runs."""

    # -- trouble to come ------------------------------------------------------------------------

    @precondition(lambda self: not self.network.coming[True])
    @rule(kinds=st.lists(st.sampled_from(("", *UPLOAD_KINDS)), min_size=1, max_size=4))
    def faults_of_uploads(self, kinds: list[str]) -> None:
        self.network.coming[True].extend(kinds)

    @precondition(lambda self: not self.network.coming[False])
    @rule(kinds=st.lists(st.sampled_from(("", "", *QUERY_KINDS)), min_size=1, max_size=4))
    def faults_of_queries(self, kinds: list[str]) -> None:
        self.network.coming[False].extend(kinds)

    @precondition(lambda self: bool(self.trial.log.names()))
    @rule(revoke=st.booleans())
    def tokens_expire(self, revoke: bool) -> None:
        self.company.oauth.end("access", revoke=revoke)
        self._goes("tokens expire", _HOUR_S if not revoke else 10.0)

    # -- runs -----------------------------------------------------------------------------------

    @has_files
    @rule(vanished=VANISHED)
    def plan_alone(self, vanished: str) -> None:
        """`qbo-attach plan`; a later upload goes by it."""
        run = self._launch(vanished=vanished, plan_only=True)
        self._until_over()
        self.plan = run.made or self.plan
        self._goes("plan alone")

    @precondition(lambda self: self.plan is not None)
    @rule()
    def tables_cleared(self) -> None:
        """Prefect's cache and the stages' tables are gone; the run log stays."""
        self.plan = None
        self._goes("tables cleared")

    @has_files
    @rule(
        vanished=VANISHED,
        by_plan=st.booleans(),
        phase=st.sampled_from(("", *DEATHS)),
        count=st.integers(1, 8),
        steps=st.integers(30, 2_000),
        storage_rate=st.sampled_from((0.0, 0.0, 0.1)),
        interrupted_after=st.none() | st.floats(0.0, 20.0),
        meanwhile=st.none()
        | st.tuples(st.floats(0.0, 2.0), st.sampled_from(("changed", "touched", "removed")), INDEX),
    )
    def run_in_trouble(
        self,
        vanished: str,
        by_plan: bool,
        phase: str,
        count: int,
        steps: int,
        storage_rate: float,
        interrupted_after: float | None,
        meanwhile: tuple[float, str, int] | None = None,
    ) -> None:
        run = self._launch(
            vanished=vanished,
            standing=self.plan if by_plan else None,
            storage_rate=storage_rate,
        )
        self._doom(run, phase, count, steps)
        if interrupted_after is not None:
            self.world.later(interrupted_after, lambda: _interrupt(run))
        if meanwhile is not None:
            seconds, kind, index = meanwhile
            self.world.later(seconds, lambda: self._happens(run, kind, index))
        self._after([run])

    def _happens(self, run: PipelineRun, kind: str, index: int) -> None:
        """A file changes while a run is at work."""
        if run.process.over or not self.sources.files:
            return
        one = self._one(index)
        self.world.say(f"{one.path} is {kind}")
        SEEN[f"{kind} while a run works"] += 1
        if kind == "removed":
            self._leave(one)
            self.memory.left_in_doubt.add(one.path)
        else:
            other = self._content((index + 1) % len(BY_SIZE))
            self._put(one if kind == "touched" else replace(one, content=other))

    @has_files
    @rule(
        vanished=VANISHED,
        apart_s=st.floats(0.0, 5.0),
        pause_s=st.floats(0.0, 30.0),
        one_host=st.booleans(),
        phase=st.sampled_from(("", *DEATHS)),
        count=st.integers(1, 8),
        steps=st.integers(30, 2_000),
    )
    def two_runs_at_once(
        self,
        vanished: str,
        apart_s: float,
        pause_s: float,
        one_host: bool,
        phase: str,
        count: int,
        steps: int,
    ) -> None:
        first = self._launch(vanished=vanished)
        self._doom(first, phase, count, steps)
        runs = [first]

        def second() -> None:
            host = "host" if one_host else "other host"
            runs.append(self._launch(vanished=vanished, host=host, pause_before_open_s=pause_s))

        self.world.later(apart_s, second)
        self._until_over(at_least=lambda: len(runs) == 2)
        self._after(runs)
        SEEN["two runs at once"] += 1

    @has_files
    @rule(vanished=VANISHED, by_plan=st.booleans())
    def runs_until_at_rest(self, vanished: str, by_plan: bool) -> None:
        self.network.calm = True
        self.world.let_pass(130.0)
        run = self._launch(vanished=vanished, standing=self.plan if by_plan else None)
        for _ in range(LAST_RUNS):
            self._after([run])
            if run.refused:
                self._check_refusal(run)
                break
            if run.standing is None and not _has_more_to_say(run):
                check_at_rest(self.trial, self.memory, run, self.history)
                SEEN["at rest"] += 1
                break
            self._goes("run again")
            run = self._launch(vanished=vanished)
        else:
            raise AssertionError(f"it does not come to rest: {run.outcomes}")
        self.network.calm = False
        for queue in self.network.coming.values():
            queue.clear()

    def _check_refusal(self, run: PipelineRun) -> None:
        """Without faults a run is refused only for a person's doings."""
        if "does not show" in run.refused:
            assert run.vanished == "stop"
            done = {done.attachable_id for done in self.history.done_by_key.values()}
            assert done & self.memory.deleted_ids, run.refused
        else:
            assert run.standing is not None, run.refused
            assert "since the plan was made" in run.refused, run.refused

    def _launch(self, *, host: str = "host", **more: Any) -> PipelineRun:
        self.pids += 1
        process = Process(self.world, Holder(host, self.pids))  # type: ignore[abstract]
        run = PipelineRun(self.trial, process, **more)
        self.world._steps = 0
        self.world.start(process, run.work())
        return run

    def _doom(self, run: PipelineRun, phase: str, count: int, steps: int) -> None:
        if phase == "any step":
            run.process.steps_left = steps
        elif phase:
            run.process.die_at = (phase, count)

    def _until_over(self, at_least: Any = lambda: True) -> None:
        world = self.world
        world.run(lambda: at_least() and all(p.over for p in world.processes))

    def _after(self, runs: list[PipelineRun]) -> None:
        """Wait for their ends, then see that all holds that always must."""
        self._until_over()
        self.world.bury()
        for run in runs:
            if run.error is not None:
                raise run.error
            SEEN["runs"] += 1
            if run.refused:
                SEEN[f"refused: {run.refused.split(':')[0]}"] += 1
            SEEN[f"died: {run.process.died_in}"] += run.process.dead
            SEEN.update(f"outcome: {outcome}" for outcome in run.outcomes.values())
        SEEN["met a fault"] += self.network.met.total()
        self.network.met.clear()
        told = read_log(self.trial)
        self.history = told.whole
        check_always(self.trial, self.memory, told)
        for run in runs:
            if run.finished and not run.plan_only and run is _last(runs):
                check_conservation(run, told.events)
                check_outcomes(self.trial, self.memory, run, told.whole)
        self.world.let_pass(10.0)


def _last(runs: list[PipelineRun]) -> PipelineRun | None:
    """The one that wrote last, where they did not work at one time."""
    begun = [run for run in runs if run.session is not None]
    return begun[0] if len(begun) == 1 else None


def _interrupt(run: PipelineRun) -> None:
    if run.session is not None and not run.process.over:
        run.session.stop(interrupted("SIGTERM"))


def _has_more_to_say(run: PipelineRun) -> bool:
    """Whether a further run says more: of what was settled as intended before, and of the moved.

    One that sends again what is gone finds it by its path.
    """
    moved = run.vanished == "send" and any("renamed from" in row.reason for row in run.plan)
    looked = any(row.action == Action.LOOK for row in run.plan)
    return moved or looked or bool(RUN_AGAIN.intersection(run.outcomes.values()))

"""One trial: a new log, a new fake company, runs that are killed, runs until done, the count."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qbo_attach.core.model import DONE_OUTCOMES, Outcome
from qbo_attach.core.tables import PLAN, RUNLOG, VERIFICATION, PlanRow, RunLogRow, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.options import Behaviour
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.sample import Sample, compare, read_expected
from qbo_attach.sample.expected import ExpectedRow
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import read_chain, read_segments

REALM = "1234567890"
ROOT = Path(__file__).parents[2]
LOST = ("cut_after", "cut_before")
"""What a census's first uploads meet, so that the points of settling are passed too."""
MOST_RUNS = 8
"""A log is done after so many runs that nobody kills, or the trial has failed."""
_LONGEST_S = 90.0

_ANSWERED = ("wire.upload:after", "client.upload:after", "answers.answered", "session.record")


@dataclass(frozen=True)
class Kill:
    """Where a run is killed.

    `point`: a name of points.py, at the `nth` pass; or `delay`, after `after` seconds; or
    `requests`, `after` seconds from the moment at which the company has had `nth` uploads.
    """

    point: str
    nth: int = 1
    after: float = 0.0

    def __str__(self) -> str:
        return f"{self.point}@{self.nth}+{self.after:.4f}"


@dataclass(frozen=True)
class Trial:
    """What is done, as one line of text, so that it can be done again.

    `plain`: the killed runs are `qbo-attach run` started by a new Python, else forked.
    """

    seed: int
    plain: bool
    group: int
    marker: str
    fail_rate: float
    latency_ms: int
    replay: str
    existing: str
    kills: tuple[Kill, ...]

    def __str__(self) -> str:
        kills = ",".join(map(str, self.kills))
        kind = "plain" if self.plain else "forked"
        return (
            f"{self.seed}/{kind}/{self.group}/{self.marker}/{self.fail_rate}/{self.latency_ms}/"
            f"{self.replay}/{self.existing}/{kills}"
        )

    @staticmethod
    def read(text: str) -> Trial:
        """The trial of a line that `str` gave."""
        seed, kind, group, marker, rate, latency, replay, existing, kills = text.split("/")
        return Trial(
            int(seed), kind == "plain", int(group), marker, float(rate), int(latency), replay,
            existing, tuple(_kill(one) for one in kills.split(",") if one),
        )  # fmt: skip


def _kill(text: str) -> Kill:
    found = re.fullmatch(r"(.+)@(\d+)\+([\d.]+)", text)
    if found is None:
        raise ValueError(f"{text!r} is no kill, such as disk.link:after@3+0.0")
    return Kill(found[1], int(found[2]), float(found[3]))


@dataclass
class Verdict:
    """What a trial came to: where its kills struck, and every way in which the result is wrong."""

    trial: Trial
    struck: list[tuple[str, str]] = field(default_factory=list)
    """(point, what was on disk and at QBO then)"""
    wrong: list[str] = field(default_factory=list)
    runs: int = 0


class WarmProcess:
    """A `tests.kills.warm` to give orders to."""

    def __init__(self, folder: Path) -> None:
        self._errors = (folder / "warm.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            text=True,
        )

    def run(self, order: Mapping[str, object]) -> tuple[int, float]:
        """Exit status (minus a signal's number) and seconds of a forked run."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("it has no pipes")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the warm process ended; see {self._errors.name}")
        answer = json.loads(line)
        return answer["status"], answer["seconds"]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()


class Runner:
    """Carries trials out, one at a time.

    Args:
        sample: the tree to move; every file of it is to be sent.
        folder: an empty local folder, for logs (unless they lie on S3) and working folders.
        bucket: where on S3 data and logs go, "" for the disk.
        expected_url: what is expected of each file, where it is not beside the sample.
        environment: what the runs need to reach the bucket.
        options: the same as fsspec options.
    """

    def __init__(
        self,
        sample: Sample,
        folder: Path,
        *,
        bucket: str = "",
        expected_url: str = "",
        environment: Mapping[str, str] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self._sample = sample
        self.expected = read_expected(expected_url or sample.expected_url)
        self._folder = folder
        self._bucket = bucket
        self._environment = dict(environment or {})
        self._options = options
        self.warm = WarmProcess(folder)
        self._count = 0
        self._logs: list[Store] = []
        """Kept to the end: s3fs closes what is collected, in whatever loop that happens."""

    def close(self) -> None:
        """End the warm process."""
        self.warm.close()

    def census(self, trial: Trial) -> tuple[dict[str, int], float]:
        """How often each named point is passed in a run that nobody kills, and its seconds."""
        with self.case(trial) as case:
            lost = [Rule(kind, endpoint="upload", numbers=(n,)) for n, kind in enumerate(LOST, 1)]
            case.fake.company.plan.add(lost)
            status, seconds = case.forked(self.warm)
            if status not in (0, 1, 3):
                raise RuntimeError(f"the census ended with {status}: {case.said()}")
            passes: dict[str, int] = json.loads((case.folder / "census.json").read_text())
            return passes, seconds

    def carry_out(self, trial: Trial) -> Verdict:
        """Kill, restart until done, run once more, compare."""
        verdict = Verdict(trial)
        with self.case(trial) as case:
            for kill in trial.kills:
                status = case.killed_run(self.warm, kill)
                verdict.runs += 1
                if status == -9:
                    verdict.struck.append((kill.point, case.state(kill.point)))
                elif status not in (0, 1, 3):
                    verdict.wrong.append(f"a run ended with {status}: {case.said()}")
            if not verdict.wrong:
                verdict.wrong += self._finished(case, verdict)
        return verdict

    def _finished(self, case: Case, verdict: Verdict) -> list[str]:
        for _ in range(MOST_RUNS):
            status, _ = case.forked(self.warm)
            verdict.runs += 1
            if status in (0, 1):
                break
            if status != 3:
                return [f"a run that nobody killed ended with {status}: {case.said()}"]
        else:
            return [f"not done after {MOST_RUNS} runs that nobody killed: {case.said()}"]
        status, _ = case.forked(self.warm)
        verdict.runs += 1
        if status not in (0, 1):
            return [f"the closing run ended with {status}: {case.said()}"]
        return case.differences(self.expected)

    @contextmanager
    def case(self, trial: Trial) -> Iterator[Case]:
        """A new log and a new company, for a trial."""
        self._count += 1
        folder = self._folder / f"trial-{self._count}"
        folder.mkdir()
        place = f"{self._bucket}/trial-{self._count}" if self._bucket else str(folder)
        behaviour = Behaviour(replay=trial.replay, items_order="shuffled")
        options = FakeOptions(
            seed=trial.seed,
            fail_rate=trial.fail_rate,
            latency_ms=trial.latency_ms,
            behaviour=behaviour,
        )
        with running(options) as fake:
            env = {
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                **self._environment,
                **self._sample.environment(base_url=fake.base_url, realm_id=REALM),
                "DATA_DIR": f"{place}/data",
                "LOG_DIR": f"{place}/log",
                "MAPPING_SOURCE": self._sample.mapping_url,
                "QBO_REQUESTS_PER_MIN": "60000",
                "QBO_SETTLE_S": "0.2",
                "QBO_MARKER": trial.marker,
                "FILES_PER_REQUEST": str(trial.group),
                "EXISTING": trial.existing,
                "PYTHONPATH": str(ROOT),
            }
            self._logs.append(Store(env["LOG_DIR"], self._options))
            yield Case(trial, folder, env, fake, self._logs[-1])


@dataclass
class Case:
    """One log and one company."""

    trial: Trial
    folder: Path
    env: dict[str, str]
    fake: RunningFake
    log: Store

    def forked(
        self,
        warm: WarmProcess,
        point: str = "",
        nth: int = 0,
        *,
        delay_s: float | None = None,
        command: str = "run",
    ) -> tuple[int, float]:
        """A command in a forked process: exit status (minus a signal's number) and seconds."""
        order = {"env": self.env, "folder": str(self.folder), "point": point, "nth": nth}
        return warm.run({**order, "delay_s": delay_s, "command": command})

    def killed_run(self, warm: WarmProcess, kill: Kill) -> int:
        """A run that is to be killed; its exit status, -9 if it was."""
        if self.trial.plain:
            return self._plain(kill)
        if kill.point == "delay":
            return self.forked(warm, delay_s=kill.after)[0]
        return self.forked(warm, kill.point, kill.nth)[0]

    def _plain(self, kill: Kill) -> int:
        """The command line as a person starts it, killed from outside."""
        before = self._uploads()
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "qbo_attach.cli", "run", "--json"],
                env=self.env,
                cwd=self.folder,
                stdout=out,
                stderr=err,
            )
            until = time.monotonic() + _LONGEST_S
            if kill.point == "requests":
                while self._uploads() < before + kill.nth and process.poll() is None:
                    if time.monotonic() > until:
                        break
                    time.sleep(0.002)
            try:
                return process.wait(kill.after)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()

    def _uploads(self) -> int:
        return self.fake.company.state.requests["upload"]

    def said(self) -> str:
        """The last words of the last run."""
        return (self.folder / "err").read_text("utf-8", "replace")[-1500:]

    def state(self, point: str) -> str:
        """What the dead process left: the chain's state against the company's ledger."""
        folder = f"runlog/{REALM}"
        if not any(name.endswith(".jsonl") for name in self.log.list_names(folder)):
            return "before the first segment"
        chain = read_chain(self.log, REALM)
        doubts = chain.history.doubts
        if doubts:
            there = {one["requestid"] for one in self.fake.ledger()["attachables"]}
            seen = sum(request_id in there for request_id in doubts)
            if seen and point.startswith(_ANSWERED):
                return "intent, effect and answer, no outcome"
            return f"intent, {'effect' if seen else 'no effect'}, no outcome"
        if chain.last is not None and not chain.last.lease_until:
            return "run log ended, tables being derived"
        if not chain.history.done:
            return "before the first intent"
        return "all intents have outcomes, run log not ended"

    def differences(self, expected: list[ExpectedRow]) -> list[str]:
        """Every way in which ledger, chain, plan and tables are not what they must be."""
        summary = json.loads((self.folder / "out").read_text("utf-8").splitlines()[-1])
        wrong = []
        if summary["requests_sent"]:
            wrong.append(f"the closing run sent {summary['requests_sent']} requests")
        rows = list(read_table(self.log, RUNLOG, RunLogRow))
        ledger: list[Mapping[str, Any]] = self.fake.ledger()["attachables"]
        verification = list(read_table(self.log, VERIFICATION, VerificationRow))
        wrong += compare(expected, verification, rows, ledger, second_run=True)
        unknown = {row.outcome for row in rows} - {outcome.value for outcome in Outcome}
        wrong += [f"outcome {one!r} is not in the closed list" for one in sorted(unknown)]
        wrong += self._sums(rows, ledger, summary["counts"]["outcome"])
        return wrong

    def _sums(
        self,
        rows: list[RunLogRow],
        ledger: list[Mapping[str, Any]],
        outcomes: Mapping[str, int],
    ) -> list[str]:
        planned = sum(1 for _ in read_table(self.log, PLAN, PlanRow))
        wrong = []
        if sum(outcomes.values()) != planned:
            wrong.append(f"{sum(outcomes.values())} outcomes for {planned} planned attachments")
        ids = Counter(row.qbo_attachable_id for row in rows if row.outcome in DONE_OUTCOMES)
        held = Counter(str(one["Id"]) for one in ledger)
        if ids != held:
            odd = sorted((ids - held) + (held - ids))
            wrong.append(f"rows that are done and the ledger name other attachables: {odd[:5]}")
        in_chain: Counter[str] = Counter()
        for _, records in read_segments(self.log, REALM):
            in_chain.update(
                getattr(record, "attachable_id", "")
                for record in records
                if getattr(record, "outcome", "") in DONE_OUTCOMES
            )
        if in_chain != held:
            wrong.append("the chain and the ledger name other attachables")
        return wrong

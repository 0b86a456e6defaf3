"""The proof: trials on two workers until enough kills have struck, and what they covered."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qbo_attach.sample import Sample, make_sample
from tests.conftest import S3Server, _ports_with_grpc, _wait_for_s3, _weed_command
from tests.kills.draw import drawn
from tests.kills.trial import Runner, Trial, Verdict

FILES = 24
_GROUPS = (1, 3, 10)
_ENOUGH_FAILED = 5
EXISTING = ("off", "check")


@dataclass
class Proof:
    """What all trials came to."""

    on: str
    seed: int
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0
    points: frozenset[str] = frozenset()
    """All named points that a run passes."""

    @property
    def failed(self) -> list[Verdict]:
        """Trials whose result is wrong."""
        return [verdict for verdict in self.verdicts if verdict.wrong]

    @property
    def struck(self) -> list[tuple[str, str]]:
        """Every kill that struck: where, and what was on disk and at QBO."""
        return [one for verdict in self.verdicts for one in verdict.struck]

    def told(self) -> str:
        """For a person: failures with the command that repeats them, and the coverage."""
        runs = sum(verdict.runs for verdict in self.verdicts)
        plain = sum(len(v.struck) for v in self.verdicts if v.trial.plain)
        head = (
            f"{len(self.struck)} kills in {len(self.verdicts)} trials on {self.on} "
            f"({plain} of the plain command line), {runs} runs, {self.seconds:.0f} s, "
            f"seed {self.seed}: {len(self.failed)} trials failed"
        )
        lines = [head, "what the dead process left:"]
        lines += _table(Counter(state for _, state in self.struck))
        lines.append("where it was killed:")
        lines += _table(Counter(point for point, _ in self.struck))
        never = self.points - {point for point, _ in self.struck}
        if never:
            lines.append(f"named points where none was killed: {', '.join(sorted(never))}")
        for verdict in self.failed:
            flag = " --s3" if self.on == "S3" else ""
            lines.append(f'FAILED: python -m tests.kills{flag} --trial "{verdict.trial}"')
            lines += [f"  {sentence}" for sentence in verdict.wrong[:8]]
        return "\n".join(lines)


def _table(counts: Counter[str]) -> list[str]:
    return [f"  {count:>5}  {name}" for name, count in sorted(counts.items())]


def prove(
    points: int,
    seed: int,
    folder: Path,
    *,
    plain: int,
    server: S3Server | None = None,
    workers: int = 2,
) -> Proof:
    """Do trials until `points` kills have struck, `plain` of them of the plain command line.

    Args:
        points: how many.
        seed: decides all.
        folder: an empty local folder.
        plain: how many kills strike a process that a new Python made; the others are forked.
        server: an S3 server that holds tree, tables and log; None: the local disk.
        workers: trials at once.
    """
    began = time.monotonic()
    proof = Proof("S3" if server else "disk", seed)
    runners = [new_runner(folder / str(n), seed, server) for n in range(workers)]
    try:
        census = {group: runners[0].census(_census_trial(seed, group)) for group in _GROUPS}
        proof.points = frozenset().union(*(passes for passes, _ in census.values()))
        for is_plain, wanted in ((True, plain), (False, points - plain)):
            numbers = itertools.count()
            lock = threading.Lock()

            def work(
                runner: Runner,
                numbers: Iterator[int] = numbers,
                lock: threading.Lock = lock,
                is_plain: bool = is_plain,
                wanted: int = wanted,
            ) -> None:
                while _struck(proof, is_plain) < wanted and len(proof.failed) < _ENOUGH_FAILED:
                    with lock:
                        index = next(numbers)
                    trial = drawn(seed, index, census, plain=is_plain, existing=EXISTING)
                    proof.verdicts.append(runner.carry_out(trial))

            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(work, runners))
    finally:
        for runner in runners:
            runner.close()
    proof.seconds = time.monotonic() - began
    return proof


def _struck(proof: Proof, plain: bool) -> int:
    return sum(len(v.struck) for v in list(proof.verdicts) if v.trial.plain is plain)


def replay(text: str, folder: Path, server: S3Server | None) -> Proof:
    """Do one trial again, as a failure printed it."""
    trial = Trial.read(text)
    runner = new_runner(folder / "0", trial.seed // 100_000, server)
    try:
        verdict = runner.carry_out(trial)
    finally:
        runner.close()
    return Proof("S3" if server else "disk", trial.seed, [verdict])


def _census_trial(seed: int, group: int) -> Trial:
    return Trial(seed, False, group, "tag", 0.0, 10, "on", EXISTING[0], ())


def new_runner(folder: Path, seed: int, server: S3Server | None) -> Runner:
    """A runner with a sample of its own, on disk or on an S3 server."""
    folder.mkdir(parents=True)
    if server is None:
        return Runner(_sample(str(folder / "sample"), seed), folder)
    bucket = server.new_bucket()
    # The sample's own calls have no options to be given: it is made here and put there.
    local = _sample(str(folder / "sample"), seed)
    client = server.client()
    for file in sorted(Path(local.url).rglob("*")):
        if file.is_file():
            key = f"sample/{file.relative_to(local.url)}"
            client.upload_file(str(file), bucket.removeprefix("s3://"), key)
    there = Sample(
        f"{bucket}/sample", local.files, local.status_counts, local.outcome_counts, local.left_out
    )
    return Runner(
        there,
        folder,
        bucket=bucket,
        expected_url=local.expected_url,
        environment=server.env,
        options=server.options,
    )


def _sample(place: str, seed: int) -> Sample:
    return make_sample(place, seed=seed, files=FILES, clients=4, awkward=False, size_kb=(1, 6))


@contextmanager
def weed(folder: Path, wanted: bool) -> Iterator[S3Server | None]:
    """A SeaweedFS of our own, or none."""
    if not wanted:
        yield None
        return
    data = folder / "weed"
    data.mkdir()
    ports = _ports_with_grpc(5)
    with (data / "weed.log").open("wb") as log:
        process = subprocess.Popen(_weed_command(data, ports), stdout=log, stderr=log, cwd=data)
        try:
            endpoint = f"http://127.0.0.1:{ports[0]}"
            _wait_for_s3(process, endpoint, data / "weed.log")
            yield S3Server("weed", endpoint)
        finally:
            process.kill()
            process.wait()

"""Many trials on two cores, and what came of them."""

from __future__ import annotations

import functools
import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.simulation.trial import Result, run_trial

WORKERS = 2
_SEEDS_A_TASK = 100
_FAILURES_KEPT = 20


@dataclass(slots=True)
class Tally:
    """The sums of a campaign. `failures`: sentences by seed, the first some; `replays`: commands."""

    trials: int = 0
    failed: int = 0
    failures: dict[int, list[str]] = field(default_factory=dict)
    replays: dict[int, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Take another's sums in."""
        self.trials += other.trials
        self.failed += other.failed
        self.seen.update(other.seen)
        for seed, sentences in other.failures.items():
            if len(self.failures) < _FAILURES_KEPT:
                self.failures[seed] = sentences
                self.replays[seed] = other.replays[seed]

    def text(self) -> str:
        """What a person reads: counts, then each failing seed with its replay."""
        rate = self.trials / self.seconds if self.seconds else 0.0
        lines = [f"{self.trials:,} trials in {self.seconds:.0f} s ({rate:.0f} a second)"]
        lines += [f"{count:>10,}  {what}" for what, count in sorted(self.seen.items())]
        lines.append(f"{self.failed:>10,}  failed")
        for seed, sentences in sorted(self.failures.items()):
            lines.append(f"seed {seed}: {'; '.join(sentences)}")
            lines.append(f"  replay: {self.replays[seed]}")
        return "\n".join(lines)


def run_seeds(seeds: Sequence[int], one: Callable[[int], Result] = run_trial) -> Tally:
    """Trials one after another, in this process."""
    tally = Tally()
    begun = time.monotonic()
    for seed in seeds:
        result = one(seed)
        tally.trials += 1
        tally.seen.update(result.seen)
        if result.verdict.failures:
            tally.failed += 1
            if len(tally.failures) < _FAILURES_KEPT:
                tally.failures[seed] = result.verdict.failures
                tally.replays[seed] = result.replay
    tally.seconds = time.monotonic() - begun
    return tally


def run_campaign(
    first: int,
    last: int,
    *,
    one: Callable[[int], Result] = run_trial,
    workers: int = WORKERS,
    until_failure: bool = False,
) -> Tally:
    """Trials of all seeds from `first` to `last`, on several cores."""
    work = functools.partial(run_seeds, one=one)
    tally = Tally()
    begun = time.monotonic()
    with multiprocessing.get_context("fork").Pool(workers, initializer=_quieten) as pool:
        for part in pool.imap_unordered(work, _chunks(first, last)):
            tally.add(part)
            if until_failure and tally.failed:
                pool.terminate()
                break
    tally.seconds = time.monotonic() - begun
    return tally


def _quieten() -> None:
    """Trials leave cycles behind; collecting them seldom is cheaper."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _chunks(first: int, last: int) -> Iterator[range]:
    for start in range(first, last + 1, _SEEDS_A_TASK):
        yield range(start, min(start + _SEEDS_A_TASK, last + 1))

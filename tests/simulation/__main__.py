"""python -m tests.simulation --seeds 1-50000: the proof, or one seed of it with its trace."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.simulation.campaign import WORKERS, run_campaign
from tests.simulation.through_httpx import run_http_trial
from tests.simulation.trial import Result, run_trial


def main() -> int:
    """Exit status 1 if a trial failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1-1000", help="FIRST-LAST, both included")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--first-failure", action="store_true", help="stop at the first failure")
    parser.add_argument("--http", action="store_true", help="the real HTTP client and a store")
    parser.add_argument("--trace", action="store_true", help="show all that happens in each trial")
    asked = parser.parse_args()
    first, _, last = asked.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    one = run_http_trial if asked.http else run_trial
    if asked.trace:
        return _traced(seeds, one)
    tally = run_campaign(
        seeds[0], seeds[-1], one=one, workers=asked.workers, until_failure=asked.first_failure
    )
    print(tally.text())
    return 1 if tally.failed else 0


def _traced(seeds: range, one: Callable[[int, Callable[[str], None]], Result]) -> int:
    failed = 0
    for seed in seeds:
        print(f"seed {seed}")
        verdict = one(seed, print).verdict
        for name in ("lost", "doubled", "stale", "wrong", "outside"):
            for sentence in getattr(verdict, name):
                print(f"{name}: {sentence}")
        failed += bool(verdict.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Over any course of runs, faults, deaths and people's doings nothing is lost or doubled."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.machine.search import REACHED, new_seed, search

EXAMPLES = 150
PROOF_S = 110.0


def test_no_course_of_runs_loses_or_doubles_a_file() -> None:
    seen = search(20_261_124, EXAMPLES)
    assert seen["at rest"] > EXAMPLES / 2
    assert seen["outcome: success"] > EXAMPLES


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_no_course_of_runs_from_new_seeds_loses_or_doubles_a_file() -> None:
    seen: Counter[str] = Counter()
    until = time.monotonic() + PROOF_S
    while time.monotonic() < until:
        number = new_seed()
        print(f"seed {number}", flush=True)
        seen += search(number, examples=100)
    assert [what for what in REACHED if not seen[what]] == []

"""Over any course of runs, faults, deaths and people's doings nothing is lost or doubled."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.machine.search import REACHED, search

EXAMPLES = 90
PROOF_SEEDS = range(1, 15)


def test_no_course_of_runs_loses_or_doubles_a_file() -> None:
    seen = search(20_261_124, EXAMPLES)
    assert seen["at rest"] > EXAMPLES / 2
    assert seen["outcome: success"] > EXAMPLES


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_no_course_of_runs_from_many_seeds_loses_or_doubles_a_file() -> None:
    """The seeds are kept, so that a failure is one of the change; `python -m tests.machine
    --seconds S` draws new ones.
    """
    seen: Counter[str] = Counter()
    for number in PROOF_SEEDS:
        print(f"seed {number}", flush=True)
        seen += search(number, examples=100)
    assert [what for what in REACHED if not seen[what]] == []

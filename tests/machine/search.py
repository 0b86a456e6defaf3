"""Running many courses from one seed."""

from __future__ import annotations

import secrets
from collections import Counter

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.machine import Machine
from tests.machine.people import SEEN
from tests.simulation.coverage import DEATHS

STEPS = 30
REACHED = (
    *(f"died: {phase}" for phase in DEATHS),
    "LOG_DIR lost",
    "at rest",
    "changed file",
    "changed mapping",
    "foreign attachable",
    "literal file of a digest name",
    "met a fault",
    "moved folder",
    "new file",
    "outcome: adopted",
    "outcome: already_in_qbo",
    "outcome: changed",
    "outcome: duplicate_content",
    "outcome: file_missing",
    "outcome: in_doubt",
    "outcome: not_sent",
    "outcome: skipped_already_uploaded",
    "outcome: source_changed",
    "outcome: success",
    "plan alone",
    "refused: LeaseHeldError",
    "refused: NotStartedError",
    "remote deletion",
    "removed file",
    "renamed file",
    "tables cleared",
    "tokens expire",
    "two runs at once",
)
"""Each must have been seen in the proof, so that it is known not to be about nothing."""


class CourseError(AssertionError):
    """A course went wrong; says how it is had again."""


def search(number: int, examples: int, *, shrink: bool = False) -> Counter[str]:
    """Run so many courses, drawn from a seed; returns what they went through, counted.

    Shrinking takes minutes: it is left to the replay that a failure names.

    Raises:
        CourseError: something does not hold.
    """
    SEEN.clear()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
    )
    try:
        run_state_machine_as_test(seed(number)(type("Machine", (Machine,), {})), settings=chosen)
    except Exception as error:
        again = f"python -m tests.machine --seed {number} --examples {examples} --shrink"
        raise CourseError(f"{error} -- its smallest course: {again}") from error
    return SEEN.copy()


def new_seed() -> int:
    """A seed that nobody has chosen."""
    return secrets.randbits(32)

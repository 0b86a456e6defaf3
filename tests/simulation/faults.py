"""Which faults a request may meet, and how often."""

from __future__ import annotations

import random

from qbo_attach.fake_qbo.faults import Rule
from tests.simulation.scenario import Scenario

WIRE = (
    "no_connection",
    "cut_sending",
    "never_arrives",
    "answer_lost",
    "answer_never",
    "slow",
)
"""Of the way itself: the company knows nothing of them. All others are the fake's own kinds."""

_UPLOAD = (
    *((kind, 3) for kind in WIRE),
    ("401", 1),
    ("429", 1),
    ("429_under_403", 1),
    ("500_before", 1),
    ("500_after", 3),
    ("502_after", 1),
    ("503_before", 1),
    ("504_after", 2),
    ("refused", 2),
    ("stop", 1),
    ("fault_200_after", 1),
    ("cut_before", 2),
    ("cut_during", 5),
    ("cut_after", 3),
    ("cut_answer", 2),
    ("late_commit", 6),
    ("garbage_200", 2),
    ("garbage_200_before", 2),
    ("empty_200", 2),
    ("empty_200_before", 1),
    ("truncated_200", 2),
    ("item_fault", 4),
    ("missing_items", 5),
    ("shuffled_items", 2),
)
_QUERY = (
    ("no_connection", 2),
    ("answer_lost", 2),
    ("answer_never", 1),
    ("429", 1),
    ("500_before", 2),
    ("garbage_200", 1),
    ("truncated_200", 1),
)
UPLOAD_KINDS = tuple(kind for kind, _ in _UPLOAD)
"""Every fault that an upload may meet."""
_UPLOAD_DECK = tuple(kind for kind, weight in _UPLOAD for _ in range(weight))
_QUERY_DECK = tuple(kind for kind, weight in _QUERY for _ in range(weight))
_QUERY_SHARE = 0.15
"""Reads meet faults less often than uploads: they are tried again, and prove little."""


def is_of_the_wire(kind: str) -> bool:
    """Whether a fault strikes on the way, not at the company."""
    return kind in WIRE


def draw_fault(rng: random.Random, scenario: Scenario, *, upload: bool) -> str:
    """The fault of a request, "" for none."""
    rate = scenario.fault_rate * (1.0 if upload else _QUERY_SHARE)
    if not rate or rng.random() >= rate:
        return ""
    return rng.choice(_UPLOAD_DECK if upload else _QUERY_DECK)


def draw_rule(rng: random.Random, scenario: Scenario, kind: str) -> Rule:
    """The company's rule for a fault of its own."""
    if kind == "late_commit":
        settle_s, lag_s = scenario.settle_s, scenario.behaviour.query_lag_s
        most = settle_s * 8 if scenario.late else max(0.0, settle_s - lag_s - 2.0)
        then = rng.choice(("cut", "cut", "500", "504", "hang"))
        return Rule("late_commit", seconds=most * rng.random(), then=then)
    if kind == "item_fault":
        # Refused, refused, in doubt, not done.
        code = rng.choice(("6000", "610", "10000", "130"))
        return Rule(kind, item=1 + int(rng.random() * 3), code=code)
    if kind in ("cut_during", "missing_items"):
        return Rule(kind, item=1 + int(rng.random() * 2))
    if kind == "stop":
        return Rule("refused", code="3100")
    if kind == "429":
        return Rule(kind, retry_after=rng.choice(("", "3")))
    return Rule(kind)

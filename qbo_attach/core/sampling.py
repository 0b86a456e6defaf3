"""Drawing a sample that stands for all, and the bound that it proves.

The population is put in an order in which like stands by like (file type, then size) and cut into
as many equal parts as draws are wanted; out of each part one is drawn. Every member has the same
chance, and each type and size has its share. Against a defect that some share of the population
has, such a sample is at least as sure as one drawn without any order, however the defects lie: the
number of hits is a sum of independent draws, and its tail is within the binomial's (Hoeffding,
"On the distribution of the number of successes in independent trials", 1956). So the exact
binomial bound of Clopper and Pearson holds for it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

CONFIDENCE = 0.95

_STEPS = 60
"""Halvings of the interval from 0 to 1: more than a float can tell apart."""

T = TypeVar("T")


def drawn(ordered: Sequence[T], draws: int, seed: int) -> list[T]:
    """One member out of each of `draws` equal parts; all members where there are no more.

    Where a part ends within a member, that member belongs to both parts in proportion and may be
    drawn twice; it then stands in the result twice.

    Args:
        ordered: the population, like by like.
        draws: how many.
        seed: decides which; the same in every version and on every machine.
    """
    if len(ordered) <= draws:
        return list(ordered)
    part = len(ordered) / draws
    last = len(ordered) - 1
    return [ordered[min(last, int((n + _chance(seed, n)) * part))] for n in range(draws)]


def _chance(seed: int, number: int) -> float:
    """A number from 0 to below 1."""
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def upper_bound(defects: int, draws: int, confidence: float = CONFIDENCE) -> float:
    """The largest share of defects in the population that such a sample leaves credible.

    One-sided, Clopper and Pearson: at a greater share, that few defects among so many draws would
    turn up less often than once in `1 / (1 - confidence)`. 1.0 without draws. Of 400 draws without
    a defect: 0.0075.

    Args:
        defects: found among the draws.
        draws: how many.
        confidence: between 0 and 1.
    """
    if defects >= draws:
        return 1.0
    low, high = defects / draws, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _at_most(defects, draws, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(hits: int, draws: int, share: float) -> float:
    """How likely it is to hit so often or less in so many draws, each with this chance."""
    if share >= 1:
        return 0.0
    hit, miss = math.log(share) if share else -math.inf, math.log1p(-share)
    whole = math.lgamma(draws + 1)
    total = 0.0
    for k in range(hits + 1):
        ways = whole - math.lgamma(k + 1) - math.lgamma(draws - k + 1)
        total += math.exp(ways + (k * hit if k else 0.0) + (draws - k) * miss)
    return total

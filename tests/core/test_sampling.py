"""What a sample proves, and that it is drawn fairly."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.sampling import drawn, upper_bound


def test_none_of_400_means_at_most_three_quarters_of_a_percent() -> None:
    assert upper_bound(0, 400) == pytest.approx(1 - 0.05 ** (1 / 400))
    assert f"{upper_bound(0, 400):.2%}" == "0.75%"


@pytest.mark.parametrize(
    # Published tables of the one-sided 95 % Clopper-Pearson limit.
    ("defects", "draws", "limit"),
    [(0, 1, 0.95), (0, 10, 0.2589), (1, 10, 0.3942), (5, 20, 0.4556), (3, 400, 0.0193)],
)
def test_the_bound_is_clopper_and_pearsons(defects: int, draws: int, limit: float) -> None:
    assert upper_bound(defects, draws) == pytest.approx(limit, abs=1e-4)


@given(st.integers(1, 300), st.data())
def test_at_the_bound_so_few_defects_turn_up_once_in_twenty(
    draws: int, data: st.DataObject
) -> None:
    defects = data.draw(st.integers(0, draws - 1))
    share = upper_bound(defects, draws)
    so_few = sum(
        math.comb(draws, k) * share**k * (1 - share) ** (draws - k) for k in range(defects + 1)
    )
    assert so_few == pytest.approx(0.05, rel=1e-6)


def test_without_draws_nothing_is_proved() -> None:
    assert upper_bound(0, 0) == 1.0
    assert upper_bound(3, 3) == 1.0


@given(st.integers(0, 500), st.integers(1, 100), st.integers())
def test_each_part_gives_one_and_a_small_population_all(size: int, draws: int, seed: int) -> None:
    found = drawn(range(size), draws, seed)
    assert len(found) == min(size, draws)
    if size <= draws:
        assert found == list(range(size))
    for number, one in enumerate(found):
        part = size / len(found)
        assert number * part - 1 < one <= (number + 1) * part


def test_a_seed_gives_the_same_sample_always_and_another_seed_another_one() -> None:
    population = range(10_000)
    assert drawn(population, 40, 7) == drawn(population, 40, 7)
    assert drawn(population, 3, 7) == [334, 6091, 7025]
    assert drawn(population, 40, 7) != drawn(population, 40, 8)


def test_every_member_has_the_same_chance() -> None:
    hits = Counter(one for seed in range(6_000) for one in drawn(range(10), 3, seed))
    # 1,800 of each are to be expected; six standard deviations are 213.
    assert all(abs(hits[one] - 1_800) < 213 for one in range(10))

"""Mutants: each named change of the source makes a test fail."""

from __future__ import annotations

import pytest

from tests.mutants.catalogue import MUTANTS, named
from tests.mutants.proof import try_out_all
from tests.mutants.trial import ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_changes_the_source_as_it_stands_and_names_tests_that_are_there(
    mutant: Mutant,
) -> None:
    text = (ROOT / mutant.path).read_text("utf-8")
    changed = mutant.applied_to(text)
    assert changed != text
    compile(changed, mutant.path, "exec")
    assert all((ROOT / test.partition("::")[0]).is_file() for test in mutant.tests)


def test_no_two_mutants_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_mutant_whose_text_is_gone_is_told() -> None:
    with pytest.raises(LookupError, match="stands 0 times"):
        MUTANTS[0].applied_to("another source")


def test_a_name_that_is_no_mutants_is_told() -> None:
    with pytest.raises(LookupError, match="no mutant nobody"):
        named(["nobody"])


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_every_mutant_is_killed_by_a_test() -> None:
    fates = try_out_all(MUTANTS, lambda _: None)
    assert [fate.mutant.name for fate in fates if not fate.killed_by] == []

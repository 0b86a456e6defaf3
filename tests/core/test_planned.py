"""What a planned attachment becomes in a run that did nothing with it."""

from __future__ import annotations

import pytest

from qbo_attach.core.planned import outcome_so_far
from tests.core.test_leftovers import history, plan_row

TWIN = plan_row("b", "duplicate_content", "same content as a")


@pytest.mark.parametrize("other", ["success", "adopted", "already_in_qbo"])
def test_a_twin_of_what_is_there_is_a_duplicate(other: str) -> None:
    assert outcome_so_far(TWIN, {hash("a"): other}, history(("a", other))) == "duplicate_content"


@pytest.mark.parametrize("other", ["file_missing", "source_changed", "not_sent"])
def test_a_twin_of_what_came_to_nothing_was_not_sent(other: str) -> None:
    assert outcome_so_far(TWIN, {hash("a"): other}, history()) == "not_sent"


def test_a_twin_of_what_is_refused_is_refused_and_not_sent_again_and_again() -> None:
    known = history(("a", "error"))
    assert outcome_so_far(TWIN, {hash("a"): "error"}, known) == "error"
    assert outcome_so_far(TWIN, {}, known) == "error"


def test_a_twin_of_what_an_earlier_run_did_stays_a_duplicate_whatever_became_of_that_file() -> None:
    done = history(("a", "success"))
    assert outcome_so_far(TWIN, {hash("a"): "file_missing"}, done) == "duplicate_content"

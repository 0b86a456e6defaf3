"""What a planned attachment becomes in a run that did nothing with it."""

from __future__ import annotations

import pytest

from qbo_attach.core.history import History
from qbo_attach.core.planned import outcome_so_far
from tests.core.test_leftovers import history, plan_row

TWIN = plan_row("b", "duplicate_content", "same content as a")


@pytest.mark.parametrize("other", ["success", "adopted", "already_in_qbo"])
def test_a_twin_of_what_is_there_is_a_duplicate(other: str) -> None:
    assert outcome_so_far(TWIN, {hash("a"): other}, history(("a", other))) == "duplicate_content"


@pytest.mark.parametrize("known", [history(), history(("a", "error"))], ids=["new", "refused"])
@pytest.mark.parametrize("other", ["file_missing", "source_changed", "in_doubt", ""])
def test_a_twin_of_what_is_not_there_was_not_sent(other: str, known: History) -> None:
    """Whatever an earlier run came to, and where this one has not come to it."""
    assert outcome_so_far(TWIN, {hash("a"): other} if other else {}, known) == "not_sent"


@pytest.mark.parametrize("now", ["success", ""])
def test_a_twin_of_what_was_there_when_it_was_planned_is_a_duplicate(now: str) -> None:
    """Whatever its path or its attachable has become since."""
    twin = TWIN._replace(qbo_attachable_id="9")
    assert outcome_so_far(twin, {hash("a"): now} if now else {}, history()) == "duplicate_content"


def test_a_twin_of_what_is_in_doubt_was_not_sent() -> None:
    known = history(("a", "error"), in_doubt=["a"])
    assert outcome_so_far(TWIN, {hash("a"): "error"}, known) == "not_sent"


def test_a_twin_of_what_this_run_saw_refused_is_refused() -> None:
    known = history(("a", "error"))
    assert outcome_so_far(TWIN, {hash("a"): "error"}, known) == "error"


def test_a_twin_of_what_an_earlier_run_did_stays_a_duplicate_whatever_became_of_that_file() -> None:
    done = history(("a", "success"))
    assert outcome_so_far(TWIN, {hash("a"): "file_missing"}, done) == "duplicate_content"

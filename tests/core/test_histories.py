"""Courses of events that the state machine (tests/machine) found wrong, each at its smallest."""

from __future__ import annotations

from dataclasses import replace

from qbo_attach.core.chain import Facts, Recorded
from qbo_attach.core.history import History
from qbo_attach.core.planned import group_file, new_facts
from qbo_attach.core.reporting import Telling
from qbo_attach.core.tables import VerificationRow
from tests.core.test_existing import attachable, plan_with
from tests.core.test_planning import (
    MONDAY,
    TUESDAY,
    A,
    B,
    done,
    in_doubt,
    outcome,
    planned,
    sendable,
    started,
    verified,
)


def test_what_was_sent_to_a_files_former_entity_makes_no_duplicate_at_its_new_one() -> None:
    moved, new = verified("x/a.pdf", entity="2"), verified("y/a.pdf", entity="2")
    history = done(sendable(verified("x/a.pdf", entity="1"), A))
    plan = planned([moved, new], history, {"x/a.pdf": A, "y/a.pdf": A})
    assert [row.action for row in plan.values()] == ["changed", "send"]


def test_what_is_in_doubt_at_a_files_former_entity_makes_no_duplicate_at_its_new_one() -> None:
    moved, new = verified("x/a.pdf", entity="2"), verified("y/a.pdf", entity="2")
    history = in_doubt(sendable(verified("x/a.pdf", entity="1"), A))
    plan = planned([moved, new], history, {"x/a.pdf": A, "y/a.pdf": A})
    assert [row.action for row in plan.values()] == ["look", "send"]


def test_a_planned_file_that_another_run_sent_in_the_meantime_is_told_as_sent_before() -> None:
    plan = planned([verified("x/a.pdf"), verified("x/b.pdf", entity="2")])
    first, other = plan.values()
    told = Telling()
    file = group_file(first)
    sent = Recorded(MONDAY, "success", file.key, file.path, attachable_id="9", file=file)
    run = replace(started(), run_id="second")
    for _ in told.rows([started(), sent, run]):
        pass
    outcomes = [outcome for outcome, _ in told.latest_outcomes([first, other])]
    assert outcomes == ["skipped_already_uploaded", "not_sent"]


# -- attachments whose digest no run knows ---------------------------------------------------------


def found_unread(row: VerificationRow, outcome_name: str) -> History:
    """Done under its name as attachable 9, and nobody has read it."""
    return History().fold([started(), outcome(sendable(row), outcome_name)])


def test_a_moved_file_that_was_found_in_qbo_unread_is_not_sent_again() -> None:
    history = found_unread(verified("x/a.pdf"), "already_in_qbo")
    plan = planned([verified("y/a.pdf")], history, {"y/a.pdf": A})["y/a.pdf"]
    assert (plan.action, plan.sent_file_name) == ("skip", "a.pdf")
    facts = new_facts(plan, history)
    assert facts is not None
    history.apply(facts)
    assert history.done["y/a.pdf"].sha256 == A


def test_a_moved_file_that_was_adopted_unread_is_known_by_its_bytes_at_qbo() -> None:
    old, new = verified("x/a.pdf"), verified("y/b.pdf")
    for at_qbo, action in ((A, "skip"), (B, "send")):
        history = found_unread(old, "adopted")
        plan = plan_with([new], [attachable(9, "a.pdf")], {"y/b.pdf": A, "9": at_qbo}, history)
        assert plan["y/b.pdf"].action == action


def test_a_moved_file_that_was_adopted_unread_is_believed_where_qbo_is_not_asked() -> None:
    history = found_unread(verified("x/a.pdf"), "adopted")
    rows = [verified("y/a.pdf"), verified("y/b.pdf")]
    plan = planned(rows, history, {"y/a.pdf": A, "y/b.pdf": A})
    assert [row.action for row in plan.values()] == ["skip", "send"]


def test_a_twin_of_one_that_was_found_in_qbo_unread_is_its_duplicate() -> None:
    rows = [verified("x/a.pdf"), verified("y/a.pdf")]
    for other, action in ((A, "duplicate_content"), (B, "send")):
        history = found_unread(rows[0], "already_in_qbo")
        plan = planned(rows, history, {"x/a.pdf": A, "y/a.pdf": other})
        assert [row.action for row in plan.values()] == ["skip", action]


def test_what_was_found_in_qbo_unread_and_changed_since_is_known_by_its_bytes_at_qbo() -> None:
    old = verified("x/a.pdf")
    rows = [old._replace(size_bytes="11"), verified("y/a.pdf")]
    for at_qbo, action in ((A, "duplicate_content"), (B, "send")):
        history = found_unread(old, "already_in_qbo")
        held, contents = [attachable(9, "a.pdf")], {"y/a.pdf": A, "9": at_qbo}
        plan = plan_with(rows, held, contents, history)
        assert [row.action for row in plan.values()] == ["changed", action]


# -- plans that another run has overtaken ----------------------------------------------------------


def test_facts_of_one_that_is_in_qbo_no_more_do_not_move_what_is_sent_under_its_key_later() -> None:
    first, later = sendable(verified("x/a.pdf"), A), sendable(verified("y/a.pdf"), A)
    stale = Facts("z/a.pdf", 10, MONDAY, "", A, key=first.key)
    history = done(first).fold([outcome(first, "deleted"), stale, outcome(later)])
    again = History().fold(
        record for record in history.snapshot(0) if not isinstance(record, bytes)
    )
    assert list(again.done) == list(history.done) == ["y/a.pdf"]


def test_a_rename_that_was_planned_before_the_attachment_went_from_qbo_leaves_no_facts() -> None:
    old = sendable(verified("x/a.pdf"), A)
    history = done(old)
    plan = planned([verified("y/a.pdf")], history, {"y/a.pdf": A})["y/a.pdf"]
    assert new_facts(plan, history) is not None
    history.apply(outcome(old, "deleted"))
    assert new_facts(plan, history) is None


def test_facts_that_were_planned_before_the_name_went_to_another_content_are_left() -> None:
    old = sendable(verified("x/a.pdf"), A)
    history = done(old)
    plan = planned([verified("x/a.pdf", at=TUESDAY)], history, {"x/a.pdf": A})["x/a.pdf"]
    assert new_facts(plan, history) is not None
    history.fold([outcome(old, "deleted"), outcome(replace(old, sha256=B))])
    assert new_facts(plan, history) is None

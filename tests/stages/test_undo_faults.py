"""Undo under faults, refusals and edits: each attachable goes once, and each is told of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core.tables import ERRORS
from qbo_attach.engine import undoing
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.qbo.client import QboClient
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import read_chain
from tests.stages.books import Books
from tests.stages.case import REALM, Case, opened
from tests.stages.undoing import gone, ids, log, made_by, undone


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


LOST = (
    "500_before", "500_after", "502_after", "504_after", "429", "cut_before", "cut_after",
    "cut_answer", "garbage_200", "garbage_200_before", "empty_200", "truncated_200",
    "fault_200_after",
)  # fmt: skip


def test_lost_answers_and_throttles_delete_nothing_twice(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of each kind strikes a batch, and one strikes a delete by itself after it."""
    run = case.run()
    made = made_by(case, run.run_id)
    monkeypatch.setattr(undoing, "BATCH_ITEMS", 5)
    case.fake.company.plan.add(
        [Rule(kind, "batch", numbers=(1 + at,), retry_after="0") for at, kind in enumerate(LOST)]
        + [
            Rule(kind, "attachable", numbers=(3 + 3 * at,), retry_after="0")
            for at, kind in enumerate(LOST)
        ]
    )
    done = undone(case, run.run_id)
    assert (done.counts, done.stopped) == ({"deleted": len(made)}, "")
    assert sorted(gone(case)) == sorted(made)
    assert case.attachables() == []
    assert case.fake.ledger()["faults"] == dict.fromkeys(LOST, 2)


@pytest.mark.parametrize("kind", LOST)
def test_whatever_strikes_every_batch_each_goes_once(case: Case, kind: str) -> None:
    """One by one if need be; nothing is asked of a batch twice that may have had its effect."""
    run = case.run()
    made = made_by(case, run.run_id)
    case.fake.company.plan.add([Rule(kind, "batch", retry_after="0", times=4)])
    done = undone(case, run.run_id)
    assert (done.counts, done.stopped) == ({"deleted": len(made)}, "")
    assert sorted(gone(case)) == sorted(made)
    told = [row.qbo_attachable_id for row in log(case) if row.outcome == "deleted"]
    assert sorted(told) == sorted(made)
    requests = case.fake.ledger()["requests"]
    assert requests["batch"] == (8 if kind == "429" else 4)
    assert requests.get("attachable", 0) == (0 if kind == "429" else len(made))


ITEMS = [
    (Rule("shuffled_items", "batch"), {}, 0),
    (Rule("missing_items", "batch", item=2), {}, 4),
    (Rule("item_fault", "batch", item=3, code="6000"), {}, 4),
    (Rule("item_fault", "batch", item=1, code="10000"), {}, 4),
    (Rule("item_fault", "batch", item=30, code="3001"), {}, 3),
    (Rule("cut_during", "batch", item=11, times=1), {}, 30),
    (Rule("late_commit", "batch", seconds=3_600.0, times=1), {}, 30),
    (Rule("latency", "batch"), {"items_order": "shuffled"}, 0),
]


@pytest.mark.parametrize(("rule", "switches", "singly"), ITEMS)
def test_what_a_batch_leaves_open_is_asked_for_by_itself(
    case: Case, rule: Rule, switches: dict[str, str], singly: int
) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    state = case.fake.company.state
    state.behaviour = state.behaviour.changed(switches)
    case.fake.company.plan.add([rule])
    done = undone(case, run.run_id)
    assert (done.counts, done.exit_status) == ({"deleted": len(made)}, 0)
    assert case.fake.ledger()["requests"].get("attachable", 0) == singly
    with case.fake.company.lock:
        state.settle(everything=True)  # what came late finds nothing left
    assert sorted(gone(case)) == sorted(made)
    assert case.attachables() == []


@pytest.mark.parametrize(
    "rule",
    [Rule("refused", "batch", code="1040"), Rule("refused", "batch", code="500"),
     Rule("refused", "batch", status=404)],
)  # fmt: skip
def test_a_company_that_takes_no_batches_is_asked_one_by_one(
    case: Case, monkeypatch: pytest.MonkeyPatch, rule: Rule
) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    monkeypatch.setattr(undoing, "CHUNK", 30)
    case.fake.company.plan.add([rule])
    done = undone(case, run.run_id)
    assert (done.counts, done.exit_status) == ({"deleted": len(made)}, 0)
    requests = case.fake.ledger()["requests"]
    assert (requests["batch"], requests["attachable"]) == (1, len(made))


def test_a_stop_of_qbos_ends_it_and_the_next_undo_goes_on(case: Case) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    case.fake.company.plan.add([Rule("403", endpoint="batch", numbers=(3,))])
    first = undone(case, run.run_id)
    assert first.exit_status == 3
    assert "3100" in first.stopped
    assert 0 < first.counts["deleted"] < len(made)
    assert first.counts["deleted"] + first.counts["not_sent"] == len(made)
    assert case.segments()[-1].read_text().count('"lease_until":""') == 1
    case.fake.company.plan.clear()
    second = undone(case, run.run_id)
    assert second.counts == {"deleted": len(made) - first.counts["deleted"]}
    assert sorted(gone(case)) == sorted(made)


@pytest.mark.parametrize("kind", ["500_after", "cut_before"])
def test_what_is_in_doubt_when_the_undo_stops_keeps_its_intent(
    case: Case, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Nobody says of it that it was not sent; the next undo looks."""
    run = case.run()
    made = made_by(case, run.run_id)
    monkeypatch.setattr(undoing, "BATCH_ITEMS", 10)
    case.fake.company.plan.add(
        [Rule(kind, endpoint="batch", numbers=(1,)), Rule("403", endpoint="attachable")]
    )
    first = undone(case, run.run_id)
    assert first.exit_status == 3
    assert first.counts == {"deleted": len(made) - 10}
    history = read_chain(Store(case.sample.log_dir), REALM).history
    assert len(history.deleting) == 10
    case.fake.company.plan.clear()
    second = undone(case, run.run_id)
    assert (second.counts, second.exit_status) == ({"deleted": 10}, 0)
    assert sorted(gone(case)) == sorted(made)
    told = [row for row in log(case) if row.run_id == second.run_id and row.outcome == "deleted"]
    by_whom = "an undo that was cut off" in told[0].error
    assert by_whom is (kind == "500_after")


def test_a_single_delete_whose_answer_was_lost_is_not_told_as_not_sent(case: Case) -> None:
    """Though what came of its last try is certain: the first one has deleted it."""
    run = case.run()
    made = made_by(case, run.run_id)
    case.fake.company.plan.add(
        [
            Rule("refused", "batch", code="500"),
            Rule("500_after", "attachable", numbers=(1,)),
            Rule("403", "attachable", numbers=tuple(range(2, 200))),
        ]
    )
    first = undone(case, run.run_id)
    assert first.exit_status == 3
    (lost,) = gone(case)
    history = read_chain(Store(case.sample.log_dir), REALM).history
    assert lost in {record.attachable_id for record in history.deleting.values()}
    case.fake.company.plan.clear()
    second = undone(case, run.run_id)
    assert (second.counts, second.exit_status) == ({"deleted": len(made)}, 0)
    assert sorted(gone(case)) == sorted(made)


def test_what_qbo_refuses_to_delete_is_told_and_stays_done(case: Case) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    case.fake.company.plan.add(
        [
            Rule("item_fault", endpoint="batch", item=3, code="6000", times=1),
            Rule("refused", endpoint="attachable", numbers=(1,), code="6000", times=1),
        ]
    )
    done = undone(case, run.run_id)
    assert done.counts == {"deleted": len(made) - 1, "error": 1}
    assert done.exit_status == 1
    assert len(ids(case)) == 1
    history = read_chain(Store(case.sample.log_dir), REALM).history
    assert (history.rows.keys(), history.refused, history.deleting) == (1, {}, {})
    assert undone(case, run.run_id).counts == {"deleted": 1}


def test_closed_books_end_it_at_once(case: Case) -> None:
    run = case.run()
    case.fake.company.plan.add(
        [
            Rule("refused", endpoint="batch", code="6210"),
            Rule("refused", endpoint="attachable", code="6210"),
        ]
    )
    done = undone(case, run.run_id)
    assert done.exit_status == 3
    assert "6210" in done.stopped
    assert gone(case) == []


def test_an_edit_between_look_and_delete_saves_the_attachable(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = case.run()
    books = Books(case)
    one = books.one()
    look = QboClient.attachables_by_id

    async def looked(self: QboClient, asked: list[str]) -> Any:
        found = await look(self, asked)
        if one.sync_token == 0 and one.id in asked:
            books.change(one)
        return found

    monkeypatch.setattr(QboClient, "attachables_by_id", looked)
    done = undone(case, run.run_id)
    assert done.counts["changed"] == 1
    assert ids(case) == {one.id}
    assert any("at this moment" in row.error for row in log(case, ERRORS))


def test_a_query_that_does_not_show_it_yet_is_no_proof_that_it_is_gone(case: Case) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    company = case.fake.company
    with company.lock:
        for one in company.state.ledger.all():
            company.state.save(replace(one, visible_at=company.state.now() + 3_600))
    company.state.behaviour = company.state.behaviour.changed({"query_lag_s": 3_600})
    assert undone(case, run.run_id).counts == {"deleted": len(made)}
    assert sorted(gone(case)) == sorted(made)

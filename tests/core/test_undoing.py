"""Undo in the run log: intents and outcomes of deletes, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qbo_attach.core.chain import (
    Deleting,
    Done,
    GroupFile,
    Holder,
    Record,
    Recorded,
    RunStarted,
    SegmentHeader,
)
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.history import History
from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.core.reporting import Telling
from qbo_attach.core.segments import FORMAT, decode_segment, encode_segment
from qbo_attach.core.undoing import is_undone_by, parse_entity, why_left

BILL, INVOICE = EntityRef("Bill", "12"), EntityRef("Invoice", "34")
FILE = GroupFile("k", "a/b.pdf", "b.pdf", "application/pdf", 7, "2020Z", "e", "Bill", "12")
SENT = Recorded("t", "success", "k", "a/b.pdf", attachable_id="5", file=FILE)
DELETING = Deleting("t", "R1", "k", "a/b.pdf", "5")
UNDO = RunStarted("R2", "t", "1", "other", "C", "", "", "0", undoes="R1")


def started(run_id: str = "R1") -> RunStarted:
    return RunStarted(run_id, "t", "1", "other", "C", "/files", "disk", "0", "sha", 1)


def ended(outcome: str) -> Recorded:
    return Recorded("t", outcome, "k", "a/b.pdf", attachable_id="5")


def folded(*records: Record) -> History:
    return History().fold(records)


def done() -> Done:
    return folded(started(), SENT).done["a/b.pdf"]


def test_what_is_about_to_be_deleted_is_done_until_its_outcome() -> None:
    history = folded(started(), SENT, UNDO, DELETING)
    assert (set(history.deleting), set(history.done)) == ({"k"}, {"a/b.pdf"})
    history.apply(ended("deleted"))
    assert (history.deleting, dict(history.done)) == ({}, {})


@pytest.mark.parametrize("outcome", ["changed", "error", "not_sent"])
def test_what_an_undo_did_not_delete_stays_done(outcome: str) -> None:
    history = folded(started(), SENT, UNDO, DELETING, ended(outcome))
    assert (history.deleting, set(history.done), history.refused) == ({}, {"a/b.pdf"}, {})


def test_an_undo_changes_neither_store_nor_files_dir() -> None:
    history = folded(started(), SENT, UNDO)
    assert (history.store, history.files_dir) == ("disk", "/files")


def test_a_snapshot_keeps_what_an_undo_was_about_to_delete() -> None:
    history = folded(started(), SENT, UNDO, DELETING)
    records = list(history.snapshot(3))
    assert len(records) == history.snapshot_size()
    again = History().fold(record for record in records if not isinstance(record, bytes))
    assert again.deleting == history.deleting
    assert dict(again.done) == dict(history.done)


def test_its_records_come_back_as_they_were_written() -> None:
    header = SegmentHeader(1, "R2", Holder("h", 1), "t", "", "n", format=FORMAT)
    records: list[Record] = [UNDO, DELETING, ended("deleted")]
    assert decode_segment(encode_segment(header, records), "url") == (header, records)


def test_rows_of_an_undo_have_its_run_and_leave_the_latest_runs_outcomes() -> None:
    told = Telling()
    rows = list(told.rows([started(), SENT, UNDO, DELETING, ended("deleted"), ended("changed")]))
    assert [(row.run_id, row.outcome) for row in rows] == [
        ("R1", "success"),
        ("R2", "deleted"),
        ("R2", "changed"),
    ]
    assert rows[1].sent_file_name == "b.pdf"
    assert told.latest == started()
    assert told.ended == {hash("a/b.pdf"): "success"}
    assert [row.run_id for row in told.rows([started("R3"), SENT])] == ["R3"]


@pytest.mark.parametrize(
    ("outcome", "run_id", "entities", "undone"),
    [
        ("success", "R1", set(), True),
        ("adopted", "R1", {BILL}, True),
        ("already_in_qbo", "R1", set(), False),
        ("success", "R2", set(), False),
        ("success", "R1", {INVOICE}, False),
    ],
)
def test_only_what_the_run_made_is_undone(
    outcome: str, run_id: str, entities: set[EntityRef], undone: bool
) -> None:
    assert is_undone_by(replace(done(), outcome=outcome), run_id, entities) is undone


THERE = Attachable("5", "b.pdf", 7, (BILL,), sync_token="0")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"sync_token": ""}, ""),
        ({"file_name": "B.PDF"}, ""),
        ({"sync_token": "1"}, "SyncToken 1"),
        ({"refs": (BILL, INVOICE)}, "it hangs on Bill:12, Invoice:34 now"),
        ({"refs": ()}, "it hangs on nothing now"),
        ({"file_name": "c.pdf"}, "it is called c.pdf now"),
        ({"size_bytes": 8}, "it has 8 bytes now, and 7 bytes were sent"),
        ({"size_bytes": None}, "it has no file now"),
    ],
)
def test_what_is_not_as_the_run_left_it_is_left(change: dict[str, object], why: str) -> None:
    said = why_left(done(), replace(THERE, **change), ())  # type: ignore[arg-type]
    assert why in said
    assert bool(said) is bool(why)


def test_what_hangs_on_more_than_is_to_be_undone_is_left() -> None:
    both = replace(done(), qbo_entity_type="Bill;Invoice", qbo_entity_id="12;34")
    there = replace(THERE, refs=(INVOICE, BILL))
    assert why_left(both, there, {BILL}) == "it hangs on Invoice:34 as well"
    assert why_left(both, there, {BILL, INVOICE}) == ""
    assert why_left(both, there, ()) == ""


def test_an_entity_is_a_type_and_an_id() -> None:
    assert parse_entity("Bill:12") == BILL
    for text in ("Bill", ":12", "Bill:", ""):
        with pytest.raises(NotStartedError, match="such as Bill:12"):
            parse_entity(text)

"""Undo: exactly what a run made goes; what anybody else made or changed stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.tables import ERRORS, RunLogRow
from qbo_attach.stages.undo import find_undoable, preview_undo
from tests.stages.books import Books, elsewhere
from tests.stages.case import Case, opened
from tests.stages.undoing import contents, gone, ids, log, made_by, undone


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


def cells_of_file(row: RunLogRow) -> tuple[str, ...]:
    """What a row has of the attachment itself, whatever became of it."""
    return (*row[:8], *row[12:18], row.idempotency_key, row.match_rule)[1:]


def test_what_a_run_made_is_gone_and_told_and_the_next_run_sends_it_again(case: Case) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    assert made == ids(case)
    held = contents(case)
    done = undone(case, run.run_id)
    assert (done.counts, done.exit_status) == ({"deleted": len(made)}, 0)
    assert case.attachables() == []
    assert sorted(gone(case)) == sorted(made)
    told = [row for row in log(case) if row.outcome == "deleted"]
    assert {row.qbo_attachable_id for row in told} == made
    assert {row.run_id for row in told} == {done.run_id}
    sent = {row.qbo_attachable_id: row for row in log(case) if row.run_id == run.run_id}
    assert [cells_of_file(row) for row in told] == [
        cells_of_file(sent[row.qbo_attachable_id]) for row in told
    ]
    assert all(row.raw_legacy_id and row.client for row in told)
    again = case.run()
    assert again.outcomes["success"] == len(made)
    assert contents(case) == held


def test_what_a_later_run_skipped_still_names_the_attachable_that_it_found(case: Case) -> None:
    first = case.run()
    made = made_by(case, first.run_id)
    second = case.run()
    undone(case, first.run_id)
    skipped = [row for row in log(case) if row.outcome == "skipped_already_uploaded"]
    assert {row.run_id for row in skipped} == {second.run_id}
    assert {row.qbo_attachable_id for row in skipped} == made


def test_thirty_go_in_one_request(case: Case) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    before = dict(case.fake.ledger()["requests"])
    done = undone(case, run.run_id)
    sent = {
        name: count - before.get(name, 0)
        for name, count in case.fake.ledger()["requests"].items()
        if count != before.get(name, 0)
    }
    # The company's name, asked for before the undo, is no request of the undo itself.
    assert sent == {"companyinfo": 1, "query": -(-len(made) // 40), "batch": -(-len(made) // 30)}
    assert done.requests_sent == sum(sent.values()) - 1


def test_only_that_run_is_undone(case: Case) -> None:
    first = case.run()
    more = case.sent_file().with_name("one more.pdf")
    more.write_bytes(b"one more attachment")
    second = case.run()
    before = made_by(case, first.run_id)
    added = made_by(case, second.run_id)
    assert len(added) == 1
    undone(case, second.run_id)
    assert (ids(case), set(gone(case))) == (before, added)
    assert case.run().outcomes["success"] == 1


def test_what_was_there_before_is_never_touched(case: Case) -> None:
    """A second LOG_DIR finds what the first one's run put there, and adds one file."""
    case.run()
    held = ids(case)
    more = case.sent_file().with_name("one more.pdf")
    more.write_bytes(b"one more attachment")
    other = f"{case.sample.log_dir}-2"
    second = case.run(log_dir=other)
    assert second.outcomes["already_in_qbo"] == len(held)
    done = undone(case, second.run_id, log_dir=other)
    assert done.counts == {"deleted": 1}
    assert ids(case) == held
    with pytest.raises(NotStartedError, match="has no such run"):
        undone(case, second.run_id)


def test_what_somebody_changed_is_left_and_told(case: Case) -> None:
    run = case.run()
    books = Books(case)
    edited = books.change(books.one())
    moved = books.one()
    books.change(moved, refs=elsewhere())
    renamed = books.one()
    books.change(renamed, fields={**renamed.fields, "FileName": "new.pdf"})
    altered = books.alter(books.one(), b"other bytes")
    theirs = books.seed("theirs.pdf", b"theirs", elsewhere())
    done = undone(case, run.run_id)
    left = {edited, moved.id, renamed.id, altered}
    assert ids(case) == left | {theirs}
    assert done.counts["changed"] == len(left)
    assert done.exit_status == 1
    told = {
        row.qbo_attachable_id: row.error for row in log(case, ERRORS) if row.run_id == done.run_id
    }
    assert set(told) == left
    assert "SyncToken 1" in told[edited]
    assert "hangs on Invoice:123" in told[moved.id]
    assert "is called new.pdf" in told[renamed.id]
    # They are still done: the next run sends the others alone.
    assert case.run(vanished="keep").outcomes["success"] == done.counts["deleted"]


def test_an_undo_of_an_entity_leaves_the_others(case: Case) -> None:
    run = case.run()
    row = next(r for r in log(case) if r.outcome == "success" and ";" not in r.qbo_entity_id)
    entity = f"{row.qbo_entity_type}:{row.qbo_entity_id}"
    there = {
        r.qbo_attachable_id
        for r in log(case)
        if r.outcome == "success" and f"{r.qbo_entity_type}:{r.qbo_entity_id}" == entity
    }
    before = ids(case)
    done = undone(case, run.run_id, entity)
    assert done.counts == {"deleted": len(there)}
    assert ids(case) == before - there
    with pytest.raises(NotStartedError, match="such as Bill:12"):
        find_undoable(case.settings(), run.run_id, ["Bill"])


def test_what_hangs_on_another_entity_as_well_is_left_by_an_undo_of_one(
    case: Case, tmp_path: Path
) -> None:
    overrides = tmp_path / "overrides.csv"
    folder = case.sent_file().parent.name
    overrides.write_text(
        f"legacy_id,entity_refs,reason,by_whom\n{folder},Bill:122;Invoice:123,both,me\n"
    )
    run = case.run(mapping_overrides=str(overrides))
    both = {r.qbo_attachable_id for r in log(case) if r.qbo_entity_id == "122;123"}
    assert both <= ids(case)
    done = undone(case, run.run_id, "Bill:122")
    assert done.counts["changed"] == len(both) > 0
    left = {row.error for row in log(case) if row.outcome == "changed"}
    assert left == {"it hangs on Invoice:123 as well"}
    assert both <= ids(case)
    assert undone(case, run.run_id, "Bill:122", "Invoice:123").counts["deleted"] >= len(both)


def test_a_dry_run_tells_and_deletes_nothing(case: Case) -> None:
    run = case.run()
    books = Books(case)
    books.change(books.one())
    books.delete(books.one())
    held, segments = ids(case), case.segments()
    settings = case.settings()
    told: list[str] = []
    counts = preview_undo(
        settings, find_undoable(settings, run.run_id), lambda _done, what, _why: told.append(what)
    )
    assert counts == {"would_delete": len(held) - 1, "left": 1, "gone": 1}
    assert len(told) == len(held) + 1
    assert (ids(case), case.segments()) == (held, segments)


def test_what_is_gone_already_counts_as_done(case: Case) -> None:
    run = case.run()
    books = Books(case)
    before = [books.delete(books.one()) for _ in range(3)]
    done = undone(case, run.run_id)
    assert done.counts["deleted"] == len(made_by(case, run.run_id))
    assert case.attachables() == []
    told = [row for row in log(case) if row.error == "it was gone already"]
    assert sorted(row.qbo_attachable_id for row in told) == sorted(before)
    again = undone(case, run.run_id)
    assert (again.counts, again.exit_status) == ({}, 0)


def test_an_unknown_run_is_refused_by_naming_those_there_are(case: Case) -> None:
    run = case.run()
    with pytest.raises(NotStartedError, match=f"latest: {run.run_id}"):
        find_undoable(case.settings(), "20200101T000000Z-ffffff")
    done = undone(case, run.run_id)
    with pytest.raises(NotStartedError, match="is itself an undo"):
        find_undoable(case.settings(), done.run_id)

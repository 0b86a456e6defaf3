"""Reconciliation against a company in which everything has gone wrong, and its repair."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core.errors import NotStartedError, StoppedError
from qbo_attach.core.tables import RECONCILIATION, RUNLOG, ReconciliationRow, RunLogRow
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.qbo.faults import QboError
from qbo_attach.stages import reconcile as stage
from qbo_attach.stages.inventory import run_inventory
from qbo_attach.stages.reconcile import Depth, Reconciled, run_reconcile, run_repair
from qbo_attach.stages.verify import run_verify
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.stages.books import Books, elsewhere
from tests.stages.case import Case, opened


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


def rows(case: Case) -> list[ReconciliationRow]:
    return list(read_table(Store(case.sample.log_dir), RECONCILIATION, ReconciliationRow))


def reconciled(case: Case, draws: int | None = 0, **given: Any) -> Reconciled:
    return run_reconcile(case.settings(**given), Depth(draws, 1))


def differing(case: Case) -> dict[str, str]:
    """State by the id of the attachable it is about."""
    return {
        row.found_attachable_id or row.qbo_attachable_id or row.file_path: row.state
        for row in rows(case)
        if row.state not in ("equal", "duplicate_content")
    }


def queries(case: Case) -> int:
    return int(case.fake.ledger()["requests"].get("query", 0))


def test_nothing_differs_after_a_run(case: Case) -> None:
    case.run()
    found = reconciled(case, None)
    assert found.differences() == 0
    assert found.proof is not None
    assert found.proof.whole
    assert (found.proof.defects, found.proof.draws) == (0, found.result.counts["equal"])
    compared = Counter(row.compared for row in rows(case) if row.state == "equal")
    assert compared == {"digest": found.result.counts["equal"]}
    # One row an attachment: what the verification log has as ok.
    assert len(rows(case)) == case.sample.status_counts["ok"]


def test_every_kind_of_defect_is_found_and_told_apart(case: Case) -> None:
    case.run()
    books = Books(case)
    expected = {
        books.delete(books.one()): "missing",
        books.change(books.one(), refs=elsewhere()): "wrong_entity",
        books.alter(books.one(), b"broken"): "altered",
        books.copy(books.one()): "doubled",
        books.seed("theirs.pdf", b"theirs", elsewhere()): "unknown",
    }
    renamed = books.one()
    fields = {**renamed.fields, "FileName": "renamed.pdf"}
    expected[books.change(renamed, fields=fields)] = "renamed"
    marked = books.one()
    expected[books.copy(marked, Tag=marked.fields["Tag"])] = "doubled"
    same_size = books.one()
    assert same_size.size is not None
    expected[books.alter(same_size, b"x" * same_size.size)] = "altered"
    replaced = books.one()
    copy = books.copy(replaced)
    books.delete(replaced)
    expected[copy] = "unrecorded"
    new = case.sent_file().with_name("never sent.pdf")
    new.write_bytes(b"never sent")
    run_inventory(case.settings())
    run_verify(case.settings())
    expected[new.relative_to(case.sample.files_dir).as_posix()] = "not_uploaded"

    found = reconciled(case, None)
    assert differing(case) == expected
    assert found.differences() == len(expected)
    assert found.differences(one_way=True) == len(expected) - 1
    assert found.proof is not None
    assert found.proof.defects == 1
    # By names and sizes alone, what has the size of what was sent is not told from it.
    reconciled(case, 0)
    assert differing(case) == {k: s for k, s in expected.items() if k != same_size.id}


def test_a_sample_states_its_bound_and_is_the_same_for_a_seed(case: Case) -> None:
    case.run()
    before = case.fake.ledger()["requests"].get("download", 0)
    first = reconciled(case, 20)
    assert first.proof is not None
    assert first.proof.upper_bound == pytest.approx(1 - 0.05 ** (1 / 20))
    sampled = [row.file_path for row in rows(case) if row.compared == "digest"]
    assert 15 <= len(sampled) <= 20
    assert case.fake.ledger()["requests"]["download"] - before == len(sampled)
    reconciled(case, 20)
    assert [row.file_path for row in rows(case) if row.compared == "digest"] == sampled
    run_reconcile(case.settings(), Depth(20, 2))
    assert [row.file_path for row in rows(case) if row.compared == "digest"] != sampled


def test_one_read_per_thousand_attachables_and_one_to_count(case: Case) -> None:
    case.run()
    books = Books(case)
    for number in range(3_000):
        books.seed(f"theirs {number}.pdf", b"x", elsewhere())
    before = queries(case)
    found = reconciled(case)
    held = len(case.attachables())
    assert held > 3_000
    assert queries(case) - before == held // 1_000 + 1 + 1
    assert found.requests_sent == {"query": held // 1_000 + 2}
    assert found.result.counts["unknown"] == 3_000


def test_what_slips_from_page_to_page_is_not_taken_for_missing(case: Case) -> None:
    """Somebody deletes from the first page and adds to the last while the pages are read."""
    first, *_ = (seed_theirs(case, number) for number in range(950))
    case.run()
    company = case.fake.company
    answered = queries(case)
    early = next(one for one in company.state.ledger.all() if one.id == first)

    class Meddling(list[Rule]):
        """The plan of faults, which each request looks at."""

        def __iter__(self) -> Iterator[Rule]:
            # The count, the first page, and now the second one is asked for.
            if company.state.requests["query"] == answered + 3 and not early.deleted_at:
                company.state.delete(early)
                seed_theirs(case, 950)
            return super().__iter__()

    company.plan.rules = Meddling()
    found = reconciled(case)
    assert early.deleted_at
    assert found.differences(one_way=True) == 0
    # The second page did not begin where the first ended, so that both were read again.
    assert found.requests_sent == {"query": 5}


def seed_theirs(case: Case, number: int) -> str:
    return Books(case).seed(f"theirs {number}.pdf", b"x", elsewhere())


def test_without_its_log_dir_all_that_qbo_has_is_unrecorded_and_is_adopted(case: Case) -> None:
    first = case.run()
    held = case.attachables()
    shutil.rmtree(case.sample.log_dir)
    settings = case.settings()
    run_verify(settings)
    found = reconciled(case)
    sent = first.outcomes["success"]
    assert found.result.counts["unrecorded"] == sent
    assert "unknown" not in found.result.counts
    mended = run_repair(settings, found)
    assert mended.outcomes["already_in_qbo"] == sent
    assert "success" not in mended.outcomes
    assert case.attachables() == held
    assert reconciled(case).differences() == 0


def test_a_repair_sends_what_is_missing_and_leaves_all_else(case: Case) -> None:
    case.run()
    books = Books(case)
    gone = [books.delete(books.one()) for _ in range(4)]
    double = books.copy(books.one())
    foreign = books.seed("theirs.pdf", b"theirs", elsewhere())
    moved = books.change(books.one(), refs=elsewhere())
    replaced = books.one()
    instead = books.copy(replaced)
    books.delete(replaced)
    outdated = books.one()
    newer = books.seed(outdated.fields["FileName"], b"a newer version", outdated.refs)
    books.delete(outdated)
    new = case.sent_file().with_name("never sent.pdf")
    new.write_bytes(b"never sent")
    run_inventory(case.settings())
    run_verify(case.settings())
    before = {one["Id"] for one in case.attachables()}
    deleted = len(case.fake.ledger()["deleted"])

    settings = case.settings()
    mended = run_repair(settings, reconciled(case))
    assert mended.outcomes["success"] == len(gone) + 1
    assert mended.outcomes["already_in_qbo"] == 1
    after = {one["Id"] for one in case.attachables()}
    assert before <= after
    assert len(after - before) == len(gone) + 1
    assert len(case.fake.ledger()["deleted"]) == deleted
    log = read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow)
    reopened = {row.qbo_attachable_id for row in log if row.outcome == "deleted"}
    assert reopened == {*gone, replaced.id}
    again = reconciled(case)
    assert differing(case) == {
        double: "doubled",
        foreign: "unknown",
        moved: "wrong_entity",
        newer: "altered",
    }
    assert again.repairable == 0
    assert instead in {row.qbo_attachable_id for row in rows(case)}
    assert case.run().requests_sent == 0


def test_missing_attachments_whose_file_is_gone_too_stay_missing(case: Case) -> None:
    case.run()
    books = Books(case)
    one = books.one()
    books.delete(one)
    path = next(row.file_path for row in _log(case) if row.qbo_attachable_id == one.id)
    Path(case.sample.files_dir, path).unlink()
    settings = case.settings()
    run_inventory(settings)
    run_verify(settings)
    held = case.attachables()
    found = reconciled(case)
    assert found.missing == frozenset()
    run_repair(settings, found)
    assert case.attachables() == held
    reconciled(case)
    assert differing(case) == {one.id: "missing"}


def _log(case: Case) -> list[RunLogRow]:
    return list(read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow))


def test_a_company_that_lost_most_is_not_repaired_without_being_told_to(case: Case) -> None:
    case.run()
    books = Books(case)
    for _ in range(70):
        books.delete(books.one())
    held = case.attachables()
    with pytest.raises(NotStartedError, match="Was the company converted again"):
        run_repair(case.settings(), reconciled(case))
    assert case.attachables() == held
    settings = case.settings(vanished="send")
    assert run_repair(settings, reconciled(case)).outcomes["success"] == 70
    assert reconciled(case).differences() == 0


def test_what_is_ours_changed_and_in_no_log_is_not_sent_a_second_time(case: Case) -> None:
    case.run()
    one = Books(case).one()
    Books(case).change(one, fields={**one.fields, "FileName": "renamed.pdf"})
    shutil.rmtree(case.sample.log_dir)
    settings = case.settings()
    run_verify(settings)
    found = reconciled(case)
    held = case.attachables()
    assert differing(case)[one.id] == "renamed"
    with pytest.raises(NotStartedError, match="with our marker, but renamed"):
        run_repair(settings, found)
    assert case.attachables() == held


def test_another_run_at_work_meanwhile_is_no_difference_but_no_result(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.run()
    compare = stage._compare

    async def meanwhile(*given: Any) -> Any:
        done = await compare(*given)
        segments = case.segments()
        number = int(segments[-1].stem) + 1
        shutil.copy(segments[-1], segments[-1].with_name(f"{number:08d}.jsonl"))
        return done

    monkeypatch.setattr(stage, "_compare", meanwhile)
    with pytest.raises(StoppedError, match="when it has ended"):
        reconciled(case)
    assert not Path(case.sample.log_dir, RECONCILIATION).exists()


def test_a_run_that_was_cut_off_is_told_and_its_doubts_are_in_doubt(case: Case) -> None:
    case.fake.company.plan.add([Rule("504_after", endpoint="upload", numbers=(3,))])
    case.fake.company.plan.add([Rule("403", endpoint="upload", numbers=(4,))])
    summary = case.run(files_per_request=3)
    assert summary.stopped
    found = reconciled(case)
    assert found.result.counts["in_doubt"] == 3
    assert found.result.counts["equal"] + found.result.counts["in_doubt"] == len(case.attachables())
    case.fake.company.plan.clear()
    settings = case.settings()
    assert run_repair(settings, found).outcomes["adopted"] == 3
    assert reconciled(case).differences() == 0


@pytest.mark.parametrize("endpoint", ["query", "download"])
def test_a_company_that_cannot_be_read_leaves_the_last_table(case: Case, endpoint: str) -> None:
    case.run()
    reconciled(case, None)
    before = rows(case)
    case.fake.company.plan.add([Rule("403", endpoint=endpoint)])
    with pytest.raises(QboError) as raised:
        reconciled(case, None)
    assert raised.value.exit_status == 3
    assert rows(case) == before


def test_bytes_that_qbo_does_not_give_are_told_and_count_against_the_proof(case: Case) -> None:
    case.run()
    case.fake.company.plan.add([Rule("refused", endpoint="download", code="610", times=2)])
    found = reconciled(case, None)
    assert found.result.counts["unreadable"] == 2
    assert found.proof is not None
    assert found.proof.defects == 2


def test_reconciling_before_any_run_is_refused_with_the_remedy(case: Case) -> None:
    with pytest.raises(NotStartedError, match="run the stage that writes it"):
        reconciled(case)
    assert queries(case) == 0


def test_vanished_send_takes_over_what_a_person_put_in_its_place(case: Case) -> None:
    case.run()
    books = Books(case)
    for one in [books.one() for _ in range(3)]:
        books.copy(one)
        books.delete(one)
    held = case.attachables()
    again = case.run(vanished="send")
    assert again.outcomes["already_in_qbo"] == 3
    assert case.attachables() == held

"""EXISTING=check from plan to ledger: nothing is doubled that a lost or another log sent."""

from __future__ import annotations

import base64
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.tables import DUPS, PLAN, RUNLOG, PlanRow, RunLogRow
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.sample import read_expected
from qbo_attach.stages.existing import BASIS_FILE
from qbo_attach.stages.plan import run_plan
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.whole import upload_and_report
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.stages.case import Case, opened, plan_only


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


def keys(case: Case) -> Counter[tuple[str, str]]:
    """How many attachables there are of each name at each entity."""
    return Counter(
        (str(one["refs"]), str(one["FileName"]).casefold()) for one in case.attachables()
    )


def asked(case: Case, kind: str) -> int:
    """Requests of a kind that the company got."""
    counts: dict[str, int] = case.fake.ledger()["requests"]
    return counts.get(kind, 0)


def another_file(case: Case) -> Path:
    """One more attachment beside one that was sent."""
    known = case.sent_file()
    more = known.with_name("one more.pdf")
    more.write_bytes(b"one more attachment")
    return more


def test_with_the_log_dir_lost_nothing_is_sent_again(case: Case) -> None:
    first = case.run()
    held = case.attachables()
    uploads = asked(case, "upload")
    shutil.rmtree(case.sample.log_dir)
    again = case.run()
    assert again.outcomes["already_in_qbo"] == first.outcomes["success"]
    assert "success" not in again.outcomes
    assert (case.attachables(), asked(case, "upload")) == (held, uploads)
    ids = {str(one["Id"]) for one in held}
    dups = list(read_table(Store(case.sample.log_dir), DUPS, RunLogRow))
    assert {r.qbo_attachable_id for r in dups if r.outcome == "already_in_qbo"} == ids
    third = case.run()
    assert third.requests_sent == 0
    assert third.outcomes["skipped_already_uploaded"] == first.outcomes["success"]


def test_a_second_log_dir_goes_on_where_a_first_one_was_cut_off(case: Case) -> None:
    rule = Rule("403", endpoint="upload", numbers=(5,))
    case.fake.company.plan.add([rule])
    first = case.run(files_per_request=3)
    assert first.stopped
    assert first.outcomes["success"] > 0
    second = case.run(log_dir=f"{case.sample.log_dir}-2")
    assert second.outcomes["already_in_qbo"] == first.outcomes["success"]
    assert set(keys(case).values()) == {1}
    assert sum(keys(case).values()) == case.sample.outcome_counts["success"]


def test_a_plan_that_another_log_dir_overtook_is_refused_before_it_sends(case: Case) -> None:
    settings = case.settings()
    plan_only(settings)
    case.run(log_dir=f"{case.sample.log_dir}-2")
    held = case.attachables()
    with pytest.raises(NotStartedError, match="run qbo-attach plan again"):
        upload_and_report(settings, UploadRun(settings))
    assert case.attachables() == held
    run_plan(settings)
    summary = upload_and_report(settings, UploadRun(settings))
    assert "success" not in summary.outcomes
    assert case.attachables() == held


def test_a_plan_made_without_asking_is_not_sent_where_asking_is_wanted(case: Case) -> None:
    plan_only(case.settings(existing="off"))
    settings = case.settings()
    with pytest.raises(NotStartedError, match="run qbo-attach plan again"):
        upload_and_report(settings, UploadRun(settings))
    assert case.attachables() == []


def seed(case: Case, name: str, data: bytes, type_: str, value: str) -> str:
    """An attachable as a person would make it; returns its id."""
    made = case.fake.company.control.seed(
        {
            "FileName": name,
            "AttachableRef": [{"EntityRef": {"type": type_, "value": value}}],
            "content_base64": base64.b64encode(data).decode(),
        },
        case.fake.realm,
    )
    return str(made["Id"])


def first_planned(case: Case) -> PlanRow:
    rows = read_table(Store(case.sample.log_dir), PLAN, PlanRow)
    return next(
        r for r in rows if r.action == "send" and not r.sha256 and ";" not in r.qbo_entity_id
    )


def test_a_persons_attachable_of_another_content_keeps_its_name(case: Case) -> None:
    settings = case.settings()
    plan_only(settings)
    row = first_planned(case)
    seed(case, row.sent_file_name, b"quite another thing", row.qbo_entity_type, row.qbo_entity_id)
    case.run()
    name = next(
        r.sent_file_name
        for r in read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow)
        if r.file_path == row.file_path and r.outcome == "success"
    )
    assert name != row.sent_file_name
    assert set(keys(case).values()) == {1}


def test_what_intuits_conversion_brought_is_already_in_qbo(case: Case) -> None:
    settings = case.settings()
    plan_only(settings)
    row = first_planned(case)
    data = Path(case.sample.files_dir, row.file_path).read_bytes()
    made = seed(case, row.sent_file_name, data, row.qbo_entity_type, row.qbo_entity_id)
    summary = case.run()
    assert summary.outcomes["already_in_qbo"] == 1
    dups = read_table(Store(case.sample.log_dir), DUPS, RunLogRow)
    assert [r.qbo_attachable_id for r in dups if r.outcome == "already_in_qbo"] == [made]


def vanish(case: Case, count: int) -> None:
    company = case.fake.company
    with company.lock:
        for one in list(company.state.ledger.all())[:count]:
            company.state.delete(one)


def test_more_than_one_in_a_hundred_vanished_stops_the_run_with_a_question(case: Case) -> None:
    case.run()
    vanish(case, 5)
    another_file(case)
    held = case.attachables()
    with pytest.raises(NotStartedError, match="Was the company converted again"):
        case.run()
    assert case.attachables() == held
    summary = case.run(vanished="keep")
    assert summary.outcomes["success"] == 1
    assert len(case.attachables()) == len(held) + 1


def test_vanished_ones_are_sent_again_where_that_is_asked_for(case: Case) -> None:
    case.run()
    before = keys(case)
    vanish(case, 5)
    summary = case.run(vanished="send")
    assert summary.outcomes["success"] == 5
    assert keys(case) == before
    rows = list(read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow))
    assert sum(row.outcome == "deleted" for row in rows) == 5
    assert case.run(vanished="send").outcomes.get("success", 0) == 0
    assert keys(case) == before


def test_a_few_vanished_are_told_and_left(tmp_path: Path) -> None:
    for case in opened(tmp_path, files=300):
        case.run()
        vanish(case, 1)
        another_file(case)
        settings = case.settings()
        plan_only(settings)
        notes = run_plan(settings).notes
        assert any("gone from QBO" in note for note in notes)
        summary = upload_and_report(settings, UploadRun(settings))
        assert summary.outcomes["success"] == 1


def test_a_second_run_with_nothing_to_send_asks_nothing(case: Case) -> None:
    case.run()
    before = case.fake.ledger()["requests"]
    assert case.run().requests_sent == 0
    assert case.fake.ledger()["requests"] == before


def test_few_entities_are_asked_for_and_not_the_whole_company(case: Case) -> None:
    case.run()
    *_, plan = read_table(Store(case.sample.log_dir), PLAN, PlanRow)
    for number in range(3_000):
        seed(case, f"scan {number}.pdf", b"x", plan.qbo_entity_type, plan.qbo_entity_id)
    another_file(case)
    before = asked(case, "query")
    plan_only(case.settings())
    # A count and one query of the one entity, where paging would take four.
    assert asked(case, "query") - before == 2


@pytest.mark.parametrize("kind", ["403", "refused"])
def test_a_company_that_cannot_be_read_stops_the_plan(case: Case, kind: str) -> None:
    case.fake.company.plan.add([Rule(kind, endpoint="query", code="4001")])
    with pytest.raises(NotStartedError, match="could not be read"):
        case.run()
    assert case.attachables() == []


def test_expected_of_the_sample_is_met_with_a_ladder_of_group_sizes(case: Case) -> None:
    summary = case.run(files_per_request="auto")
    assert case.differences() == []
    sent = sum(1 for row in read_expected(case.sample.expected_url) if row.outcome == "success")
    assert summary.outcomes["success"] == sent
    rows = read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow)
    groups = Counter(row.request_id for row in rows if row.outcome == "success")
    assert list(groups.values())[:4] == [1, 2, 5, 10]


@pytest.mark.parametrize("existing", ["check", "off"])
def test_a_plan_that_another_run_overtook_is_refused_though_the_tree_has_moved(
    case: Case, existing: str
) -> None:
    settings = case.settings(existing=existing)
    plan_only(settings)
    plan = Path(case.sample.log_dir, PLAN).read_bytes()
    basis = Path(case.sample.log_dir, BASIS_FILE).read_bytes()
    case.run(existing=existing)
    held = case.attachables()
    Path(case.sample.log_dir, PLAN).write_bytes(plan)
    Path(case.sample.log_dir, BASIS_FILE).write_bytes(basis)
    with pytest.raises(NotStartedError, match="another run has worked on this company"):
        upload_and_report(settings, UploadRun(settings))
    assert case.attachables() == held
    Path(case.sample.log_dir, BASIS_FILE).unlink()
    with pytest.raises(NotStartedError, match="run qbo-attach plan again"):
        upload_and_report(settings, UploadRun(settings))
    assert case.attachables() == held


def test_an_overtaken_plan_that_sends_nothing_leaves_what_a_later_one_learnt(case: Case) -> None:
    settings = case.settings(skip_refused=True)
    case.run(skip_refused=True)
    first = case.sent_file()
    second, third = first.with_name("second.pdf"), first.with_name("third.pdf")
    first.rename(second)
    plan_only(settings)
    log = Path(case.sample.log_dir)
    kept = {name: (log / name).read_bytes() for name in (PLAN, BASIS_FILE)}
    second.rename(third)
    case.run(skip_refused=True)
    for name, data in kept.items():
        (log / name).write_bytes(data)
    upload_and_report(settings, UploadRun(settings))
    plan_only(settings)
    rows = read_table(Store(case.sample.log_dir), PLAN, PlanRow)
    assert [row.reason for row in rows if row.file_name == third.name] == ["done"]

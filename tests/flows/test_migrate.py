"""The flow in process: what it sends, and what its final state says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployments.automations import FAILURES
from flows.migrate import migrate
from qbo_attach.core.chain import RunStarted, SegmentHeader
from qbo_attach.core.errors import StorageError
from qbo_attach.core.segments import encode_segment
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.storage.holder import this_holder
from tests.flows.case import REALM, Case, artifacts, flow_run_name, task_states

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(180)]


def test_a_dry_run_plans_and_sends_nothing(case: Case) -> None:
    state = case.run(dry_run=True)
    assert state.name == "DryRun"
    assert "send 93" in (state.message or "")
    assert case.uploads() == 0
    assert flow_run_name(state) == f"company ({REALM}), dry run"


def test_a_canary_sends_so_many_shows_them_and_leaves_the_rest_to_the_next_run(
    case: Case,
) -> None:
    state = case.run(canary=5)
    assert (state.is_completed(), state.name) == (True, "Canary"), state.message
    assert "5 attachments are in QuickBooks Online" in (state.message or "")
    assert "88 are still to be sent" in (state.message or "")
    assert case.uploads() == 5
    assert flow_run_name(state) == f"company ({REALM}), canary"
    rows = json.loads(artifacts(state)[f"canary-{REALM}"].data)
    assert [row["state"] for row in rows] == ["equal"] * 5
    assert any("](https://" in row["entity"] for row in rows)
    rest = case.run()
    assert rest.name == "NeedsPerson"
    assert case.uploads() == 93
    assert case.run(canary=5).name == "NeedsPerson", "nothing is left for a canary"


def test_a_canary_that_did_not_arrive_as_it_was_sent_fails_and_sends_no_more(case: Case) -> None:
    case.company.company.plan.add([Rule("refused", endpoint="upload", code="6000")])
    state = case.run(canary=3)
    assert (state.is_failed(), state.name) == (True, "CanaryFailed"), state.message
    assert state.name in FAILURES, "nobody would be told"
    assert "of 3 attachments are not in QuickBooks Online as they were sent" in (
        state.message or ""
    )
    assert case.uploads() == 0


def test_a_run_is_called_by_company_realm_and_mode_and_its_tasks_by_stage_and_batch(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_SIZE", "40")
    state = case.run()
    assert flow_run_name(state) == f"Fake Company {REALM} ({REALM}), upload"
    assert task_states(state) == {
        "inventory": "Completed",
        "mapping": "Completed",
        "verify": "Completed",
        "plan": "Completed",
        "upload 1/3": "Completed",
        "upload 2/3": "Completed",
        "upload 3/3": "Completed",
        "report": "Completed",
    }


def test_rows_that_need_a_person_complete_the_run_or_fail_it_if_that_is_asked_for(
    case: Case,
) -> None:
    state = case.run()
    assert state.is_completed()
    assert state.name == "NeedsPerson"
    assert "19 attachments need a person" in (state.message or ""), state.message
    again = case.run(fail_if_person_needed=True)
    assert again.is_failed()
    assert again.name == "NeedsPerson"
    assert "0 requests" in (again.message or "")


def test_bad_settings_fail_with_the_variable_and_send_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIN_COVERAGE", "7")
    state = case.run()
    assert state.is_failed()
    assert "MIN_COVERAGE" in (state.message or "")
    assert case.uploads() == 0


def test_nothing_is_sent_to_a_company_of_another_name_than_the_run_expects(case: Case) -> None:
    state = case.run(expect_company_name="Somebody Else")
    assert state.is_failed()
    assert "EXPECT_COMPANY_NAME=Somebody Else" in (state.message or "")
    assert case.uploads() == 0


def test_a_defect_fails_the_run_says_so_and_says_what_to_do_next(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("no such number")

    monkeypatch.setattr("qbo_attach.stages.report.run_report", broken)
    state = case.run()
    assert state.is_failed()
    assert "A defect of qbo-attach" in (state.message or "")
    assert "ZeroDivisionError: no such number. Run it again" in (state.message or "")


def test_a_run_that_fails_after_it_sent_does_not_say_that_nothing_was_sent(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise StorageError("/log", "the disk is full; make room")

    monkeypatch.setattr("qbo_attach.stages.report.run_report", full)
    state = case.run()
    assert state.is_failed()
    assert state.message == (
        "/log: the disk is full; make room. Run it again to go on; nothing is sent twice."
    )
    assert case.uploads() == 93


def test_a_run_without_a_realm_is_refused_before_its_first_stage(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QBO_REALM_ID", raising=False)
    state = case.run(realm_id="")
    assert state.is_failed()
    assert "QBO_REALM_ID" in (state.message or "")
    assert task_states(state) == {}


def test_a_realm_that_another_run_holds_is_cancelled_and_names_the_holder(case: Case) -> None:
    folder = Path(case.log_dir) / "runlog" / REALM
    folder.mkdir(parents=True)
    header = SegmentHeader(
        1, "other-run", this_holder(), "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "n"
    )
    started = RunStarted("other-run", "2026-01-01T00:00:00Z", REALM, "other", "", "", "disk", "0")
    (folder / "00000001.jsonl").write_bytes(encode_segment(header, [started]))
    state = case.run()
    assert state.is_cancelled()
    assert "other-run" in (state.message or "")
    assert case.uploads() == 0


def test_the_monthly_quota_fails_the_run_with_what_to_do_and_leaves_its_lease(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_SIZE", "40")
    monkeypatch.setenv("FILES_PER_REQUEST", "5")
    told = Rule("429", endpoint="upload", numbers=(3,), retry_after="86400")
    case.company.company.plan.add([told])
    state = case.run()
    assert state.is_failed()
    assert "again" in (state.message or ""), state.message
    assert "Cancelled" in task_states(state).values()
    assert case.run().name == "NeedsPerson"  # the lease was free
    assert case.uploads() == 93


def test_the_flow_is_a_plain_function_for_whoever_imports_it() -> None:
    assert migrate.fn.__doc__ is not None
    assert "exactly once" in migrate.fn.__doc__

"""The whole run against a fake company: first, second, disturbed, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core.errors import (
    LeaseHeldError,
    RunLogDamagedError,
    SettingError,
    StorageError,
)
from qbo_attach.core.tables import RUNLOG, RunLogRow
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.sample import read_expected
from qbo_attach.settings import Settings
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.whole import upload_and_report
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.stages.case import REALM, Case, opened, plan_only


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


def test_a_first_run_does_what_is_expected_of_each_file(case: Case) -> None:
    summary = case.run()
    assert summary.stopped == ""
    assert case.differences() == []
    assert summary.outcomes["success"] == case.sample.outcome_counts["success"]


def test_a_second_run_sends_nothing(case: Case) -> None:
    case.run()
    before = case.attachables()
    summary = case.run()
    assert summary.requests_sent == 0
    assert case.attachables() == before
    assert case.differences(second_run=True) == []


def test_a_run_among_faults_ends_with_each_file_once(tmp_path: Path) -> None:
    for case in opened(tmp_path, fail_rate=0.3, seed=5):
        summary = case.run(files_per_request=3)
        for _ in range(6):
            if not summary.stopped and not {"in_doubt", "not_sent", "error"} & set(
                summary.outcomes
            ):
                break
            summary = case.run(files_per_request=3)
        wanted = Counter(
            (f"{row.qbo_entity_type}:{row.qbo_entity_id}", row.sent_file_name)
            for row in read_expected(case.sample.expected_url)
            if row.outcome == "success"
        )
        assert once_each(case) == wanted


def once_each(case: Case) -> Counter[tuple[str, str]]:
    return Counter(
        (
            ";".join(str(ref["type"]) for ref in one["refs"])
            + ":"
            + ";".join(str(ref["value"]) for ref in one["refs"]),
            str(one["FileName"]),
        )
        for one in case.attachables()
    )


def test_a_file_that_vanished_after_planning_is_file_missing_and_the_rest_goes_on(
    case: Case,
) -> None:
    settings = case.settings()
    plan_only(settings)
    case.sent_file().unlink()
    summary = upload_and_report(settings, UploadRun(settings))
    assert summary.outcomes["file_missing"] == 1
    assert summary.outcomes["success"] == case.sample.outcome_counts["success"] - 1
    assert summary.exit_status == 1


def test_a_refused_file_is_error_and_the_rest_goes_on_and_the_next_run_tries_it_again(
    case: Case,
) -> None:
    refused = case.sent_file()
    rule = Rule("item_fault", endpoint="upload", file_name=refused.name, times=1, code="6041")
    case.fake.company.plan.add([rule])
    summary = case.run(files_per_request=1)
    assert summary.outcomes["error"] == 1
    assert summary.outcomes["success"] == case.sample.outcome_counts["success"] - 1
    assert (summary.stopped, summary.exit_status) == ("", 1)

    again = case.run()
    assert again.outcomes["success"] == 1
    assert "error" not in again.outcomes


def test_a_refused_file_is_left_alone_where_that_is_asked_for(case: Case) -> None:
    rule = Rule("item_fault", endpoint="upload", file_name=case.sent_file().name, code="6041")
    case.fake.company.plan.add([rule])
    refused = case.run(files_per_request=1).outcomes["error"]
    again = case.run(skip_refused=True)
    assert again.requests_sent == 0
    assert again.outcomes["error"] == refused


def test_an_answer_that_got_lost_is_adopted_and_not_sent_again(case: Case) -> None:
    case.fake.company.plan.add([Rule("cut_after", endpoint="upload", times=1)])
    summary = case.run()
    assert summary.outcomes["adopted"] > 0
    assert case.differences(adopted_too=True) == []


@pytest.mark.parametrize("own_plan_is_left", [True, False])
def test_a_run_that_lost_its_lease_leaves_the_plan_of_the_one_that_took_over(
    case: Case, own_plan_is_left: bool
) -> None:
    plan_only(case.settings())
    run = UploadRun(case.settings())
    with run:
        folder = case.segments()[-1].parent
        taken = folder / f"{len(case.segments()) + 1:08}.jsonl"
        taken.write_bytes(b"of another run")
        if not own_plan_is_left:
            [own] = folder.glob("plan-*")
            own.unlink()
        other = folder / "plan-other.csv"
        other.write_bytes(b"its plan")
        for batch in run.batches:
            with nullcontext() if own_plan_is_left else pytest.raises(StorageError, match="gone"):
                assert run.send(batch) == 0
    assert ("is taken by another run" if own_plan_is_left else "run again") in run.result.stopped
    assert other.read_bytes() == b"its plan"
    assert ("not_sent" in run.result.counts) == own_plan_is_left
    assert case.attachables() == []


def test_a_log_on_s3_that_only_storage_options_reach_has_its_tables(
    case: Case, s3_moto: Any
) -> None:
    folder = f"{s3_moto.new_bucket()}/log"
    summary = case.run(log_dir=folder, storage_options=s3_moto.options)
    assert summary.stopped == ""
    assert summary.outcomes["success"] > 0
    told = list(read_table(Store(folder, s3_moto.options), RUNLOG, RunLogRow))
    assert sum(row.outcome == "success" for row in told) == summary.outcomes["success"]


def test_a_request_that_never_arrived_is_sent_again_once(case: Case) -> None:
    case.fake.company.plan.add([Rule("cut_before", endpoint="upload", times=1)])
    summary = case.run()
    assert not {"in_doubt", "not_sent", "error"} & set(summary.outcomes)
    assert case.differences(adopted_too=True) == []


def test_a_file_that_changed_after_it_was_sent_is_reported_and_never_sent_again(
    case: Case,
) -> None:
    case.run()
    held = case.attachables()
    case.sent_file().write_bytes(b"something else altogether")
    summary = case.run()
    assert summary.outcomes["changed"] == 1
    assert summary.requests_sent == 0
    assert case.attachables() == held


def test_a_renamed_file_is_skipped_and_not_sent_again(case: Case) -> None:
    case.run()
    file = case.sent_file()
    file.rename(file.with_name("another name" + file.suffix))
    for _ in range(2):
        summary = case.run()
        assert summary.requests_sent == 0
        done = summary.outcomes["skipped_already_uploaded"]
        assert done == case.sample.outcome_counts["success"]


def test_two_runs_at_one_moment_share_no_realm(case: Case) -> None:
    settings = case.settings()
    plan_only(settings)
    with UploadRun(settings), pytest.raises(LeaseHeldError, match=str(os.getpid())):
        UploadRun(settings).__enter__()


def test_another_realm_in_the_same_log_dir_is_refused(case: Case) -> None:
    case.run()
    held = case.attachables()
    with pytest.raises(SettingError, match="one LOG_DIR a company"):
        case.run(qbo_realm_id="77")
    assert case.attachables() == held


def torn(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes()[:-20])


def missing(segment: Path) -> None:
    segment.unlink()


def edited(segment: Path) -> None:
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b'"written_at":"2', b'"written_at":"3', 1))


def emptied(segment: Path) -> None:
    segment.write_bytes(b"")


@pytest.mark.parametrize("damage", [torn, missing, edited, emptied])
def test_a_damaged_segment_stops_the_run_and_nothing_is_sent(case: Case, damage: Any) -> None:
    settings = case.settings()
    plan_only(settings)
    leave_without_a_snapshot(settings)
    segments = case.segments()
    assert len(segments) > 2
    held = case.attachables()
    damage(segments[1])
    with pytest.raises(RunLogDamagedError):
        case.run()
    assert case.attachables() == held


def leave_without_a_snapshot(settings: Settings) -> None:
    """Send everything and drop the closing snapshot, as a run killed at its very end would."""
    upload_and_report(settings, UploadRun(settings))
    max(Path(settings.log_dir, "runlog", REALM).glob("*.jsonl")).unlink()


@pytest.mark.parametrize("damage", [torn, emptied])
def test_a_damaged_last_segment_stops_the_run(case: Case, damage: Any) -> None:
    case.run()
    held = case.attachables()
    damage(case.segments()[-1])
    with pytest.raises(RunLogDamagedError):
        case.run()
    assert case.attachables() == held


def environment(case: Case) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **kept,
        **case.sample.environment(base_url=case.fake.base_url, realm_id=REALM),
        "QBO_REQUESTS_PER_MIN": "60000",
        "QBO_SETTLE_S": "0",
        "FILES_PER_REQUEST": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def run_in_a_process(case: Case, folder: Path) -> subprocess.Popen[bytes]:
    """The command as a person starts it, in a folder without `.env`."""
    return subprocess.Popen(
        [sys.executable, "-m", "qbo_attach.cli", "run"],
        env=environment(case),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    "committed",
    [pytest.param(1, marks=pytest.mark.proof), 20, pytest.param(45, marks=pytest.mark.proof)],
)
def test_a_run_killed_in_flight_and_run_again_leaves_each_file_once(
    tmp_path: Path, committed: int
) -> None:
    for case in opened(tmp_path, latency_ms=200):
        process = run_in_a_process(case, tmp_path)
        until = time.monotonic() + 30
        while len(case.attachables()) < committed and time.monotonic() < until:
            assert process.poll() is None, process.communicate()[1].decode()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        at_the_kill = len(case.attachables())
        assert committed <= at_the_kill < case.sample.outcome_counts["success"]

        summary = case.run()
        assert summary.stopped == ""
        assert not {"in_doubt", "not_sent", "error"} & set(summary.outcomes)
        assert case.run().requests_sent == 0
        assert case.differences(second_run=True) == []

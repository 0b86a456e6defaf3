"""The flow in process, on one Prefect test server for this file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas import State
from prefect.testing.utilities import prefect_test_harness

from flows.migrate import migrate
from qbo_attach.core import tables
from qbo_attach.core.chain import RunStarted, SegmentHeader, encode_segment
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.sample import Sample, make_sample
from qbo_attach.storage.holder import this_holder

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(180)]


@pytest.fixture(scope="module", autouse=True)
def _prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@dataclass
class Case:
    sample: Sample
    log_dir: Path
    base_url: str
    company: object

    def run(self, **parameters: Any) -> State[Any]:
        state: State[Any] = migrate(
            files_dir=self.sample.files_dir,
            data_dir=self.sample.data_dir,
            log_dir=str(self.log_dir),
            realm_id="1234567890",
            return_state=True,
            **parameters,
        )
        return state


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    sample = make_sample(str(tmp_path / "sample"), files=120)
    with running(FakeOptions()) as company:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("QBO_BASE_URL", company.base_url)
        monkeypatch.setenv("QBO_ACCESS_TOKEN", "any")
        monkeypatch.setenv("QBO_REQUESTS_PER_MIN", "6000")
        monkeypatch.setenv("LEGACY_CLIENTS", "*")
        yield Case(sample, tmp_path / "log", company.base_url, company)


def _uploads(case: Case) -> int:
    made: list[object] = case.company.ledger()["attachables"]  # type: ignore[attr-defined]  # RunningFake
    return len(made)


def test_a_dry_run_plans_and_sends_nothing(case: Case) -> None:
    state = case.run(dry_run=True)
    assert state.name == "DryRun"
    assert "send" in (state.message or "")
    assert _uploads(case) == 0


def test_a_second_run_recomputes_no_cached_stage_and_sends_nothing(case: Case) -> None:
    first = case.run()
    assert first.name == "NeedsPerson", first.message
    sent = _uploads(case)
    assert sent > 0
    log = case.log_dir / tables.VERIFICATION
    written = log.stat().st_mtime_ns
    second = case.run()
    assert "0 requests" in (second.message or "")
    assert log.stat().st_mtime_ns == written
    assert _uploads(case) == sent


def test_an_edited_artifact_is_not_believed_and_its_stage_runs_again(case: Case) -> None:
    case.run(dry_run=True)
    log = case.log_dir / tables.VERIFICATION
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    case.run(dry_run=True)
    assert log.read_bytes() == whole


def test_a_cleared_cache_sends_nothing_twice(case: Case) -> None:
    case.run()
    sent = _uploads(case)
    for result in (case.log_dir / "prefect-results").rglob("*"):
        if result.is_file():
            result.unlink()
    state = case.run(refresh=True)
    assert "0 requests" in (state.message or "")
    assert _uploads(case) == sent


def test_bad_settings_fail_with_the_variable_and_send_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIN_COVERAGE", "7")
    state = case.run()
    assert state.is_failed()
    assert "MIN_COVERAGE" in (state.message or "")
    assert _uploads(case) == 0


def test_a_realm_that_another_run_holds_is_cancelled_and_names_the_holder(case: Case) -> None:
    folder = case.log_dir / "runlog" / "1234567890"
    folder.mkdir(parents=True)
    header = SegmentHeader(
        1, "other-run", this_holder(), "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "n"
    )
    started = RunStarted(
        "other-run", "2026-01-01T00:00:00Z", "1234567890", "other", "", "", "disk", "0"
    )
    (folder / "00000001.jsonl").write_bytes(encode_segment(header, [started]))
    state = case.run()
    assert state.is_cancelled()
    assert "other-run" in (state.message or "")
    assert _uploads(case) == 0

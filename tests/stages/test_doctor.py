"""`doctor`: what is ready for a run, and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.stages.doctor import run_doctor
from tests.stages.case import REALM, Case, opened, plan_only
from tests.stages.command import Command, commands


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


@pytest.fixture
def command(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    with commands(case, monkeypatch, capsys) as run:
        yield run


def examined(case: Case, **given: Any) -> dict[str, tuple[str, str]]:
    return {check.name: (check.state, check.said) for check in run_doctor(case.settings(**given))}


def behave(case: Case, **switches: Any) -> None:
    state = case.fake.company.state
    state.behaviour = state.behaviour.changed(switches)


def test_a_prepared_company_is_ready_and_nothing_is_left_behind(
    case: Case, command: Command
) -> None:
    plan_only(case.settings())
    before = sorted(str(path) for path in Path(case.sample.url).rglob("*"))
    status, out, _ = command("doctor")
    assert status == 0
    assert "Ready for a run." in out
    assert "Coverage 92" in out
    assert "80 dropped" in out
    after = sorted(str(path) for path in Path(case.sample.url).rglob("*"))
    assert [path for path in after if path not in before] == [
        str(Path(case.sample.log_dir, "runlog"))
    ]
    assert case.attachables() == []


def test_what_is_missing_is_told_with_its_remedy(case: Case, command: Command) -> None:
    status, out, _ = command("doctor", "--json")
    assert status == 2
    told = json.loads(out)
    states = {check["name"]: check for check in told["checks"]}
    assert not told["ready"]
    assert states["mapping"]["state"] == "not_ready"
    assert "run the stage that writes it" in states["mapping"]["said"]
    assert states["connection"]["state"] == "ready"


def test_without_a_token_qbo_is_not_asked(case: Case) -> None:
    found = examined(case, qbo_access_token="")
    assert found["settings"][0] == "not_ready"
    assert "qbo-attach login" in found["settings"][1]
    asked = ("connection", "clock", "company", "closing date", "entities")
    assert {found[name][0] for name in asked} == {"skipped"}
    assert sum(case.fake.ledger()["requests"].values()) == 0


def test_a_wrong_company_and_a_low_coverage_are_not_ready(case: Case) -> None:
    plan_only(case.settings())
    found = examined(case, expect_company_name="Acme", min_coverage=0.99)
    assert found["company"][0] == "not_ready"
    assert REALM in found["company"][1]
    assert found["mapping"][0] == "not_ready"
    assert "MIN_COVERAGE" in found["mapping"][1]


def test_a_closing_date_and_a_wrong_clock_are_pointed_out(case: Case) -> None:
    behave(case, book_close_date="2025-12-31", clock_offset_s=600.0)
    found = examined(case)
    assert found["closing date"][0] == "look"
    assert "2025-12-31" in found["closing date"][1]
    assert found["clock"][0] == "look"
    assert "10 min ahead" in found["clock"][1]


def test_a_revoked_connection_is_told_with_what_to_do(case: Case) -> None:
    case.fake.company.plan.add([Rule("403")])
    found = examined(case)
    assert found["connection"][0] == "not_ready"
    assert "qbo-attach login" in found["connection"][1]


def test_an_empty_tree_and_a_store_that_cannot_be_written_are_not_ready(
    case: Case, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("not a folder")
    found = examined(case, files_dir=str(tmp_path / "empty"), data_dir=str(tmp_path / "file"))
    assert found["FILES_DIR"][0] == "not_ready"
    assert "Attach folder" in found["FILES_DIR"][1]
    assert found["DATA_DIR"][0] == "not_ready"

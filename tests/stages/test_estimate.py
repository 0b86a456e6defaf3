"""`plan`: what would happen, before anything does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.estimating import ESTIMATE, EstimateRow
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.stages.case import Case, opened, plan_only
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


def test_a_plan_tells_what_it_takes_and_sends_nothing(case: Case, command: Command) -> None:
    plan_only(case.settings())
    status, out, err = command("plan")
    assert status == 0
    assert "By entity type" in out
    assert "By client" in out
    assert "missing_mapping" in out
    assert "bandwidth unknown: no earlier run has measured it" in err
    assert "500,000 reads a month" in err
    assert case.attachables() == []
    table = list(read_table(Store(case.sample.log_dir), ESTIMATE, EstimateRow))
    files = sum(case.sample.status_counts.values())
    for by in ("total", "entity_type", "client", "reason"):
        assert sum(int(row.number) for row in table if row.by == by) == files


def test_the_estimate_of_requests_is_what_the_run_then_takes(case: Case, command: Command) -> None:
    plan_only(case.settings())
    told = json.loads(command("plan", "--json")[1])["estimate"]
    before = dict(case.fake.ledger()["requests"])
    summary = case.run()
    after = case.fake.ledger()["requests"]
    assert told["upload_requests"] <= after["upload"] - before.get("upload", 0)
    assert after["upload"] <= 1.2 * told["upload_requests"] + 1
    assert summary.requests_sent <= after["upload"] + told["metered_reads"]
    assert told["by_entity_type"]


def test_a_second_plan_has_nothing_to_send(case: Case, command: Command) -> None:
    case.run()
    told = json.loads(command("plan", "--json")[1])["estimate"]
    assert (told["upload_requests"], told["metered_reads"], told["duration_s"]) == (0, 0, 0.0)
    _, _, err = command("plan")
    assert "Nothing is to be sent." in err

"""What stderr shows of a run: a terminal, a log file, a program that reads it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.cli.watching import Watch
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.whole import upload_and_report
from tests.stages.case import Case, opened, plan_only
from tests.stages.command import Command, commands, in_terminal


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


@pytest.fixture
def command(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    with commands(case, monkeypatch, capsys) as run:
        yield run


def test_json_progress_is_an_object_a_line_on_stderr(command: Command) -> None:
    status, out, err = command("run", "--progress", "json", "--json")
    assert status == 1
    assert json.loads(out)["run_id"]
    told = [json.loads(line) for line in err.splitlines()]
    stages = [line["stage"] for line in told if line["event"] == "stage"]
    assert stages == ["inventory", "mapping", "verify", "plan"]
    assert told[-1]["event"] == "end"
    assert told[-1]["exit_status"] == 1


def test_none_tells_what_each_stage_came_to_and_no_more(command: Command) -> None:
    _, out, err = command("run", "--progress", "none")
    assert "outcome:" in out
    assert "inventory: " in err
    assert "company: " not in err


def lines_of_a_watched_upload(
    case: Case, capsys: pytest.CaptureFixture[str], how: str, every_s: float = 0.02
) -> list[str]:
    settings = case.settings(files_per_request=1, qbo_requests_per_min=3_000)
    plan_only(settings)
    capsys.readouterr()
    with Watch(how, settings.qbo_requests_per_min, "upload", every_s) as watch:
        run = UploadRun(settings)
        watch.upload(run)
        upload_and_report(settings, run)
    return capsys.readouterr().err.splitlines()


def test_plain_lines_tell_done_of_total_rate_and_time_left(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of_a_watched_upload(case, capsys, "plain")
    assert lines.count("company: Fake Company 1234567890") == 1
    total = case.sample.outcome_counts["success"]
    told = [line for line in lines if f"of {total:,}" in line]
    assert any("requests a minute of 3,000" in line and " left" in line for line in told)
    assert "\x1b" not in "".join(lines)


def test_a_throttle_is_told_with_how_long_and_why(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.fake.company.plan.add([Rule("429", endpoint="upload", numbers=(5,), retry_after="2")])
    lines = lines_of_a_watched_upload(case, capsys, "json")
    told = [json.loads(line) for line in lines]
    waits = [line for line in told if line.get("wait_s", 0) > 0]
    assert waits
    assert "3001" in waits[0]["wait_reason"]
    assert any(line.get("wait_s") == 0 for line in told)


def test_a_terminal_shows_a_bar_and_leaves_nothing_of_it(case: Case) -> None:
    status, shown = in_terminal(case, "run", answers={"Type yes": "yes"})
    assert status == 1
    assert "\x1b[2K" in shown  # drawn, and wiped out again
    assert "\x1b[?25l" not in shown  # a cursor that is hidden would stay so after a kill
    assert "Fake Company" in shown
    assert "verify: " in shown


def test_no_color_is_heeded(case: Case) -> None:
    answers = {"Type yes": "yes"}
    _, shown = in_terminal(case, "run", answers=answers, more={"NO_COLOR": "1"})
    colours = [piece for piece in shown.split("\x1b[")[1:] if piece[:1] == "3" and "m" in piece[:4]]
    assert colours == []


def test_a_dumb_terminal_and_a_file_get_plain_lines(case: Case) -> None:
    _, shown = in_terminal(case, "run", answers={"Type yes": "yes"}, more={"TERM": "dumb"})
    assert "\x1b" not in shown
    assert "inventory: " in shown


def test_watching_ends_with_the_run_whatever_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), Watch("plain", 490):
        raise ZeroDivisionError
    assert set(threading.enumerate()) <= before


def test_what_is_on_its_way_is_not_called_in_doubt(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = [Rule("500_after", endpoint="upload", numbers=(8,))]
    case.fake.company.plan.add(rules)
    lines = lines_of_a_watched_upload(case, capsys, "json")
    doubts = {json.loads(line).get("in_doubt", 0) for line in lines}
    assert doubts == {0, 1}

"""`canary`: a few first, read back, then a person says whether the rest follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.fake_qbo.faults import Rule
from tests.stages.case import Case, opened
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


def test_only_so_many_are_sent_and_each_is_read_back(case: Case, command: Command) -> None:
    status, out, _ = command("canary", "7", "--only")
    assert status == 0
    lines = out.splitlines()
    assert len(lines) == len(case.attachables()) == 7
    assert all(line.startswith("equal\t") for line in lines)
    assert any("https://app.sandbox.qbo.intuit.com/app/" in line for line in lines)
    assert case.fake.ledger()["requests"]["download"] == 7
    assert len({line.split("\t")[2].split("?")[0] for line in lines}) >= 5


def test_with_yes_the_rest_follows_and_nothing_is_doubled(case: Case, command: Command) -> None:
    status, out, err = command("canary", "7", "--yes", "--json")
    assert status == 1, err  # the sample has rows that need a person
    told = json.loads(out)
    assert told["canary"]["passed"]
    assert len(told["canary"]["files"]) == 7
    assert told["run"]["counts"]["outcome"]["skipped_already_uploaded"] == 7
    assert len(case.attachables()) == case.sample.outcome_counts["success"]


def test_without_a_terminal_the_rest_waits_for_a_run(case: Case, command: Command) -> None:
    status, _, err = command("canary", "3")
    assert status == 3
    assert "The rest was not sent; qbo-attach run sends it." in err
    assert len(case.attachables()) == 3
    assert command("run")[0] == 1
    assert len(case.attachables()) == case.sample.outcome_counts["success"]


def test_a_canary_that_is_refused_holds_the_rest_back(case: Case, command: Command) -> None:
    case.fake.company.plan.add([Rule("refused", endpoint="upload", code="6000")])
    status, out, err = command("canary", "2", "--yes")
    assert status == 1
    assert all(line.startswith("not_sent\t") and "6000" in line for line in out.splitlines())
    assert "The rest was not sent: see what became of the canary first." in err
    assert case.attachables() == []


def test_bytes_that_come_back_differently_hold_the_rest_back(
    case: Case, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = case.fake.company.state.vault
    read = vault.read
    monkeypatch.setattr(vault, "read", lambda sha256: (bytes(len(p)) for p in read(sha256)))
    status, out, _ = command("canary", "2", "--yes")
    assert status == 1
    assert all(line.startswith("differs\t") for line in out.splitlines())
    assert len(case.attachables()) == 2


def test_nothing_to_send_needs_no_canary(case: Case, command: Command) -> None:
    case.run()
    status, out, err = command("canary", "5")
    assert (status, out) == (0, "")
    assert "no canary was needed" in err


@pytest.mark.parametrize("words", [("canary", "0"), ("canary", "5", "--only", "--yes")])
def test_what_makes_no_sense_is_refused(command: Command, words: tuple[str, ...]) -> None:
    assert command(*words)[0] == 2


@pytest.mark.parametrize(("answer", "held"), [("yes", "all"), ("no", "3")])
def test_a_person_decides_whether_the_rest_follows(case: Case, answer: str, held: str) -> None:
    answers = {"Is it the right one? Type yes": "yes", "still to be sent. Type yes": answer}
    status, shown = in_terminal(case, "canary", "3", answers=answers)
    assert "3 attachments are in QBO, each byte by byte as it was sent" in shown
    everything = case.sample.outcome_counts["success"]
    assert len(case.attachables()) == (everything if held == "all" else 3)
    assert status == (1 if held == "all" else 3)

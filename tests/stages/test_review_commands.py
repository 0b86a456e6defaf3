"""`reconcile` and `undo` as a person or a script meets them: lines, questions, exit statuses."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.tables import RECONCILIATION
from tests.stages.books import Books, elsewhere
from tests.stages.case import Case, opened
from tests.stages.command import Command, commands, environment

HOSTILE = "=cmd|' /C calc'!A0\x1b[2J\n+ fake line.pdf"


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


@pytest.fixture
def command(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs `qbo-attach WORDS`: exit status, stdout, stderr."""
    with commands(case, monkeypatch, capsys) as run:
        yield run


def test_equal_companies_print_nothing_on_stdout_and_exit_0(case: Case, command: Command) -> None:
    case.run()
    status, out, err = command("reconcile", "--sample", "10", "--seed", "7")
    assert (status, out) == (0, "")
    assert "= equal" in err
    assert "By digest, 10 drawn of 93 (seed 7): 0 differ" in err
    assert "at most 25.89% of all do" in err
    assert RECONCILIATION in err
    status, out, _ = command("reconcile", "--sample", "0", "--verbose")
    assert status == 0
    assert {line[0] for line in out.splitlines()} == {"="}
    assert len(out.splitlines()) == case.sample.status_counts["ok"]


def test_each_difference_is_one_line_with_rclones_mark(case: Case, command: Command) -> None:
    case.run()
    books = Books(case)
    books.delete(books.one())
    books.copy(books.one())
    books.change(books.one(), refs=elsewhere())
    theirs = books.seed("theirs.pdf", b"theirs", elsewhere())
    state = case.fake.company.state
    hostile = next(one for one in state.ledger.all() if one.id == theirs)
    books.change(hostile, fields={"FileName": HOSTILE})
    status, out, err = command("reconcile", "--full")
    assert status == 1
    assert "\x1b" not in out + err
    assert sorted(line[:2] for line in out.splitlines()) == ["* ", "+ ", "- ", "- "]
    assert sorted(line.split("\t")[1].partition(":")[0] for line in out.splitlines()) == [
        "doubled",
        "missing",
        "unknown",
        "wrong_entity",
    ]
    table = Path(case.sample.log_dir, RECONCILIATION).read_text(encoding="utf-8")
    assert "'=cmd" in table
    assert "Nothing is ever deleted here" in err


def test_what_others_put_there_is_no_difference_one_way(case: Case, command: Command) -> None:
    case.run()
    Books(case).seed("theirs.pdf", b"theirs", elsewhere())
    assert command("reconcile", "--sample", "0")[0] == 1
    status, out, _ = command("reconcile", "--sample", "0", "--one-way")
    assert (status, out[:2]) == (0, "- ")


def test_json_is_one_object_and_a_repair_ends_with_what_is_left(
    case: Case, command: Command
) -> None:
    case.run()
    books = Books(case)
    for _ in range(3):
        books.delete(books.one())
    status, out, err = command("reconcile", "--full", "--repair", "--json")
    assert status == 0, err
    told = json.loads(out)
    assert set(told) == {"counts", "proof", "files", "requests_sent"}
    assert told["counts"] == {"equal": 93, "duplicate_content": 4}
    assert told["proof"]["compared"] == told["proof"]["of"] == 93
    assert told["proof"]["upper_bound"] == 0.0
    assert "success 3" in err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("reconcile",), 2, "run the stage that writes it"),
        (("reconcile", "--sample", "-1"), 2, "must be a whole number from 0"),
        (("undo", "--run", "R"), 2, "has no such run. Its latest: none"),
        (("undo", "--run", "R", "--entity", "Bill"), 2, "such as Bill:12"),
    ],
)
def test_what_cannot_be_started_is_told_in_one_sentence(
    command: Command, words: tuple[str, ...], status: int, said: str
) -> None:
    found, out, err = command(*words)
    assert (found, out) == (status, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_an_undo_prints_what_went_and_that_it_would_be_sent_again(
    case: Case, command: Command
) -> None:
    run = case.run()
    books = Books(case)
    edited = books.change(books.one())
    status, out, err = command("undo", "--run", run.run_id, "--yes")
    assert status == 1
    lines = out.splitlines()
    assert len(lines) == 93
    assert sum(line.startswith("deleted\t") for line in lines) == 92
    assert [edited in line for line in lines if line.startswith("changed\t")] == [True]
    assert "undo: changed 1, deleted 92" in err
    assert "The next run sends these files again." in err
    assert [one["Id"] for one in case.attachables()] == [edited]


@pytest.mark.parametrize(("answer", "status", "held"), [("yes", 0, 0), ("y", 2, 93)])
def test_a_terminal_is_asked_first(case: Case, answer: str, status: int, held: int) -> None:
    run = case.run()
    ours, theirs = pty.openpty()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "qbo_attach.cli", "undo", "--run", run.run_id],
        env={**kept, **environment(case), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=case.sample.url,
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = ""
        while "Type yes" not in said:
            said += os.read(ours, 4_096).decode()
        assert "93 attachables" in said
        assert "Fake Company" in said
        assert len(case.attachables()) == 93
        os.write(ours, f"{answer}\n".encode())
        assert process.wait(40) == status
    os.close(ours)
    assert len(case.attachables()) == held

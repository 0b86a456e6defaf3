"""Undo under deaths, full disks and rivals: each attachable goes once, and the undo ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core.chain import Deleting
from qbo_attach.core.errors import LeaseHeldError, StoppedError, StorageError
from qbo_attach.engine import undoing
from qbo_attach.engine.writer import LogWriter
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.stages import undo as stage
from qbo_attach.stages.plan import run_plan
from qbo_attach.stages.undo import find_undoable, run_undo
from qbo_attach.storage.files import Store
from qbo_attach.storage.holder import this_holder
from qbo_attach.storage.runlog import read_chain, read_segments
from tests.stages.case import REALM, Case, opened
from tests.stages.undoing import gone, ids, log, made_by, on_deletes, undone


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undos of this test are written as those of a process that has ended since."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    ended = replace(this_holder(), pid=process.pid, started="1")
    monkeypatch.setattr(stage, "this_holder", lambda: ended)


class Died(BaseException):
    """The process is no more: every later step of it raises this too."""


@pytest.mark.parametrize(("nth", "effect"), [(1, True), (7, True), (13, False)])
def test_an_undo_that_dies_at_a_delete_goes_on_when_it_is_run_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, short_lived: None, nth: int, effect: bool
) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    monkeypatch.setattr(undoing, "CHUNK", 25)
    monkeypatch.setattr(undoing, "BATCH_ITEMS", 5)

    def dying(number: int, when: str) -> None:
        if number > nth or (number == nth and not (effect and when == "before")):
            raise Died

    with monkeypatch.context() as patch:
        on_deletes(patch, dying)
        with pytest.raises(Died):
            undone(case, run.run_id)
    dead = gone(case)
    assert len(dead) < len(made)
    history = read_chain(Store(case.sample.log_dir), REALM).history
    assert 0 < len(history.deleting) <= 25
    # What is gone was noted before.
    noted = {
        record.attachable_id
        for _, records in read_segments(Store(case.sample.log_dir), REALM)
        for record in records
        if isinstance(record, Deleting)
    }
    assert set(dead) <= noted

    settings = case.settings(existing="off")
    assert any(f"undo --run {run.run_id} again" in note for note in run_plan(settings).notes)

    done = undone(case, run.run_id)
    assert (done.stopped, done.exit_status) == ("", 0)
    assert sorted(gone(case)) == sorted(made)
    assert case.attachables() == []
    told = [row.qbo_attachable_id for row in log(case) if row.outcome == "deleted"]
    assert sorted(told) == sorted(made)
    history = read_chain(Store(case.sample.log_dir), REALM).history
    assert (history.rows.keys(), history.deleting) == (0, {})
    assert undone(case, run.run_id).counts == {}


def test_a_run_between_two_halves_of_an_undo_sends_what_is_surely_gone_alone(
    case: Case, monkeypatch: pytest.MonkeyPatch, short_lived: None
) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    case.fake.company.plan.add([Rule("403", endpoint="batch", numbers=(2,))])
    first = undone(case, run.run_id)
    case.fake.company.plan.clear()
    assert 0 < first.counts["deleted"] < len(made)
    between = case.run(vanished="keep")
    assert between.outcomes["success"] == first.counts["deleted"]
    second = undone(case, run.run_id)
    assert second.counts["deleted"] == len(made) - first.counts["deleted"]
    assert ids(case) == made_by(case, between.run_id)


def env(case: Case, **given: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **kept,
        **case.sample.environment(base_url=case.fake.base_url, realm_id=REALM),
        "QBO_REQUESTS_PER_MIN": "60000",
        "QBO_SETTLE_S": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **given,
    }


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "qbo_attach.cli", "undo", *words]


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.proof)]
)
def test_a_process_that_is_killed_half_way_is_followed_by_one_that_finishes(
    case: Case, number: signal.Signals
) -> None:
    run = case.run()
    made = made_by(case, run.run_id)
    behaviour = case.fake.company.state.behaviour
    case.fake.company.state.behaviour = behaviour.changed({"latency_ms": 150})
    process = subprocess.Popen(
        command("--run", run.run_id, "--yes"),
        env=env(case, QBO_REQUESTS_PER_MIN="490"), cwd=case.sample.url, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until = time.monotonic() + 40
    while len(gone(case)) < 15 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=40)
    case.fake.company.state.behaviour = behaviour
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 3, said
        assert "run it again to go on" in said
        assert read_chain(Store(case.sample.log_dir), REALM).history.deleting == {}
    assert 15 <= len(gone(case)) < len(made)
    again = subprocess.run(
        command("--run", run.run_id, "--yes", "--json"),
        env=env(case), cwd=case.sample.url, text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["undoes"] == run.run_id
    assert sorted(gone(case)) == sorted(made)
    told = [row.qbo_attachable_id for row in log(case) if row.outcome == "deleted"]
    assert sorted(told) == sorted(made)


@pytest.mark.parametrize(("kind", "done"), [("hang", True), ("hang_before", False)])
def test_a_process_that_is_killed_between_a_batch_and_its_record_is_followed_by_one_that_looks(
    case: Case, kind: str, done: bool
) -> None:
    """The second batch has had its effect (or not), and its answer never came."""
    run = case.run()
    made = made_by(case, run.run_id)
    case.fake.company.plan.add([Rule(kind, endpoint="batch", numbers=(2,), times=1)])
    process = subprocess.Popen(
        command("--run", run.run_id, "--yes"),
        env=env(case), cwd=case.sample.url, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until = time.monotonic() + 40
    left = 0 if done else 30
    while len(gone(case)) < len(made) - left and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=40)
    assert process.returncode == -signal.SIGKILL
    dead = gone(case)
    assert len(dead) == len(made) - left
    deleting = read_chain(Store(case.sample.log_dir), REALM).history.deleting
    assert len(deleting) == len(made)
    again = subprocess.run(
        command("--run", run.run_id, "--yes", "--json"),
        env=env(case), cwd=case.sample.url, text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert sorted(gone(case)) == sorted(made)
    told = {row.qbo_attachable_id: row.error for row in log(case) if row.outcome == "deleted"}
    assert set(told) == made
    assert {one for one, why in told.items() if "cut off had arrived" in why} == set(dead)


def test_without_a_terminal_nothing_is_deleted_unless_yes_is_given(case: Case) -> None:
    run = case.run()
    held = ids(case)
    done = subprocess.run(
        command("--run", run.run_id), stdin=subprocess.DEVNULL,
        env=env(case), cwd=case.sample.url, text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "give --yes" in done.stderr
    dry = subprocess.run(
        command("--run", run.run_id, "--dry-run"), stdin=subprocess.DEVNULL,
        env=env(case), cwd=case.sample.url, text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert dry.returncode == 0, dry.stderr
    assert len(dry.stdout.splitlines()) == len(held)
    assert "Nothing was deleted" in dry.stderr
    assert ids(case) == held


def test_two_undos_at_one_time_are_one(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    run = case.run()
    settings = case.settings()
    undoable = find_undoable(settings, run.run_id)
    refused: list[str] = []

    def another(*_: object) -> None:
        if not refused:
            try:
                run_undo(settings, undoable)
            except (LeaseHeldError, RuntimeError) as error:
                refused.append(str(error))

    import threading

    threads: list[threading.Thread] = []

    def start(*_: object) -> None:
        if not threads:
            threads.append(threading.Thread(target=another))
            threads[0].start()
            threads[0].join(20)

    done = run_undo(settings, undoable, start)
    assert refused
    assert "another run works on this realm" in refused[0]
    assert done.exit_status == 0
    assert case.attachables() == []


@pytest.mark.parametrize("segments", [1, 3, 5, 6, 7])
def test_a_log_that_takes_no_more_ends_the_undo_and_the_next_one_finishes(
    case: Case, monkeypatch: pytest.MonkeyPatch, short_lived: None, segments: int
) -> None:
    """After the start, amid the chunks, at the last outcomes, at the end, at the snapshot."""
    run = case.run()
    made = made_by(case, run.run_id)
    monkeypatch.setattr(undoing, "CHUNK", 25)
    link, left = os.link, [segments]

    def failing(source: str, target: str) -> None:
        if target.endswith(".jsonl"):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device")
        link(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", failing)
        done = undone(case, run.run_id)
    assert done.exit_status == 3
    assert "No space left" in done.stopped
    assert len(gone(case)) == {1: 0, 3: 50}.get(segments, len(made))
    assert undone(case, run.run_id).exit_status == 0
    assert sorted(gone(case)) == sorted(made)
    told = [row.qbo_attachable_id for row in log(case) if row.outcome == "deleted"]
    assert sorted(told) == sorted(made)


def test_an_undo_that_dies_at_each_of_its_writes_in_turn_comes_to_its_end(
    case: Case, monkeypatch: pytest.MonkeyPatch, short_lived: None
) -> None:
    """The first attempt dies at its first segment, the second at its second, before it or after."""
    run = case.run()
    made = made_by(case, run.run_id)
    monkeypatch.setattr(undoing, "CHUNK", 20)
    link = os.link
    left, written = 0, False

    def dying(source: str, target: str) -> None:
        nonlocal left
        if target.endswith(".jsonl"):
            left -= 1
            if left < 0 or (left == 0 and not written):
                raise Died
        link(source, target)
        if target.endswith(".jsonl") and left == 0:
            raise Died

    def no_more(_: int, when: str) -> None:
        if left <= 0 and when == "before":
            raise Died

    monkeypatch.setattr(os, "link", dying)
    on_deletes(monkeypatch, no_more)
    attempts = 0
    done = None
    while done is None:
        attempts += 1
        left, written = (attempts + 1) // 2, attempts % 2 == 0
        try:
            done = undone(case, run.run_id)
        except Died:
            assert attempts < 40
    assert attempts > 5
    assert sorted(gone(case)) == sorted(made)
    assert case.attachables() == []
    told = [row.qbo_attachable_id for row in log(case) if row.outcome == "deleted"]
    assert sorted(told) == sorted(made)


def test_a_stop_while_the_run_log_is_read_ends_the_undo_with_nothing_deleted(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the reading takes longer than what is under way is given to end."""
    run = case.run()
    made = made_by(case, run.run_id)
    reading = threading.Event()

    def slowly(store: Store, realm_id: str) -> Iterator[Any]:
        reading.set()
        time.sleep(2)
        yield from read_segments(store, realm_id)

    def stoppable(stop: Callable[[Exception], None]) -> None:
        def when_it_reads() -> None:
            reading.wait()
            stop(StoppedError("stopped by a person"))

        threading.Thread(target=when_it_reads).start()

    settings = case.settings(drain_s="0.2")
    undoable = find_undoable(settings, run.run_id)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "read_segments", slowly)
        done = run_undo(settings, undoable, stoppable=stoppable)
    assert (done.exit_status, done.stopped) == (3, "stopped by a person")
    assert gone(case) == []
    assert undone(case, run.run_id).counts == {"deleted": len(made)}


def test_a_run_log_whose_older_part_cannot_be_read_holds_no_delete_up(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the rows are without what it would have told."""
    run = case.run()
    made = made_by(case, run.run_id)

    def broken(store: Store, realm_id: str) -> Iterator[Any]:
        yield next(read_segments(store, realm_id))
        raise StorageError("runlog", "cannot be read")

    monkeypatch.setattr(stage, "read_segments", broken)
    assert undone(case, run.run_id).counts == {"deleted": len(made)}
    assert sorted(gone(case)) == sorted(made)
    told = [row for row in log(case) if row.outcome == "deleted"]
    assert all(row.qbo_entity_id and row.sent_file_name for row in told)
    assert not all(row.client for row in told)


def test_an_undo_whose_log_cannot_be_written_keeps_the_realm_from_nobody(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = case.run()
    made = made_by(case, run.run_id)

    def full(*_: object) -> bool:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(LogWriter, "flush", full)
        with pytest.raises(OSError, match="no space"):
            undone(case, run.run_id)
    assert undone(case, run.run_id).counts == {"deleted": len(made)}

"""SIGINT and SIGTERM to the real process: what is in flight is let in, what is left can go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from qbo_attach.core.tables import RUNLOG, RunLogRow
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import read_chain
from tests.stages.case import REALM, Case, opened

SENDERS = 10


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """A company that answers after a while, so that requests are in flight at any moment."""
    yield from opened(tmp_path, latency_ms=250)


@contextmanager
def started(case: Case, **given: str) -> Iterator[subprocess.Popen[str]]:
    """`qbo-attach run` as a person starts it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = {
        **kept,
        **case.sample.environment(base_url=case.fake.base_url, realm_id=REALM),
        "QBO_REQUESTS_PER_MIN": "60000",
        "QBO_SETTLE_S": "0",
        "FILES_PER_REQUEST": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **given,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "qbo_attach.cli", "run"],
        env=env,
        cwd=case.sample.url,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that runs in the background hands down that Ctrl-C is to be ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def uploads(case: Case) -> int:
    return case.fake.company.state.requests["upload"]


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not reached():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.005)


def outcomes(case: Case) -> Counter[str]:
    """The latest run's, from the table that it left."""
    rows = list(read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow))
    return Counter(row.outcome for row in rows if row.run_id == rows[-1].run_id)


def goes_on_to_the_end(case: Case) -> bool:
    """A later run sends what is left; the one after it nothing; each file is there once."""
    case.fake.company.plan.clear()
    case.fake.company.state.behaviour = case.fake.company.state.behaviour.changed({"latency_ms": 0})
    summary = case.run()
    assert (summary.stopped, summary.exit_status) == ("", 1)
    assert case.run().requests_sent == 0
    assert case.differences(second_run=True) == []
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_in_what_is_in_flight_and_sends_no_more(
    case: Case, number: signal.Signals
) -> None:
    with started(case) as process:
        wait_for(process, lambda: uploads(case) >= 15)
        process.send_signal(number)
        at_the_signal = uploads(case)
        said_out, said = process.communicate(timeout=30)
    assert process.returncode == 3, said
    assert uploads(case) <= at_the_signal + SENDERS
    assert f"qbo-attach: stopped by {number.name}; run again to go on" in said
    assert "again to stop at once" in said

    # Every request whose body left has its outcomes; what did not leave is named as such.
    assert len(read_chain(Store(case.sample.log_dir), REALM).history.doubts) == 0
    found = outcomes(case)
    assert found["success"] == len(case.attachables()) <= uploads(case)
    expected = case.sample.outcome_counts
    twins = expected["duplicate_content"] - found["duplicate_content"]
    assert 0 <= twins <= expected["duplicate_content"], "those of files that were not sent"
    assert found["not_sent"] == expected["success"] - found["success"] + twins > 0
    assert re.search(rf"not_sent +{found['not_sent']}  run again\n", said_out)
    assert goes_on_to_the_end(case)


def test_what_does_not_come_in_within_drain_s_stays_in_doubt_and_is_adopted_later(
    case: Case,
) -> None:
    case.fake.company.plan.add([Rule("hang", endpoint="upload", numbers=(5, 6, 7))])
    with started(case, DRAIN_S="1") as process:
        wait_for(process, lambda: uploads(case) >= 15)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert 1 <= time.monotonic() - began < 10
    assert process.returncode == 3, said
    assert outcomes(case)["in_doubt"] == 3
    assert goes_on_to_the_end(case)


def test_a_second_signal_stops_at_once_and_the_next_run_doubles_nothing(case: Case) -> None:
    case.fake.company.plan.add([Rule("hang", endpoint="upload", numbers=(12,))])
    with started(case, DRAIN_S="60") as process:
        wait_for(process, lambda: uploads(case) >= 15)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while "again to stop at once" not in process.stderr.readline():
            assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        assert time.monotonic() - began < 2
    assert process.returncode == -signal.SIGINT
    assert goes_on_to_the_end(case)


def test_a_signal_while_the_run_opens_its_session_is_not_forgotten(case: Case) -> None:
    case.fake.company.plan.add([Rule("latency", endpoint="companyinfo", seconds=1)])
    with started(case, EXISTING="off") as process:
        wait_for(process, lambda: sum(case.fake.company.state.requests.values()) > 0)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 3, said
    assert "stopped by SIGTERM" in said
    assert uploads(case) == 0
    assert goes_on_to_the_end(case)


def test_an_interrupt_before_anything_is_sent_is_told_in_one_sentence(case: Case) -> None:
    with started(case) as process:
        wait_for(process, lambda: Path(case.sample.log_dir).exists())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 3, said
    assert "Traceback" not in said
    assert goes_on_to_the_end(case)

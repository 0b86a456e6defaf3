"""Blocking work beside the loop: it waits for no other work, and no process waits for it."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from qbo_attach.storage.place import in_own_thread


def test_work_does_not_wait_for_work_that_hangs() -> None:
    release = threading.Event()
    hanging = [in_own_thread(release.wait) for _ in range(40)]
    try:
        assert in_own_thread(lambda: "done").result(30) == "done"
        assert not any(one.done() for one in hanging)
    finally:
        release.set()
    assert all(one.result(30) for one in hanging)


def test_a_thread_that_has_nothing_to_do_is_used_again() -> None:
    threads = [in_own_thread(threading.current_thread).result(30) for _ in range(200)]
    assert len(set(threads)) < 20


def test_what_the_work_raises_is_told_and_its_thread_goes_on() -> None:
    with pytest.raises(ZeroDivisionError):
        in_own_thread(lambda: 1 // 0).result(30)
    assert in_own_thread(lambda: 1).result(30) == 1


ENDS = """
import threading
from qbo_attach.storage.place import in_own_thread
in_own_thread(lambda: 1).result(30)
in_own_thread(threading.Event().wait)
"""

FORKS = """
import os, time
from qbo_attach.storage import place
place.in_own_thread(lambda: 1).result(30)
while not place._IDLE:
    time.sleep(0.001)
child = os.fork()
if not child:
    os._exit(place.in_own_thread(lambda: 7).result(30))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(ENDS, id="ends while work hangs"),
        pytest.param(
            FORKS,
            id="forks",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there"),
        ),
    ],
)
def test_a_process_ends_whatever_its_threads_do(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], timeout=50, check=False)
    assert done.returncode == 0

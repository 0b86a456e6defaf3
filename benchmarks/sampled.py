"""Run a `qbo-attach` command and sample where its CPU goes: sampled.py OUT.json WORDS...

Counts samples by room; see `ROOMS`. The interpreter may look only between two of its
instructions, so what C does at one go (a digest, a system call) is seen from the line that called
it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY_S = 0.002
ROOMS = (
    ("digest", ("qbo_attach/engine/groups.py",)),
    ("read the files", ("storage/disk.py", "storage/s3", "storage/remote.py", "stages/sources.py")),
    ("multipart", ("qbo_attach/qbo/multipart.py", "qbo_attach/qbo/body.py")),
    ("HTTP client", ("/httpx/", "/httpcore/", "/h11/", "/anyio/", "qbo_attach/qbo/")),
    (
        "run log",
        (
            "core/chain.py",
            "core/history.py",
            "core/done.py",
            "storage/runlog.py",
            "storage/done_file.py",
            "storage/hash_index.py",
            "engine/writer.py",
        ),
    ),
    (
        "tables (plan, report)",
        (
            "core/tables.py",
            "storage/artifacts.py",
            "storage/table_writer.py",
            "stages/report.py",
            "stages/batches.py",
            "core/reporting.py",
            "core/planning.py",
            "stages/upload.py",
        ),
    ),
    ("session, answers, packing", ("qbo_attach/engine/", "qbo_attach/core/")),
    ("start-up", ("importlib", "qbo_attach/cli/", "qbo_attach/settings.py")),
    ("event loop", ("/asyncio/", "/concurrent/", "selectors.py")),
)
WAITING = frozenset(
    {"wait", "select", "acquire", "get", "join", "_worker", "_wait_for_tstate_lock"}
)
"""Innermost functions of threads that do nothing."""


def room(frame: FrameType | None) -> str:
    """What a stack is at work on: the first room, innermost frame first; the event loop last."""
    found = ""
    while frame is not None:
        path = frame.f_code.co_filename
        for name, places in ROOMS:
            if any(place in path for place in places):
                if name != "event loop":
                    return name
                found = name
                break
        frame = frame.f_back
    return found or "other"


def main() -> None:
    """Run the command within this process."""
    from qbo_attach.cli import main as command

    out = Path(sys.argv[1])
    sys.argv = ["qbo-attach", *sys.argv[2:]]
    seen: Counter[str] = Counter()

    def look(_number: int, frame: FrameType | None) -> None:
        # Of this thread the frame that was interrupted, not this function's.
        frames = {**sys._current_frames(), -1: frame}  # noqa: SLF001 - the one way there is
        mine = sys._getframe()  # noqa: SLF001
        for each in frames.values():
            if each is not None and each is not mine and each.f_code.co_name not in WAITING:
                seen[room(each)] += 1

    run = threading.Thread.run

    def run_undisturbed(self: threading.Thread) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
        run(self)

    # The signal must wake this thread, which is the one that Python lets look; and whoever runs
    # must let it soon, or what is seen is mostly calls that let others run by themselves.
    threading.Thread.run = run_undisturbed  # type: ignore[method-assign]
    sys.setswitchinterval(0.0001)
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    try:
        command()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write_text(json.dumps(seen))


if __name__ == "__main__":
    main()

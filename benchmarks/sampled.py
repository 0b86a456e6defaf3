"""Run a `qbo-attach` command and sample where its CPU goes: sampled.py OUT.json WORDS...

Tells CPU seconds by room; see `ROOMS`. Each look charges a thread's room with the CPU time that
this thread has used since it was last charged, so that a thread which only waits for its turn
costs nothing. The interpreter may look only between two of its instructions, so what C does at one
go (a digest, a system call) is seen from the line that called it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY_S = 0.002
ROOMS = (
    ("digest", ("engine/groups.py:_read", "engine/groups.py:pieces")),
    (
        "read the files",
        (
            "storage/disk.py:read_",
            "storage/disk.py:_read_small",
            "storage/disk.py:_in_thread",
            "storage/disk.py:_open_listed",
            "storage/disk.py:_check_open",
            "storage/disk.py:work",
            "storage/disk.py:_as_listed",
            "storage/place.py",
            "storage/s3",
            "storage/remote.py",
            "stages/sources.py",
        ),
    ),
    ("multipart", ("qbo_attach/qbo/multipart.py", "qbo_attach/qbo/body.py")),
    ("reading answers", ("qbo/envelopes.py", "qbo/wire.py:read_", "qbo/wire.py:_item")),
    ("HTTP client", ("/httpx/", "/httpcore/", "/h11/", "/anyio/", "qbo_attach/qbo/")),
    (
        "run log",
        (
            "storage/disk.py:create_once",
            "core/chain.py",
            "core/segments.py",
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
    ("session, packing", ("qbo_attach/engine/", "qbo_attach/core/")),
    ("start-up", ("importlib", "qbo_attach/cli/", "qbo_attach/settings.py")),
    ("event loop", ("/asyncio/", "/concurrent/", "selectors.py")),
)
"""Parts of `path:function`; of a path alone, all its functions."""
WAITING = frozenset(
    {"wait", "select", "acquire", "get", "join", "_work", "_worker", "_wait_for_tstate_lock"}
)
"""Innermost functions of threads that do nothing: what such a thread did before is charged to
where it is met next."""


def room(frame: object) -> str:
    """What a stack is at work on: the first room, innermost frame first; the event loop last.

    Python has been met to give, once in ten thousands of looks, what is no frame for a thread that
    was just calling something; there the stack ends.
    """
    found = ""
    while isinstance(frame, FrameType):
        where = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        for name, places in ROOMS:
            if any(place in where for place in places):
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
    seen: dict[str, float] = Counter()  # type: ignore[assignment]  # typeshed: counts are int
    charged: dict[int, float] = {}

    def look(_number: int, frame: FrameType | None) -> None:
        # Of this thread the frame that was interrupted, not this function's.
        frames = sys._current_frames() | {threading.get_ident(): frame}  # noqa: SLF001 - the one way
        for thread, each in frames.items():
            if not isinstance(each, FrameType) or each.f_code.co_name in WAITING:
                continue
            used = time.clock_gettime(time.pthread_getcpuclockid(thread))
            before = charged.get(thread, 0.0)
            charged[thread] = used
            # An ended thread's number may be another's now.
            seen[room(each)] += used - before if used >= before else used

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
        seen["not seen"] = max(0.0, time.process_time() - sum(seen.values()))
        out.write_text(json.dumps(seen))


if __name__ == "__main__":
    main()

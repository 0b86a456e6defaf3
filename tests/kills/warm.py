"""A process that has imported everything, and forks a process of `qbo-attach run` at each order.

Starting Python anew costs a second of CPU, a fork a hundredth. What is forked is a process of its
own all the same, with its own pid, threads and sockets, and dies as such. Orders and answers are
lines of JSON on stdin and stdout; see `serve`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from qbo_attach import cli
from qbo_attach.stages import report, whole
from qbo_attach.storage import s3
from tests.kills.points import Points, install

IMPORTED = (whole, report, s3)
"""What the command line would import only when it is needed."""


def serve() -> None:
    """Carry out orders until stdin ends.

    An order has `command`, `env`, `folder` (to work in; gets `out`, `err` and `census.json`), `point` and `nth`
    (see `Points`), and `delay_s`: kill from outside after so long, None for not.
    The answer has `status`: the exit status, or minus the signal's number; and `seconds`.
    """
    for line in sys.stdin:
        order = json.loads(line)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _be_the_run(order)
        status = _awaited(pid, order["delay_s"], began)
        print(json.dumps({"status": status, "seconds": time.monotonic() - began}), flush=True)


def _awaited(pid: int, delay_s: float | None, began: float) -> int:
    while delay_s is not None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - began >= delay_s:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.001)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _be_the_run(order: dict[str, Any]) -> None:
    """In the child: become `qbo-attach COMMAND --json`; never returns."""
    status = 70
    try:
        folder = Path(order["folder"])
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(order["env"])
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        random.seed()
        sys.argv = ["qbo-attach", order["command"], "--json"]
        points = Points(order["point"], order["nth"])
        install(points)
        try:
            cli.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        (folder / "census.json").write_text(json.dumps(points.passes), encoding="utf-8")
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve()

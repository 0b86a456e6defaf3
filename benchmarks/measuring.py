"""Timing whole commands: wall clock, CPU and peak memory of the process and what it started."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LAUNCHER = """
import json, os, sys, time
report = int(sys.argv[1])
os.set_inheritable(report, False)
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
wall_s = time.perf_counter() - began
cpu_s = usage.ru_utime + usage.ru_stime
told = os.waitstatus_to_exitcode(status), wall_s, cpu_s, usage.ru_maxrss / 1024
os.write(report, json.dumps(told).encode())
"""
"""Starts a command. Linux counts the memory of whoever starts a process into that one's peak, and
the process of the benchmarks grows with the data that it makes; this one is small."""


@dataclass(frozen=True)
class Command:
    """A command to time. `before` makes the ground even for each run (it is not timed).

    `at_most` runs, however many the others get: for what takes minutes. `printed` is called with
    what the command printed, after each run.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None
    ok: tuple[int, ...] = (0,)
    at_most: int = 1_000
    printed: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Figures:
    """Medians over the runs of one command, with the lowest and highest wall time."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    lowest_s: float
    highest_s: float
    runs: int


@dataclass(frozen=True)
class _Run:
    wall_s: float
    cpu_s: float
    peak_mib: float


def timed(command: Command, cwd: Path) -> _Run:
    """Run it once.

    Raises:
        RuntimeError: it failed; the message has its last words.
    """
    command.before()
    words = cwd / "words.txt"
    told, report = os.pipe()
    with words.open("wb") as stream, os.fdopen(told, "rb") as answer:
        try:
            launcher = subprocess.Popen(
                [sys.executable, "-S", "-c", _LAUNCHER, str(report), *map(str, command.argv)],
                env={**_environment(), **command.env},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=(report,),
            )
        finally:
            os.close(report)
        facts = answer.read()
        launcher.wait()
    status, *figures = json.loads(facts or b"[-1, 0, 0, 0]")
    if status not in command.ok:
        last = words.read_text("utf-8", "replace")[-2_000:]
        raise RuntimeError(f"{' '.join(command.argv)} ended with {status}:\n{last}")
    command.printed(words.read_text("utf-8", "replace"))
    return _Run(*figures)


def _environment() -> dict[str, str]:
    """Ours, but that byte code is kept: else whoever's sources are newer compiles at each start."""
    return {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}


def compared(commands: Mapping[str, Command], cwd: Path, runs: int) -> dict[str, Figures]:
    """Time commands in turn, round by round, so that what disturbs one disturbs all."""
    measured: dict[str, list[_Run]] = {name: [] for name in commands}
    for number in range(runs):
        for name, command in commands.items():
            if number < command.at_most:
                measured[name].append(timed(command, cwd))
    return {name: _median(one) for name, one in measured.items()}


def _median(runs: list[_Run]) -> Figures:
    walls = [run.wall_s for run in runs]
    return Figures(
        statistics.median(walls),
        statistics.median(run.cpu_s for run in runs),
        statistics.median(run.peak_mib for run in runs),
        min(walls),
        max(walls),
        len(runs),
    )

"""Prefect's share: the same migration through the flow and by `qbo-attach run`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values

from benchmarks.bench import ROOT, Bench, Section, at_most, ours
from benchmarks.ground import Company, Workspace
from benchmarks.measuring import Command
from benchmarks.servers import FreshFake, free_port, process
from benchmarks.uploads import UNLIMITED, settled

GROUP, PER_MINUTE, ROUNDS = 10, 490, 3
METHOD = (
    (
        "All stages and the upload of every file (of one byte, so that only what is per file "
        "counts), by `qbo-attach run` and by `python -m flows.migrate` with a Prefect "
        "server of its own (deployments/server.env, SQLite), each without a run log and a plan, "
        f"into an empty fake company, in groups of {GROUP}, limits off; medians of three rounds, "
        "in which no task's result is taken from the cache."
    ),
    (
        "The flow's upload tasks take batches of 500. The server's own CPU while the flow runs, "
        "in its process, is not in the flow's figure and shown apart."
    ),
    (
        "The share is the flow's wall time beyond the run's, over the time that the run takes "
        f"at {PER_MINUTE} requests a minute. What Prefect does for each batch would there "
        "happen while the pace holds requests back; what it does each minute (twelve updates of "
        "the progress) happens more often there than here. Below nothing, the share is less than "
        "what the machine's own minutes differ by."
    ),
)


def measure(bench: Bench) -> Section:
    """Three rounds; each command alone takes minutes."""
    section = Section("Prefect's share", METHOD)
    files = bench.size(170_000, 200)
    workspace = Workspace(bench.scratch / f"tree-{files}")
    Company(files, bench.seed).make_tree(workspace, size_bytes=1)
    with _server(bench) as (server_env, pid), FreshFake(bench.scratch) as fake:
        env = {
            "QBO_BASE_URL": fake.url,
            "QBO_REQUESTS_PER_MIN": UNLIMITED,
            "FILES_PER_REQUEST": str(GROUP),
        }

        def before() -> None:
            Path(workspace.log / "upload_plan.csv").unlink(missing_ok=True)
            workspace.forget_uploads()
            fake.begin()

        server_cpu_s: list[float] = []

        def after(_: str) -> None:
            settled(fake.now, files, limits=False)

        def before_flow() -> None:
            before()
            server_cpu_s.append(-cpu_s(pid))

        def after_flow(said: str) -> None:
            server_cpu_s[-1] += cpu_s(pid)
            after(said)

        run = ours(workspace, "run", **env)
        flow = Command(
            (sys.executable, "-m", "flows.migrate"),
            {**workspace.env(**env), **server_env, "PYTHONPATH": str(ROOT)},
        )
        commands = {
            "qbo-attach run": dataclasses.replace(run, before=before, printed=after),
            "python -m flows.migrate": dataclasses.replace(
                flow, before=before_flow, printed=after_flow
            ),
        }
        found = bench.compared(commands, runs=1 if bench.quick else ROUNDS)
        server_s = statistics.median(server_cpu_s)
    section.compare(f"{files:,} files, everything", found)
    beyond = found["python -m flows.migrate"].wall_s - found["qbo-attach run"].wall_s
    paced_s = files / GROUP / PER_MINUTE * 60
    section.notes.append(
        f"Beyond the run: {beyond:.1f} s wall, "
        f"{found['python -m flows.migrate'].cpu_s - found['qbo-attach run'].cpu_s:.1f} s CPU in "
        f"the flow's process, {server_s:.1f} s CPU in the server's. With limits off "
        f"that is {beyond / found['qbo-attach run'].wall_s:.1%} of the run; at {PER_MINUTE} "
        f"requests a minute the run takes {paced_s / 60:.1f} minutes at least."
    )
    share = beyond / paced_s * 100
    name = f"Prefect's share of a run of {files:,}"
    section.goals.append(at_most(name, 5, share, " %", decides=bench.decides))
    return section


@contextlib.contextmanager
def _server(bench: Bench) -> Iterator[tuple[dict[str, str], int]]:
    """A Prefect server; the environment of what uses it, and its process id."""
    port = free_port()
    shutil.rmtree(bench.folder("prefect-server"))
    home = bench.folder("prefect-server")
    settings = dotenv_values(ROOT / "deployments" / "server.env")
    env = {
        **{name: value or "" for name, value in settings.items()},
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_TASKS_REFRESH_CACHE": "true",
    }
    program = str(Path(sys.executable).with_name("prefect"))
    command = ("env", *(f"{k}={v}" for k, v in env.items()), program, "server", "start")
    url = f"http://127.0.0.1:{port}/api/health"
    with process(command, url, bench.folder("cwd") / "prefect.log") as server:
        yield env, server.pid


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, and of its children that live."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            if int(stat.parent.name) == pid or int(words[1]) == pid:
                ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")

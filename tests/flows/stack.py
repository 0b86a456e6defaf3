"""A Prefect server with workers, started as the README says, for proofs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Stack:
    """Where the server is and what its processes get; `environment` is that of server.env."""

    folder: Path
    port: int = field(default_factory=free_port)
    more: dict[str, str] = field(default_factory=dict)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("QBO_", "PREFECT_"))}
        server = {k: v or "" for k, v in dotenv_values(ROOT / "deployments/server.env").items()}
        return {
            **kept,
            **server,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_API_PORT": str(self.port),
            **self.more,
        }

    # -- processes ----------------------------------------------------------------------------

    @contextmanager
    def server(self) -> Iterator[subprocess.Popen[bytes]]:
        """`prefect server start`, healthy; its state outlives it."""
        with self._process("server", ["server", "start"], {}) as process:
            until = time.monotonic() + 120
            while not self._healthy():
                assert process.poll() is None, self.log("server")
                assert time.monotonic() < until, self.log("server")
                time.sleep(0.2)
            yield process

    @contextmanager
    def worker(
        self, name: str = "worker", pool: str = "qbo-attach", **env: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """`prefect worker start`, with settings of its own."""
        words = ["worker", "start", "--pool", pool, "--name", name]
        with self._process(name, words, env) as process:
            yield process

    @contextmanager
    def _process(
        self, name: str, words: list[str], env: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / "prefect"), *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self.environment, **env},
                cwd=self.folder,
            )
        try:
            yield process
        finally:
            left = children(process)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            kill([*left, process.pid])
            process.wait()

    def log(self, name: str) -> str:
        """The end of what a process said; "" where it was not started."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-4_000:] if path.exists() else ""

    def call(self, *words: str, timeout: float = 300) -> str:
        """A `prefect` command from the checkout; what it printed."""
        return self._command([str(BIN / "prefect"), *words], timeout)

    def set_up(self, *words: str) -> None:
        """`python -m deployments.setup` and `prefect deploy --all`."""
        self._command([sys.executable, "-m", "deployments.setup", *words], 120)
        self.call("--no-prompt", "deploy", "--all")

    def _command(self, command: list[str], timeout: float) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # -- the API, as the UI calls it ----------------------------------------------------------

    def ask(self, path: str, body: object = None) -> Any:
        """GET, or POST with a body; again where the server is busy, as Prefect's client does.

        A POST that asks for something may be asked again, too; one that starts a run is no such one.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.api}{path}", data, {"Content-Type": "application/json"}
        )
        until = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > until:
                    raise
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if not (body is None or path.endswith("/filter")) or time.monotonic() > until:
                    raise
            time.sleep(0.5)

    def remove(self, path: str) -> None:
        """DELETE."""
        request = urllib.request.Request(f"{self.api}{path}", method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()

    def _healthy(self) -> bool:
        try:
            return bool(self.ask("/health"))
        except (urllib.error.URLError, OSError):
            return False

    def start(self, name: str, **parameters: object) -> str:
        """Start a run of a deployment; its id."""
        flow, deployment = name.split("/")
        found = self.ask(f"/deployments/name/{flow}/{deployment}")
        run = self.ask(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    def state(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"/flow_runs/{run}")["state"]
        return found

    def ended(self, run: str, within_s: float = 120) -> dict[str, Any]:
        """The run's final state."""
        state: dict[str, Any] = {}

        def is_final() -> bool:
            state.update(self.state(run))
            return state["type"] in _FINAL

        wait_until(is_final, within_s, lambda: f"{state}\n{self.log('worker')}")
        return state

    def latest_run(self, flow: str) -> str:
        """The run of a flow that was made last."""
        only = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC", "limit": 1}
        (found,) = self.ask("/flow_runs/filter", only)
        return str(found["id"])

    def tasks(self, run: str) -> dict[str, int]:
        """The run's task runs by type of state, counted."""
        only = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
        return dict(Counter(one["state_type"] for one in self.ask("/task_runs/filter", only)))

    def progress(self, run: str) -> str:
        """What the run's progress artifact says."""
        only = {"flow_run_id": {"any_": [run]}, "type": {"any_": ["progress"]}}
        (found,) = self.ask("/artifacts/filter", {"artifacts": only})
        return str(found["description"])

    def cancel(self, run: str) -> None:
        """What the UI's button does."""
        self.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})


def wait_until(
    reached: Callable[[], bool], within_s: float, told: Callable[[], str] = lambda: ""
) -> None:
    until = time.monotonic() + within_s
    while not reached():
        if time.monotonic() > until:
            pytest.fail(f"not within {within_s} s: {told()}")
        time.sleep(0.1)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that it started: of a worker, its flow runs."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in found.stdout.split()]


def kill(pids: list[int]) -> None:
    """SIGKILL, in one blow."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def each_once(attachables: list[dict[str, Any]], expected: int) -> bool:
    """The proof by the company's own ledger: every marker once, and as many as there should be."""
    markers = Counter((one["realm"], one["Tag"]) for one in attachables)
    doubled = [marker for marker, count in markers.items() if count > 1]
    assert doubled == []
    assert len(markers) == expected
    return True

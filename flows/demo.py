"""`make demo`: the main job end to end on embedded defaults, and `make ui`: its Prefect UI.

Starts processes only; imports no Prefect.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from qbo_attach.core import tables
from qbo_attach.core.tables import RunLogRow, VerificationRow
from qbo_attach.sample import compare, make_sample, read_expected
from qbo_attach.storage.artifacts import read_table_at

_SERVER_START_S = 180.0
UI_PORT = 4200


def work_folder() -> Path:
    """The demo's folder: `work` in the checkout."""
    return Path(__file__).resolve().parent.parent / "work"


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(work: Path, port: int) -> dict[str, str]:
    """The environment of the Prefect processes: state in the work folder, nothing sent home."""
    server = dotenv_values(Path(__file__).resolve().parent.parent / "deployments" / "server.env")
    return {
        **os.environ,
        **{name: value or "" for name, value in server.items()},
        "PREFECT_HOME": str(work / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:  # noqa: ANN401 - Popen's
    """A process for the time of the block; it is asked to end, then made to."""
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_healthy(url: str, process: subprocess.Popen[str], log: Path) -> None:
    """Return when the server answers; exit with its log's place if it does not come up."""
    end = time.monotonic() + _SERVER_START_S
    while time.monotonic() < end and process.poll() is None:
        if _answers(f"{url}/health"):
            return
        time.sleep(0.3)
    sys.exit(f"the Prefect server did not start; its log is {log}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - this machine
            return True
    except (urllib.error.URLError, OSError):
        return False


def ledger(base_url: str) -> dict[str, Any]:
    """What the fake company applied."""
    with urllib.request.urlopen(f"{base_url}/_fake/ledger", timeout=30) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def demo() -> int:
    """Make the sample, start company and server, run the flow, compare each file's result."""
    work = work_folder()
    work.mkdir(exist_ok=True)
    if not (work / "sample" / "expected.csv").exists():
        made = make_sample(str(work / "sample"))
        print(f"Made {made.files} files of a synthetic company in {work / 'sample'}")
    sample = work / "sample"
    fake_command = [
        *(sys.executable, "-m", "qbo_attach.cli", "fake-qbo", "--port", "0", "--limits", "exact"),
        *("--mapping", str(sample / "data" / tables.MAPPING), "--state", str(work / "company")),
    ]
    port = free_port()
    server_log = work / "prefect-server.log"
    with (
        running(fake_command, stdout=subprocess.PIPE) as fake,
        server_log.open("w") as log,
        running(
            [sys.executable, "-m", "prefect", "server", "start"],
            env=environment(work, port),
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        base_url = _address(fake)
        print("Starting a Prefect server for the time of the run ...", flush=True)
        wait_healthy(f"http://127.0.0.1:{port}/api", server, server_log)
        before = ledger(base_url)
        print("Running the flow `migrate` ...", flush=True)
        status = subprocess.run(
            [sys.executable, "-m", "flows.migrate"],
            env={
                **environment(work, port),
                "FILES_DIR": str(sample / "files"),
                "DATA_DIR": str(sample / "data"),
                "LOG_DIR": str(work / "log"),
                "LEGACY_CLIENTS": "*",
                "QBO_BASE_URL": base_url,
                "QBO_REALM_ID": "1234567890",
                "QBO_ACCESS_TOKEN": "demo",
            },
            cwd=work.parent,
            check=False,
        ).returncode
        after = ledger(base_url)
    return _tell(work, before, after, status)


def _address(fake: subprocess.Popen[str]) -> str:
    line = fake.stdout.readline() if fake.stdout is not None else ""
    if not line.startswith("listening on "):
        sys.exit(f"the fake company did not start: {line}")
    return line.removeprefix("listening on ").strip()


def _tell(work: Path, before: dict[str, Any], after: dict[str, Any], status: int) -> int:
    """Print what happened to every file; 0 exactly when each has the result expected of it."""
    log = work / "log"
    if status not in (0, 1):
        print(f"The flow did not complete (status {status}).")
        return 1
    second = bool(before["attachables"])
    expected = read_expected(str(work / "sample" / "expected.csv"))
    verified = list(read_table_at(str(log / tables.VERIFICATION), VerificationRow))
    runlog = list(read_table_at(str(log / tables.RUNLOG), RunLogRow))
    differences = compare(expected, verified, runlog, after["attachables"], second_run=second)
    outcomes = {row.file_path: row.outcome for row in runlog}
    counts = Counter(
        outcomes.get(row.file_path, "?") if row.status == "ok" else f"not sent: {row.status}"
        for row in verified
    )
    print()
    for name, count in sorted(counts.items()):
        print(f"  {name:<40}{count:>6}")
    print(f"  {'sum':<40}{sum(counts.values()):>6}   (files of the tree: {len(expected)})")
    sent = after["requests"].get("upload", 0) - before["requests"].get("upload", 0)
    made = len(after["attachables"]) - len(before["attachables"])
    print(f"\n{made} attachments made by {sent} upload requests in this run.")
    if second and not sent:
        print("Everything was uploaded before: nothing was sent.")
    print(f"Logs: {log}")
    print("`make ui` shows this run in the Prefect UI; `make clean` starts afresh.")
    for line in differences:
        print(f"NOT AS EXPECTED: {line}")
    return 1 if differences or sum(counts.values()) != len(expected) else 0


def ui() -> int:
    """Serve the Prefect UI over the state of the demo's runs, until it is interrupted."""
    work = work_folder()
    if not (work / "prefect").exists():
        print("There is no run to show yet: `make demo` first.")
        return 2
    print(f"The demo's runs: http://127.0.0.1:{UI_PORT}/runs  (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "prefect", "server", "start"]
    try:
        return subprocess.run(command, env=environment(work, UI_PORT), check=False).returncode
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(ui() if sys.argv[1:] == ["ui"] else demo())

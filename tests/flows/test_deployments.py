"""The README's Prefect commands, as written: server, work pool, deploy, worker, run, watched."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core import tables
from qbo_attach.core.tables import RunLogRow, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.sample import Sample, compare, make_sample, read_expected
from qbo_attach.storage.artifacts import read_table_at

pytestmark = [pytest.mark.proof, pytest.mark.prefect, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _process(command: list[str], log: Path, env: dict[str, str]) -> Iterator[None]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=ROOT)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _prefect(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "prefect"), *words],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _wait_healthy(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail("the Prefect server did not start")


def _differences(
    sample: Sample, log_dir: str, base_url: str, options: dict[str, object] | None, second: bool
) -> list[str]:
    with urllib.request.urlopen(f"{base_url}/_fake/ledger", timeout=30) as answer:
        attachables: list[Any] = json.load(answer)["attachables"]
    return compare(
        read_expected(f"{sample.url}/expected.csv"),
        list(read_table_at(f"{log_dir}/{tables.VERIFICATION}", VerificationRow, options)),
        list(read_table_at(f"{log_dir}/{tables.RUNLOG}", RunLogRow, options)),
        attachables,
        second_run=second,
    )


def test_deployed_runs_on_disk_and_on_s3_send_each_file_once_and_a_second_run_nothing(
    tmp_path: Path, s3_weed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_weed.env.items():
        monkeypatch.setenv(name, value)
    port = _free_port()
    api = f"http://127.0.0.1:{port}/api"
    bucket = s3_weed.new_bucket()
    on_disk = make_sample(str(tmp_path / "sample"), files=120)
    on_s3 = make_sample(f"{bucket}/sample", files=120)
    with running(FakeOptions()) as disk_company, running(FakeOptions()) as s3_company:
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("QBO_", "PREFECT_"))},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_API_URL": api,
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "DO_NOT_TRACK": "1",
            "LEGACY_CLIENTS": "*",
            "QBO_REALM_ID": "1234567890",
            "QBO_ACCESS_TOKEN": "any",
            "QBO_REQUESTS_PER_MIN": "6000",
        }
        with _process([str(BIN / "prefect"), "server", "start"], tmp_path / "server.log", env):
            _wait_healthy(api)
            made = _prefect("work-pool", "create", "qbo-attach", "--type", "process", env=env)
            assert made.returncode == 0, made.stdout + made.stderr
            deployed = _prefect("--no-prompt", "deploy", "--all", env=env)
            assert deployed.returncode == 0, deployed.stdout + deployed.stderr
            for deployment, sample, company, log_dir, options in (
                ("local", on_disk, disk_company, str(tmp_path / "log"), None),
                ("s3", on_s3, s3_company, f"{bucket}/log", s3_weed.options),
            ):
                settings = {
                    "FILES_DIR": sample.files_dir,
                    "DATA_DIR": sample.data_dir,
                    "LOG_DIR": log_dir,
                    "QBO_BASE_URL": company.base_url,
                }
                worker = [str(BIN / "prefect"), "worker", "start", "--pool", "qbo-attach"]
                log = tmp_path / f"worker-{deployment}.log"
                with _process(worker, log, {**env, **settings}):
                    for second in (False, True):
                        run = _prefect(
                            "deployment", "run", f"migrate/{deployment}", "--watch", env=env
                        )
                        said = run.stdout + run.stderr + log.read_text()
                        assert run.returncode == 0, said
                        assert "NeedsPerson" in run.stdout, said
                        found = _differences(sample, log_dir, company.base_url, options, second)
                        assert found == []

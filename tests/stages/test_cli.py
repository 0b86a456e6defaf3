"""The command line as scripts use it: a process, its environment, its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qbo_attach.core import tables
from qbo_attach.core.tables import InventoryRow, PlanRow, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.sample import make_sample
from qbo_attach.storage.artifacts import read_table_at
from tests.conftest import S3Server

ROOT = Path(__file__).resolve().parents[2]


def _cli(
    *words: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("QBO_")}
    return subprocess.run(
        [sys.executable, "-m", "qbo_attach.cli", *words],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _env(base_url: str, files: str, data: str, log: str) -> dict[str, str]:
    return {
        "FILES_DIR": files,
        "DATA_DIR": data,
        "LOG_DIR": log,
        "LEGACY_CLIENTS": "*",
        "QBO_BASE_URL": base_url,
        "QBO_REALM_ID": "1234567890",
        "QBO_ACCESS_TOKEN": "any",
        "QBO_REQUESTS_PER_MIN": "6000",
    }


def test_run_with_json_prints_one_object_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    sample = make_sample(str(tmp_path / "sample"), files=120)
    with running(FakeOptions()) as company:
        env = _env(company.base_url, sample.files_dir, sample.data_dir, str(tmp_path / "log"))
        done = _cli("run", "--json", cwd=tmp_path, env=env)
    told = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert set(told) == {"run_id", "counts", "requests_sent", "files"}
    assert told["counts"]["outcome"] == sample.outcome_counts
    assert told["counts"]["verification"] == sample.status_counts
    assert told["requests_sent"] > 0
    assert all(Path(url).is_file() for url in told["files"].values())


def test_each_stage_by_hand_comes_to_the_same_as_run(tmp_path: Path) -> None:
    sample = make_sample(str(tmp_path / "sample"), files=120)
    with running(FakeOptions()) as company:
        env = _env(company.base_url, sample.files_dir, sample.data_dir, str(tmp_path / "log"))
        for stage in ("inventory", "mapping", "verify", "plan"):
            done = _cli(stage, cwd=tmp_path, env=env)
            assert done.returncode == 0, done.stderr
        assert company.ledger()["attachables"] == []
        assert _cli("upload", cwd=tmp_path, env=env).returncode == 1
        assert len(company.ledger()["attachables"]) == sample.outcome_counts["success"]
        assert _cli("report", cwd=tmp_path, env=env).returncode == 0


def test_config_shows_where_each_setting_came_from_and_masks_secrets(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MIN_COVERAGE=0.5\n")
    done = _cli("config", cwd=tmp_path, env={"QBO_ACCESS_TOKEN": "very-secret", "LOG_DIR": "/l"})
    assert done.returncode == 0, done.stderr
    assert "very-secret" not in done.stdout + done.stderr
    assert "MIN_COVERAGE=0.5  (.env)" in done.stdout
    assert "LOG_DIR=/l  (environment)" in done.stdout
    assert "BATCH_SIZE=500  (default)" in done.stdout


def test_config_and_doctor_tell_of_names_that_are_nearly_a_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MIN_COVERGE=0.5\n")
    env = {"EXPECT_COMPANY_NAM": "Acme", "FILES_DIR": str(tmp_path), "XDG_DATA_DIRS": "/usr/share"}
    told = _cli("config", cwd=tmp_path, env=env).stderr.splitlines()
    assert told == [
        "EXPECT_COMPANY_NAM, in the environment, is no setting: is EXPECT_COMPANY_NAME meant?",
        "MIN_COVERGE, in .env, is no setting: is MIN_COVERAGE meant?",
    ]
    more = {"QBO_REALM_ID": "1", "QBO_ACCESS_TOKEN": "any", "QBO_BASE_URL": "http://127.0.0.1:9"}
    assert told[0] in _cli("doctor", cwd=tmp_path, env={**env, **more}).stdout


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MIN_COVERAGE", "2"), ("FILES_PER_REQUEST", "0"), ("QBO_BASE_URL", "http://qbo.test")],
)
def test_a_wrong_value_is_refused_before_any_work(
    variable: str, value: str, tmp_path: Path
) -> None:
    done = _cli("run", cwd=tmp_path, env={variable: value})
    assert done.returncode == 2
    assert variable in done.stderr
    assert value in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tree_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    done = _cli("inventory", cwd=tmp_path, env={"FILES_DIR": str(tmp_path / "none")})
    assert done.returncode == 2
    assert str(tmp_path / "none") in done.stderr


@pytest.mark.proof
def test_disk_and_s3_leave_equal_tables_but_for_times_and_etags(
    tmp_path: Path, s3_moto: S3Server, use_s3: Callable[[S3Server], None]
) -> None:
    use_s3(s3_moto)
    bucket = s3_moto.new_bucket()
    sample = make_sample(str(tmp_path / "sample"), files=130)
    client = s3_moto.client()
    for file in sorted(Path(sample.url).rglob("*")):
        if file.is_file() and str(file).isprintable():
            key = file.relative_to(sample.url).as_posix()
            client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=file.read_bytes())
        elif file.is_file():
            file.unlink()  # not every store can hold such a name
    found = []
    for place in (sample.url, bucket):
        with running(FakeOptions()) as company:
            env = _env(company.base_url, f"{place}/files", f"{place}/data", f"{place}/log")
            done = _cli("run", "--json", cwd=tmp_path, env=env)
            assert done.returncode == 1, done.stderr
        inventory = read_table_at(f"{place}/data/{tables.INVENTORY}", InventoryRow)
        verified = read_table_at(f"{place}/log/{tables.VERIFICATION}", VerificationRow)
        plan = read_table_at(f"{place}/log/{tables.PLAN}", PlanRow)
        rows: list[tuple[str, ...]] = [
            row._replace(modified_at="", etag="")
            for table in (inventory, verified, plan)
            for row in table
        ]
        found.append(rows)
    assert found[0] == found[1]

"""`status`: what a run log tells somebody who comes by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import StoppedError
from qbo_attach.fake_qbo import running
from qbo_attach.sample import make_sample
from qbo_attach.settings import load_settings
from qbo_attach.stages.status import run_status
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.whole import run_all
from tests.conftest import S3Server
from tests.stages.case import REALM, Case, opened, plan_only
from tests.stages.command import Command, commands


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


@pytest.fixture
def command(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    with commands(case, monkeypatch, capsys) as run:
        yield run


def test_before_during_and_after_a_run_and_nothing_is_written(case: Case) -> None:
    settings = case.settings(batch_size=20, files_per_request=5)
    assert run_status(settings).state == "no_run"
    plan_only(settings)
    with UploadRun(settings) as run:
        run.send(run.batches[0])
        files = {path: hashlib.sha256(path.read_bytes()).digest() for path in case.segments()}
        found = run_status(settings)
        assert {p: hashlib.sha256(p.read_bytes()).digest() for p in case.segments()} == files
        assert (found.state, found.run_id) == ("running", run.run_id)
        assert found.company.startswith("Fake Company")
        assert found.counts == {"success": 20}
        assert found.planned == case.sample.status_counts["ok"]
        for batch in run.batches[1:]:
            run.send(batch)
    after = run_status(settings)
    assert (after.state, after.in_doubt) == ("ended", 0)
    assert after.counts == run.result.counts
    assert after.in_qbo == run.result.counts["success"]
    assert after.requests_sent == sum(run.result.requests_sent.values())
    second = case.run()
    latest = run_status(settings)
    assert latest.run_id == second.run_id
    assert latest.counts == second.outcomes


def test_a_stopped_run_says_why_and_what_to_do(case: Case, command: Command) -> None:
    settings = case.settings()
    plan_only(settings)
    with UploadRun(settings) as run:
        run.stop(StoppedError("somebody\x1b[2J stopped it"))
    status, out, _ = command("status")
    assert status == 0
    assert "somebody\\x1b[2J stopped it" in out
    assert "Mend what stopped it" in out
    told = json.loads(command("status", "--json")[1])
    assert (told["state"], told["stopped"]) == ("ended", "somebody\x1b[2J stopped it")
    assert told["counts"]["not_sent"] > 0


def test_a_run_whose_process_is_gone_is_cut_off(case: Case) -> None:
    case.run()
    last = case.segments()[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    head = json.loads(lines[0])
    head["holder"]["started"] = "1"
    head["lease_until"] = "2999-01-01T00:00:00Z"
    last.write_bytes(json.dumps(head).encode() + b"\n" + b"".join(lines[1:]))
    found = run_status(case.settings())
    assert found.state == "cut_off"
    assert "takes over at once" in found.next_step


def test_another_realms_log_dir_is_refused(case: Case, command: Command) -> None:
    case.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBO_REALM_ID", "99")
        status, _, err = command("status")
    assert status == 2
    assert REALM in err


def test_status_reads_a_log_dir_on_s3(
    tmp_path: Path, s3_moto: S3Server, use_s3: Callable[[S3Server], None]
) -> None:
    use_s3(s3_moto)
    sample = make_sample(str(tmp_path / "sample"), files=120)
    with running() as fake:
        settings = load_settings(
            {
                "files_dir": sample.files_dir,
                "data_dir": sample.data_dir,
                "log_dir": f"{s3_moto.new_bucket()}/log",
                "legacy_clients": "*",
                "qbo_base_url": fake.base_url,
                "qbo_realm_id": REALM,
                "qbo_access_token": "any",
                "qbo_requests_per_min": 60_000,
            },
            env_file=None,
        )
        summary = run_all(settings, lambda *_: None, lambda _: None)
    found = run_status(settings)
    assert (found.state, found.run_id) == ("ended", summary.run_id)
    assert found.counts == summary.outcomes

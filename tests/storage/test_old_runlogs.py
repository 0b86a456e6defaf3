"""Run logs that older versions wrote stay readable, and a run goes on from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.history import History
from qbo_attach.core.segments import FORMAT
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.stages.report import run_report
from qbo_attach.stages.whole import run_all
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import read_chain, read_segments, runlog_folder
from tests.conftest import S3Server
from tests.storage.fixtures.runlogs.make import MAPPING, REALM, settings_for, told

FIXTURES = Path(__file__).parent / "fixtures" / "runlogs"
VERSIONS = sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Path:
    return FIXTURES / str(request.param)


@pytest.fixture
def expected(version: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((version / "expected.json").read_text("ascii"))
    return state


def as_expected(history: History, expected: dict[str, Any]) -> bool:
    found = json.loads(json.dumps(told(history)))
    assert found == {name: expected[name] for name in found}
    return True


def test_the_current_format_has_a_fixture() -> None:
    segments = (FIXTURES / version / "log" for version in VERSIONS)
    headers = [h for log in segments for h, _ in read_segments(Store(str(log)), REALM)]
    assert max(header.format for header in headers) == FORMAT


def test_an_old_chain_folds_to_the_state_it_had(version: Path, expected: dict[str, Any]) -> None:
    chain = read_chain(Store(str(version / "log")), REALM)
    assert chain.segments == expected["segments"]
    assert as_expected(chain.history, expected)


def test_an_old_chain_read_from_its_first_segment_folds_to_the_same(
    version: Path, expected: dict[str, Any]
) -> None:
    history = History()
    for _, records in read_segments(Store(str(version / "log")), REALM):
        history.fold(records)
    assert as_expected(history, expected)


def test_an_old_chain_without_its_last_snapshot_folds_to_the_same(
    version: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    log = shutil.copytree(version / "log", tmp_path / "log")
    last = max((log / runlog_folder(REALM)).glob("*.jsonl"))
    assert b'"is_snapshot":true' in last.read_bytes()
    last.unlink()
    assert as_expected(read_chain(Store(str(log)), REALM).history, expected)


def test_the_tables_of_an_old_run_are_derived(
    version: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(version / "log", tmp_path / "log")
    result = run_report(settings_for(tmp_path, "http://127.0.0.1:1"))
    assert result.counts == expected["outcomes"]


def set_last_modified(path: str, modified_at: str) -> None:
    """Give a file of the tree the time that it had for the old run; no S3 client can."""
    from moto.s3.models import s3_backends

    key = s3_backends["123456789012"]["aws"].get_object("books", f"files/{path}")
    assert key is not None
    key.last_modified = datetime.fromisoformat(modified_at.replace("Z", "")).replace(tzinfo=None)


def had_its_effect(fake: RunningFake, file: GroupFile) -> None:
    """The company made this attachment at the old run's request, whose answer was lost."""
    text = "x" * file.size_bytes
    ref = {"EntityRef": {"type": file.refs[0].type, "value": file.refs[0].id}}
    made = {"FileName": file.sent_file_name, "Tag": file.key, "AttachableRef": [ref], "text": text}
    fake.company.control.seed(made, REALM)


def test_a_run_goes_on_from_an_old_log_adopts_what_is_there_and_sends_only_what_is_left(
    version: Path,
    expected: dict[str, Any],
    tmp_path: Path,
    fake_qbo: RunningFake,
    s3_moto: S3Server,
    use_s3: Callable[[S3Server], None],
) -> None:
    use_s3(s3_moto)
    boto3.client("s3").create_bucket(Bucket="books")
    tree = Store("s3://books/files")
    for path, (text, modified_at) in expected["tree"].items():
        with tree.writing(path) as stream:
            stream.write(text.encode())
        set_last_modified(path, modified_at)
    shutil.copytree(version / "log", tmp_path / "log")
    (tmp_path / "mapping.csv").write_text(MAPPING, encoding="utf-8")

    doubts = read_chain(Store(str(tmp_path / "log")), REALM).history.doubts
    doubtful = [file for doubt in doubts.values() for file in doubt.open.values()]
    for file in doubtful:
        had_its_effect(fake_qbo, file)

    summary = run_all(settings_for(tmp_path, fake_qbo.base_url), lambda *_: None, lambda _: None)

    names = [file.sent_file_name for file in doubtful]
    names += [path.rpartition("/")[2] for path in expected["refused"]]
    held = [one["FileName"] for one in fake_qbo.ledger()["attachables"]]
    assert sorted(held) == sorted(names)
    was = expected["outcomes"]
    assert summary.outcomes == {
        "adopted": len(doubtful),
        "success": len(expected["refused"]),
        "changed": was["changed"],
        "skipped_already_uploaded": was["skipped_already_uploaded"] + was["success"],
    }

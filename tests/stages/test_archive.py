"""Whole runs whose FILES_DIR is a zip archive, on a disk and on S3."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import SettingError
from qbo_attach.core.tables import INVENTORY, VERIFICATION, InventoryRow, VerificationRow
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.conftest import S3Server
from tests.stages.case import Case, opened
from tests.stages.command import Command, commands


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


@pytest.fixture
def command(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    with commands(case, monkeypatch, capsys) as command:
        yield command


@pytest.fixture
def packed(case: Case, tmp_path: Path) -> Path:
    """The sample's tree as one archive; but for a name that is not UTF-8, which none can hold."""
    archive = tmp_path / "Attach.zip"
    root = Path(case.sample.files_dir)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(root.rglob("*")):
            if is_utf8(file.name):
                target.write(file, file.relative_to(root))
    return archive


def is_utf8(name: str) -> bool:
    return name.encode(errors="replace").decode() == name


def requests(case: Case) -> dict[str, int]:
    counts: dict[str, int] = case.fake.ledger()["requests"]
    return counts


@pytest.fixture(params=["disk", "chain", "s3"])
def files_dir(request: pytest.FixtureRequest, packed: Path) -> str:
    if request.param == "disk":
        return str(packed)
    if request.param == "chain":
        return f"zip://Attach::file://{packed}"
    server: S3Server = request.getfixturevalue("s3_moto")
    use: Callable[[S3Server], None] = request.getfixturevalue("use_s3")
    use(server)
    bucket = server.new_bucket()
    with Store(bucket).writing("legacy/Attach.zip") as stream:
        stream.write(packed.read_bytes())
    return f"{bucket}/legacy/Attach.zip"


def test_a_run_over_an_archive_sends_what_a_run_over_the_folder_would(
    case: Case, files_dir: str
) -> None:
    summary = case.run(files_dir=files_dir)
    assert summary.outcomes == case.sample.outcome_counts
    below = "Attach/" if files_dir.startswith("zip://Attach") else ""
    log, data = Store(case.sample.log_dir), Store(case.sample.data_dir)
    verified = list(read_table(log, VERIFICATION, VerificationRow))
    listed = list(read_table(data, INVENTORY, InventoryRow))
    assert [row.file_path for row in verified] == [row.file_path for row in listed]
    with zipfile.ZipFile(Path(case.sample.url).parent / "Attach.zip") as archive:
        assert sorted(below + row.file_path for row in listed) == sorted(
            info.filename for info in archive.infolist() if not info.is_dir()
        )
    if not below:
        missing = [line for line in case.differences() if "udcfc" not in line]
        assert missing == []
    assert case.run(files_dir=files_dir).requests_sent == 0


def test_the_folder_after_the_archive_sends_nothing_again(case: Case, packed: Path) -> None:
    sent = case.run(files_dir=str(packed)).outcomes["success"]
    again = case.run()
    assert "success" not in again.outcomes
    assert again.outcomes["skipped_already_uploaded"] == sent
    assert len(case.attachables()) == case.sample.outcome_counts["success"]


def test_commands_take_an_archive_and_refuse_one_for_what_they_write(
    case: Case, command: Command, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILES_DIR", str(packed))
    status, _, told = command("run")
    assert status == 1, told
    assert len(case.attachables()) == case.sample.outcome_counts["success"]
    before = requests(case)
    status, _, told = command("run")
    assert status == 1, told
    assert requests(case) == before
    for variable in ("DATA_DIR", "LOG_DIR"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, f"zip://x::{packed}")
            status, _, told = command("run")
        assert status == 2
        assert len(told.splitlines()) == 1
        assert f"{variable}=" in told
        assert "a zip archive is only read; FILES_DIR alone may be one" in told


def test_leftovers_come_out_of_an_archive(case: Case, packed: Path, tmp_path: Path) -> None:
    from qbo_attach.stages.leftovers import run_leftovers

    case.run(files_dir=str(packed))
    result = run_leftovers(case.settings(files_dir=str(packed)), str(tmp_path / "left"))
    assert result.counts["unsupported_file_type"] > 0
    copied = list((tmp_path / "left").rglob("*.msg"))
    assert copied
    for path in copied:
        original = Path(case.sample.files_dir, *path.relative_to(tmp_path / "left").parts[1:])
        assert path.read_bytes() == original.read_bytes()


def test_what_an_archive_of_a_mac_adds_is_junk(case: Case, packed: Path) -> None:
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("__MACOSX/Attach/Acme/Txn/801/._scan.pdf", b"finder")
    case.run(files_dir=str(packed))
    log = Store(case.sample.log_dir)
    added = [
        row
        for row in read_table(log, VERIFICATION, VerificationRow)
        if row.file_path.startswith("__MACOSX")
    ]
    assert [(row.status, row.reason) for row in added] == [("excluded", "junk")]


def test_an_archive_for_data_dir_is_a_settings_error(case: Case, packed: Path) -> None:
    with pytest.raises(SettingError, match=r"DATA_DIR=.*FILES_DIR alone"):
        case.settings(data_dir=str(packed))

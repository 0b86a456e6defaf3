"""A source that is not what was planned: never sent by mistake, its neighbours go on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from qbo_attach.core.model import ListedFile
from qbo_attach.core.tables import RUNLOG, RunLogRow
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.whole import upload_and_report
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.disk import Disk
from qbo_attach.storage.files import Store
from qbo_attach.storage.place import SMALL_BYTES
from tests.stages.case import Case, opened, plan_only


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


def rows_of(case: Case, path: Path) -> list[str]:
    """The outcomes of a file in the run log table, in order."""
    file_path = path.relative_to(case.sample.files_dir).as_posix()
    rows = read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow)
    return [row.outcome for row in rows if row.file_path == file_path]


def sent_digests(case: Case) -> list[str]:
    return [one["sha256"] for one in case.attachables()]


def test_a_source_written_over_after_planning_has_its_row_and_goes_in_the_next_run(
    case: Case,
) -> None:
    settings = case.settings()
    plan_only(settings)
    file = case.sent_file()
    file.write_bytes(bytes(len(file.read_bytes())))
    os.utime(file, (1, 1))
    summary = upload_and_report(settings, UploadRun(settings))
    assert summary.exit_status == 1
    assert summary.outcomes["source_changed"] == 1
    assert summary.outcomes["success"] == case.sample.outcome_counts["success"] - 1
    assert rows_of(case, file) == ["source_changed"]

    assert case.run().outcomes["success"] == 1
    assert rows_of(case, file) == ["source_changed", "success"]
    assert sent_digests(case).count(hashlib.sha256(file.read_bytes()).hexdigest()) == 1
    assert len(case.attachables()) == case.sample.outcome_counts["success"]


@pytest.mark.parametrize("change", ["shorter", "other bytes", "gone"])
def test_a_source_that_changes_while_it_is_read_is_not_sent_and_its_neighbours_are(
    case: Case, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    file = case.sent_file()
    file.write_bytes(bytes(SMALL_BYTES + 1))
    settings = case.settings(files_per_request=3)
    plan_only(settings)
    read = Disk.read_pieces

    async def disturbed(disk: Disk, listed: ListedFile) -> AsyncIterator[bytes]:
        async with aclosing(read(disk, listed)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece
                if listed.path == file.relative_to(settings.files_dir).as_posix():
                    spoil(file, change)

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "read_pieces", disturbed)
        summary = upload_and_report(settings, UploadRun(settings))
    planned = case.sample.outcome_counts["success"]
    there = {"gone": "success"}.get(change, "source_changed")
    assert rows_of(case, file)[-1] == there
    done = summary.outcomes["success"] + summary.outcomes.get("adopted", 0)
    assert done == planned - (there != "success")
    assert len(set(map(str, case.attachables()))) == len(case.attachables()) == done
    if there != "success":
        assert case.run().outcomes["success"] == 1
        assert sent_digests(case).count(hashlib.sha256(file.read_bytes()).hexdigest()) == 1
    assert len(case.attachables()) == planned


def spoil(file: Path, change: str) -> None:
    """Change a file under its reader; what is gone can still be read to its end, on a disk."""
    if change == "gone":
        file.unlink(missing_ok=True)
    elif change == "shorter":
        os.truncate(file, SMALL_BYTES // 2)
    else:
        with file.open("r+b") as stream:
            stream.write(b"other bytes")
        os.utime(file, (1, 1))

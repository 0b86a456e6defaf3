"""Twins, files of equal content and name at one entity, as what they equal is renamed or undone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.leftovers import LEFTOVERS, LeftoverRow
from qbo_attach.core.tables import RUNLOG, RunLogRow
from qbo_attach.stages.leftovers import run_leftovers
from qbo_attach.stages.report import run_report
from qbo_attach.stages.upload import UploadRun
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.stages.case import Case, opened, plan_only
from tests.stages.undoing import undone


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


@pytest.fixture
def twins(case: Case) -> tuple[Path, Path]:
    """A file that is sent, and its twin in a folder below, which is not."""
    one = case.sent_file()
    other = one.parent / "sub" / one.name
    other.parent.mkdir()
    shutil.copy2(one, other)
    return one, other


def told(case: Case, path: Path) -> str:
    """What the run log's table says last of a file."""
    below = path.relative_to(case.sample.files_dir).as_posix()
    rows = read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow)
    return [row.outcome for row in rows if row.file_path == below][-1]


def left_over(folder: Path) -> set[str]:
    rows = read_table(Store(str(folder)), LEFTOVERS, LeftoverRow)
    return {row.file_path.rpartition("/")[2] for row in rows}


def test_a_twin_stays_a_duplicate_when_the_other_is_renamed(
    case: Case, twins: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = twins
    first = case.run()
    renamed = one.rename(one.with_name(f"a-{one.name}"))  # it is decided on before its twin
    plan_only(case.settings())
    left = tmp_path / "left"
    run_leftovers(case.settings(), str(left), copying=False)
    assert not {renamed.name, other.name} & left_over(left)
    second = case.run()
    run_leftovers(case.settings(), str(left), copying=False)
    assert not {renamed.name, other.name} & left_over(left)
    assert told(case, renamed) == "skipped_already_uploaded"
    assert told(case, other) == "duplicate_content"
    assert second.exit_status == first.exit_status
    assert len(case.attachables()) == first.outcomes["success"]


def test_a_twin_stays_a_duplicate_in_the_tables_when_an_earlier_run_is_undone(
    case: Case, twins: tuple[Path, Path]
) -> None:
    one, other = twins
    first = case.run()
    second = case.run()
    undone(case, first.run_id)
    left = case.sample.url + "/left"
    run_leftovers(case.settings(), left, copying=False)
    assert {one.name, other.name} <= left_over(Path(left))
    with (
        pytest.raises(NotStartedError, match="run qbo-attach plan again"),
        UploadRun(case.settings()),
    ):
        pass  # the plan is from before the undo
    outcomes = run_report(case.settings()).counts
    assert outcomes == second.outcomes
    assert told(case, other) == "duplicate_content"
    gone = second.outcomes["skipped_already_uploaded"] + second.outcomes["duplicate_content"]
    assert f"Taken back: {gone}" in Path(case.sample.log_dir, "report.html").read_text()
    case.run()
    assert told(case, one) == "success"
    assert len(case.attachables()) == first.outcomes["success"]

"""`leftovers`: what QBO does not take is kept, and a person's decisions come back."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openpyxl import load_workbook

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.leftovers import LEFTOVERS, LeftoverRow
from qbo_attach.core.model import OF_ITS_TWIN
from qbo_attach.core.planned import twin_of
from qbo_attach.core.tables import PLAN, RUNLOG, PlanRow, RunLogRow
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.stages.leftovers import run_leftovers
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.conftest import S3Server
from tests.stages.case import Case, opened, plan_only
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


def rows(folder: Path) -> list[LeftoverRow]:
    return list(read_table(Store(str(folder)), LEFTOVERS, LeftoverRow))


def test_each_file_that_is_not_in_qbo_is_copied_by_reason(
    case: Case, command: Command, tmp_path: Path
) -> None:
    case.run()
    left = tmp_path / "left"
    status, out, err = command("leftovers", "--to", str(left))
    assert status == 0, err
    index = rows(left)
    expected = {s: n for s, n in case.sample.status_counts.items() if s != "ok"}
    assert Counter(row.reason for row in index) == expected
    for row in index:
        if row.detail == "junk":
            assert row.copied_to == ""
            continue
        assert row.copied_to == f"{row.reason}/{row.file_path}"
        if row.reason != "invalid_file_name":
            copy = left / row.copied_to
            assert copy.read_bytes() == Path(case.sample.files_dir, row.file_path).read_bytes()
    copies = [path for path in left.rglob("*") if path.is_file()]
    assert len(copies) == sum(bool(row.copied_to) for row in index) + 2
    assert "exceptions.xlsx, sheet decisions" in err
    assert LEFTOVERS in out


def test_what_qbo_refused_is_left_over_with_its_code(
    case: Case, command: Command, tmp_path: Path
) -> None:
    name = case.sent_file().name
    case.fake.company.plan.add([Rule("refused", endpoint="upload", file_name=name, code="6000")])
    case.run()
    status, out, _ = command("leftovers", "--to", str(tmp_path / "left"), "--index-only", "--json")
    assert status == 0
    assert json.loads(out)["counts"]["leftovers"]["error"] >= 1
    errors = [row for row in rows(tmp_path / "left") if row.reason == "error"]
    assert all("6000" in row.detail and row.copied_to == "" for row in errors)


def test_a_decided_sheet_goes_back_into_the_mapping(case: Case, tmp_path: Path) -> None:
    first = case.run()
    left = tmp_path / "left"
    run_leftovers(case.settings(), str(left), copying=False)
    book = load_workbook(left / "exceptions.xlsx")
    sheet = book["decisions"]
    line = next(row for row in sheet.iter_rows(min_row=2) if row[5].value == "missing_mapping")
    line[2].value, line[3].value = "exclude", "Ann"
    book.save(left / "exceptions.xlsx")
    in_use = str(left / "exceptions.xlsx")
    second = case.run(mapping_overrides=in_use)
    files = int(line[7].value)
    before, after = first.statuses, second.statuses
    assert after.get("missing_mapping", 0) == before["missing_mapping"] - files
    assert after["excluded"] == before["excluded"] + files
    decided = case.settings(mapping_overrides=in_use)
    notes = run_leftovers(decided, str(tmp_path / "again"), copying=False).notes
    assert any(f"add these rows to {in_use}" in note for note in notes), "one table has them all"


def test_a_workbook_that_somebody_has_filled_is_never_written_over(
    case: Case, command: Command, tmp_path: Path
) -> None:
    case.run()
    left = tmp_path / "left"
    for _ in range(2):  # an empty one is written anew
        run_leftovers(case.settings(), str(left), copying=False)
    book = load_workbook(left / "exceptions.xlsx")
    book["decisions"]["D2"].value = "Ann"
    book.save(left / "exceptions.xlsx")
    kept = (left / "exceptions.xlsx").read_bytes()
    status, _, said = command("leftovers", "--to", str(left), "--index-only")
    assert status == 2
    assert "holds 1 rows that somebody has filled" in said
    assert "another --to" in said
    assert (left / "exceptions.xlsx").read_bytes() == kept


@pytest.mark.parametrize("name", ["Decisions", "by Ann"])
def test_a_filled_sheet_is_kept_under_every_name_that_mapping_overrides_takes(
    case: Case, tmp_path: Path, name: str
) -> None:
    case.run()
    left = tmp_path / "left"
    run_leftovers(case.settings(), str(left), copying=False)
    fill(left / "exceptions.xlsx", name)
    with pytest.raises(NotStartedError, match="somebody has filled"):
        run_leftovers(case.settings(), str(left), copying=False)


def fill(workbook: Path, name: str = "decisions") -> None:
    book = load_workbook(workbook)
    sheet = book["decisions"]
    sheet["D2"].value, sheet.title = "Ann", name
    book.save(workbook)


@pytest.mark.parametrize("saved", ["filled", "in half"])
def test_a_workbook_that_is_saved_while_files_are_copied_is_left_and_told(
    case: Case, tmp_path: Path, saved: str
) -> None:
    case.run()
    left = tmp_path / "left"
    run_leftovers(case.settings(), str(left), copying=False)
    plan = Path(case.sample.log_dir, PLAN)
    rows_of_plan = plan.read_bytes()
    plan.unlink()
    os.mkfifo(plan)  # reading it waits for us
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_leftovers, case.settings(), str(left), copying=False)
        with plan.open("wb") as stream:
            fill(left / "exceptions.xlsx")
            if saved == "in half":
                half = (left / "exceptions.xlsx").read_bytes()[:1_000]
                (left / "exceptions.xlsx").write_bytes(half)
            kept = (left / "exceptions.xlsx").read_bytes()
            stream.write(rows_of_plan)
        notes = running.result().notes
    assert (left / "exceptions.xlsx").read_bytes() == kept
    assert any("exceptions.xlsx" in note and "is left" in note for note in notes)


def test_what_a_run_would_still_send_is_pointed_out(case: Case, tmp_path: Path) -> None:
    plan_only(case.settings())
    result = run_leftovers(case.settings(), str(tmp_path / "left"), copying=False)
    assert result.counts["not_sent"] == case.sample.status_counts["ok"]
    assert any("qbo-attach run first" in note for note in result.notes)


def test_a_folder_within_the_tree_is_refused(case: Case, command: Command) -> None:
    case.run()
    for folder in (case.sample.files_dir, f"{case.sample.files_dir}/Attach/left"):
        status, _, err = command("leftovers", "--to", folder)
        assert status == 2
        assert "lies within FILES_DIR" in err


def test_without_a_plan_nothing_is_written(case: Case, command: Command, tmp_path: Path) -> None:
    status, _, err = command("leftovers", "--to", str(tmp_path / "left"))
    assert status == 2
    assert "run the stage that writes it" in err
    assert not (tmp_path / "left" / LEFTOVERS).exists()


def test_a_file_that_went_meanwhile_is_told_and_the_others_are_kept(
    case: Case, command: Command, tmp_path: Path
) -> None:
    case.run()
    left = tmp_path / "left"
    run_leftovers(case.settings(), str(left), copying=False)
    gone = next(row for row in rows(left) if row.reason == "empty_file")
    Path(case.sample.files_dir, gone.file_path).unlink()
    status, _, err = command("leftovers", "--to", str(left))
    assert status == 1
    assert "1 files could not be copied" in err
    problems = {row.file_path: row.problem for row in rows(left) if row.problem}
    assert problems == {gone.file_path: "it is not there any more"}


def test_no_path_of_a_table_leads_out_of_the_tree(case: Case, tmp_path: Path) -> None:
    case.run()
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    log = Path(case.sample.log_dir, "mapping_verification_log.csv")
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if ",empty_file," in line)
    path = next(cell for cell in lines[at].split(",") if cell.startswith("Attach/"))
    lines[at] = lines[at].replace(path, "../../secret.txt")
    log.write_text("".join(lines), encoding="utf-8")
    left = tmp_path / "left"
    run_leftovers(case.settings(), str(left))
    row = next(row for row in rows(left) if row.reason == "empty_file")
    assert row.file_path == "../../secret.txt"
    assert "out of the tree" in row.problem
    assert not list(tmp_path.rglob("left/**/secret.txt"))


def test_leftovers_go_to_s3_as_well(
    case: Case, s3_moto: S3Server, use_s3: Callable[[S3Server], None]
) -> None:
    case.run()
    use_s3(s3_moto)
    to = f"{s3_moto.new_bucket()}/left"
    result = run_leftovers(case.settings(), to)
    copied = [row for row in read_table(Store(to), LEFTOVERS, LeftoverRow) if row.copied_to]
    assert copied
    plain = next(row for row in copied if row.reason == "unsupported_file_type")
    original = Path(case.sample.files_dir, plain.file_path).read_bytes()
    assert Store(to).read_bytes(plain.copied_to) == original
    assert (
        result.counts["unsupported_file_type"] == case.sample.status_counts["unsupported_file_type"]
    )


def test_twins_of_a_refused_file_are_told_as_refused_until_it_is_there(
    case: Case, tmp_path: Path
) -> None:
    case.fake.company.plan.add(
        [Rule("refused", endpoint="upload", file_name="scan.pdf", code="6000")]
    )
    refused = case.run()
    log = read_table(Store(case.sample.log_dir), RUNLOG, RunLogRow)
    told = {row.file_path: row for row in log}
    plan = read_table(Store(case.sample.log_dir), PLAN, PlanRow)
    twins = {row.file_path: twin_of(row) for row in plan if twin_of(row)}
    lost = [told[path] for path, other in twins.items() if told[other].outcome == "error"]
    assert {(row.outcome, row.error[:4], row.error.endswith(OF_ITS_TWIN)) for row in lost} == {
        ("error", "6000", True)
    }
    page = Path(case.sample.log_dir, "report.html").read_text()
    faults = page.split('id="faults"')[1].split("</section>")[0]
    assert f">{refused.outcomes['error'] - len(lost)}<" in faults, "those that QBO was asked for"
    assert 'class="word">-<' not in faults
    assert "not_sent" not in refused.outcomes
    twins_lost = {row.file_path for row in lost}

    def told_as_refused() -> set[str]:
        run_leftovers(case.settings(), str(tmp_path / "left"), copying=False)
        return {row.file_path for row in rows(tmp_path / "left") if row.reason == "error"}

    assert twins_lost <= told_as_refused()
    case.fake.company.plan.rules.clear()
    left_alone = case.run(skip_refused=True)
    assert left_alone.outcomes["error"] == refused.outcomes["error"]
    assert left_alone.outcomes.get("success", 0) == 0
    assert twins_lost <= told_as_refused()
    assert "error" not in case.run().outcomes
    case.run()
    assert case.differences(second_run=True) == []

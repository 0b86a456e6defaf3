"""MAPPING_SOURCE=match against the fake company, over a socket: from the export to the upload."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core.errors import GateClosedError, SettingError, StorageError, TableError
from qbo_attach.core.matching.tables import (
    CANDIDATES,
    CHECKS,
    ENTITIES,
    SAMPLE,
    CandidateRow,
    CheckRow,
    MatchedMappingRow,
    SampleRow,
)
from qbo_attach.core.tables import MAPPING, RUNLOG, VERIFICATION, RunLogRow, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.sample import Sample, compare, make_sample, read_expected
from qbo_attach.sample.books import Saying, qbo_record
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages.company_mapping import run_mapping_stage
from qbo_attach.stages.inventory import run_inventory
from qbo_attach.stages.plan import run_plan
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.verify import run_verify
from qbo_attach.storage.artifacts import read_table_at
from tests.stages.test_cli import _cli

FILES = 60


@dataclass
class Case:
    sample: Sample
    fake: RunningFake
    folder: Path

    def given(self, **given: Any) -> dict[str, Any]:
        chosen = {
            "files_dir": self.sample.files_dir,
            "data_dir": str(self.folder / "data"),
            "log_dir": str(self.folder / "log"),
            "legacy_clients": "*",
            "mapping_source": "match",
            "desktop_export": self.sample.desktop_export_url,
            "qbo_base_url": self.fake.base_url,
            "qbo_realm_id": "1234567890",
            "qbo_access_token": "any",
            "qbo_requests_per_min": 60_000,
            "qbo_settle_s": 0,
        }
        return {**chosen, **given}

    def settings(self, **given: Any) -> Settings:
        return load_settings(self.given(**given), env_file=None)

    def data(self, name: str) -> Path:
        return self.folder / "data" / name

    def queries(self) -> int:
        asked: dict[str, int] = self.fake.ledger()["requests"]
        return sum(count for name, count in asked.items() if "query" in name.lower())


def opened(folder: Path, **options: Any) -> Iterator[Case]:
    sample = make_sample(
        str(folder / "sample"), files=FILES, awkward=False, with_desktop_export=True
    )
    options.setdefault("qbdt_mapping", False)
    with running(FakeOptions(entities=sample.qbo_records_url, **options)) as fake:
        yield Case(sample, fake, folder)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


def mapped(case: Case) -> list[MatchedMappingRow]:
    return list(read_table_at(str(case.data(MAPPING)), MatchedMappingRow))


def export_rows(case: Case) -> list[dict[str, str]]:
    with Path(case.sample.desktop_export_url).open(newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: list[dict[str, str]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def changed_export(case: Case, kind: str, **cells: str) -> tuple[str, str]:
    """The export with one row of a kind changed: its URL, and that row's id."""
    rows = export_rows(case)
    row = next(row for row in rows if row["TxnType"] == kind)
    row.update(cells)
    return write_csv(case.folder / "changed.csv", rows), row["TxnID"]


def test_run_with_match_uploads_every_file_to_the_entity_that_the_mapping_would_have_named(
    case: Case,
) -> None:
    env = {name.upper(): str(value) for name, value in case.given().items()}
    done = _cli("run", "--json", cwd=case.folder, env=env)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["counts"]["outcome"] == case.sample.outcome_counts
    assert MAPPING in told["files"]
    verification = list(read_table_at(str(case.folder / "log" / VERIFICATION), VerificationRow))
    assert {row.match_rule for row in verification} >= {"all", "full_name"}
    expected = read_expected(case.sample.expected_url)
    attachables = case.fake.ledger()["attachables"]
    runlog = list(read_table_at(str(case.folder / "log" / RUNLOG), RunLogRow))
    by_path = {row.file_path: row.match_rule for row in verification}
    assert all(row.match_rule == by_path[row.file_path] for row in runlog)
    assert compare(expected, verification, runlog, attachables) == []


def test_mapping_from_match_says_what_it_read_and_found(case: Case) -> None:
    env = {name.upper(): str(v) for name, v in case.given(mapping_source="").items() if v != ""}
    done = _cli("mapping", "--from", "match", cwd=case.folder, env=env)
    assert done.returncode == 0, done.stderr
    assert "id from TxnID, type from TxnType" in done.stderr
    assert "Bill: " in done.stderr
    assert " queries." in done.stderr
    before = case.queries()
    again = run_mapping_stage(case.settings())
    assert case.queries() == before
    assert any("MATCH_READ_ANEW" in note for note in again.notes)
    anew = _cli("mapping", "--from", "match", "--read-anew", cwd=case.folder, env=env)
    assert (anew.returncode, case.queries() > before) == (0, True)


def test_the_mapping_is_the_one_that_the_sample_has(case: Case) -> None:
    result = run_mapping_stage(case.settings())
    with Path(case.sample.mapping_url).open(newline="") as file:
        expected = {
            (r["legacy_txnid_norm"], r["qbo_entity_type"], r["qbo_entity_id"])
            for r in csv.DictReader(file)
        }
    rows = mapped(case)
    assert {(r.legacy_txnid_norm, r.qbo_entity_type, r.qbo_entity_id) for r in rows} == expected
    assert result.counts["rows"] == len(expected)
    assert result.counts["undecided"] == 0
    bill = next(row for row in rows if row.qbo_entity_type == "Bill")
    assert (bill.desktop_number, bill.desktop_date, bill.desktop_amount, bill.desktop_name) == bill[
        9:
    ]
    assert all(bill[5:])


def test_checks_and_a_sample_with_links_are_left_for_a_person(case: Case) -> None:
    run_mapping_stage(case.settings())
    checks = list(read_table_at(str(case.data(CHECKS)), CheckRow))
    assert {check.tier for check in checks if check.qbo_entity_type == "Bill"} >= {
        "all",
        "without_number",
    }
    assert all(check.state in {"on", "off"} for check in checks)
    samples = list(read_table_at(str(case.data(SAMPLE)), SampleRow))
    assert max(Counter((row.qbo_entity_type, row.match_rule) for row in samples).values()) <= 5
    bill = next(row for row in samples if row.qbo_entity_type == "Bill")
    assert bill.link == f"https://app.sandbox.qbo.intuit.com/app/bill?txnId={bill.qbo_entity_id}"


def test_the_gate_treats_rows_that_matching_could_not_pair_as_missing(case: Case) -> None:
    rows = export_rows(case)
    half = write_csv(case.folder / "half.csv", rows[: len(rows) // 2])
    settings = case.settings(desktop_export=half)
    run_inventory(settings)
    run_mapping_stage(settings)
    counts = run_verify(settings).counts
    assert counts["missing_mapping"] > 0
    run_plan(settings)
    with pytest.raises(GateClosedError), UploadRun(settings):
        pass


def test_a_candidate_that_a_person_chose_comes_back_as_an_override(case: Case) -> None:
    url, legacy_id = changed_export(case, "BILL", Amount="1.23")
    settings = case.settings(desktop_export=url)
    run_inventory(settings)
    result = run_mapping_stage(settings)
    assert result.counts["undecided"] == 1
    (row,) = read_table_at(str(case.data(CANDIDATES)), CandidateRow)
    assert (row.legacy_id, row.why, row.entity_refs) == (legacy_id, "no_partner", "")
    assert int(row.attachments) >= 1
    assert "differs: amount" in row.about_1
    assert legacy_id not in {each.legacy_txnid_norm for each in mapped(case)}
    # Undecided rows do no harm; decided ones win.
    decided = case.settings(desktop_export=url, mapping_overrides=str(case.data(CANDIDATES)))
    assert run_verify(decided).counts["missing_mapping"] >= 1
    answer = {**row._asdict(), "entity_refs": row.candidate_1, "by_whom": "Ann"}
    write_csv(case.data(CANDIDATES), [answer])
    assert "missing_mapping" not in run_verify(decided).counts
    # Matching again leaves the answer where it is.
    notes = run_mapping_stage(decided).notes
    assert any("1 answers in mapping_candidates.csv were left" in note for note in notes)
    (kept,) = read_table_at(str(case.data(CANDIDATES)), CandidateRow)
    assert (kept.entity_refs, kept.by_whom) == (row.candidate_1, "Ann")
    assert "missing_mapping" not in run_verify(decided).counts


def test_a_part_of_qbos_own_table_is_used_and_a_tier_that_it_refutes_is_off(tmp_path: Path) -> None:
    for case in opened(tmp_path):
        with Path(case.sample.mapping_url).open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["qbo_entity_type"] == "Bill"]
        part = write_csv(tmp_path / "part.csv", rows[:2])
        run_mapping_stage(case.settings(match_known=part))
        rules = Counter(row.match_rule for row in mapped(case))
        assert rules["known"] == 2
        assert rules["all"] > 0
        rows[0]["qbo_entity_id"], rows[1]["qbo_entity_id"] = (
            rows[1]["qbo_entity_id"],
            rows[0]["qbo_entity_id"],
        )
        refuting = write_csv(tmp_path / "refuting.csv", rows[:2])
        result = run_mapping_stage(case.settings(match_known=refuting))
        assert any("tier all is off" in note and "are wrong" in note for note in result.notes)
        assert "all" not in result.counts


def test_qbos_own_table_is_asked_for_and_kept(tmp_path: Path) -> None:
    sample = make_sample(str(tmp_path / "sample"), files=FILES, awkward=False)
    for case in opened(tmp_path, mapping=sample.mapping_url, qbdt_mapping=True):
        run_mapping_stage(case.settings())
        assert {row.match_rule for row in mapped(case)} == {"known"}
        before = case.queries()
        run_mapping_stage(case.settings())
        assert case.queries() == before


def test_what_was_read_of_another_company_or_was_altered_is_not_believed(case: Case) -> None:
    run_mapping_stage(case.settings())
    before = case.queries()
    case.data(ENTITIES).write_text(case.data(ENTITIES).read_text().replace("Bill,", "Bill,9", 1))
    run_mapping_stage(case.settings())
    assert case.queries() > before
    facts = json.loads(case.data("qbo_entities.json").read_text())
    case.data("qbo_entities.json").write_text(json.dumps({**facts, "realm_id": "1"}))
    before = case.queries()
    run_mapping_stage(case.settings())
    assert case.queries() > before


def test_reads_are_bounded_and_inactive_names_are_read(tmp_path: Path) -> None:
    records = [
        {"Invoice": qbo_record("Invoice", str(n), Saying(str(n), "2024-03-01", f"{n}.00", "Abbott"))}
        for n in range(1, 2_501)
    ]  # fmt: skip
    gone = {**qbo_record("Customer", "9", Saying(name="Kowalski (deleted)")), "Active": False}
    lines = [json.dumps(record) for record in [*records, {"Customer": gone}]]
    (tmp_path / "qbo.jsonl").write_text("\n".join(lines))
    export = tmp_path / "export.csv"
    export.write_text(
        "TxnID,Type,Date,Num,Name,Amount\nA-1,Invoice,2024-03-01,7,Abbott,7.00\n8-1,Customer,,,Kowalski,\n"
    )
    given = {
        "data_dir": str(tmp_path / "data"), "desktop_export": str(export), "mapping_source": "match",
        "qbo_realm_id": "1234567890", "qbo_access_token": "any", "qbo_requests_per_min": 60_000, "match_known": "none",
    }  # fmt: skip
    with running(FakeOptions(entities=str(tmp_path / "qbo.jsonl"))) as fake:
        result = run_mapping_stage(
            load_settings({**given, "qbo_base_url": fake.base_url}, env_file=None)
        )
    # Two full pages and a half of invoices, one page of customers.
    assert "Read 2,501 entities of 2 types of QBO in 4 queries." in result.notes
    rows = list(read_table_at(str(tmp_path / "data" / MAPPING), MatchedMappingRow))
    assert [(row.legacy_txnid_norm, row.qbo_entity_id) for row in rows] == [
        ("8-1", "9"),
        ("A-1", "7"),
    ]


def test_without_an_export_or_with_an_empty_one_nothing_is_written(case: Case) -> None:
    with pytest.raises(SettingError, match="DESKTOP_EXPORT"):
        run_mapping_stage(case.settings(desktop_export=""))
    with pytest.raises(StorageError, match="correct DESKTOP_EXPORT"):
        run_mapping_stage(case.settings(desktop_export=str(case.folder / "none.csv")))
    (case.folder / "empty.csv").write_text("TxnID,Type\n")
    with pytest.raises(TableError, match="no rows"):
        run_mapping_stage(case.settings(desktop_export=str(case.folder / "empty.csv")))
    with pytest.raises(SettingError, match="no such tier"):
        run_mapping_stage(case.settings(match_tiers_off="al"))
    assert not case.data(MAPPING).exists()

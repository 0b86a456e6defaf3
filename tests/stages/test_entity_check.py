"""`verify --against-qbo`: entities that the mapping names and QBO lacks, or has put to sleep."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.tables import VERIFICATION, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.sample import Sample, make_sample
from qbo_attach.stages.inventory import run_inventory
from qbo_attach.stages.mapping import run_mapping
from qbo_attach.stages.verify import run_verify
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.stages.case import Case
from tests.stages.command import commands


def mapped(sample: Sample) -> list[tuple[str, str]]:
    with Path(sample.mapping_url).open(encoding="utf-8", newline="") as table:
        return [(r["qbo_entity_type"], r["qbo_entity_id"]) for r in csv.DictReader(table)]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """A company that lacks one bill and has a vendor that is inactive."""
    sample = make_sample(str(tmp_path / "sample"), files=120)
    kept = [f"{line}\n" for line in Path(sample.mapping_url).read_text().splitlines()]
    bill = next(n for n, line in enumerate(kept) if ",Bill," in line)
    company = tmp_path / "company.csv"
    company.write_text("".join(kept[:bill] + kept[bill + 1 :]))
    vendor = next(one for kind, one in mapped(sample) if kind in ("Vendor", "VENDOR"))
    records = tmp_path / "entities.jsonl"
    record = {"Id": vendor, "DisplayName": "Old Vendor", "Active": False}
    records.write_text(json.dumps({"Vendor": record}) + "\n")
    options = FakeOptions(mapping=str(company), entities=str(records), limits="off")
    with running(options) as fake:
        yield Case(sample, fake)


def verified(case: Case) -> list[VerificationRow]:
    return list(read_table(Store(case.sample.log_dir), VERIFICATION, VerificationRow))


def test_what_qbo_lacks_is_not_sent_and_what_is_inactive_is_flagged(case: Case) -> None:
    settings = case.settings(verify_against_qbo=True)
    run_inventory(settings)
    run_mapping(settings)
    plain = run_verify(case.settings())
    result = run_verify(settings)
    missing = [row for row in verified(case) if row.status == "entity_missing"]
    assert missing
    assert {row.qbo_entity_type for row in missing} == {"Bill"}
    assert result.counts["ok"] == plain.counts["ok"] - len(missing)
    flagged = [row for row in verified(case) if "entity_inactive" in row.reason]
    assert flagged
    assert {(row.qbo_entity_type, row.status) for row in flagged} == {("Vendor", "ok")}
    assert any("1 entities are not in QBO (Bill:" in note for note in result.notes)
    assert any("inactive in QBO (Vendor:" in note for note in result.notes)
    summary = case.run(verify_against_qbo=True)
    assert summary.statuses["entity_missing"] == len(missing)
    assert summary.outcomes.get("error", 0) == 0
    assert summary.exit_status == 1


def test_the_command_asks_in_few_queries(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_inventory(case.settings())
    run_mapping(case.settings())
    with commands(case, monkeypatch, capsys) as command:
        status, out, _ = command("verify", "--against-qbo", "--json")
    assert status == 0
    assert json.loads(out)["counts"]["verification"]["entity_missing"] > 0
    types = {row.qbo_entity_type for row in verified(case) if row.qbo_entity_type}
    # A count a type, and a query for at most 40 ids of it or a page.
    assert case.fake.ledger()["requests"]["query"] <= 3 * len(types)


def test_a_company_in_which_everything_exists_lacks_nothing(tmp_path: Path) -> None:
    sample = make_sample(str(tmp_path / "sample"), files=120)
    with running(FakeOptions(limits="off")) as fake:
        case = Case(sample, fake)
        settings = case.settings(verify_against_qbo=True)
        run_inventory(settings)
        run_mapping(settings)
        assert "entity_missing" not in run_verify(settings).counts


def test_a_company_that_cannot_be_asked_leaves_the_old_table(case: Case) -> None:
    settings = case.settings(verify_against_qbo=True)
    run_inventory(settings)
    run_mapping(settings)
    run_verify(case.settings())
    before = Path(case.sample.log_dir, VERIFICATION).read_bytes()
    case.fake.company.plan.add([Rule("403", endpoint="query")])
    with pytest.raises(NotStartedError, match="could not be asked"):
        run_verify(settings)
    assert Path(case.sample.log_dir, VERIFICATION).read_bytes() == before

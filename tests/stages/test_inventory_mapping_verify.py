"""The first three stages, over a disk, a memory store and S3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core.errors import NotStartedError, SettingError, StorageError, TableError
from qbo_attach.core.tables import (
    INVENTORY,
    MAPPING,
    SKIPS,
    VERIFICATION,
    InventoryRow,
    MappingRow,
    SkipRow,
    VerificationRow,
)
from qbo_attach.sample.build import make_sample
from qbo_attach.sample.expected import read_expected
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages.inventory import run_inventory
from qbo_attach.stages.mapping import run_mapping
from qbo_attach.stages.verify import run_verify
from qbo_attach.storage.artifacts import is_intact, read_table
from qbo_attach.storage.files import Store
from tests.conftest import S3Server

HEADER = "legacy_txnid_norm,legacy_entity_type,qbo_entity_type,qbo_entity_id\n"


class Company:
    """A place with a tree, a mapping and logs."""

    def __init__(self, url: str, **given: Any) -> None:
        self.url = url
        self.given = given
        self.files = Store(f"{url}/files")
        self.data = Store(f"{url}/data")
        self.log = Store(f"{url}/log")

    def settings(self, **given: Any) -> Settings:
        places = {name: f"{self.url}/{name[:-4]}" for name in ("files_dir", "data_dir", "log_dir")}
        return load_settings({**places, **self.given, **given}, env_file=None)

    def write(self, path: str, data: str | bytes = b"x") -> str:
        with Store(self.url).writing(path) as stream:
            stream.write(data if isinstance(data, bytes) else data.encode())
        return f"{self.url}/{path}"

    def verified(self) -> dict[str, VerificationRow]:
        return {r.file_path: r for r in read_table(self.log, VERIFICATION, VerificationRow)}


@pytest.fixture
def company(tmp_path: Path) -> Company:
    found = Company(str(tmp_path))
    found.write("files/Attach/Acme/Txn/80A/a.pdf")
    found.write("data/mapping_export.csv", HEADER + "A,BILL,BILL,12\n")
    return found


@pytest.fixture(params=["disk", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path)
    if request.param == "memory":
        return str(request.getfixturevalue("memory_url"))
    server: S3Server = request.getfixturevalue("s3_moto")
    use: Callable[[S3Server], None] = request.getfixturevalue("use_s3")
    use(server)
    return server.new_bucket()


def test_the_sample_gets_what_it_expects_at_every_place(place: str) -> None:
    sample = make_sample(place, seed=5, files=120, clients=3, with_intuit_mapping=True)
    company = Company(place, legacy_clients="*")
    for given in (
        {},
        {"mapping_source": sample.intuit_mapping_url, "files_dir": sample.files_dir + "/Attach"},
    ):
        settings = company.settings(**given)
        run_inventory(settings)
        run_mapping(settings)
        result = run_verify(settings)
        prefix = "Attach/" if given else ""
        verified = {prefix + path: row for path, row in company.verified().items()}
        expected = {row.file_path: row for row in read_expected(sample.expected_url)}
        assert {p: r.status for p, r in verified.items()} == {
            p: r.status for p, r in expected.items()
        }
        for path, row in expected.items():
            if row.qbo_entity_id:
                found = verified[path]
                assert (found.qbo_entity_type, found.qbo_entity_id) == (
                    row.qbo_entity_type,
                    row.qbo_entity_id,
                )
        assert result.counts == sample.status_counts
        skipped = list(read_table(company.log, SKIPS, SkipRow))
        assert {r.reason for r in skipped} == {"junk"}
        assert len(skipped) == result.counts["excluded"]
        assert result.artifacts[0].rows == len(expected)
        assert all(is_intact(artifact) for artifact in result.artifacts)


def test_equal_input_gives_equal_bytes(company: Company) -> None:
    digests = []
    for _ in range(2):
        results = [run(company.settings()) for run in (run_inventory, run_mapping, run_verify)]
        digests.append([artifact.sha256 for result in results for artifact in result.artifacts])
    assert digests[0] == digests[1]


def test_inventory_counts_and_tells_what_does_not_fit(company: Company) -> None:
    company.write("files/Attach/loose.pdf")
    result = run_inventory(company.settings())
    assert result.counts == {"files": 2, "clients": 1, "unrecognized_path": 1, "problems": 0}
    assert "1 of 2 files do not fit LEGACY_LAYOUT" in result.notes[0]
    assert result.artifacts[0].rows == 2


def test_a_missing_tree_and_an_empty_one_are_errors(company: Company, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such folder"):
        run_inventory(company.settings(files_dir=str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="holds no file; check FILES_DIR"):
        run_inventory(company.settings(files_dir=str(tmp_path / "empty")))


def test_several_clients_stop_the_inventory_before_it_is_written(company: Company) -> None:
    company.write("files/Attach/Birch/Txn/80A/b.pdf")
    with pytest.raises(SettingError, match="LEGACY_CLIENTS"):
        run_inventory(company.settings())
    assert company.data.info(INVENTORY) is None
    assert run_inventory(company.settings(legacy_clients="Acme")).counts["clients"] == 2


def test_a_shrunken_tree_keeps_the_old_inventory_until_it_is_allowed(company: Company) -> None:
    for number in range(4):
        company.write(f"files/Attach/Birch/Txn/80B/{number}.pdf")
    run_inventory(company.settings(legacy_clients="*"))
    for number in range(3):
        company.files.remove(f"Attach/Birch/Txn/80B/{number}.pdf")
    settings = company.settings(legacy_clients="*")
    with pytest.raises(NotStartedError, match=r"shrank from 5 to 2 files.*--allow-shrink"):
        run_inventory(settings)
    assert len(list(read_table(company.data, INVENTORY, InventoryRow))) == 5
    run_inventory(company.settings(legacy_clients="*", allow_shrink=True))
    assert len(list(read_table(company.data, INVENTORY, InventoryRow))) == 2


def test_a_mapping_in_data_dir_is_checked_and_never_written(company: Company) -> None:
    text = "\ufeffQboEntityId;QbdtExportableId;QboEntityType;QbdtEntityType\r\n12;a;BILL;BILL\r\n7;P;PAYROLL_CHECK;PAYCHECK\r\n"
    company.write("data/mapping_export.csv", text)
    for source in ("", company.data.child_url(MAPPING)):
        result = run_mapping(company.settings(mapping_source=source))
        assert result.counts == {"rows": 2, "unsupported_entity_type": 1}
        assert result.artifacts[0].rows == 2
        assert "PAYROLL_CHECK (1)" in result.notes[0]
    assert company.data.read_bytes(MAPPING).decode() == text
    run_inventory(company.settings())
    assert run_verify(company.settings()).counts == {"ok": 1}


def test_a_named_mapping_is_normalised_into_data_dir(company: Company) -> None:
    records = [
        {
            "QboEntityId": "34",
            "QbdtExportableId": " b ",
            "QboEntityType": "CASH_SALE",
            "QbdtEntityType": "CASHSALE",
        }
    ]
    url = company.write(
        "export.json", json.dumps({"QueryResponse": {"QbdtEntityIdMapping": records}})
    )
    run_mapping(company.settings(mapping_source=url))
    expected = [MappingRow("B", "CASHSALE", "SalesReceipt", "34")]
    assert list(read_table(company.data, MAPPING, MappingRow)) == expected
    run_mapping(company.settings(mapping_source="qbo"), lambda: records)
    assert list(read_table(company.data, MAPPING, MappingRow)) == expected


def test_a_broken_source_leaves_the_old_mapping(company: Company) -> None:
    before = company.data.read_bytes(MAPPING)
    for text, message in ((HEADER + "5E+18,BILL,BILL,1\n", "row 2"), (HEADER, "has no rows")):
        url = company.write("broken.csv", text)
        with pytest.raises(TableError, match=message):
            run_mapping(company.settings(mapping_source=url))
    assert company.data.read_bytes(MAPPING) == before


def test_a_missing_mapping_is_one_sentence(company: Company) -> None:
    with pytest.raises(StorageError, match="no such file; correct MAPPING_SOURCE"):
        run_mapping(company.settings(mapping_source=f"{company.url}/gone.csv"))
    with pytest.raises(SettingError, match="needs a QBO company"):
        run_mapping(company.settings(mapping_source="qbo"))
    run_inventory(company.settings())
    company.data.remove(MAPPING)
    with pytest.raises(StorageError, match="name one with MAPPING_SOURCE"):
        run_mapping(company.settings())
    with pytest.raises(StorageError, match="run mapping first"):
        run_verify(company.settings())


def test_what_verify_refuses_leaves_the_old_log(company: Company) -> None:
    run_inventory(company.settings())
    run_verify(company.settings())
    before = company.log.read_bytes(VERIFICATION), company.log.read_bytes(SKIPS)
    company.write("data/mapping_export.csv", HEADER + "80A,BILL,BILL,12\n")
    with pytest.raises(SettingError, match=r"LEGACY_ID_PREFIX=80.*set LEGACY_ID_PREFIX=none"):
        run_verify(company.settings())
    assert (company.log.read_bytes(VERIFICATION), company.log.read_bytes(SKIPS)) == before
    assert run_verify(company.settings(legacy_id_prefix="none")).counts == {"ok": 1}
    (row,) = company.verified().values()
    assert row.legacy_txnid_norm == "80A"


def test_overrides_and_edited_tables_are_read_from_where_the_settings_say(company: Company) -> None:
    company.write("files/Attach/Acme/Txn/80B/b.heic")
    company.write("files/Attach/Acme/Txn/80C/c.heic")
    run_inventory(company.settings())
    overrides = company.write(
        "overrides.csv",
        "legacy_id,entity_refs,reason,by_whom\nB,Bill:1;Note:2,split,Ann\nC,exclude,voided,Ann\nZ,exclude,gone,Ann\n",
    )
    types = company.write(
        "types.csv",
        "desktop_type,qbo_type,entity_ref_type,class\nBILL,BILL,Bill,txn\n,NOTE,Note,txn\n",
    )
    files = company.write(
        "files.csv", "extension,sent_extension,content_type\nheic,heic,image/heic\n"
    )
    result = run_verify(
        company.settings(
            mapping_overrides=overrides, entity_types_table=types, file_types_table=files
        )
    )
    rows = {row.raw_legacy_id: row for row in company.verified().values()}
    assert (rows["80B"].qbo_entity_type, rows["80B"].qbo_entity_id) == ("Bill;Note", "1;2")
    assert rows["80B"].reason == "override by Ann: split"
    assert [r.reason for r in read_table(company.log, SKIPS, SkipRow)] == [
        "override by Ann: voided"
    ]
    assert rows["80A"].reason == "QBO does not take .pdf files"
    assert result.notes[-1] == "1 rows of MAPPING_OVERRIDES met no attachment: Z."


def test_a_table_that_a_setting_names_must_be_there(company: Company) -> None:
    run_inventory(company.settings())
    for name in ("mapping_overrides", "entity_types_table", "file_types_table"):
        with pytest.raises(StorageError, match=f"correct {name.upper()}"):
            run_verify(company.settings(**{name: f"{company.url}/gone.csv"}))


def test_exclusions_reach_the_skips_with_their_rule(company: Company) -> None:
    for name in ("a.tmp", "draft.pdf", "tiny.pdf"):
        company.write(f"files/Attach/Acme/Txn/80A/{name}", b"x" * (1 if name == "tiny.pdf" else 20))
    company.write("files/Attach/Acme/Txn/80A/a.pdf", b"x" * 20)
    run_inventory(company.settings())
    rules = {
        "exclude_extensions": ".TMP",
        "exclude_names": "draft*",
        "exclude_smaller_than_bytes": 2,
    }
    result = run_verify(company.settings(**rules))
    assert {r.file_name: r.reason for r in read_table(company.log, SKIPS, SkipRow)} == {
        "a.tmp": "EXCLUDE_EXTENSIONS",
        "draft.pdf": "EXCLUDE_NAMES",
        "tiny.pdf": "EXCLUDE_SMALLER_THAN_BYTES",
    }
    assert result.counts == {"ok": 1, "excluded": 3}
    assert result.notes[0] == "Coverage 100.00%; MIN_COVERAGE is 90.00%."

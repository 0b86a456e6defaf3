"""The sample holds each awkward case, and says of every file what is to become of it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from pathlib import Path

import fsspec
import pytest

from qbo_attach.core.errors import NotStartedError, StorageError
from qbo_attach.core.model import Outcome, Status
from qbo_attach.sample import ExpectedRow, Sample, awkward, make_sample, read_expected
from qbo_attach.sample.company import Company
from qbo_attach.sample.planned import Desk

SENT_TYPES = {
    *("Bill", "BillPayment", "Customer", "Deposit", "Estimate", "Invoice", "JournalEntry"),
    *("Purchase", "SalesReceipt", "Vendor", "VendorCredit"),
}
SENT_EXTENSIONS = {"pdf", "png", "jpg", "jpeg", "tif", "xlsx", "docx", "txt", "csv"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    place = tmp_path_factory.mktemp("sample")
    return make_sample(str(place), with_intuit_mapping=True, with_too_large=True)


@pytest.fixture(scope="module")
def rows(sample: Sample) -> list[ExpectedRow]:
    return read_expected(sample.expected_url)


def _tree(place: str | Path) -> dict[str, bytes]:
    """Every file below, by its path as a table shows it."""
    return {
        file.relative_to(place).as_posix().encode("utf-8", "backslashreplace").decode(): (
            file.read_bytes()
        )
        for file in Path(place).rglob("*")
        if file.is_file()
    }


def _cases(rows: list[ExpectedRow]) -> dict[str, list[ExpectedRow]]:
    cases = defaultdict(list)
    for row in rows:
        cases[row.note.partition(";")[0]].append(row)
    return cases


def _documented() -> dict[str, tuple[str, str]]:
    table = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", awkward.__doc__ or "", re.MULTILINE)
    return {name: (what, result) for name, what, result in table}


def test_expected_covers_each_file_once_with_its_digest(
    sample: Sample, rows: list[ExpectedRow]
) -> None:
    tree = _tree(sample.files_dir)
    assert len(rows) == len(tree) == sample.files == 300
    assert len({path.split("/")[1] for path in tree} - {"loose scan.pdf"}) == 20
    assert {row.file_path: row.sha256 for row in rows} == {
        path: hashlib.sha256(data).hexdigest() for path, data in tree.items()
    }


def test_expected_is_in_the_order_of_the_inventory(rows: list[ExpectedRow]) -> None:
    paths = [row.file_path for row in rows if "\\u" not in row.file_path]
    assert paths == sorted(paths, key=lambda path: path.encode().split(b"/"))


def test_each_documented_case_is_there_and_each_case_is_documented(
    sample: Sample, rows: list[ExpectedRow]
) -> None:
    assert set(_cases(rows)) - {""} | set(sample.left_out) == set(_documented())


def test_each_case_has_the_result_that_its_documentation_says(rows: list[ExpectedRow]) -> None:
    for name, (_, result) in _documented().items():
        for row in _cases(rows).get(name, []):
            if result.startswith("`"):
                assert f"`{row.status}`" in result, name
            else:
                assert row.status == Status.OK, name


def test_statuses_and_outcomes_are_of_the_closed_lists_and_counted(
    sample: Sample, rows: list[ExpectedRow]
) -> None:
    made_by_hand = {Status.UNREADABLE, Status.ENTITY_MISSING}
    assert {row.status for row in rows} == {s.value for s in Status if s not in made_by_hand}
    assert {row.outcome for row in rows if row.status == Status.OK} == {
        Outcome.SUCCESS.value,
        Outcome.DUPLICATE_CONTENT.value,
    }
    assert {row.outcome for row in rows if row.status != Status.OK} == {""}
    assert sum(sample.status_counts.values()) == sample.files
    assert sum(sample.outcome_counts.values()) == sample.status_counts["ok"]


def test_the_company_takes_all_that_is_sent(rows: list[ExpectedRow]) -> None:
    sent = [row for row in rows if row.outcome == Outcome.SUCCESS]
    assert {row.qbo_entity_type for row in sent} == SENT_TYPES
    assert all(row.qbo_entity_id.isdigit() for row in sent)
    assert {row.sent_file_name.rpartition(".")[2].lower() for row in sent} == SENT_EXTENSIONS
    assert all(not row.sent_file_name for row in rows if row.outcome != Outcome.SUCCESS)


def test_no_two_sent_files_have_one_name_under_one_entity(rows: list[ExpectedRow]) -> None:
    keys = [
        (
            row.qbo_entity_type,
            row.qbo_entity_id,
            unicodedata.normalize("NFC", row.sent_file_name).casefold(),
        )
        for row in rows
        if row.outcome == Outcome.SUCCESS
    ]
    assert len(keys) == len(set(keys))


def test_duplicate_content_has_the_bytes_and_entity_of_an_earlier_file_that_is_sent(
    rows: list[ExpectedRow],
) -> None:
    by_path = {row.file_path: (place, row) for place, row in enumerate(rows)}
    doubles = [row for row in rows if row.outcome == Outcome.DUPLICATE_CONTENT]
    assert len(doubles) == 4
    for row in doubles:
        place, sent = by_path[row.note.partition("; sent as ")[2]]
        assert sent.outcome == Outcome.SUCCESS
        assert place < by_path[row.file_path][0]
        assert (sent.sha256, sent.qbo_entity_type, sent.qbo_entity_id) == (
            row.sha256,
            row.qbo_entity_type,
            row.qbo_entity_id,
        )


def test_differing_twins_are_sent_under_the_start_of_their_digest(rows: list[ExpectedRow]) -> None:
    cases = _cases(rows)
    for name in ("twins_different", "twins_case", "twins_unicode", "twins_mixed"):
        sent = [row for row in cases[name] if row.outcome == Outcome.SUCCESS]
        assert len(sent) == 2, name
        assert len({row.sha256 for row in sent}) == 2
        for row in sent:
            stem, dot, extension = row.file_path.rpartition("/")[2].rpartition(".")
            assert row.sent_file_name == f"{stem} ({row.sha256[:8]}){dot}{extension}"
    assert len(cases["twins_equal"]) == 3


def test_raw_ids_are_of_every_form(rows: list[ExpectedRow]) -> None:
    raw = {name: found[0].file_path.split("/")[3] for name, found in _cases(rows).items() if name}
    assert re.fullmatch(r"80[A-F][0-9A-F]{5}", raw["id_prefix"])
    assert re.fullmatch(r"[A-F][0-9A-F]{5}", raw["id_without_prefix"])
    assert re.fullmatch(r"80[a-f][0-9a-f]{5}", raw["id_lower_case"])
    assert re.fullmatch(r"80[A-F][0-9A-F]{5}-\d{10}", raw["id_with_dash"])
    assert re.fullmatch(r"801E-\d{10}", raw["id_like_a_number"])
    assert re.fullmatch(r"8080[A-F][0-9A-F]{5}", raw["id_prefix_twice"])
    assert re.fullmatch(r" 80[A-F][0-9A-F]{5} ", raw["id_with_spaces"])
    assert re.fullmatch(r"8[0-9A-F]{7}-\d{10}", raw["list_customer"])


def test_the_mapping_has_each_sent_entity_and_both_its_forms_agree(
    sample: Sample, rows: list[ExpectedRow]
) -> None:
    with Path(sample.mapping_url).open(encoding="utf-8", newline="") as stream:
        mapping = list(csv.DictReader(stream))
    assert list(mapping[0]) == [
        *("legacy_txnid_norm", "legacy_entity_type", "qbo_entity_type", "qbo_entity_id")
    ]
    entities = {(row["qbo_entity_type"], row["qbo_entity_id"]) for row in mapping}
    assert {(r.qbo_entity_type, r.qbo_entity_id) for r in rows if r.outcome} <= entities
    legacy_types = {row["legacy_entity_type"] for row in mapping}
    assert {"BILL", "Bill", "CASHSALE", "SalesReceipt", "PAYCHECK"} <= legacy_types
    page = json.loads(Path(sample.intuit_mapping_url).read_bytes())["QueryResponse"]
    assert page["maxResults"] == len(mapping)
    assert [(r["QbdtExportableId"], r["QboEntityId"]) for r in page["QbdtEntityIdMapping"]] == [
        (r["legacy_txnid_norm"], r["qbo_entity_id"]) for r in mapping
    ]


def test_no_id_in_the_mapping_looks_like_a_number_that_a_spreadsheet_would_spoil() -> None:
    company = Company(3, 2)
    ids = [company.legacy_id() for _ in range(50_000)]
    assert len(set(ids)) == len(ids)
    assert not [i for i in ids if not re.fullmatch(r"[ABCDF][0-9A-F]{5}", i)]


@pytest.mark.parametrize("seed", range(20))
def test_with_any_seed_the_gate_stays_open(seed: int) -> None:
    desk = Desk(Company(seed, 2), seed, (1, 60))
    files = [file for case in awkward.awkward_cases(desk) for file in case.files]
    gated = [f for f in files if f.status.value in _GATED]
    ok = 300 - len(files) + sum(f.status is Status.OK for f in files)
    assert ok / (ok + len(gated)) >= 0.92


_GATED = {
    *("missing_mapping", "ambiguous_mapping", "ambiguous_identifier", "duplicate_mapping"),
    *("unsupported_entity_type", "unrecognized_path"),
}


def test_coverage_is_what_the_gate_counts(sample: Sample, rows: list[ExpectedRow]) -> None:
    ok = sum(row.status == Status.OK for row in rows)
    gated = sum(row.status in _GATED for row in rows)
    assert sample.coverage == ok / (ok + gated)
    assert sample.coverage >= 0.92


def test_equal_arguments_give_equal_bytes_and_another_seed_others(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("one", "two", "other")]
    for place, seed in zip(places, (5, 5, 6), strict=True):
        make_sample(str(place), seed=seed)
    one, two, other = (_tree(place) for place in places)
    assert one == two
    assert set(one.values()).isdisjoint(set(other.values()) - {b""})
    assert set(one) != set(other)


def test_made_again_it_is_the_same_and_with_other_arguments_it_is_refused(tmp_path: Path) -> None:
    sample = make_sample(str(tmp_path))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("files/**/*.pdf")}
    tree = _tree(tmp_path)
    assert make_sample(str(tmp_path)) == sample
    assert _tree(tmp_path) == tree
    assert times == {path: path.stat().st_mtime_ns for path in times}
    with pytest.raises(StorageError, match="other arguments"):
        make_sample(str(tmp_path), seed=2)


def test_files_that_no_sample_made_are_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "files" / "Attach" / "precious.pdf"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"%PDF-")
    with pytest.raises(StorageError, match="holds files already"):
        make_sample(str(tmp_path))
    assert list(_tree(tmp_path)) == ["files/Attach/precious.pdf"]


@pytest.mark.proof
def test_twenty_thousand_files_are_made_by_count_and_all_expected(tmp_path: Path) -> None:
    sample = make_sample(str(tmp_path), files=20_000, clients=45, size_kb=(1, 2))
    root = Path(sample.files_dir, "Attach")
    assert len(list(root.iterdir())) == 45 + 1  # and a loose file
    assert sum(path.is_file() for path in root.rglob("*")) == sample.files == 20_000
    assert len(read_expected(sample.expected_url)) == 20_000


def test_without_awkward_cases_every_file_is_sent(tmp_path: Path) -> None:
    sample = make_sample(str(tmp_path), files=7, clients=2, awkward=False)
    assert sample.status_counts == {"ok": 7}
    assert sample.outcome_counts == {"success": 7}
    assert sample.coverage == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"files": 50}, "files=50"),
        ({"files": 0, "awkward": False}, "files=0"),
        ({"clients": 1}, "clients=1"),
        ({"size_kb": (2, 1)}, "size_kb=2,1"),
        ({"size_kb": (0, 1)}, "size_kb=0,1"),
    ],
)
def test_a_sample_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(NotStartedError, match=re.escape(words)):
        make_sample(str(tmp_path / "new"), **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_the_settings_to_use_it_are_told_for_a_shell(sample: Sample) -> None:
    environment = sample.environment(base_url="http://127.0.0.1:9", realm_id="77")
    assert environment["FILES_DIR"] == str(Path(sample.url, "files"))
    assert environment["DATA_DIR"] == str(Path(sample.mapping_url).parent)
    assert environment["LEGACY_CLIENTS"] == "*"
    assert environment["QBO_BASE_URL"] == "http://127.0.0.1:9"
    assert environment["QBO_REALM_ID"] == "77"
    lines = sample.shell_lines()
    assert "export LEGACY_CLIENTS='*'" in lines
    assert [line.split("=")[0].split()[1] for line in lines] == list(environment)


def test_an_object_store_gets_the_same_files_but_for_what_it_cannot_hold(
    sample: Sample, rows: list[ExpectedRow]
) -> None:
    url = "memory://sample-test/it"
    try:
        other = make_sample(url, with_too_large=True)
        assert other.left_out == {
            "not_utf8": "keys are UTF-8 here",
            "file_too_large": "sparse files need a local disk",
        }
        assert other.files == 300
        assert other.files_dir == f"{url}/files"
        there = {row for row in read_expected(other.expected_url) if row.note}
        here = {row for row in rows if row.note}
        assert there == {row for row in here if row.note not in other.left_out}
        found = fsspec.filesystem("memory").find("/sample-test/it/files")
        assert len(found) == 300
    finally:
        fsspec.filesystem("memory").rm("/sample-test", recursive=True)

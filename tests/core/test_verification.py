"""One status and one reason for every row of the inventory."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qbo_attach.core.clients import ClientRules
from qbo_attach.core.entity_types import built_in_entity_types
from qbo_attach.core.errors import GateClosedError, NotStartedError, SettingError, TableError
from qbo_attach.core.exclusions import Exclusions
from qbo_attach.core.file_types import MAX_FILE_BYTES, NOT_UTF8, built_in_file_types
from qbo_attach.core.identifiers import IdRules
from qbo_attach.core.inventory import Tree
from qbo_attach.core.joining import IncludedTypes, Joiner
from qbo_attach.core.layout import DEFAULT_LAYOUT, Layout
from qbo_attach.core.mapping import MappingIndex
from qbo_attach.core.model import ListedFile, Status
from qbo_attach.core.overrides import Overrides
from qbo_attach.core.tables import InventoryRow, VerificationRow
from qbo_attach.core.verification import Rules, Verifier, check_gate, coverage, skip_row

TYPES = built_in_entity_types()
MAPPING = [
    ("OK", "BILL", "BILL", "1"),
    ("TWO", "BILL", "BILL", "2"),
    ("TWO", "INVOICE", "INVOICE", "3"),
    ("DUP", "BILL", "BILL", "4"),
    ("DUP", "BILL", "BILL", "5"),
    ("PRE", "BILL", "BILL", "6"),
    ("80PRE", "BILL", "BILL", "7"),
    ("PAY", "PAYCHECK", "PAYROLL_CHECK", "8"),
]


def verifier(
    mapping: list[tuple[str, str, str, str]] | None = None,
    *,
    clients: tuple[str, ...] = ("*",),
    exclude_clients: tuple[str, ...] = (),
    exclusions: Exclusions | None = None,
) -> Verifier:
    rows = MAPPING if mapping is None else mapping
    index = MappingIndex([(n, *row, "") for n, row in enumerate(rows, 2)], TYPES, "m.csv")
    rules = Rules(
        DEFAULT_LAYOUT,
        ClientRules(clients, exclude_clients),
        exclusions or Exclusions(),
        built_in_file_types(),
    )
    return Verifier(rules, Joiner(index, TYPES, IdRules(), Overrides(), IncludedTypes((), TYPES)))


def inventory(*files: ListedFile) -> list[InventoryRow]:
    tree = Tree(files, Layout.parse(DEFAULT_LAYOUT, TYPES), IdRules())
    return list(tree.rows(tree.survey()))


def verified(found: Verifier, *files: ListedFile) -> list[VerificationRow]:
    return list(found.rows(inventory(*files), "i.csv"))


def listed(
    raw_id: str, name: str = "a.pdf", size: int = 10, problem: str = "", client: str = "Acme"
) -> ListedFile:
    return ListedFile(f"Attach/{client}/Txn/{raw_id}/{name}", size, problem=problem)


CASES = [
    (listed("80OK"), "ok", ""),
    (listed("80OK", "fax.TIFF"), "ok", ""),
    (listed("80OK", "Big.pdf", MAX_FILE_BYTES), "ok", ""),
    (listed("80NO"), "missing_mapping", "the mapping has no transaction NO"),
    (listed("80TWO"), "ambiguous_mapping", "TWO is Bill 2 and Invoice 3"),
    (listed("80PRE"), "ambiguous_identifier", "the mapping has both PRE (Bill 6) and 80PRE (Bill 7)"),
    (listed("80DUP"), "duplicate_mapping", "the mapping has DUP more than once: Bill 4 and Bill 5"),
    (listed("80PAY"), "unsupported_entity_type", "an attachment cannot hang on PAYROLL_CHECK"),
    (listed("80OK", "mail.MSG"), "unsupported_file_type", "QBO does not take .msg files"),
    (listed("80OK", "pdf"), "unsupported_file_type", "QBO does not take files without an extension"),
    (listed("80OK", "a.pdf", MAX_FILE_BYTES + 1), "file_too_large", "99,995,905 bytes; QBO takes at most 99,995,904"),
    (listed("80OK", "a.pdf", 0), "empty_file", "the file has no bytes"),
    (listed("80OK", "a\t.pdf"), "invalid_file_name", "the name has the control character U+0009"),
    (listed("80OK", "a" * 997 + ".pdf"), "invalid_file_name", "the name has 1001 characters"),
    (listed("80OK", "a\udcff.pdf"), "invalid_file_name", NOT_UTF8),
    (listed("80OK", "a.pdf", 0, "symbolic link, not followed"), "unreadable", "symbolic link, not followed"),
    (ListedFile("Attach/a.pdf", 10), "unrecognized_path", f"the path does not fit LEGACY_LAYOUT={DEFAULT_LAYOUT}"),
    (listed("80OK", "Thumbs.db"), "excluded", "junk"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "status", "reason"), CASES)
def test_each_case_has_its_status_and_reason(file: ListedFile, status: str, reason: str) -> None:
    # The first file fixes where the tree begins.
    rows = verified(verifier(), listed("80OK", "first.pdf", client="0"), file)
    (row,) = (r for r in rows if r.client != "0")
    assert (row.status, row.reason[: len(reason)]) == (status, reason)
    expected = ("Bill", "1") if status == "ok" else ("", "")
    assert (row.qbo_entity_type, row.qbo_entity_id) == expected


def test_the_cases_reach_every_status() -> None:
    asked_of_qbo = {Status.ENTITY_MISSING}
    by_the_tables = {status.value for status in Status if status not in asked_of_qbo}
    assert {status for _, status, _ in CASES} == by_the_tables


@pytest.mark.parametrize(
    ("file", "status"),
    [
        (listed("80OK", "Thumbs.db", 0, "denied"), "excluded"),
        (ListedFile("Attach/Thumbs.db", 0), "excluded"),
        (ListedFile("Attach/x\t", 0, problem="denied"), "unreadable"),
        (ListedFile("Attach/x\t", 0), "unrecognized_path"),
        (listed("80NO", "x\t.zip", 0), "invalid_file_name"),
        (listed("80NO", "x.zip", 0), "unsupported_file_type"),
        (listed("80NO", "x.pdf", 0), "empty_file"),
        (listed("80DUP", "x.pdf", MAX_FILE_BYTES + 1), "file_too_large"),
    ],
)
def test_the_first_that_holds_is_the_status(file: ListedFile, status: str) -> None:
    rows = verified(verifier(), listed("80OK", "first.pdf", client="0"), file)
    assert [r.status for r in rows if r.client != "0"] == [status]


def test_a_whole_client_may_be_excluded() -> None:
    found = verifier(clients=("Acme",), exclude_clients=("Birch",))
    rows = verified(found, *(listed("80OK", client=c) for c in ("Acme", "Birch", "Cedar")))
    assert [(r.legacy_txnid_norm, r.status, r.reason) for r in rows] == [
        ("OK", "ok", ""),
        ("OK", "excluded", "EXCLUDE_CLIENTS"),
        ("OK", "excluded", "LEGACY_CLIENTS"),
    ]
    assert skip_row(rows[1])._asdict() == {
        "legacy_txnid_norm": "OK",
        "legacy_entity_type": "Txn",
        "file_name": "a.pdf",
        "reason": "EXCLUDE_CLIENTS",
        "file_path": "Attach/Birch/Txn/80OK/a.pdf",
        "client": "Birch",
        "size_bytes": "10",
    }
    # Ids of excluded clients say nothing about the rule for the others.
    assert found.check_settings()[0].endswith(
        "80 dropped 100.0% (1 of 1), nothing dropped 0.0% (0 of 1)."
    )


def test_several_clients_without_leave_are_refused() -> None:
    found = verifier(clients=())
    verified(found, listed("80OK"), listed("80OK", client="Birch"))
    with pytest.raises(SettingError, match="LEGACY_CLIENTS"):
        found.check_settings()


def test_a_prefix_that_fits_worse_is_refused() -> None:
    found = verifier([("80A", "BILL", "BILL", "1")])
    verified(found, listed("80A"))
    with pytest.raises(SettingError, match="LEGACY_ID_PREFIX"):
        found.check_settings()


def test_the_id_is_normalised_again_from_the_raw_one() -> None:
    (row,) = inventory(listed("80OK"))
    (out,) = verifier().rows([row._replace(legacy_txnid_norm="OLD")], "i.csv")
    assert (out.legacy_txnid_norm, out.status) == ("OK", "ok")


def test_a_table_without_sizes_meets_no_size_rule() -> None:
    (row,) = inventory(listed("80OK"))
    (out,) = verifier(exclusions=Exclusions(smaller_than_bytes=5)).rows(
        [row._replace(size_bytes="")], "i"
    )
    assert out.status == "ok"


def test_a_size_that_is_no_number_and_a_path_twice_are_refused() -> None:
    (row,) = inventory(listed("80OK"))
    with pytest.raises(TableError, match=r"i.csv, column size_bytes: '1 kB' is no number"):
        list(verifier().rows([row._replace(size_bytes="1 kB")], "i.csv"))
    with pytest.raises(
        TableError, match=r"i.csv, column file_path: has Attach/Acme/Txn/80OK/a.pdf twice"
    ):
        list(verifier().rows([row, row], "i.csv"))


FILES = st.builds(
    lambda client, kind, raw, deeper, name, size, problem: ListedFile(
        "/".join(p for p in ("Attach", client, kind, raw, deeper, name) if p is not None),
        size,
        problem=problem,
    ),
    st.sampled_from(["Acme", "Birch", "", "\udcff"]),
    st.sampled_from(["Txn", "List", "Bill", "txn", "Inbox", "SALESORDER", None]),
    st.sampled_from(
        ["80OK", "OK", "80TWO", "80DUP", "80PRE", "80PAY", "80NO", "8080OK", " ", None]
    ),
    st.sampled_from([None, "2019"]),
    st.sampled_from(
        ["a.pdf", "b.TIFF", "c.zip", "d", "e\n.pdf", "Thumbs.db", "\udcff.pdf", "=1.pdf", ""]
    ),
    st.sampled_from([0, 1, 5_000, 10_000_000, MAX_FILE_BYTES, MAX_FILE_BYTES + 1]),
    st.sampled_from(["", "", "", "denied"]),
)


@given(
    st.lists(FILES, max_size=25, unique_by=lambda f: f.path),
    st.lists(st.sampled_from(MAPPING)),
    st.sampled_from([Exclusions(), Exclusions(["a*"], ["zip"], 2, 9_000_000)]),
    st.sampled_from([("*",), ("Acme",)]),
)
@example([], [], Exclusions(), ("*",))
def test_every_file_has_exactly_one_row_and_the_sums_hold(
    files: list[ListedFile],
    mapping: list[tuple[str, str, str, str]],
    exclusions: Exclusions,
    clients: tuple[str, ...],
) -> None:
    found = verifier(mapping, exclusions=exclusions, clients=clients)
    rows = verified(found, *files)
    assert [r.file_path for r in rows] == sorted(
        (f.path for f in files), key=lambda p: p.encode("utf-8", "surrogateescape").split(b"/")
    )
    assert found.rows_read == len(files) == sum(found.counts.values())
    for row in rows:
        assert bool(row.qbo_entity_id) == (row.status == Status.OK)
        assert bool(row.reason) == (row.status != Status.OK)
    excluded = [r for r in rows if r.status == Status.EXCLUDED]
    found.check_sums(len(rows), len(excluded))


@given(
    st.text(alphabet="aAtTdD.~$\t\n\x7f zipfPDF0", max_size=12),
    st.sampled_from(["0", "1", "00", "9999999", "10000000", "99995905", ""]),
)
def test_the_short_way_lets_pass_what_the_long_one_does_and_nothing_else(
    name: str, size: str
) -> None:
    found = verifier()
    row = InventoryRow("OK", "Txn", "80OK", name, f"Acme/{name}", "Acme", size)
    (told,) = found.rows([row], "inventory")
    refusal = found._refusal(name, int(size) if size else None, "", "ok")
    assert (told.status, told.reason) == (refusal or ("ok", ""))


@pytest.mark.parametrize(("log_rows", "skip_rows"), [(1, 1), (3, 1), (2, 0), (2, 2)])
def test_a_lost_row_is_found(log_rows: int, skip_rows: int) -> None:
    found = verifier()
    verified(found, listed("80OK"), listed("80OK", "Thumbs.db"))
    found.check_sums(2, 1)
    with pytest.raises(NotStartedError, match="lost count"):
        found.check_sums(log_rows, skip_rows)


def test_coverage_counts_what_a_better_mapping_could_mend() -> None:
    counts = {status.value: 1 for status in Status}
    counts["ok"] = 18
    assert coverage(counts) == 18 / 25
    assert coverage({"excluded": 5, "empty_file": 1}) == 1.0
    assert coverage({"missing_mapping": 1}) == 0.0


def test_the_gate_opens_at_its_mark_and_not_below() -> None:
    check_gate({"ok": 90, "missing_mapping": 10}, 0.90)
    with pytest.raises(
        GateClosedError, match=r"only 89.00% .* MIN_COVERAGE is 90.00%: missing_mapping 11\."
    ):
        check_gate({"ok": 89, "missing_mapping": 11, "empty_file": 7}, 0.90)

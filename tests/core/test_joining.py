"""What a folder gets from the mapping."""

from __future__ import annotations

import io

import pytest

from qbo_attach.core.entity_types import built_in_entity_types
from qbo_attach.core.errors import SettingError
from qbo_attach.core.identifiers import TXN, IdRules
from qbo_attach.core.joining import Decision, IncludedTypes, Joiner
from qbo_attach.core.mapping import MappingIndex
from qbo_attach.core.overrides import Overrides, read_overrides

TYPES = built_in_entity_types()
Row = tuple[str, str, str, str]


def joiner(
    *rows: Row, overrides: str = "", include: tuple[str, ...] = (), prefix: str = "80"
) -> Joiner:
    index = MappingIndex([(n, *row, "") for n, row in enumerate(rows, 2)], TYPES, "m.csv")
    decided = Overrides()
    if overrides:
        text = "legacy_id,entity_refs,reason,by_whom\n" + overrides
        decided = read_overrides(io.BytesIO(text.encode()), "o.csv", TYPES)
    return Joiner(index, TYPES, IdRules.of(prefix, ""), decided, IncludedTypes(include, TYPES))


def decide(found: Joiner, folder: str, raw_id: str) -> Decision:
    decision = found.decide(folder, raw_id)
    assert decision is not None
    return decision


BILL: Row = ("A", "BILL", "BILL", "1")
INVOICE: Row = ("A", "INVOICE", "INVOICE", "2")


@pytest.mark.parametrize(
    ("rows", "folder", "raw_id", "status"),
    [
        ([BILL], "Txn", "80a", "ok"),
        ([BILL], "Txn", "A", "ok"),
        ([BILL], "Bill", "80A", "ok"),
        ([BILL, BILL], "Txn", "80A", "ok"),
        ([BILL, ("A", "Txn", "Bill", "1")], "Txn", "80A", "ok"),
        ([BILL, ("A", "CUSTOMER", "CUSTOMER", "5")], "Txn", "80A", "ok"),
        ([BILL, INVOICE], "Bill", "80A", "ok"),
        ([BILL], "List", "80A", "missing_mapping"),
        ([BILL], "List", "A", "missing_mapping"),
        ([BILL], "Invoice", "A", "missing_mapping"),
        ([BILL], "Txn", "80B", "missing_mapping"),
        ([], "Txn", "80A", "missing_mapping"),
        ([BILL], "Txn", "8080A", "missing_mapping"),
        ([("80A", "BILL", "BILL", "1")], "Txn", "80A", "missing_mapping"),
        ([("80A", "BILL", "BILL", "1")], "Txn", "8080A", "ok"),
        ([BILL, INVOICE], "Txn", "80A", "ambiguous_mapping"),
        (
            [("A", "Txn", "Bill", "1"), ("A", "Txn", "Invoice", "2")],
            "Txn",
            "A",
            "ambiguous_mapping",
        ),
        ([BILL, ("A", "PAYCHECK", "PAYROLL_CHECK", "2")], "Txn", "A", "ambiguous_mapping"),
        ([BILL, ("A", "BILL", "BILL", "2")], "Txn", "80A", "duplicate_mapping"),
        ([BILL, ("A", "BILL", "CHECK", "2")], "Txn", "80A", "duplicate_mapping"),
        ([("A", "Txn", "Bill", "1"), ("A", "Txn", "Bill", "2")], "Txn", "A", "duplicate_mapping"),
        (
            [("A", "CHECK", "CHECK", "1"), ("A", "CREDIT_CARD", "CREDIT_CARD", "2")],
            "Txn",
            "A",
            "duplicate_mapping",
        ),
        ([BILL, ("80A", "BILL", "BILL", "2")], "Txn", "80A", "ambiguous_identifier"),
        ([BILL, ("80A", "CUSTOMER", "CUSTOMER", "2")], "Txn", "80A", "ok"),
        ([BILL, ("80A", "BILL", "BILL", "2")], "Txn", "A", "ok"),
        (
            [BILL, (*BILL[:3], "9"), ("80A", "BILL", "BILL", "2")],
            "Txn",
            "80A",
            "ambiguous_identifier",
        ),
        ([("A", "PAYCHECK", "PAYROLL_CHECK", "1")], "Txn", "80A", "unsupported_entity_type"),
        ([("A", "BILL", "Unheard", "1")], "Txn", "80A", "unsupported_entity_type"),
        ([("A", "Unheard", "Unheard", "1")], "Txn", "80A", "unsupported_entity_type"),
        ([], "SALESORDER", "80A", "unsupported_entity_type"),
    ],
)
def test_a_folder_gets_one_status(rows: list[Row], folder: str, raw_id: str, status: str) -> None:
    decision = decide(joiner(*rows), folder, raw_id)
    assert decision.status == status
    assert bool(decision.qbo_entity_id) == (status == "ok")
    assert bool(decision.reason) == (status != "ok")


def test_a_concrete_folder_takes_its_own_type() -> None:
    found = joiner(BILL, INVOICE)
    assert decide(found, "Bill", "80A")[3:] == ("Bill", "1", "")
    assert decide(found, "INVOICE", "80A")[3:] == ("Invoice", "2", "")


@pytest.mark.parametrize("rows", [[BILL, INVOICE], [INVOICE, BILL]])
def test_reasons_do_not_depend_on_the_order_of_rows(rows: list[Row]) -> None:
    decision = decide(joiner(*rows), "Txn", "80A")
    assert decision.reason.startswith("A is Bill 1 and Invoice 2 in the mapping")


def test_a_missing_id_tells_what_is_near() -> None:
    kept = decide(joiner(("80A", "BILL", "BILL", "1")), "Txn", "80A")
    assert kept.reason == "the mapping has no transaction A, but 80A, with its prefix (Bill 1)"
    other = decide(joiner(("A", "CUSTOMER", "CUSTOMER", "5")), "Txn", "80A")
    assert other.reason == "the mapping has no transaction A, but this id as CUSTOMER (Customer 5)"


def test_not_a_type_or_an_id_is_no_decision() -> None:
    assert joiner(BILL).decide("", "") is None
    assert joiner(BILL).decide("Inbox", "80A") is None
    assert joiner(BILL).norm("Inbox", "80A") == ""


def test_an_override_wins_over_everything_the_mapping_says() -> None:
    contradicting = [BILL, ("A", "BILL", "BILL", "2"), ("80A", "INVOICE", "INVOICE", "3")]
    found = joiner(*contradicting, overrides="A,Bill:12;Invoice:34,split,Ann\n")
    decision = decide(found, "Txn", "80A")
    assert decision == ("A", "ok", "override by Ann: split", "Bill;Invoice", "12;34", "")


def test_an_override_excludes_with_its_reason() -> None:
    decision = decide(joiner(BILL, overrides="A,exclude,voided,Ann\n"), "Txn", "80A")
    assert decision == ("A", "excluded", "override by Ann: voided", "", "", "")


@pytest.mark.parametrize(
    ("include", "folder", "raw_id", "status"),
    [
        (("Bill",), "Txn", "A", "ok"),
        (("BILL",), "Txn", "A", "ok"),
        (("Txn",), "Txn", "A", "ok"),
        (("txn",), "Bill", "A", "ok"),
        (("Invoice",), "Txn", "A", "excluded"),
        (("List",), "Txn", "A", "excluded"),
        (("Invoice",), "Bill", "B", "excluded"),
        (("Invoice",), "Txn", "B", "missing_mapping"),
        (("Customer",), "Txn", "B", "excluded"),
        (("Customer", "Bill"), "List", "C", "ok"),
        (("CASH_PURCHASE",), "Txn", "D", "ok"),
    ],
)
def test_only_included_types_go(
    include: tuple[str, ...], folder: str, raw_id: str, status: str
) -> None:
    rows: list[Row] = [BILL, ("C", "CUSTOMER", "CUSTOMER", "5"), ("D", "CHECK", "CHECK", "6")]
    decision = decide(joiner(*rows, include=include), folder, raw_id)
    assert decision.status == status
    if status == "excluded":
        assert decision.reason == "INCLUDE_ENTITY_TYPES"


def test_an_override_to_a_type_that_is_not_included_is_excluded() -> None:
    found = joiner(BILL, overrides="A,Invoice:2,r,w\nB,Bill:3,r,w\n", include=("Bill",))
    assert decide(found, "Txn", "A").reason == "INCLUDE_ENTITY_TYPES"
    assert decide(found, "Txn", "B").status == "ok"


def test_an_unknown_included_type_is_refused() -> None:
    with pytest.raises(SettingError, match="INCLUDE_ENTITY_TYPES=Inbox"):
        IncludedTypes(["Bill", "Inbox"], TYPES)


@pytest.mark.parametrize(
    ("prefix", "hits"),
    [("80", {"80": 3, "": 2}), ("none", {"": 2, "80": 3}), ("8", {"8": 1, "": 2, "80": 3})],
)
def test_scores_count_distinct_ids_under_each_rule(prefix: str, hits: dict[str, int]) -> None:
    rows: list[Row] = [
        ("A", "BILL", "BILL", "1"),
        ("B", "BILL", "BILL", "2"),
        ("80B", "BILL", "BILL", "3"),
        ("C", "BILL", "BILL", "4"),
    ]
    found = joiner(*rows, prefix=prefix)
    for raw_id in ("80A", "80A", "80B", "C", "80X"):
        decide(found, "Txn", raw_id)
    assert (found.scores[TXN].ids, found.scores[TXN].hits) == (4, hits)


def test_a_prefix_that_fits_worse_stops() -> None:
    found = joiner(("80A", "BILL", "BILL", "1"))
    decide(found, "Txn", "80A")
    with pytest.raises(SettingError, match=r"LEGACY_ID_PREFIX=80.*set LEGACY_ID_PREFIX=none"):
        found.scores[TXN].check()

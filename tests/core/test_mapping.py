"""The mapping: forms it comes in, cells that are refused, and the index."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.entity_types import LegacyType, built_in_entity_types
from qbo_attach.core.errors import TableError
from qbo_attach.core.mapping import MappingIndex, normalise_mapping
from qbo_attach.core.mapping_formats import RawMapping, mapping_rows, read_mapping
from qbo_attach.core.tables import COLUMNS, MAPPING, MappingRow, encode_table

TYPES = built_in_entity_types()
HEADER = "legacy_txnid_norm,legacy_entity_type,qbo_entity_type,qbo_entity_id\n"


def read(text: str | bytes) -> list[RawMapping]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_mapping(io.BytesIO(data), "m.csv"))


def normalised(text: str | bytes) -> list[MappingRow]:
    return list(normalise_mapping(read(text), TYPES, "m.csv"))


def refused(text: str | bytes) -> str:
    with pytest.raises(TableError) as caught:
        normalised(text)
    return str(caught.value)


def index(*rows: tuple[str, str, str, str]) -> MappingIndex:
    return MappingIndex([(n, *row, "") for n, row in enumerate(rows, 2)], TYPES, "m.csv")


def folder(name: str) -> LegacyType:
    found = TYPES.legacy(name)
    assert found is not None
    return found


INTUIT = {
    "QboEntityId": "12",
    "QbdtExportableId": "007-1",
    "QboEntityType": "BILL_CREDIT",
    "QbdtEntityType": "BILL_REFUND",
}
FOUR = ("007-1", "BILL_REFUND", "BILL_CREDIT", "12")
LOWER = {key[0].lower() + key[1:]: value for key, value in INTUIT.items()}
PAGE = {"QueryResponse": {"QbdtEntityIdMapping": [INTUIT], "startPosition": 1}, "time": "now"}


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "007-1,BILL_REFUND,BILL_CREDIT,12\n",
        HEADER.replace(",", ";") + "007-1;BILL_REFUND;BILL_CREDIT;12\r\n",
        "\ufeff" + HEADER.upper() + '"007-1",BILL_REFUND,"BILL_CREDIT",12',
        (HEADER + "007-1,BILL_REFUND,BILL_CREDIT,12\n").encode("utf-16"),
        "note,QboEntityId,QBDTEXPORTABLEID,qboEntityType,QbdtEntityType\nx,12,007-1,BILL_CREDIT,BILL_REFUND\n",
        HEADER + "'007-1,BILL_REFUND,BILL_CREDIT,'12\n",
    ],
)
def test_csv_is_read_in_any_of_its_forms(text: str | bytes) -> None:
    assert read(text) == [(2, *FOUR, "")]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([INTUIT]),
        json.dumps([LOWER], indent=2),
        json.dumps(PAGE),
        json.dumps(INTUIT),
        "\ufeff\n  " + json.dumps([INTUIT]),
        json.dumps([INTUIT]).encode("utf-16"),
        json.dumps([dict(zip(MappingRow._fields, FOUR, strict=True))]),
    ],
)
def test_json_is_read_in_any_of_its_forms(text: str | bytes) -> None:
    assert read(text) == [(1, *FOUR, "")]


def test_json_lines_keep_their_line_numbers() -> None:
    empty = {"QueryResponse": {}, "time": "now"}
    lines = [json.dumps(INTUIT), "", json.dumps(PAGE), json.dumps(empty), json.dumps(LOWER)]
    assert read("\n".join(lines)) == [(1, *FOUR, ""), (3, *FOUR, ""), (5, *FOUR, "")]


def test_records_of_qbo_become_rows() -> None:
    assert list(mapping_rows([INTUIT, LOWER], "qbo")) == [(1, *FOUR, ""), (2, *FOUR, "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.csv: the file is empty"),
        (
            "a,b\n1,2\n",
            "m.csv, row 1, column legacy_txnid_norm: this column, or QbdtExportableId, is missing",
        ),
        (
            HEADER.strip() + ",QboEntityId\n",
            "row 1, column qbo_entity_id: stands twice, as qboentityid",
        ),
        (HEADER + "a,BILL,BILL\n", "row 2: has 3 cells where the header has 4"),
        (HEADER + 'a,"BILL,BILL,1\n', "row 2: is not readable as CSV"),
        (HEADER.encode() + b"a,BILL,BILL,1\n\xe9,BILL,BILL,2\n", "is not utf-8 text"),
        ("[{]", "row 1: is not readable as JSON"),
        ('{"a": 1}\n{"b": 2}\n', "row 1, column legacy_txnid_norm: QbdtExportableId is missing"),
        ("[1]", "must hold a list of objects"),
        ('{"QueryResponse": []}', "must hold a list of objects"),
        (
            json.dumps([INTUIT, {**INTUIT, "QboEntityId": 12}]),
            "row 2, column qbo_entity_id: QboEntityId is 12; it must be text",
        ),
        (json.dumps([{**INTUIT, "qboEntityId": "1"}]), "row 1, column qbo_entity_id: stands twice"),
        (
            json.dumps([{"QboEntityId": "1"}]),
            "row 1, column legacy_txnid_norm: QbdtExportableId is missing",
        ),
        (json.dumps(INTUIT) + "\n{", "row 2: is not readable as JSON"),
    ],
)
def test_a_broken_table_is_refused_with_file_row_and_column(
    text: str | bytes, message: str
) -> None:
    assert message in refused(text)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "5E+18,BILL,BILL,1",
            "row 3, column legacy_txnid_norm: '5E+18' is what a spreadsheet made",
        ),
        ("12e4,BILL,BILL,1", "row 3, column legacy_txnid_norm: '12e4' is what"),
        ('"1,5E+18",BILL,BILL,1', "column legacy_txnid_norm"),
        ("12.0,BILL,BILL,1", "column legacy_txnid_norm"),
        ("#REF!,BILL,BILL,1", "column legacy_txnid_norm"),
        ("A,BILL,BILL,5E+18", "row 3, column qbo_entity_id: '5E+18' is what"),
        ("A,BILL,BILL,12.0", "row 3, column qbo_entity_id"),
        ("A,BILL,BILL,12;34", "column qbo_entity_id: '12;34' is no id of QBO"),
        (
            " ,BILL,BILL,1",
            "row 3, column legacy_txnid_norm: is empty (Intuit calls it QbdtExportableId)",
        ),
        ("A,,BILL,1", "row 3, column legacy_entity_type: is empty"),
        ("A,BILL, ,1", "row 3, column qbo_entity_type: is empty"),
        ("A,BILL,BILL,", "row 3, column qbo_entity_id: is empty (Intuit calls it QboEntityId)"),
    ],
)
def test_a_spoilt_or_empty_cell_is_refused_by_row(row: str, message: str) -> None:
    assert message in refused(HEADER + "B,BILL,BILL,1\n" + row + "\n")


@pytest.mark.parametrize(
    "legacy_id",
    ["1E-1648662274", "12E4-1439202892", "000123", "A12E4", "80000004-1424241304", "E5"],
)
def test_real_ids_that_look_a_little_like_numbers_pass(legacy_id: str) -> None:
    (row,) = normalised(HEADER + f"{legacy_id},BILL,BILL,0012\n")
    assert (row.legacy_txnid_norm, row.qbo_entity_id) == (legacy_id, "0012")


def test_normalised_rows_have_canonical_ids_and_api_names() -> None:
    text = HEADER + " ab\N{EN DASH}1 , BILL , bill , 7 \nC,PAYCHECK,PAYROLL_CHECK,8\n\n, ,,\n"
    with pytest.raises(TableError, match="row 5"):
        normalised(HEADER + "C,PAYCHECK,PAYROLL_CHECK,8\n\n\nD,BILL,BILL,\n")
    assert normalised(text) == [
        MappingRow("AB-1", "BILL", "Bill", "7"),
        MappingRow("C", "PAYCHECK", "PAYROLL_CHECK", "8"),
    ]


IDS = st.from_regex(r"[0-9A-F]{1,6}-[0-9]{10}", fullmatch=True)
ROWS = st.lists(
    st.tuples(IDS, st.sampled_from(["BILL", "Txn", "CUSTOMER"]), st.sampled_from(["BILL", "Invoice", "XX"]), st.integers(1, 10**19).map(str)),
    max_size=20,
)  # fmt: skip


@given(ROWS)
def test_normalising_twice_is_normalising_once(rows: list[tuple[str, str, str, str]]) -> None:
    once = list(normalise_mapping([(2, *row, "") for row in rows], TYPES, "m"))
    data = b"".join(encode_table(COLUMNS[MAPPING], once))
    assert normalised(data) == once


def test_equal_rows_are_one_and_others_stay() -> None:
    found = index(
        ("a", "BILL", "Bill", "1"), (" A ", "BILL", "Bill", "1"), ("A", "BILL", "Bill", "2")
    )
    assert [row.entity for row in found.of("A")] == ["Bill 1", "Bill 2"]
    assert (found.rows, len(found), found.of("B")) == (3, 1, [])


@pytest.mark.parametrize(
    ("row", "joined_by"),
    [
        (("A", "BILL", "BILL", "1"), {"Txn", "Bill", "BILL"}),
        (("A", "Txn", "Bill", "1"), {"Txn", "Bill", "BILL"}),
        (("A", "Txn", "CHECK", "1"), {"Txn", "CHECK", "Purchase", "CREDIT_CARD"}),
        (("A", "CREDIT_CARD", "CREDIT_CARD", "1"), {"Txn", "CHECK", "Purchase", "CREDIT_CARD"}),
        (("A", "CUSTOMER", "CUSTOMER", "1"), {"List", "Customer"}),
        (("A", "OTHERNAME", "VENDOR", "1"), {"List", "OTHERNAME"}),
        (("A", "SALESORDER", "ESTIMATE", "1"), {"Txn", "SALESORDER"}),
        (("A", "Ledger", "INVOICE", "1"), {"Txn", "Invoice"}),
        (("A", "Unheard", "UNHEARD", "1"), {"Txn", "List"}),
    ],
)
def test_a_row_is_joined_by_its_class_and_by_its_type_alone(
    row: tuple[str, str, str, str], joined_by: set[str]
) -> None:
    found = index(row)
    names = [
        "Txn",
        "List",
        "Bill",
        "BILL",
        "Invoice",
        "CHECK",
        "Purchase",
        "CREDIT_CARD",
        "Customer",
        "OTHERNAME",
        "SALESORDER",
    ]
    assert {name for name in names if found.matching("A", folder(name))} == joined_by


def test_the_short_way_agrees_with_the_long_one() -> None:
    found = index(
        ("A", "BILL", "BILL", "1"),
        ("B", "BILL", "BILL", "1"),
        ("B", "INVOICE", "INVOICE", "2"),
        ("C", "PAYCHECK", "PAYCHECK", "3"),
    )
    assert found.only("A", folder("Txn")) == found.only("A", folder("Bill")) == ("Bill", "1", "")
    assert found.only("A", folder("List")) is None
    assert found.only("A", folder("List")) is None
    assert [found.only(i, folder("Txn")) for i in "BCD"] == [None, None, None]
    assert [bool(found.of(i)) for i in "AD"] == [True, False]


def test_a_match_rule_travels_with_its_row() -> None:
    text = HEADER.strip() + ",match_rule,desktop_name\nA,BILL,Bill,1,all,Abbott\nB,BILL,Bill,2,,\n"
    found = MappingIndex(read(text), TYPES, "m.csv")
    assert found.only("A", folder("Txn")) == ("Bill", "1", "all")
    assert found.only("B", folder("Txn")) == ("Bill", "2", "")
    assert [row.match_rule for row in found.of("A")] == ["all"]

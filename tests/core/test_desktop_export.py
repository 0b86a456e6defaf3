"""Reading what Desktop exported: columns, dates, amounts, ids, and what is refused."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import pytest
from openpyxl import Workbook

from qbo_attach.core.errors import TableError
from qbo_attach.core.matching.desktop_columns import built_in_columns, read_columns
from qbo_attach.core.matching.desktop_export import DesktopExport
from qbo_attach.core.matching.types import built_in_match_types, read_match_types

HEADER = "TxnID,TxnType,TxnDate,RefNumber,Name,Amount\n"
BILL = "A1-1,Bill,2024-03-01,1001,Abbott Bakery,12.50\n"


def export(
    text: str | bytes, name: str = "d.csv", dates: str = "iso", decimal: str = "auto"
) -> DesktopExport:
    read = DesktopExport(built_in_match_types(), built_in_columns(), dates, decimal)
    read.add(io.BytesIO(text if isinstance(text, bytes) else text.encode()), name)
    return read


def refused(text: str | bytes, **how: str) -> str:
    with pytest.raises(TableError) as caught:
        export(text, **how)
    return str(caught.value)


def workbook(**sheets: list[list[Any]]) -> bytes:
    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def said(read: DesktopExport) -> list[tuple[str, ...]]:
    return [(r.id, r.kind.qbo_entity_type, *r[3:]) for r in read.rows]


ONE = [("A1-1", "Bill", "1001", "2024-03-01", "12.5", "Abbott Bakery")]


def test_a_table_of_the_sdk_is_read() -> None:
    assert said(export(HEADER + BILL)) == ONE


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_encodings_are_read(delimiter: str) -> None:
    text = (HEADER + BILL).replace(",", delimiter)
    assert said(export(text.encode("utf-16"))) == ONE
    assert said(export(b"\xef\xbb\xbf" + text.encode())) == ONE


def test_columns_are_known_by_other_names_in_any_order() -> None:
    text = "Amount Due,VendorRef_FullName,Ref No.,Date,Transaction Type,txn id\n12.50,Abbott Bakery,1001,2024-03-01,BILL,a1-1\n"
    read = export(text)
    assert said(read) == ONE
    assert "name from VendorRef_FullName" in read.notes[0]


def test_the_full_name_goes_before_the_name() -> None:
    read = export("ListID,Name,FullName\n8-1,Kitchen,Smith:Kitchen\n", name="x/Customer.csv")
    assert said(read) == [("8-1", "Customer", "", "", "", "Smith:Kitchen")]


def test_a_table_without_a_type_column_is_of_the_type_it_is_named_after() -> None:
    text = "TxnID,TxnDate,RefNumber,VendorRefFullName,AmountDue\nA1-1,2024-03-01,1001,Abbott Bakery,12.50\n"
    assert said(export(text, name="s3://b/Bill.csv")) == ONE
    assert "'d', the table's name, is no type" in refused(text)


def test_a_workbook_is_read_sheet_by_sheet_with_its_own_numbers_and_dates() -> None:
    data = workbook(
        Bill=[
            ["TxnID", "Date", "Num", "Name", "Amount"],
            ["A1-1", dt.date(2024, 3, 1), 1001, "Abbott Bakery", 12.5],
        ],
        Empty=[],
        Vendor=[["ListID", "Name"], ["8-1", "Abbott Bakery"]],
    )
    assert said(export(data, name="d.xlsx", dates="dmy")) == [
        *ONE,
        ("8-1", "Vendor", "", "", "", "Abbott Bakery"),
    ]


def test_a_workbook_whose_id_is_a_number_is_refused_by_row() -> None:
    data = workbook(Bill=[["TxnID", "Date", "Amount"], ["A-1", "", 1], [12, "", 2]])
    assert refused(data, name="d.xlsx").startswith("d.xlsx, Bill, row 3, column id: 12 is what")


def test_what_is_no_workbook_is_refused() -> None:
    assert "not readable as a workbook" in refused(b"PK\x03\x04rubbish", name="d.xlsx")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("5E+18,Bill,2024-03-01,1,N,1\n", "row 3, column id: 5E+18 is what a spreadsheet made"),
        (",Bill,2024-03-01,1,N,1\n", "row 3, column id: is empty"),
        ("B-1,Bill,3/1/2024,1,N,1\n", "row 3, column date: '3/1/2024' is no date in the order iso; set DESKTOP_DATES"),
        ("B-1,Bill,2024-03-01,1,N,abc\n", "row 3, column amount: 'abc' is no amount"),
        ("B-1,Bil,2024-03-01,1,N,1\n", "row 3, column type: no such Desktop type is known: 'Bil'; add a row a type to MATCH_TYPES_TABLE"),
        ("B-1,Bill,2024-03-01,1,N,1,2\n", "row 3: has 7 cells"),
        ("A1-1,Bill,2024-03-01,1002,N,1\n", "row 3, column id: A1-1 stands in row 2 already"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_with_row_column_and_remedy(row: str, problem: str) -> None:
    assert problem in refused(HEADER + BILL + row)


def test_a_table_without_an_id_is_refused_with_the_names_that_would_do() -> None:
    assert "no column for the id (one of TxnID, ListID" in refused("Foo,Type\n1,Bill\n")
    assert "stands twice" in refused("TxnID,TxnID\n1,2\n")


def test_all_unknown_types_are_named_at_once() -> None:
    text = refused(HEADER + "A-1,Foo,2024-03-01,1,N,1\nA-2,Bar,2024-03-01,1,N,1\n")
    assert "'Bar', 'Foo'" in text


def test_a_sign_that_one_amount_proves_holds_for_all() -> None:
    row = 'B-1,Bill,2024-03-01,1,N,"1,234"\n'
    assert [r.amount for r in export(HEADER + BILL + row).rows] == ["12.5", "1234"]
    comma = (
        HEADER.replace(",", ";") + "A-1;Bill;2024-03-01;1;N;1.234\nA-2;Bill;2024-03-01;2;N;7,5\n"
    )
    assert [r.amount for r in export(comma).rows] == ["1234", "7.5"]


def test_an_amount_that_could_be_two_is_refused_until_the_setting_says_which() -> None:
    text = HEADER + "A-1,Bill,2024-03-01,1,N,1.234\n"
    assert "can be read in two ways; set DESKTOP_DECIMAL" in refused(text)
    assert export(text, decimal="point").rows[0].amount == "1.234"
    assert export(text, decimal="comma").rows[0].amount == "1234"


def test_amounts_that_prove_two_signs_are_refused() -> None:
    text = HEADER + BILL + 'B-1,Bill,2024-03-01,1,N,"7,50"\n'
    assert "row 3, column amount: '7,50' has another decimal sign than '12.50' in row 2" in refused(
        text
    )


def test_lines_that_repeat_a_transaction_are_one_row() -> None:
    read = export(HEADER + BILL + BILL)
    assert (len(read.rows), read.repeated_rows) == (1, 1)


def test_types_that_become_nothing_are_counted() -> None:
    read = export(HEADER + "A-1,Sales Order,2024-03-01,1,N,1\n")
    assert (read.rows, read.without_entity) == ([], {"Sales Order": 1})


def test_types_are_known_as_reports_and_the_sdk_write_them() -> None:
    types = built_in_match_types()
    for name, becomes in (
        ("BillPaymentCheck", "BillPayment"), ("Bill Pmt -Check", "BillPayment"), ("CASHSALE", "SalesReceipt"),
        ("StatementCharge", "Invoice"), ("BILL_REFUND", "VendorCredit"), ("SalesOrder", ""), ("ItemNonInventory", "Item"),
    ):  # fmt: skip
        kind = types.of(name)
        assert kind is not None, name
        assert kind.qbo_entity_type == becomes


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("Bill,BILL,Bil,theirs", "column qbo_entity_type: is 'Bil'"),
        ("Bill,BILL,Bill,", "column numbers: is ''"),
        (",BILL,Bill,ours", "column name: is empty"),
        ("Bill,BILL,Bill,ours\nBILL,BILL,VendorCredit,ours", "BILL has another meaning"),
    ],
)
def test_a_broken_table_of_types_is_refused(row: str, problem: str) -> None:
    text = f"name,desktop_type,qbo_entity_type,numbers\n{row}\n"
    with pytest.raises(TableError, match=problem):
        read_match_types(io.BytesIO(text.encode()), "t.csv")


def test_an_edited_table_of_columns_decides_and_a_broken_one_is_refused() -> None:
    columns = read_columns(io.BytesIO(b"column,name\nid,Ident\ntype,Art\n"), "c.csv")
    read = DesktopExport(built_in_match_types(), columns, "iso", "auto")
    read.add(io.BytesIO(b"Ident,Art\nA-1,Vendor\n"), "d.csv")
    assert read.rows[0].id == "A-1"
    for text, problem in (
        (b"column,name\nidd,X\n", "is 'idd'"),
        (b"column,name\nid,X\ntype,x\n", "another column"),
    ):
        with pytest.raises(TableError, match=problem):
            read_columns(io.BytesIO(text), "c.csv")


def test_transactions_without_a_column_for_date_or_amount_are_refused_and_lists_are_not() -> None:
    assert "no column for the date (one of TxnDate" in refused("TxnID,Type,Amount\nA-1,Bill,1\n")
    assert "no column for the amount" in refused("TxnID,Type,Date\nA-1,Bill,2024-03-01\n")
    assert len(export("ListID,Type,Name\nA-1,Vendor,Abbott\n").rows) == 1

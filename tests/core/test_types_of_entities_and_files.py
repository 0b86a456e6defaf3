"""The two tables that a user may edit."""

from __future__ import annotations

import io

import pytest

from qbo_attach.core.entity_types import built_in_entity_types, read_entity_types
from qbo_attach.core.errors import TableError
from qbo_attach.core.file_types import (
    MAX_FILE_BYTES,
    NOT_UTF8,
    built_in_file_types,
    extension_of,
    name_problem,
    read_file_types,
)
from qbo_attach.qbo.qbdt import DESKTOP_ENTITY_TYPES

# As Intuit's page of the entity Attachable prints them.
APPROVED = [
    "ai",
    "csv",
    "doc",
    "docx",
    "eps",
    "gif",
    "jpeg",
    "jpg",
    "ods",
    "pdf",
    "png",
    "rtf",
    "tif",
    "txt",
    "xls",
    "xlsx",
    "xml",
]


@pytest.mark.parametrize(
    ("qbo", "ref_type"),
    [
        ("CHECK", "Purchase"),
        ("CASH_PURCHASE", "Purchase"),
        ("CREDIT_CARD", "Purchase"),
        ("CREDIT_CARD_CREDIT", "Purchase"),
        ("BILL", "Bill"),
        ("BILL_CREDIT", "VendorCredit"),
        ("BILL_CHECK", "BillPayment"),
        ("BILL_CREDIT_CARD", "BillPayment"),
        ("INVOICE", "Invoice"),
        ("CASH_SALE", "SalesReceipt"),
        ("RECEIVED_PAYMENT", "Payment"),
        ("CREDIT_MEMO", "CreditMemo"),
        ("CREDIT_REFUND", "RefundReceipt"),
        ("GENERAL_JOURNAL", "JournalEntry"),
        ("RECEIVED_MONEY", "Deposit"),
        ("TRANSFER", "Transfer"),
        ("ESTIMATE", "Estimate"),
        ("PURCHASE_ORDER", "PurchaseOrder"),
        ("CUSTOMER", "Customer"),
        ("VENDOR", "Vendor"),
        ("EMPLOYEE", "Employee"),
        ("ITEM", "Item"),
        ("Bill", "Bill"),
        ("sales receipt", "SalesReceipt"),
        ("PAYROLL_CHECK", ""),
        ("CHARGE", ""),
        ("Unheard", ""),
    ],
)
def test_a_qbo_type_is_known_by_enum_and_by_name(qbo: str, ref_type: str) -> None:
    assert built_in_entity_types().entity_ref_type(qbo) == ref_type


@pytest.mark.parametrize("name", DESKTOP_ENTITY_TYPES)
def test_every_desktop_type_that_we_ask_qbo_for_is_in_the_table(name: str) -> None:
    legacy = built_in_entity_types().legacy(name)
    assert legacy is not None
    assert legacy.entity_class in {"txn", "list"}


def test_txn_and_list_are_the_generic_types() -> None:
    types = built_in_entity_types()
    for name, entity_class in (("TXN", "txn"), ("list", "list")):
        legacy = types.legacy(name)
        assert legacy is not None
        assert (legacy.generic, legacy.entity_class) == (True, entity_class)
    assert types.legacy("Inbox") is None


HEADER = "desktop_type,qbo_type,entity_ref_type,class\n"


def test_an_edited_table_in_another_order_is_read() -> None:
    text = "class;note;entity_ref_type;qbo_type;desktop_type\ntxn;mine;Purchase;PAYROLL_CHECK;PAYCHECK\n"
    types = read_entity_types(io.BytesIO(text.encode()), "t.csv")
    assert types.entity_ref_type("payroll check") == "Purchase"
    assert types.entity_ref_type("BILL") == ""


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "BILL,BILL,Bill,transaction\n",
            "row 2, column class: is 'transaction'; allowed are txn and list",
        ),
        (
            "BILL,BILL,Bill,txn\n\nBILL,X,Invoice,txn\n",
            "row 4, column desktop_type: BILL has another",
        ),
        ("BILL,BILL,Bill,txn\nX,bill,Invoice,txn\n", "row 3, column qbo_type: bill has another"),
        ("A,A,Bill,txn\nB,B,Bill,list\n", "row 3, column class: Bill is txn in one row"),
        ("A,A,Bill\n", "row 2: has 3 cells"),
    ],
)
def test_a_broken_table_is_refused_with_row_and_column(rows: str, message: str) -> None:
    with pytest.raises(TableError) as caught:
        read_entity_types(io.BytesIO((HEADER + rows).encode()), "t.csv")
    assert message in str(caught.value)


def test_the_built_in_file_types_are_intuits_list_and_three_other_names() -> None:
    types = built_in_file_types().by_extension
    assert sorted(types) == sorted([*APPROVED, "tiff", "jpe", "jfif"])
    assert types["xls"].content_type == "application/vnd/ms-excel"


@pytest.mark.parametrize(
    ("name", "sent", "content_type"),
    [
        ("fax.tiff", "fax.tif", "image/tif"),
        ("FAX.TIFF", "FAX.tif", "image/tif"),
        ("a.b.JFIF", "a.b.jpg", "image/jpg"),
        ("x.jpe", "x.jpg", "image/jpg"),
        ("SCAN.PDF", "SCAN.PDF", "application/pdf"),
        ("photo.jpeg", "photo.jpeg", "image/jpeg"),
        (".pdf", ".pdf", "application/pdf"),
    ],
)
def test_a_file_goes_under_an_accepted_extension(name: str, sent: str, content_type: str) -> None:
    types = built_in_file_types()
    assert types.sent_name(name) == sent
    assert types.content_type(name) == content_type


@pytest.mark.parametrize("name", ["pdf", "report.pdf.", "report.pdf ", "a.zip", ""])
def test_other_names_have_no_type(name: str) -> None:
    types = built_in_file_types()
    assert types.of(name) is None
    with pytest.raises(ValueError, match="no extension that QBO takes"):
        types.sent_name(name)


def test_an_edited_list_may_add_a_type() -> None:
    text = "extension,sent_extension,content_type\n.HEIC,heic,image/heic\n"
    types = read_file_types(io.BytesIO(text.encode()), "f.csv")
    assert types.content_type("a.heic") == "image/heic"
    assert extension_of("A.HEIC") == "heic"
    assert "pdf" not in types


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("pdf,pdf,\n", "f.csv, row 2, column content_type: is empty"),
        ("pdf,pdf,a\nPDF,pdf,b\n", "f.csv, row 3, column extension: pdf stands twice"),
    ],
)
def test_a_broken_list_is_refused_with_row_and_column(rows: str, message: str) -> None:
    text = "extension,sent_extension,content_type\n" + rows
    with pytest.raises(TableError) as caught:
        read_file_types(io.BytesIO(text.encode()), "f.csv")
    assert message in str(caught.value)


def test_a_header_that_lacks_or_repeats_a_column_is_refused() -> None:
    with pytest.raises(TableError, match="column content_type: this column is missing"):
        read_file_types(io.BytesIO(b"extension,sent_extension\n"), "f.csv")
    with pytest.raises(TableError, match="stands twice in the header"):
        read_file_types(io.BytesIO(b"extension,extension,sent_extension,content_type\n"), "f.csv")
    with pytest.raises(TableError, match="row 1: is not text; save the table as UTF-8"):
        read_file_types(io.BytesIO(b"extension,\xe9\n"), "f.csv")
    with pytest.raises(TableError, match="must name the columns"):
        read_file_types(io.BytesIO(b",,\n"), "f.csv")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a" * 1_000, ""),
        ("a" * 1_001, "the name has 1001 characters; QBO allows 1000"),
        ("a\nb.pdf", "the name has the control character U+000A"),
        ("a\x7f.pdf", "the name has the control character U+007F"),
        ("a\udcff.pdf", NOT_UTF8),
        ("Beleg f\xfcr \u6771\u4eac \U0001f600 \u200f.pdf", ""),
        ("= # % & ; ' [ ] \" ? * < > : |.pdf", ""),
    ],
)
def test_a_name_is_refused_only_for_length_control_characters_or_bytes(
    name: str, problem: str
) -> None:
    assert name_problem(name) == problem


def test_one_file_leaves_room_for_the_rest_of_its_request() -> None:
    assert MAX_FILE_BYTES == 99_995_904

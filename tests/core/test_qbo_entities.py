"""What matching reads from QBO's records, type by type, and where a person sees an entity."""

from __future__ import annotations

from typing import Any

import pytest

from qbo_attach.core.links import entity_link
from qbo_attach.core.matching.groups import QboRow
from qbo_attach.core.matching.qbo_entities import entity_row
from qbo_attach.sample.books import Saying, qbo_record

SAID = Saying("1001", "2024-03-01", "12.50", "Abbott Bakery")
NAMELESS = {"JournalEntry", "Deposit", "Transfer"}


@pytest.mark.parametrize(
    "kind",
    ["Bill", "BillPayment", "CreditMemo", "Deposit", "Estimate", "Invoice", "JournalEntry", "Payment",
     "Purchase", "PurchaseOrder", "RefundReceipt", "SalesReceipt", "Transfer", "VendorCredit"],
)  # fmt: skip
def test_number_date_amount_and_name_are_found_where_each_type_has_them(kind: str) -> None:
    name = "" if kind in NAMELESS else "Abbott Bakery"
    expected = QboRow(kind, "12", "1001", "2024-03-01", "12.5", name)
    assert entity_row(kind, qbo_record(kind, "12", SAID)) == expected


@pytest.mark.parametrize(
    ("record", "name", "active"),
    [
        (
            {"Id": "3", "DisplayName": "Kitchen", "FullyQualifiedName": "Smith:Kitchen"},
            "Smith:Kitchen",
            "true",
        ),
        ({"Id": "3", "DisplayName": "Smith (deleted)", "Active": False}, "Smith", "false"),
        ({"Id": "3", "Name": "Repair"}, "Repair", "true"),
    ],
)
def test_an_entry_of_a_list_has_its_full_name(
    record: dict[str, Any], name: str, active: str
) -> None:
    assert entity_row("Customer", record) == QboRow("Customer", "3", "", "", "", name, active)


def test_what_a_record_lacks_is_empty_and_without_an_id_it_is_none() -> None:
    assert entity_row("Invoice", {"Id": "1"}) == QboRow("Invoice", "1", "", "", "", "")
    assert entity_row("Invoice", {"TotalAmt": 3}) is None
    assert entity_row("JournalEntry", {"Id": "1", "TotalAmt": 0, "Line": []}) == QboRow(
        "JournalEntry", "1", "", "", "", ""
    )


def test_a_link_leads_to_the_entity_in_its_company() -> None:
    assert (
        entity_link("Payment", "7", sandbox=False)
        == "https://app.qbo.intuit.com/app/recvpayment?txnId=7"
    )
    assert (
        entity_link("Vendor", "7", sandbox=True)
        == "https://app.sandbox.qbo.intuit.com/app/vendordetail?nameId=7"
    )
    assert entity_link("Item", "7", sandbox=False) == ""

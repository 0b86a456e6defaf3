"""What the books of a synthetic company say of its transactions, in Desktop and in QBO.

A record has number, date, amount and name, drawn so that no two transactions of a type share their
number, nor date, amount and name; whoever wants twins, moved dates or lost rows makes them.
"""

from __future__ import annotations

import datetime as dt
import random
from typing import Any, NamedTuple

from qbo_attach.sample.company import Kind

_FIRST_DAY = dt.date(2019, 1, 1)
_DAYS = 1_800
_FAMILIES = (
    "Abbott", "Brandt", "Castillo", "Dufour", "Eriksen", "Fontaine", "Grünwald", "Haddad",
    "Ivanova", "Jansen", "Kowalski", "Lindqvist", "Moreau", "Nakamura", "O'Brien", "Petrov",
    "Quintero", "Rossi", "Schneider", "Tanaka",
)  # fmt: skip
_TRADES = (
    "Plumbing", "Catering", "Hardware", "Dental Care", "Landscaping", "Printing", "Freight",
    "Roofing", "Software", "Electric", "Bakery", "Interiors",
)  # fmt: skip
_NAME_FIELDS = {
    "Bill": "VendorRef",
    "BillPayment": "VendorRef",
    "VendorCredit": "VendorRef",
    "PurchaseOrder": "VendorRef",
    "Purchase": "EntityRef",
    "Invoice": "CustomerRef",
    "SalesReceipt": "CustomerRef",
    "Estimate": "CustomerRef",
    "CreditMemo": "CustomerRef",
    "RefundReceipt": "CustomerRef",
    "Payment": "CustomerRef",
}
"""Where QBO keeps the name of each type; the others have none of their own."""


class Saying(NamedTuple):
    """What one side says of a transaction or a list entry; "" where it says nothing.

    `date` is ISO 8601; `amount` has two decimals.
    """

    number: str = ""
    date: str = ""
    amount: str = ""
    name: str = ""


class Books:
    """Hands out what a company's records say.

    Args:
        seed: decides everything that is drawn.
    """

    def __init__(self, seed: int) -> None:
        # A sample is to be repeatable, not secret.
        self.random = random.Random(f"books {seed}")  # noqa: S311
        self._numbers: dict[str, int] = {}
        self._said: set[tuple[str, str, str, str]] = set()
        self._names: dict[str, int] = {}

    def transaction(self, kind: Kind, name: str = "") -> Saying:
        """Draw a transaction of a kind."""
        number = self._numbers.setdefault(kind.ref or kind.qbo, self.random.randrange(1000, 9000))
        while True:
            self._numbers[kind.ref or kind.qbo] = number = number + 1
            date = _FIRST_DAY + dt.timedelta(self.random.randrange(_DAYS))
            amount = f"{self.random.randrange(500, 900_000) / 100:.2f}"
            saying = Saying(str(number), date.isoformat(), amount, name or self.name())
            alike = (kind.ref, *saying[1:])
            if alike not in self._said:
                self._said.add(alike)
                return saying

    def name(self) -> str:
        """Draw the name of a firm; it may be drawn again."""
        return f"{self.random.choice(_FAMILIES)} {self.random.choice(_TRADES)}"

    def new_name(self) -> str:
        """Draw a name that was not drawn so before."""
        name = self.name()
        self._names[name] = self._names.get(name, 0) + 1
        return name if self._names[name] == 1 else f"{name} {self._names[name]}"


def qbo_record(ref_type: str, qbo_id: str, said: Saying) -> dict[str, Any]:
    """Write a transaction or list entry as QBO's query answers it."""
    record: dict[str, Any] = {
        "domain": "QBO",
        "sparse": False,
        "Id": qbo_id,
        "SyncToken": "0",
        "MetaData": {
            "CreateTime": "2024-02-03T04:05:06-08:00",
            "LastUpdatedTime": "2024-02-03T04:05:06-08:00",
        },
    }
    if not said.date:
        return {**record, **_list_fields(ref_type, said.name)}
    record["TxnDate"] = said.date
    if said.number:
        record["PaymentRefNum" if ref_type == "Payment" else "DocNumber"] = said.number
    if ref_type in _NAME_FIELDS and said.name:
        record[_NAME_FIELDS[ref_type]] = {"value": "1", "name": said.name}
    amount = float(said.amount)
    if ref_type == "Transfer":
        record["Amount"] = amount
    elif ref_type == "JournalEntry":
        # QBO gives a journal entry no total: its debits are what it moves.
        record["Line"] = [
            {
                "Id": str(place),
                "Amount": amount,
                "DetailType": "JournalEntryLineDetail",
                "JournalEntryLineDetail": {"PostingType": posting},
            }
            for place, posting in enumerate(("Debit", "Credit"))
        ]
    else:
        record["TotalAmt"] = amount
    return record


def _list_fields(ref_type: str, name: str) -> dict[str, Any]:
    leaf = name.rpartition(":")[2]
    if ref_type in ("Customer", "Vendor", "Employee"):
        fields: dict[str, Any] = {"DisplayName": leaf, "Active": True}
        return {**fields, "FullyQualifiedName": name} if ref_type == "Customer" else fields
    return {"Name": leaf, "FullyQualifiedName": name, "Active": True}

"""An entity of QBO, as a query answers it, in what matching compares.

Number: DocNumber, a payment's PaymentRefNum. Amount: TotalAmt, a transfer's Amount; a journal
entry has no total that can be relied on, so its debits are summed. Name: that of CustomerRef,
VendorRef or EntityRef; a list entry's FullyQualifiedName, DisplayName or Name. Journal entries,
deposits and transfers have no name of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from qbo_attach.core.matching.forms import name_text, number_text, plain_amount, read_date
from qbo_attach.core.matching.groups import QboRow
from qbo_attach.core.matching.lists import DELETED
from qbo_attach.core.matching.types import LIST_TYPES

_REFS = ("CustomerRef", "VendorRef", "EntityRef")
_NAMES = ("FullyQualifiedName", "DisplayName", "Name")


def entity_row(entity_type: str, record: Mapping[str, Any]) -> QboRow | None:
    """What a record says; None for one without an id."""
    qbo_id = str(record.get("Id") or "").strip()
    if not qbo_id:
        return None
    if entity_type in LIST_TYPES:
        active = record.get("Active") is not False
        name = name_text(next((str(record[n]) for n in _NAMES if record.get(n)), ""))
        if not active:
            name = name.removesuffix(DELETED)
        return QboRow(entity_type, qbo_id, "", "", "", name, str(active).lower())
    number = record.get("DocNumber") or record.get("PaymentRefNum") or ""
    return QboRow(
        entity_type,
        qbo_id,
        number_text(str(number)),
        read_date(str(record.get("TxnDate") or ""), "iso") or "",
        _amount(entity_type, record),
        _name(record),
    )


def _amount(entity_type: str, record: Mapping[str, Any]) -> str:
    if entity_type == "JournalEntry":
        debits = [
            Decimal(str(line.get("Amount") or 0))
            for line in record.get("Line") or []
            if (line.get("JournalEntryLineDetail") or {}).get("PostingType") == "Debit"
        ]
        return plain_amount(str(sum(debits))) if debits else ""
    amount = record.get("Amount" if entity_type == "Transfer" else "TotalAmt")
    return "" if amount is None else plain_amount(str(amount))


def _name(record: Mapping[str, Any]) -> str:
    for field in _REFS:
        ref = record.get(field)
        if isinstance(ref, dict) and ref.get("name"):
            return name_text(str(ref["name"]))
    return ""

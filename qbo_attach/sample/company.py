"""The company that the sample's attachments belong to: its clients, entities and mapping.

Legacy ids are canonical here (upper case, without the folder's prefix). A generated one begins
with A, B, C, D or F, so that no spreadsheet takes it for a number such as `12E4`, and none begins
with the prefix.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import NamedTuple

from qbo_attach.core.tables import MappingRow

PREFIX = "80"
"""What the folders of transactions have before their id (LEGACY_ID_PREFIX)."""

_FIRST = "ABCDF"
_ID_SPACE = len(_FIRST) << 20
_ID_STEP = 2_654_437
"""Has no divisor in common with the id space, so that every number gives another id."""


class Kind(NamedTuple):
    """A type of entity as Desktop, as QBO's mapping, and as `EntityRef.type` name it.

    `ref` is "" where QBO takes no attachment on it. `weight`: how often the sample has it.
    """

    desktop: str
    qbo: str
    ref: str
    weight: int


BILL = Kind("BILL", "BILL", "Bill", 30)
INVOICE = Kind("INVOICE", "INVOICE", "Invoice", 25)
CHECK = Kind("CHECK", "CHECK", "Purchase", 12)
CUSTOMER = Kind("CUSTOMER", "CUSTOMER", "Customer", 6)
VENDOR = Kind("VENDOR", "VENDOR", "Vendor", 4)
PAYCHECK = Kind("PAYCHECK", "PAYROLL_CHECK", "", 0)

TXN_KINDS = (
    BILL,
    INVOICE,
    CHECK,
    Kind("CREDIT_CARD", "CREDIT_CARD", "Purchase", 8),
    Kind("CASHSALE", "CASH_SALE", "SalesReceipt", 6),
    Kind("GENERAL_JOURNAL", "GENERAL_JOURNAL", "JournalEntry", 4),
    Kind("DEPOSIT", "RECEIVED_MONEY", "Deposit", 4),
    Kind("BILL_CHECK", "BILL_CHECK", "BillPayment", 4),
    Kind("BILL_REFUND", "BILL_CREDIT", "VendorCredit", 3),
    Kind("ESTIMATE", "ESTIMATE", "Estimate", 3),
)
LIST_KINDS = (CUSTOMER, VENDOR)

_CLIENTS = (
    "Acme Tools",
    "Ärzte & Söhne GmbH",
    "O'Neil Plumbing",
    "日本橋商店",
    "100% Organic",
    "Baker + Sons",
    "=Sum Traders",
    "@Home Services",
    "-Dash Delivery",
    "Smith; Jones, LLP",
    "Café Noir",
    "C# Consulting",
    "Nguyễn Imports",
    "Party 🎉 People",
    "St. Mary's Parish",
    "Lakeside Dental",
    "North Star HVAC",
    "Ramírez Landscaping",
    "Zoë's Flowers",
    "[Brackets] Framing",
)


@dataclass(frozen=True, slots=True)
class Entity:
    """A legacy id of one kind, and the id it has in QBO."""

    legacy_id: str
    kind: Kind
    qbo_id: str
    desktop_spelling: bool = True
    """Its mapping row names the legacy type as Desktop does (BILL), else as QBO does (Bill)."""


class Company:
    """Hands out clients and entities, and remembers the mapping of what it handed out.

    Args:
        seed: decides everything it hands out.
        clients: how many; the first are in `_CLIENTS`, the others numbered repetitions.
    """

    def __init__(self, seed: int, clients: int) -> None:
        # A sample is to be repeatable, not secret.
        self.random = random.Random(f"company {seed}")  # noqa: S311
        rounds = range(1, clients // len(_CLIENTS) + 2)
        names = [name if r == 1 else f"{name} {r}" for r in rounds for name in _CLIENTS]
        self.clients = names[:clients]
        self.mapping: list[Entity] = []
        self._id_offset = self.random.randrange(_ID_SPACE)
        self._numbers = {"legacy": 0, "Txn": 100, "Customer": 0, "Vendor": 0}

    def client(self) -> str:
        """Any client."""
        return self.random.choice(self.clients)

    def legacy_id(self) -> str:
        """Six hexadecimal digits that no other entity has."""
        mixed = (self._count("legacy") * _ID_STEP + self._id_offset) % _ID_SPACE
        return f"{_FIRST[mixed >> 20]}{mixed & 0xFFFFF:05X}"

    def qbo_id(self, kind: Kind) -> str:
        """Give the next id: one numbering for all transactions, one for each type of list."""
        return str(self._count(kind.ref if kind in LIST_KINDS else "Txn"))

    def _count(self, name: str) -> int:
        self._numbers[name] += 1
        return self._numbers[name]

    def entity(self, kind: Kind, legacy_id: str = "", *, qbo_id: str = "") -> Entity:
        """Make an entity that is in the mapping."""
        entity = Entity(
            legacy_id or (self._list_id() if kind in LIST_KINDS else self.legacy_id()),
            kind,
            qbo_id or self.qbo_id(kind),
            desktop_spelling=not kind.ref or self.random.choice((True, False)),
        )
        self.mapping.append(entity)
        return entity

    def any_entity(self) -> Entity:
        """Make an entity of a kind that QBO takes, with the sample's frequencies."""
        kinds = TXN_KINDS + LIST_KINDS
        return self.entity(self.random.choices(kinds, [kind.weight for kind in kinds])[0])

    def _list_id(self) -> str:
        """Desktop's ListID: a counter that begins with 8, and a time in Unix seconds."""
        return f"{0x80000000 + self._count('legacy'):08X}-{self.seconds()}"

    def seconds(self) -> int:
        """Give a time between 2013 and 2023, in Unix seconds."""
        return self.random.randrange(1_357_000_000, 1_672_000_000)


def mapping_rows(mapping: list[Entity]) -> list[MappingRow]:
    """Write the mapping as mapping_export.csv has it."""
    return [
        MappingRow(
            e.legacy_id,
            e.kind.desktop if e.desktop_spelling else e.kind.ref,
            e.kind.ref or e.kind.qbo,
            e.qbo_id,
        )
        for e in mapping
    ]


def intuit_mapping(mapping: list[Entity]) -> bytes:
    """Write the mapping as QBO answers a query for QbdtEntityIdMapping, all on one page."""
    rows = [
        {
            "QboEntityId": e.qbo_id,
            "QbdtExportableId": e.legacy_id,
            "QboEntityType": e.kind.qbo,
            "QbdtEntityType": e.kind.desktop,
        }
        for e in mapping
    ]
    page = {"QbdtEntityIdMapping": rows, "startPosition": 1, "maxResults": len(rows)}
    answer = {"QueryResponse": page, "time": "2026-01-05T08:00:00.000-08:00"}
    return json.dumps(answer, indent=0, ensure_ascii=False).encode()

"""The company's other entities: which exist, and what an old Desktop id became.

They are those of a mapping table, or, without one, whichever is asked for.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from qbo_attach.fake_qbo.values import JSON

ENUM_TYPES = {
    "CHECK": "Purchase",
    "CASH_PURCHASE": "Purchase",
    "CREDIT_CARD": "Purchase",
    "CREDIT_CARD_CREDIT": "Purchase",
    "BILL": "Bill",
    "BILL_CREDIT": "VendorCredit",
    "BILL_CHECK": "BillPayment",
    "BILL_CREDIT_CARD": "BillPayment",
    "INVOICE": "Invoice",
    "CASH_SALE": "SalesReceipt",
    "RECEIVED_PAYMENT": "Payment",
    "CREDIT_MEMO": "CreditMemo",
    "CREDIT_REFUND": "RefundReceipt",
    "GENERAL_JOURNAL": "JournalEntry",
    "RECEIVED_MONEY": "Deposit",
    "TRANSFER": "Transfer",
    "ESTIMATE": "Estimate",
    "PURCHASE_ORDER": "PurchaseOrder",
    "TIME_ACTIVITY": "TimeActivity",
    "CUSTOMER": "Customer",
    "VENDOR": "Vendor",
    "EMPLOYEE": "Employee",
    "ITEM": "Item",
    "ACCOUNT": "Account",
    "TERM": "Term",
    "CLASS": "Class",
}
"""QboEntityTypeEnum to the name the API uses (derived; Intuit prints no such table)."""

_ENUM_OF = {name.casefold(): enum for enum, name in reversed(ENUM_TYPES.items())}

_DESKTOP_ENUM = {
    "SalesReceipt": "CASHSALE",
    "VendorCredit": "BILL_REFUND",
    "Purchase": "CHECK",
    "Payment": "APP_PAY",
    "RefundReceipt": "AR_CREDIT_CARD_REFUND",
    "BillPayment": "BILL_CHECK",
    "Item": "ITEM_SERVICE",
}
"""DesktopEntityTypeEnum where it is spelt otherwise than QboEntityTypeEnum."""

_NAMES = frozenset(
    {"Account", "Class", "Customer", "Department", "Employee", "Item", "Term", "Vendor"}
)
QUERYABLE = frozenset(ENUM_TYPES.values()) | _NAMES


class Mapped(NamedTuple):
    """One row of QbdtEntityIdMapping."""

    qbo_id: str
    exportable_id: str
    qbo_type: str
    qbdt_type: str


class MappingError(ValueError):
    """The mapping table cannot be used; says which and why."""


class Entities:
    """Which entities exist."""

    def __init__(
        self, rows: Iterable[Mapped] | None, records: Iterable[tuple[str, JSON]] | None = None
    ) -> None:
        """Take what there is.

        Args:
            rows: of the mapping table; None: every entity exists.
            records: types with the records that queries answer in full; they exist, too.
        """
        self.mapped: list[Mapped] = []
        self._ids: dict[str, dict[str, None]] | None = None
        self._records: dict[tuple[str, str], JSON] = {}
        if rows is None and records is None:
            return
        self._ids = {}
        for name, record in records or ():
            self._ids.setdefault(name.casefold(), {})[record["Id"]] = None
            self._records[name.casefold(), record["Id"]] = record
        for row in rows or ():
            name = api_type(row.qbo_type)
            self._ids.setdefault(name.casefold(), {})[row.qbo_id] = None
            enum = _ENUM_OF.get(name.casefold(), row.qbo_type.upper())
            self.mapped.append(row._replace(qbo_type=enum, qbdt_type=_qbdt_type(row, name, enum)))

    def exists(self, kind: str, entity_id: str) -> bool:
        """Whether the company has this entity."""
        return self._ids is None or entity_id in self._ids.get(kind.casefold(), ())

    def ids(self, kind: str) -> list[str] | None:
        """Ids of a type in the table's order; None where every entity exists."""
        return None if self._ids is None else list(self._ids.get(kind.casefold(), ()))

    def record(self, kind: str, entity_id: str) -> JSON:
        """An entity in full: as it was given, else a plain one."""
        given = self._records.get((kind.casefold(), entity_id))
        return as_entity(kind, entity_id) if given is None else given


def api_type(name: str) -> str:
    """`EntityRef.type` of a type given by that name or as QboEntityTypeEnum."""
    enum = name.strip().upper().replace("-", "_").replace(" ", "_")
    if enum in ENUM_TYPES:
        return ENUM_TYPES[enum]
    known = {kind.casefold(): kind for kind in ENUM_TYPES.values()}
    return known.get(name.strip().casefold(), name.strip())


def _qbdt_type(row: Mapped, name: str, enum: str) -> str:
    given = row.qbdt_type.strip()
    if given and given.upper() == given:
        return given
    spelt = api_type(given) if given.casefold() not in ("", "txn", "list") else name
    return _DESKTOP_ENUM.get(spelt, _ENUM_OF.get(spelt.casefold(), enum))


def as_entity(kind: str, entity_id: str) -> JSON:
    """A plain entity of a type: its ids, and a name or a number."""
    own = {"DisplayName" if kind in ("Customer", "Vendor", "Employee") else "Name"}
    text = f"{kind} {entity_id}"
    record: JSON = {"domain": "QBO", "sparse": False, "Id": entity_id, "SyncToken": "0"}
    record["MetaData"] = {
        "CreateTime": "2020-01-02T03:04:05-07:00",
        "LastUpdatedTime": "2020-01-02T03:04:05-07:00",
    }
    if kind in _NAMES:
        record.update(dict.fromkeys(own, text), Active=True)
    else:
        record.update(DocNumber=entity_id, TxnDate="2020-01-02", TotalAmt=0)
    return record


_COLUMNS = (
    ("qbo_entity_id", "qboentityid"),
    ("legacy_txnid_norm", "qbdtexportableid"),
    ("qbo_entity_type", "qboentitytype"),
    ("legacy_entity_type", "qbdtentitytype"),
)


def read_mapping(url: str) -> list[Mapped]:
    """Rows of a mapping table at any fsspec URL: CSV or JSON, in our columns or Intuit's fields.

    Raises:
        MappingError: it cannot be read, or lacks a column.
    """
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            raw = file.read()
    except Exception as error:
        raise MappingError(f"{url}: cannot be read ({error})") from error
    try:
        records = _records(_decoded(raw))
    except (ValueError, csv.Error, AttributeError) as error:
        raise MappingError(f"{url}: is not readable as a mapping table ({error})") from error
    return [_mapped(url, line, record) for line, record in enumerate(records, 1)]


def read_records(url: str) -> list[tuple[str, JSON]]:
    """Types and records of a file of JSON lines, each `{"Invoice": {"Id": "12", ...}}`.

    Raises:
        MappingError: it cannot be read, or a line is no such record.
    """
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            lines = file.read().decode().splitlines()
    except Exception as error:
        raise MappingError(f"{url}: cannot be read ({error})") from error
    records: list[tuple[str, JSON]] = []
    for number, line in enumerate(lines, 1):
        found = _record(line)
        if found is None:
            problem = 'is no record such as {"Bill": {"Id": "1"}}'
            raise MappingError(f"{url}, line {number}: {problem}")
        records.append(found)
    return records


def _record(line: str) -> tuple[str, JSON] | None:
    try:
        ((name, record),) = json.loads(line).items()
        usable = name in QUERYABLE and isinstance(record["Id"], str)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
    return (name, record) if usable else None


def _decoded(raw: bytes) -> str:
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if utf16 else "utf-8-sig")


def _records(text: str) -> list[dict[str, str]]:
    if text.lstrip()[:1] in ("[", "{"):
        document = json.loads(text)
        if isinstance(document, dict):
            document = document.get("QueryResponse", document).get("QbdtEntityIdMapping", [])
        return [{k.lower(): str(v) for k, v in row.items()} for row in document]
    first = text.split("\n", 1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [
        {str(k).strip().lower(): str(v or "") for k, v in row.items()}
        for row in reader
        if any(v for v in row.values())
    ]


def _mapped(url: str, line: int, record: Mapping[str, str]) -> Mapped:
    cells: list[str] = []
    for names in _COLUMNS:
        value = next((record[name] for name in names if name in record), None)
        if value is None:
            raise MappingError(f"{url}, record {line}: has no column {names[0]} (or {names[1]})")
        cells.append(value.removeprefix("'").strip())
    return Mapped(*cells)

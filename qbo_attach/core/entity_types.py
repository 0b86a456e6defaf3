"""Which Desktop type is which QBO type: one table, as data, that a user may edit.

`data/entity_types.csv` has the columns `desktop_type, qbo_type, entity_ref_type, class`: a name of
the enum DesktopEntityTypeEnum (or of qbXML), one of QboEntityTypeEnum (both: Finance.xsd of
Intuit's SDKs), the `EntityRef.type` that QBO's API wants, and `txn` or `list`. An empty
`entity_ref_type` says: known, but QBO can hang no attachment on it. The pairing of enums and
`EntityRef.type` is printed nowhere by Intuit; hence ENTITY_TYPES_TABLE may name an edited copy.

Names are compared without case, `_`, `-` and spaces. A name that is not in the table is an
unsupported type, never a guess.
"""

from __future__ import annotations

import functools
import io
import pkgutil
from collections.abc import Iterable
from typing import NamedTuple

from qbo_attach.core.edited_tables import read_edited_table
from qbo_attach.core.errors import TableError
from qbo_attach.core.identifiers import LIST, TXN

GENERIC = {TXN: "Txn", LIST: "List"}
"""The folder names that stand for any type of their class."""

CLASS_WORD = {TXN: "transaction", LIST: "list entry"}


_COLUMNS = ("desktop_type", "qbo_type", "entity_ref_type", "class")


class EntityTypeRow(NamedTuple):
    """One row of the table; `entity_class` is its column `class`."""

    desktop_type: str
    qbo_type: str
    entity_ref_type: str
    entity_class: str


@functools.lru_cache(maxsize=1024)
def type_key(name: str) -> str:
    """A type's name as it is compared: `CASH_SALE`, `CashSale` and `cash sale` are one."""
    return "".join(c for c in name.upper() if c not in "_- \t")


class LegacyType(NamedTuple):
    """A Desktop type, as a folder or a mapping row names it.

    `entity_ref_type` is "" for Txn and List, and for types that have none in QBO.
    `names` are the keys under which a folder and a mapping row of this type meet.
    """

    name: str
    entity_class: str
    entity_ref_type: str
    generic: bool
    names: frozenset[str]


class EntityTypes:
    """The table, ready for look-ups."""

    def __init__(self, rows: Iterable[tuple[int, EntityTypeRow]], url: str) -> None:
        """Index the rows, each with its line.

        Raises:
            TableError: a class that is neither `txn` nor `list`, or a name with two meanings.
        """
        self._url = url
        self._legacy: dict[str, LegacyType] = {}
        self._qbo: dict[str, str] = {}
        self._class_by_ref: dict[str, str] = {}
        for entity_class, name in GENERIC.items():
            key = type_key(name)
            self._legacy[key] = LegacyType(name, entity_class, "", True, frozenset((key,)))
        for row_number, row in rows:
            self._add(row, row_number)
        for ref_type, entity_class in self._class_by_ref.items():
            legacy = _legacy_type(ref_type, entity_class, ref_type)
            self._legacy.setdefault(type_key(ref_type), legacy)
            self._qbo.setdefault(type_key(ref_type), ref_type)

    def _add(self, row: EntityTypeRow, row_number: int) -> None:
        desktop, qbo, ref_type, entity_class = row
        if entity_class not in GENERIC:
            problem = f"is {entity_class!r}; allowed are txn and list"
            raise TableError(self._url, problem, row=row_number, column="class")
        if ref_type and self._class_by_ref.setdefault(ref_type, entity_class) != entity_class:
            problem = f"{ref_type} is txn in one row and list in another"
            raise TableError(self._url, problem, row=row_number, column="class")
        if desktop:
            found = _legacy_type(desktop, entity_class, ref_type)
            kept = self._legacy.setdefault(type_key(desktop), found)
            if kept[1:3] != found[1:3]:
                problem = f"{desktop} has another class or entity_ref_type in an earlier row"
                raise TableError(self._url, problem, row=row_number, column="desktop_type")
        if qbo and self._qbo.setdefault(type_key(qbo), ref_type) != ref_type:
            problem = f"{qbo} has another entity_ref_type in an earlier row"
            raise TableError(self._url, problem, row=row_number, column="qbo_type")

    def legacy(self, name: str) -> LegacyType | None:
        """The Desktop type of this name, or None if the table does not know it."""
        return self._legacy.get(type_key(name))

    def entity_ref_type(self, qbo_name: str) -> str:
        """`EntityRef.type` for a QBO enum or an API name; "" if there is none."""
        return self._qbo.get(type_key(qbo_name), "")

    def knows_qbo(self, qbo_name: str) -> bool:
        """Whether the table has this QBO name, with an `EntityRef.type` or without."""
        return type_key(qbo_name) in self._qbo

    def class_of_ref(self, entity_ref_type: str) -> str:
        """`txn` or `list` for an `EntityRef.type` of the table."""
        return self._class_by_ref[entity_ref_type]


def _legacy_type(name: str, entity_class: str, ref_type: str) -> LegacyType:
    names = {type_key(name), type_key(ref_type)} - {""}
    return LegacyType(name, entity_class, ref_type, False, frozenset(names))


def read_entity_types(stream: io.BufferedIOBase, url: str) -> EntityTypes:
    """Read the table.

    Raises:
        TableError: broken, or a name with two meanings.
    """
    rows = read_edited_table(stream, url, _COLUMNS)
    return EntityTypes(((line, EntityTypeRow._make(cells)) for line, cells in rows), url)


@functools.cache
def built_in_entity_types() -> EntityTypes:
    """The table that the package ships."""
    name = "data/entity_types.csv"
    data = pkgutil.get_data("qbo_attach.core", name) or b""
    return read_entity_types(io.BytesIO(data), name)

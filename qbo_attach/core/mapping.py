"""The mapping: legacy id and type to an entity in QBO.

Cells are checked one by one, and a table with a cell that cannot be meant is refused by row: an
empty id is not a wildcard, and `5E+18` is not an id but what a spreadsheet made of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from qbo_attach.core.entity_types import EntityTypes, LegacyType, type_key
from qbo_attach.core.errors import TableError
from qbo_attach.core.identifiers import canonical_legacy_id
from qbo_attach.core.mapping_formats import COLUMNS, INTUIT_FIELDS, RawMapping
from qbo_attach.core.tables import MappingRow

_LEGACY_ID, _, _, _QBO_ID = COLUMNS
_SPOILT = re.compile(r"[+-]?\d+([.,]\d*)?E\+?\d{1,3}|\d+[.,]0*|#[A-Z/0!?#]*", re.IGNORECASE)
"""`5E+18`, `12E4`, `12.0`, `#REF!`; not the TxnID `1E-1648662274`, a hex counter and a time."""
_BETWEEN = "\n"
"""Between the rows of one id. No cell of a packed row can hold it."""


def checked_mapping(rows: Iterable[RawMapping], url: str) -> Iterator[RawMapping]:
    """The rows with canonical legacy ids and tidy cells.

    Raises:
        TableError: an empty cell, or an id that a spreadsheet has spoilt; names row and column.
    """
    for row, raw_id, legacy_type, qbo_type, qbo_id, match_rule in rows:
        legacy_id = canonical_legacy_id(raw_id)
        # Nearly all rows are tidy ones; the questions below are in the order that finds them so.
        if not (qbo_id.isdigit() and qbo_id.isascii()):
            qbo_id = _checked_qbo_id(qbo_id, url, row)  # noqa: PLW2901  # the tidy cell
        if "-" not in legacy_id and not legacy_id.isdigit() and _SPOILT.fullmatch(legacy_id):
            raise _spoilt(raw_id, url, row, _LEGACY_ID)
        if not legacy_id or not legacy_type.strip() or not qbo_type.strip():
            column = COLUMNS[[legacy_id, legacy_type.strip(), qbo_type.strip()].index("")]
            raise _empty(url, row, column)
        yield row, legacy_id, legacy_type, qbo_type, qbo_id, match_rule


def is_spoilt(legacy_id: str) -> bool:
    """Whether a canonical legacy id is not one, but what a spreadsheet made of it (`5E+18`)."""
    return not legacy_id.isdigit() and _SPOILT.fullmatch(legacy_id) is not None


def _empty(url: str, row: int, column: str) -> TableError:
    intuit = INTUIT_FIELDS[COLUMNS.index(column)]
    problem = f"is empty (Intuit calls it {intuit}); fill it or take this row out"
    return TableError(url, problem, row=row, column=column)


def _checked_qbo_id(raw: str, url: str, row: int) -> str:
    qbo_id = raw.strip()
    if not qbo_id:
        raise _empty(url, row, _QBO_ID)
    if _SPOILT.fullmatch(qbo_id):
        raise _spoilt(raw, url, row, _QBO_ID)
    if not (qbo_id.isascii() and qbo_id.isprintable()) or set(qbo_id) & set(" ;:,'\"\\"):
        problem = (
            f"{raw!r} is no id of QBO; several entities for one id belong in MAPPING_OVERRIDES"
        )
        raise TableError(url, problem, row=row, column=_QBO_ID)
    return qbo_id


def _spoilt(cell: str, url: str, row: int, column: str) -> TableError:
    problem = f"{cell!r} is what a spreadsheet made of an id; export the table again, ids as text"
    return TableError(url, problem, row=row, column=column)


def normalise_mapping(
    rows: Iterable[RawMapping], types: EntityTypes, url: str
) -> Iterator[MappingRow]:
    """Rows for mapping_export.csv: ids canonical, QBO types as `EntityRef.type` where there is one.

    A QBO type that the table of entity types does not know stays as it is; `verify` gives its
    attachments a status.

    Raises:
        TableError: as `checked_mapping`.
    """
    for _, legacy_id, legacy_type, qbo_type, qbo_id, _ in checked_mapping(rows, url):
        ref_type = types.entity_ref_type(qbo_type) or qbo_type.strip()
        yield MappingRow(legacy_id, legacy_type.strip(), ref_type, qbo_id)


class Mapped(NamedTuple):
    """A mapping row as the join sees it.

    `ref_type` is "" where QBO hangs no attachments on `qbo_type`, or it is unknown. `names` are
    the keys of types under which it meets a folder with a concrete type; `entity_class` decides
    for `Txn` and `List` ("" for a Desktop type that the table does not know). `match_rule` says by
    what the row was matched; "" for a mapping that was not.
    """

    legacy_type: str
    qbo_type: str
    ref_type: str
    entity_class: str
    names: frozenset[str]
    generic: bool
    qbo_id: str
    match_rule: str = ""

    @property
    def entity(self) -> str:
        """For people: `Bill 12`."""
        return f"{self.ref_type or self.qbo_type} {self.qbo_id}"


_make_mapped: Callable[[tuple[object, ...]], Mapped] = partial(tuple.__new__, Mapped)
"""Not `_replace`, which costs ten times as much."""


class MappingIndex:
    """The mapping by canonical legacy id; equal rows are one.

    Some 170 bytes a row: the rows of an id are held as one text, each a character that stands for
    the pair of types (and the match rule), then the QBO id.
    """

    def __init__(self, rows: Iterable[RawMapping], types: EntityTypes, url: str) -> None:
        """Check and index the rows.

        Raises:
            TableError: as `checked_mapping`.
        """
        self.rows = 0
        self._types = types
        self._kinds: list[Mapped] = []
        self._packed: dict[str, str] = {}
        # Neighbours share their type: remember for the last one what each mark gives it.
        self._folder: LegacyType | None = None
        self._joined: dict[str, tuple[str, str]] = {}
        marks: dict[tuple[str, str, str], str] = {}
        packed = self._packed
        for _, legacy_id, legacy_type, qbo_type, qbo_id, rule in checked_mapping(rows, url):
            self.rows += 1
            mark = marks.get((legacy_type, qbo_type, rule))
            if mark is None:
                mark = self._new_mark(legacy_type, qbo_type, rule)
                marks[legacy_type, qbo_type, rule] = mark
            value = mark + qbo_id
            before = packed.setdefault(legacy_id, value)
            if before != value and value not in before.split(_BETWEEN):
                packed[legacy_id] = before + _BETWEEN + value

    def __len__(self) -> int:
        return len(self._packed)

    def _new_mark(self, legacy_type: str, qbo_type: str, match_rule: str) -> str:
        kind = _kind(legacy_type.strip(), qbo_type.strip(), self._types)
        self._kinds.append(kind._replace(match_rule=match_rule.strip()))
        return chr(_FIRST_MARK + len(self._kinds) - 1)

    def of(self, legacy_id: str) -> list[Mapped]:
        """All rows of a canonical legacy id, without equal ones, in the order of the table."""
        packed = self._packed.get(legacy_id)
        if packed is None:
            return []
        kinds = self._kinds
        return [
            _make_mapped((*kind[:-2], value[1:], kind.match_rule))
            for value in packed.split(_BETWEEN)
            for kind in (kinds[ord(value[0]) - _FIRST_MARK],)
        ]

    def only(self, legacy_id: str, folder: LegacyType) -> tuple[str, str, str] | None:
        """The entity of an id (type, id, match rule), if it has one row that such a folder joins.

        The short way for nearly all folders; where it gives None, `matching` tells why.
        """
        packed = self._packed.get(legacy_id)
        if packed is None or _BETWEEN in packed:
            return None
        if folder is not self._folder:
            self._folder = folder
            self._joined = {
                chr(mark): (kind.ref_type, kind.match_rule)
                for mark, kind in enumerate(self._kinds, _FIRST_MARK)
                if kind.ref_type and _joins(kind, folder)
            }
        joined = self._joined.get(packed[0])
        return (joined[0], packed[1:], joined[1]) if joined else None

    def with_and_without(self, prefix: str) -> frozenset[str]:
        """The ids that the mapping has, of whatever type, both bare and with a prefix before."""
        if not prefix:
            return frozenset()
        length, packed = len(prefix), self._packed
        heads = (legacy_id for legacy_id in packed if legacy_id.startswith(prefix))
        return frozenset(bare for legacy_id in heads if (bare := legacy_id[length:]) in packed)

    def matching(self, legacy_id: str, folder: LegacyType) -> list[Mapped]:
        """The rows of an id that a folder of this type joins.

        `Txn` and `List` join every row of their class, a concrete type joins its own.
        """
        return [row for row in self.of(legacy_id) if _joins(row, folder)]


_FIRST_MARK = 0x20


def _kind(legacy_type: str, qbo_type: str, types: EntityTypes) -> Mapped:
    legacy = types.legacy(legacy_type)
    ref_type = types.entity_ref_type(qbo_type)
    if legacy is not None and not legacy.generic:
        names, entity_class = legacy.names, legacy.entity_class
    else:
        # Txn, List, or unknown: only what it became in QBO tells its type.
        names = frozenset({type_key(legacy_type), type_key(ref_type or qbo_type)})
        if legacy is not None:
            entity_class = legacy.entity_class
        else:
            entity_class = types.class_of_ref(ref_type) if ref_type else ""
    generic = legacy is not None and legacy.generic
    return Mapped(legacy_type, qbo_type, ref_type, entity_class, names, generic, "")


def _joins(row: Mapped, folder: LegacyType) -> bool:
    if folder.generic:
        # A row of two unknown types has no class; it is shown to both as unsupported, not lost.
        return row.entity_class in {folder.entity_class, ""}
    return not row.names.isdisjoint(folder.names)

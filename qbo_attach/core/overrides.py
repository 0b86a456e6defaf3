"""MAPPING_OVERRIDES: a person's word on single ids, applied last; it wins over the mapping.

A CSV table with the columns `legacy_id, entity_refs, reason, by_whom`, and `legacy_entity_type` if
a row is meant for one type only. `entity_refs` is `Bill:12`, several as `Bill:12;Invoice:34` (one
attachable with several refs), or `exclude`. An id meets a folder by the folder's name or by what
the prefix rule makes of it.

mapping_candidates.csv and exceptions.xlsx are such tables as well: their rows with an empty
`entity_refs` are yet to be decided, and passed over. A workbook must hold its ids as text.
"""

from __future__ import annotations

import io
from typing import NamedTuple

from qbo_attach.core.edited_tables import read_edited_sheet, read_edited_table
from qbo_attach.core.entity_types import EntityTypes, LegacyType, type_key
from qbo_attach.core.errors import TableError
from qbo_attach.core.identifiers import canonical_legacy_id
from qbo_attach.core.model import EntityRef
from qbo_attach.core.workbooks import is_workbook

EXCLUDE = "exclude"


_COLUMNS = ("legacy_id", "entity_refs", "reason", "by_whom")
_TYPE_COLUMN = "legacy_entity_type"
_CANDIDATE_COLUMN = "candidate_1"
_STATUS_COLUMN = "status"
DECISIONS_SHEET = "decisions"
"""Of a workbook, the sheet that is the table; in one without it, the first."""


class Override(NamedTuple):
    """What a person decided; without `refs`, to exclude."""

    refs: tuple[EntityRef, ...]
    reason: str

    @property
    def excludes(self) -> bool:
        """Whether the attachments are left out."""
        return not self.refs


class Overrides:
    """The table by canonical id and type."""

    def __init__(self, by_key: dict[tuple[str, str], Override] | None = None) -> None:
        self._by_key = by_key or {}
        self._unused = dict.fromkeys(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, ids: tuple[str, ...], folder: LegacyType) -> Override | None:
        """The decision for the first of these ids that has one; for the type before any type."""
        if not self._by_key:
            return None
        for legacy_id in ids:
            for name in (*sorted(folder.names), ""):
                found = self._by_key.get((legacy_id, name))
                if found is not None:
                    self._unused.pop((legacy_id, name), None)
                    return found
        return None

    def unused(self) -> list[str]:
        """Ids of rows that met no attachment so far, in the table's order."""
        return [legacy_id for legacy_id, _ in self._unused]


def read_overrides(stream: io.BufferedIOBase, url: str, types: EntityTypes) -> Overrides:
    """Read the table, from CSV or from a workbook.

    Raises:
        TableError: broken, an empty cell, refs that are none, or two rows for one id and type.
    """
    by_key: dict[tuple[str, str], Override] = {}
    optional = [_TYPE_COLUMN, _CANDIDATE_COLUMN, _STATUS_COLUMN]
    whole = io.BytesIO(stream.read())
    if is_workbook(whole):
        rows = read_edited_sheet(whole, url, DECISIONS_SHEET, _COLUMNS, optional)
    else:
        rows = read_edited_table(whole, url, _COLUMNS, optional)
    for row, cells in rows:
        legacy_id, refs, reason, by_whom, legacy_type, candidate, status = cells
        if (candidate or status) and not refs:
            continue
        for column, cell in zip(_COLUMNS, cells, strict=False):
            if not cell:
                raise TableError(url, "is empty", row=row, column=column)
        if legacy_type and types.legacy(legacy_type) is None:
            problem = f"{legacy_type} is not in the table of entity types"
            raise TableError(url, problem, row=row, column=_TYPE_COLUMN)
        key = (canonical_legacy_id(legacy_id), type_key(legacy_type))
        if key in by_key:
            raise TableError(url, "has a second row for this id", row=row, column="legacy_id")
        told = f"override by {by_whom}: {reason}"
        by_key[key] = Override(_refs(refs, types, url, row), told)
    return Overrides(by_key)


def _refs(cell: str, types: EntityTypes, url: str, row: int) -> tuple[EntityRef, ...]:
    if cell.lower() == EXCLUDE:
        return ()
    refs: set[EntityRef] = set()
    for part in cell.split(";"):
        name, _, qbo_id = part.partition(":")
        ref_type = types.entity_ref_type(name)
        qbo_id = qbo_id.strip()
        if not ref_type or not (qbo_id.isascii() and qbo_id.isalnum()):
            problem = (
                f"{part.strip()!r} is no entity in QBO; write {EXCLUDE}, or type and id as in "
                "Bill:12, several separated by ;"
            )
            raise TableError(url, problem, row=row, column="entity_refs")
        refs.add(EntityRef(ref_type, qbo_id))
    return tuple(sorted(refs))

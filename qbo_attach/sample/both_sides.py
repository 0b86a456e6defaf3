"""The sample's company as Desktop exports it and as QBO answers queries, for a mapping by matching.

Every entity of the mapping says the same on both sides, so that matching finds what the mapping
has. An id that the mapping has twice (an awkward case) stands in the export once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from qbo_attach.sample.books import Books, Saying, qbo_record
from qbo_attach.sample.company import LIST_KINDS, Entity


class ExportRow(NamedTuple):
    """desktop_export.csv: a transaction or list entry, named as the SDK names it."""

    TxnID: str
    TxnType: str
    TxnDate: str
    RefNumber: str
    Name: str
    Amount: str


class Told(NamedTuple):
    """An entity and what both sides say of it."""

    entity: Entity
    said: Saying


def told(mapping: Iterable[Entity], seed: int) -> list[Told]:
    """What is said of each entity of a mapping; decided by the seed and their order."""
    books = Books(seed)
    said: dict[tuple[str, str], Saying] = {}
    for entity in mapping:
        key = (entity.kind.ref, entity.qbo_id)
        if key not in said:
            is_list = entity.kind in LIST_KINDS
            said[key] = Saying(name=books.new_name()) if is_list else books.transaction(entity.kind)
    return [Told(entity, said[entity.kind.ref, entity.qbo_id]) for entity in mapping]


def export_rows(company: Iterable[Told]) -> Iterator[ExportRow]:
    """The export's rows."""
    seen: set[tuple[str, bool]] = set()
    for entity, said in company:
        key = (entity.legacy_id, entity.kind in LIST_KINDS)
        if key not in seen:
            seen.add(key)
            yield ExportRow(
                entity.legacy_id,
                entity.kind.desktop,
                said.date,
                said.number,
                said.name,
                said.amount,
            )


def qbo_records(company: Iterable[Told]) -> bytes:
    """QBO's entities as JSON lines for `qbo-attach fake-qbo --entities`."""
    lines: dict[tuple[str, str], str] = {}
    for entity, said in company:
        ref_type = entity.kind.ref
        if ref_type:
            record = qbo_record(ref_type, entity.qbo_id, said)
            line = json.dumps({ref_type: record}, ensure_ascii=False)
            lines.setdefault((ref_type, entity.qbo_id), line)
    return "".join(f"{line}\n" for line in lines.values()).encode()

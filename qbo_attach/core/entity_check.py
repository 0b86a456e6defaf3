"""What QBO says of the entities that the mapping names: there, inactive, or missing.

An attachment of an entity that QBO does not have gets the status `entity_missing`, and is not sent.
One of an inactive entity is sent; its reason says `entity_inactive`. Unasked, nothing changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from qbo_attach.core.chain import entity_refs
from qbo_attach.core.model import EntityRef, Status
from qbo_attach.core.tables import VerificationRow

INACTIVE = "entity_inactive"


def mapped_entities(rows: Iterable[VerificationRow]) -> dict[str, set[str]]:
    """The entities of the attachments that are ok: by type their ids."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.status == Status.OK:
            for ref in entity_refs(row.qbo_entity_type, row.qbo_entity_id):
                found.setdefault(ref.type, set()).add(ref.id)
    return found


@dataclass(frozen=True, slots=True)
class EntityCheck:
    """Which of the mapped entities are missing or inactive; `notes` tell what was asked."""

    missing: Collection[EntityRef] = frozenset()
    inactive: Collection[EntityRef] = frozenset()
    notes: tuple[str, ...] = ()

    def rows(
        self, rows: Iterable[VerificationRow], counts: dict[str, int]
    ) -> Iterator[VerificationRow]:
        """The same rows, with what QBO said; `counts` by status are kept right."""
        if not self.missing and not self.inactive:
            yield from rows
            return
        for row in rows:
            told = self._told(row) if row.status == Status.OK else row
            if told.status != row.status:
                counts[row.status] -= 1
                counts[told.status] = counts.get(told.status, 0) + 1
            yield told

    def _told(self, row: VerificationRow) -> VerificationRow:
        refs = entity_refs(row.qbo_entity_type, row.qbo_entity_id)
        gone = [str(ref) for ref in refs if ref in self.missing]
        if gone:
            reason = f"QBO has no {', '.join(gone)}"
            return row._replace(status=Status.ENTITY_MISSING.value, reason=reason)
        asleep = [str(ref) for ref in refs if ref in self.inactive]
        if asleep:
            said = f"{INACTIVE}: {', '.join(asleep)}"
            return row._replace(reason=f"{row.reason}; {said}" if row.reason else said)
        return row

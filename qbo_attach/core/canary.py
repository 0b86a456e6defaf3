"""The few attachments that are sent first, to be looked at: as unlike one another as can be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from qbo_attach.core.file_types import extension_of
from qbo_attach.core.model import Action
from qbo_attach.core.tables import PlanRow


class _Kind(NamedTuple):
    """What makes attachments alike: entity type, ending, and the size's number of digits."""

    entity_type: str
    extension: str
    magnitude: int


def choose_canary(rows: Iterable[PlanRow], count: int) -> list[int]:
    """Which of the rows to send are sent first, by their numbers among those to send, from 0.

    Each time the one that adds most: an entity type that is not there yet, then an ending, then a
    size; then of the kind that is there least. The same rows give the same choice.

    Args:
        rows: of the plan, in its order.
        count: how many.

    Returns:
        The numbers, ascending; all of them where there are no more.
    """
    kinds: dict[_Kind, list[int]] = {}
    sending = (row for row in rows if row.action == Action.SEND)
    for number, row in enumerate(sending):
        members = kinds.setdefault(_kind(row), [])
        if len(members) < count:
            members.append(number)
    chosen: list[int] = []
    types: set[str] = set()
    endings: set[str] = set()
    sizes: set[int] = set()
    taken = dict.fromkeys(kinds, 0)
    while len(chosen) < count and (open_kinds := [k for k in kinds if taken[k] < len(kinds[k])]):
        kind = min(
            open_kinds,
            key=lambda k: (
                k.entity_type in types,
                k.extension in endings,
                k.magnitude in sizes,
                taken[k],
                k,
            ),
        )
        chosen.append(kinds[kind][taken[kind]])
        taken[kind] += 1
        types.add(kind.entity_type)
        endings.add(kind.extension)
        sizes.add(kind.magnitude)
    return sorted(chosen)


def _kind(row: PlanRow) -> _Kind:
    extension = extension_of(row.sent_file_name or row.file_name)
    return _Kind(row.qbo_entity_type, extension, len(row.size_bytes))

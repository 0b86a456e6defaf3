"""VERIFY_AGAINST_QBO: QBO is asked whether it has the entities that the mapping names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from qbo_attach.core.entity_check import EntityCheck, mapped_entities
from qbo_attach.core.entity_types import EntityTypes
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.model import EntityRef
from qbo_attach.core.tables import VerificationRow
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QboError, RefusedError
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import make_client, make_pacer

_CANNOT_BE_QUERIED = ("4000", "4001")
_NAMED = 5


def check_entities(
    settings: Settings, types: EntityTypes, rows: Iterable[VerificationRow]
) -> EntityCheck:
    """Ask for the entities of all rows that are ok.

    Raises:
        NotStartedError: QBO cannot be asked.
    """
    wanted = mapped_entities(rows)
    return asyncio.run(_check(settings, types, wanted))


async def _check(
    settings: Settings, types: EntityTypes, wanted: Mapping[str, set[str]]
) -> EntityCheck:
    clock = SystemClock()
    client = make_client(settings, make_pacer(settings, clock), clock)
    missing: set[EntityRef] = set()
    inactive: set[EntityRef] = set()
    unasked: list[str] = []
    try:
        for kind, ids in sorted(wanted.items()):
            named = types.class_of_ref(kind) == "list"
            there = await _there(client, kind, sorted(ids), named=named)
            if there is None:
                unasked.append(kind)
                continue
            missing.update(EntityRef(kind, one) for one in ids if one not in there)
            inactive.update(EntityRef(kind, one) for one, active in there.items() if not active)
    except QboError as error:
        raise NotStartedError(f"QBO could not be asked for the entities: {error}") from error
    finally:
        await client.aclose()
    asked = sum(map(len, wanted.values()))
    queries = client.requests_sent.get("query", 0)
    told = f"QBO was asked for {asked:,} entities of {len(wanted)} types in {queries:,} queries."
    return EntityCheck(missing, inactive, (told, *_notes(missing, inactive, unasked)))


async def _there(
    client: QboClient, kind: str, ids: list[str], *, named: bool
) -> dict[str, bool] | None:
    """What the company has of a type; None where that cannot be asked."""
    try:
        return await client.entities_there(kind, ids, named=named)
    except RefusedError as error:
        if error.fault.code not in _CANNOT_BE_QUERIED:
            raise
        return None


def _notes(missing: set[EntityRef], inactive: set[EntityRef], unasked: list[str]) -> Iterator[str]:
    if missing:
        yield f"{len(missing):,} entities are not in QBO ({_some(missing)}): correct the mapping."
    if inactive:
        yield f"{len(inactive):,} entities are inactive in QBO ({_some(inactive)}); they are sent."
    if unasked:
        yield f"QBO cannot be asked for entities of these types: {', '.join(unasked)}."


def _some(refs: set[EntityRef]) -> str:
    more = ", ..." if len(refs) > _NAMED else ""
    return ", ".join(map(str, sorted(refs)[:_NAMED])) + more

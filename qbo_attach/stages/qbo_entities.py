"""What QBO holds of some types, for matching: read once by paged queries, and kept in DATA_DIR.

Kept are `qbo_entities.csv` and `qbo_entities.json` (of which company, which types, when, in how
many queries, and the table's digest). They are believed while they are of this company, hold all
types that are needed, and the table has its digest; MATCH_READ_ANEW reads again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import NamedTuple

from qbo_attach.core.entity_types import EntityTypes
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.mapping import normalise_mapping
from qbo_attach.core.mapping_formats import mapping_rows
from qbo_attach.core.matching.groups import QboRow
from qbo_attach.core.matching.qbo_entities import entity_row
from qbo_attach.core.matching.tables import ENTITIES, ENTITIES_FACTS, KNOWN_MAPPING
from qbo_attach.core.matching.types import LIST_TYPES
from qbo_attach.core.model import Artifact
from qbo_attach.core.tables import COLUMNS, MAPPING, MappingRow
from qbo_attach.qbo import qbdt
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QboError, RefusedError
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import environment_name, make_client, make_pacer
from qbo_attach.storage.artifacts import is_intact, read_table, write_table
from qbo_attach.storage.files import Store

_INACTIVE_TOO = "Active IN (true, false)"
"""Without it a query leaves inactive names out."""


class Held(NamedTuple):
    """Entities of QBO, in the order of their types, and a sentence on where they come from."""

    rows: list[QboRow]
    artifact: Artifact
    told: str


def held_entities(settings: Settings, data: Store, types: Sequence[str]) -> Held:
    """All entities of these types, from DATA_DIR if it has them, else from QBO.

    Raises:
        NotStartedError: QBO refused, or could not be asked.
    """
    if not settings.match_read_anew:
        kept = _kept(settings, data, types)
        if kept is not None:
            return kept
    rows, queries = asyncio.run(_read(settings, types))
    artifact = write_table(data, ENTITIES, QboRow._fields, rows)
    read_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = {
        **_company(settings),
        "types": sorted(types),
        "rows": artifact.rows,
        "queries": queries,
        "read_at": read_at,
        "sha256": artifact.sha256,
    }
    _write_json(data, ENTITIES_FACTS, facts)
    told = f"Read {len(rows):,} entities of {len(types)} types of QBO in {queries:,} queries."
    return Held(rows, artifact, told)


def _kept(settings: Settings, data: Store, types: Sequence[str]) -> Held | None:
    facts = _read_json(data, ENTITIES_FACTS)
    company = _company(settings)
    if any(facts.get(name) != value for name, value in company.items()):
        return None
    if not set(types) <= set(_texts(facts.get("types"))):
        return None
    count = facts.get("rows")
    url = data.child_url(ENTITIES)
    artifact = Artifact(
        ENTITIES, url, str(facts.get("sha256")), count if isinstance(count, int) else 0
    )
    if not is_intact(artifact, settings.storage_options):
        return None
    texts: dict[str, str] = {}
    rows = [_shared(row, texts) for row in read_table(data, ENTITIES, QboRow)]
    told = (
        f"Took {len(rows):,} entities from {url}, read at {facts.get('read_at')}; "
        "MATCH_READ_ANEW=true (mapping --read-anew) reads QBO again."
    )
    return Held([row for row in rows if row.type in types], artifact, told)


def _shared(row: QboRow, texts: dict[str, str]) -> QboRow:
    """The same row; types, days and names that come often are held once."""
    keep = texts.setdefault
    return row._replace(
        type=keep(row.type, row.type), date=keep(row.date, row.date), name=keep(row.name, row.name)
    )


def _company(settings: Settings) -> dict[str, str]:
    return {"realm_id": settings.realm_id, "environment": environment_name(settings)}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _read_json(data: Store, name: str) -> dict[str, object]:
    try:
        facts = json.loads(data.read_bytes(name))
    except (FileNotFoundError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _write_json(data: Store, name: str, facts: Mapping[str, object]) -> None:
    with data.writing(name) as stream:
        stream.write(json.dumps(facts, indent=1).encode() + b"\n")


async def _read(settings: Settings, types: Sequence[str]) -> tuple[list[QboRow], int]:
    rows: list[QboRow] = []
    texts: dict[str, str] = {}
    async with _asked(settings) as client:
        for kind in types:
            where = _INACTIVE_TOO if kind in LIST_TYPES else ""
            async for record in client.query_all(kind, where):
                row = entity_row(kind, record)
                if row is not None:
                    rows.append(_shared(row, texts))
        return rows, client.requests_sent.get("query", 0)


def held_known(settings: Settings, data: Store, types: EntityTypes) -> tuple[list[MappingRow], str]:
    """The company's own QbdtEntityIdMapping, as far as it goes; none is no error.

    Kept in DATA_DIR beside the entities, and read anew when they are.

    Raises:
        NotStartedError: QBO could not be asked.
    """
    company = _company(settings)
    name = KNOWN_MAPPING.replace(".csv", ".json")
    if not settings.match_read_anew:
        facts = _read_json(data, name)
        sha256 = str(facts.pop("sha256", ""))
        artifact = Artifact(KNOWN_MAPPING, data.child_url(KNOWN_MAPPING), sha256, 0)
        if facts == company and is_intact(artifact, settings.storage_options):
            return list(read_table(data, KNOWN_MAPPING, MappingRow)), ""
    records, queries = asyncio.run(_read_known(settings))
    rows = list(normalise_mapping(mapping_rows(records, qbdt.ENTITY), types, qbdt.ENTITY))
    artifact = write_table(data, KNOWN_MAPPING, COLUMNS[MAPPING], rows)
    _write_json(data, name, {**company, "sha256": artifact.sha256})
    return rows, f"{qbdt.ENTITY}: {len(rows):,} rows in {queries:,} queries."


async def _read_known(settings: Settings) -> tuple[list[dict[str, str]], int]:
    async with _asked(settings) as client:
        rows: list[dict[str, str]] = []
        try:
            if not await _is_empty(client):
                rows = [row async for row in client.qbdt_mappings()]
        except qbdt.NoMappingTableError:
            pass
        return rows, client.requests_sent.get("query", 0)


async def _is_empty(client: QboClient) -> bool:
    """Whether one query without a type shows that there is no row; a refusal shows nothing."""
    try:
        return not await client.query(f"SELECT * FROM {qbdt.ENTITY} MAXRESULTS 1")  # noqa: S608
    except RefusedError:
        return False


@asynccontextmanager
async def _asked(settings: Settings) -> AsyncIterator[QboClient]:
    clock = SystemClock()
    client = make_client(settings, make_pacer(settings, clock), clock)
    try:
        yield client
    except QboError as error:
        raise NotStartedError(str(error)) from error
    finally:
        await client.aclose()

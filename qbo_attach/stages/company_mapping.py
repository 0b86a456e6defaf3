"""The mapping stage with a company to ask: what MAPPING_SOURCE=qbo and match need."""

from __future__ import annotations

import asyncio

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.model import StageResult
from qbo_attach.qbo.faults import QboError
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import make_client, make_pacer
from qbo_attach.stages.mapping import run_mapping
from qbo_attach.stages.matching import FROM_MATCH, run_matching


def run_mapping_stage(settings: Settings) -> StageResult:
    """Bring the mapping into DATA_DIR: from a table, from QBO itself (qbo), or by matching (match).

    Raises:
        NoMappingTableError: the company has no QbdtEntityIdMapping.
        NotStartedError: QBO refused, or could not be asked; else as `run_mapping`, `run_matching`.
    """
    if settings.mapping_source == FROM_MATCH:
        return run_matching(settings)
    return run_mapping(settings, lambda: fetch_qbdt_mapping(settings))


def fetch_qbdt_mapping(settings: Settings) -> list[dict[str, str]]:
    """All rows of the company's QbdtEntityIdMapping, with Intuit's four fields."""
    return asyncio.run(_fetch(settings))


async def _fetch(settings: Settings) -> list[dict[str, str]]:
    clock = SystemClock()
    client = make_client(settings, make_pacer(settings, clock), clock)
    try:
        return [row async for row in client.qbdt_mappings()]
    except QboError as error:
        raise NotStartedError(str(error)) from error
    finally:
        await client.aclose()

"""The plan of a run as stages.plan makes it, with what QBO holds already (EXISTING=check)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.file_types import built_in_file_types
from qbo_attach.core.history import History
from qbo_attach.core.model import Status
from qbo_attach.core.planning import Planner
from qbo_attach.core.ports import Clock
from qbo_attach.core.tables import PlanRow, VerificationRow
from qbo_attach.engine.holdings import learn_digests, read_holdings
from qbo_attach.fake_qbo.options import REALM
from qbo_attach.qbo.client import QboClient
from qbo_attach.stages.existing import refuse_if_changed


async def plan(
    files: Sequence[GroupFile],
    contents: Sequence[bytes],
    client: QboClient,
    clock: Clock,
    history: History,
) -> list[PlanRow]:
    """A row a file, after two readings: one for the plan, one before anything is sent.

    Raises:
        QboError: QBO cannot be read.
        NotStartedError: what was read does not allow a run.
    """
    planner = Planner(REALM, history, built_in_file_types(), "disk")
    rows = [_verified(file) for file in files]
    digests = {
        file.path: hashlib.sha256(data).hexdigest()
        for file, data in zip(files, contents, strict=True)
    }
    survey = planner.survey(lambda: rows)
    entities = planner.entities_to_send(rows, survey, digests)
    if not entities:
        return list(planner.decide(rows, survey, digests))
    reading = await read_holdings(client, clock, REALM, history, entities)
    planner = replace(planner, existing=reading.existing)
    unclear = planner.to_download(rows, survey, digests)
    await learn_digests(client, reading.existing, unclear)
    planned = list(planner.decide(rows, survey, digests))
    await refuse_if_changed(client, history, reading.asked_at, lambda: planned)
    return planned


def _verified(file: GroupFile) -> VerificationRow:
    return VerificationRow(
        file.qbo_entity_id,
        "Txn",
        file.qbo_entity_id,
        file.file_name,
        file.path,
        file.qbo_entity_type,
        file.qbo_entity_id,
        Status.OK.value,
        "",
        size_bytes=str(file.size_bytes),
        modified_at=file.modified_at,
    )

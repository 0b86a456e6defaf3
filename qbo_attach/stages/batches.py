"""A run's plan, kept beside its run log and cut into batches.

The run's own copy lets the report tell what became of each planned attachment, whatever is
planned after it; a batch is a range of its bytes, so that a task needs a few numbers, not rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import Action, Artifact
from qbo_attach.core.tables import PLAN, PlanRow, decode_table, encode_rows
from qbo_attach.storage.digesting import digesting
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import runlog_folder
from qbo_attach.storage.table_writer import open_table

BATCHES_AT_ONCE = 2
"""Two batches share the session, so that the rate does not sag at a batch's end."""

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Some planned attachments: bytes `offset` to `offset + length` of the run's plan.

    `number` counts from 1, `of` is how many there are; `rows` counts the attachments to send.
    """

    run_id: str
    number: int
    of: int
    offset: int
    length: int
    rows: int


def plan_copy(realm_id: str, run_id: str) -> str:
    """Where the plan of a run lies, below LOG_DIR."""
    return f"{runlog_folder(realm_id)}/plan-{run_id}.csv"


def keep_plan(
    log: Store, name: str, run_id: str, rows: Iterable[PlanRow], batch_size: int
) -> tuple[Artifact, list[Batch]]:
    """Write a run's plan; returns it with its batches of `batch_size` attachments to send.

    Rows that are not to be sent belong to no batch, or ride within one's range.
    """
    ranges: list[tuple[int, int, int]] = []
    with open_table(log, name, PlanRow._fields) as table:
        begin, sending = table.flush(), 0
        for row in rows:
            if row.action == Action.SEND and not sending:
                begin = table.flush()
            table.add(row)
            sending += row.action == Action.SEND
            if sending == batch_size:
                ranges.append((begin, table.flush(), sending))
                sending = 0
        if sending:
            ranges.append((begin, table.flush(), sending))
    batches = [
        Batch(run_id, number, len(ranges), begin, end - begin, sending)
        for number, (begin, end, sending) in enumerate(ranges, 1)
    ]
    return table.artifact(log, name), batches


def copy_plan(log: Store, name: str, sha256: str, rows: int) -> Artifact | None:
    """Copy a plan as it is to where a run keeps its own.

    None: it has another digest than this one, or no rows are said to be in it.
    """
    if not rows:
        return None
    with digesting(log, PLAN) as source, log.writing(name) as copy:
        while piece := source.read(_PIECE_BYTES):
            copy.write(piece)
        found = source.sha256()
    return Artifact(name, log.child_url(name), found, rows) if found == sha256 else None


def read_batch(log: Store, name: str, batch: Batch) -> Iterator[PlanRow]:
    """The rows of a batch that are to be sent.

    Raises:
        StorageError: the run's plan is gone.
    """
    try:
        with log.open_binary(name) as stream:
            stream.seek(batch.offset)
            data = stream.read(batch.length)
    except FileNotFoundError as error:
        gone = "the run's own plan is gone: another run may have taken over"
        raise StorageError(log.child_url(name), gone) from error
    head = encode_rows([PlanRow._fields])
    for row in decode_table(PlanRow, io.BytesIO(head + data), log.child_url(name)):
        if row.action == Action.SEND:
            yield row


def older_plans(log: Store, realm_id: str, run_id: str) -> list[str]:
    """The plans of other runs that are there: whoever asks as a run begins may remove them."""
    folder = runlog_folder(realm_id)
    names = [f"{folder}/{name}" for name in log.list_names(folder) if name.startswith("plan-")]
    return [name for name in names if name != plan_copy(realm_id, run_id)]

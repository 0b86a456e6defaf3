"""The report stage: the run log as CSV tables, derived anew from the chain each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from qbo_attach.core import tables
from qbo_attach.core.chain import RunStarted
from qbo_attach.core.errors import RunLogDamagedError
from qbo_attach.core.model import Artifact, StageResult
from qbo_attach.core.reporting import (
    DUP_OUTCOMES,
    ERROR_OUTCOMES,
    Telling,
    check_conservation,
)
from qbo_attach.core.tables import PlanRow, RunLogRow
from qbo_attach.settings import Settings
from qbo_attach.stages.batches import plan_copy
from qbo_attach.stages.inputs import log_store
from qbo_attach.storage.artifacts import is_intact, read_table
from qbo_attach.storage.done_file import DoneFile
from qbo_attach.storage.runlog import read_segments
from qbo_attach.storage.table_writer import TableWriter, open_table


def run_report(settings: Settings) -> StageResult:
    """Write qbo_attach_runlog.csv, and of the latest run qbo_attach_errors.csv and _dups.csv.

    The run log table has the outcomes of all runs in chain order, then the latest run's planned
    attachments that it did not send.

    Returns:
        Counts: outcomes of the latest run, one a planned attachment.

    Raises:
        RunLogDamagedError: the chain is not whole, or the run's plan is not what the run wrote.
        NotStartedError: the sums do not hold.
    """
    log = log_store(settings)
    told = Telling(DoneFile())
    counts: Counter[str] = Counter()
    with (
        open_table(log, tables.RUNLOG, RunLogRow._fields) as whole,
        open_table(log, tables.ERRORS, RunLogRow._fields) as errors,
        open_table(log, tables.DUPS, RunLogRow._fields) as dups,
    ):

        def sort(row: RunLogRow) -> None:
            if row.outcome in ERROR_OUTCOMES:
                errors.add(row)
            elif row.outcome in DUP_OUTCOMES:
                dups.add(row)

        for row in _tell_chain(settings, told, whole):
            sort(row)
        for outcome, planned in told.latest_outcomes(_latest_plan(settings, told)):
            counts[outcome] += 1
            if planned is not None:
                whole.add(planned)
                sort(planned)
        run = told.latest
        check_conservation(counts, run.plan_rows if run is not None else 0)
    artifacts = (
        whole.artifact(log, tables.RUNLOG),
        errors.artifact(log, tables.ERRORS),
        dups.artifact(log, tables.DUPS),
    )
    return StageResult(artifacts, dict(counts))


def _tell_chain(settings: Settings, told: Telling, whole: TableWriter) -> list[RunLogRow]:
    """Write all outcomes of the chain; returns the latest run's errors and duplicates."""
    latest: list[RunLogRow] = []
    for header, records in read_segments(log_store(settings), settings.realm_id):
        if header.is_snapshot:
            continue
        if any(isinstance(record, RunStarted) for record in records):
            latest.clear()
        for row in told.rows(records):
            whole.add(row)
            if row.outcome in ERROR_OUTCOMES or row.outcome in DUP_OUTCOMES:
                latest.append(row)
    return latest


def _latest_plan(settings: Settings, told: Telling) -> Iterator[PlanRow]:
    """The plan of the latest run, proven to be the one it wrote."""
    run = told.latest
    if run is None:
        return
    log = log_store(settings)
    name = plan_copy(settings.realm_id, run.run_id)
    if not is_intact(Artifact(name, log.child_url(name), run.plan_sha256, run.plan_rows)):
        raise RunLogDamagedError(log.child_url(name), "is not the plan that the run wrote")
    yield from read_table(log, name, PlanRow)

"""The report stage: the run log as CSV tables and a page, derived anew from the chain each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import tee

from qbo_attach.core import tables
from qbo_attach.core.chain import RunStarted
from qbo_attach.core.errors import RunLogDamagedError
from qbo_attach.core.model import Artifact, StageResult
from qbo_attach.core.report_facts import Facts
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
from qbo_attach.stages.report_context import page_context
from qbo_attach.stages.report_page import write_page
from qbo_attach.stages.report_tables import read_beside
from qbo_attach.storage.artifacts import is_intact, read_table
from qbo_attach.storage.done_file import DoneFile
from qbo_attach.storage.latest_run import latest_run_id
from qbo_attach.storage.runlog import read_segments
from qbo_attach.storage.table_writer import Both, TableWriter, open_table


@dataclass(frozen=True, slots=True)
class Reported(StageResult):
    """What the report stage leaves behind; `statuses` counts the rows of the verification log."""

    statuses: dict[str, int] = field(default_factory=dict)


def run_report(settings: Settings) -> Reported:
    """Write qbo_attach_runlog.csv, and of the latest run qbo_attach_errors.csv and _dups.csv.

    The run log table has the outcomes of all runs in chain order, then the latest run's planned
    attachments that it did not send. What report.html and report.md say is gathered in the same
    pass, and completed by the verification log and reconciliation.csv where they are there.

    Returns:
        Counts: outcomes of the latest run, one a planned attachment.

    Raises:
        RunLogDamagedError: the chain is not whole, or the run's plan is not what the run wrote.
        NotStartedError: the sums do not hold.
        TableError: the verification log or reconciliation.csv is broken.
    """
    log = log_store(settings)
    told = Telling(DoneFile(), latest_run_id(log, settings.realm_id))
    facts = Facts()
    counts: Counter[str] = Counter()
    with (
        open_table(log, tables.RUNLOG, RunLogRow._fields) as whole,
        open_table(log, tables.ERRORS, RunLogRow._fields) as errors,
        open_table(log, tables.DUPS, RunLogRow._fields) as dups,
    ):

        def sort(row: RunLogRow) -> None:
            if row.outcome in ERROR_OUTCOMES:
                errors.add(row)
                facts.left_open(row)
            elif row.outcome in DUP_OUTCOMES:
                dups.add(row)

        for row in _tell_chain(settings, told, whole, facts):
            sort(row)
            facts.refused(row)
        both = Both(whole, dups)
        plan, same_plan = tee(_latest_plan(settings, told))
        for of, (outcome, planned) in zip(plan, told.latest_outcomes(same_plan), strict=True):
            counts[outcome] += 1
            facts.planned(of, outcome)
            if planned is None:
                continue
            if outcome in DUP_OUTCOMES:
                both.add(planned)
            else:
                both.flush()
                whole.add(planned)
                sort(planned)
        both.flush()
        run = told.latest
        check_conservation(counts, run.plan_rows if run is not None else 0)
    artifacts = (
        whole.artifact(log, tables.RUNLOG),
        errors.artifact(log, tables.ERRORS),
        dups.artifact(log, tables.DUPS),
    )
    beside = read_beside(settings, facts, artifacts)
    made_at = datetime.now(timezone.utc)
    context = page_context(settings, facts, beside, told.history.rows, made_at)
    pages = write_page(log, context)
    return Reported((*artifacts, *pages), dict(counts), statuses=dict(facts.statuses))


def _tell_chain(
    settings: Settings, told: Telling, whole: TableWriter, facts: Facts
) -> list[RunLogRow]:
    """Write all outcomes of the chain; returns the latest run's errors and duplicates.

    Those of an undo after it come behind them.
    """
    latest: list[RunLogRow] = []
    of_undo: list[RunLogRow] = []
    for header, records in read_segments(log_store(settings), settings.realm_id):
        if header.is_snapshot:
            continue
        facts.records(records)
        for record in records:
            if isinstance(record, RunStarted):
                of_undo.clear()
                if not record.undoes:
                    latest.clear()
        for row in told.rows(records):
            whole.add(row)
            facts.told(row)
            if row.outcome in ERROR_OUTCOMES or row.outcome in DUP_OUTCOMES:
                (of_undo if told.in_undo else latest).append(row)
    return latest + of_undo


def _latest_plan(settings: Settings, told: Telling) -> Iterator[PlanRow]:
    """The plan of the latest run, proven to be the one it wrote."""
    run = told.latest
    if run is None:
        return
    log = log_store(settings)
    name = plan_copy(settings.realm_id, run.run_id)
    copy = Artifact(name, log.child_url(name), run.plan_sha256, run.plan_rows)
    if not is_intact(copy, settings.storage_options):
        raise RunLogDamagedError(log.child_url(name), "is not the plan that the run wrote")
    yield from read_table(log, name, PlanRow)

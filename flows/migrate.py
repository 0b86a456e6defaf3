"""The flow `migrate`: one company, every stage a task, uploads in batches through one session."""

from __future__ import annotations

import sys
from typing import Annotated, Any, cast

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas import State
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from flows.results import results_at
from flows.tasks import (
    RUNS,
    believed,
    inventory_task,
    mapping_task,
    plan_task,
    report_task,
    upload_task,
    verify_task,
)
from qbo_attach.core import tables
from qbo_attach.core.errors import LeaseHeldError, NotStartedError, QboAttachError
from qbo_attach.core.model import StageResult
from qbo_attach.core.reporting import exit_status
from qbo_attach.core.tables import RunLogRow, VerificationRow
from qbo_attach.settings import Settings, as_written, load_settings, require_absolute
from qbo_attach.stages.inputs import log_store
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.whole import BATCHES_AT_ONCE
from qbo_attach.storage.artifacts import read_table

_ROWS_SHOWN = 500

_REMEDIES = {
    "error": "look at `error` in qbo_attach_errors.csv; run again to try it once more",
    "file_missing": "put the file back, or exclude it",
    "source_changed": "look why it changed during the run; the next run lists it anew",
    "changed": "the file or its entity is not what was sent; decide by hand",
    "in_doubt": "run again: it is looked up at QuickBooks",
    "not_sent": "run again to go on",
}


_RUNNER = cast("TaskRunner[Any]", ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE))


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    mode = "dry run" if parameters.get("dry_run") else "upload"
    return f"realm {parameters.get('realm_id') or as_written('qbo_realm_id') or '?'}, {mode}"


@flow(
    name="migrate",
    flow_run_name=_run_name,
    task_runner=_RUNNER,
    persist_result=False,
    validate_parameters=True,
)
def migrate(
    files_dir: Annotated[str, Field(description="Legacy tree: path or URL. Empty: FILES_DIR")] = "",
    data_dir: Annotated[str, Field(description="Tables: path or URL. Empty: DATA_DIR")] = "",
    log_dir: Annotated[str, Field(description="Logs: path or URL. Empty: LOG_DIR")] = "",
    realm_id: Annotated[
        str, Field(description="QBO company id. Empty: QBO_REALM_ID", pattern=r"^[0-9]*$")
    ] = "",
    dry_run: Annotated[bool, Field(description="Stop after the plan; send nothing")] = False,
    refresh: Annotated[bool, Field(description="Run cached stages again")] = False,
    allow_shrink: Annotated[
        bool, Field(description="Accept an inventory less than half as large as the last")
    ] = False,
) -> State[Any]:
    """Move one company's attachments into QuickBooks Online, each exactly once.

    The run log alone decides what is sent: run it again whenever it stopped.
    """
    given = {
        "files_dir": files_dir,
        "data_dir": data_dir,
        "log_dir": log_dir,
        "qbo_realm_id": realm_id,
        "allow_shrink": allow_shrink or None,
    }
    try:
        if runtime.deployment.id:
            _require_deployable(given)
        settings = load_settings(given)
        with results_at(f"{settings.log_dir}/prefect-results"):
            return _stages(settings, dry_run=dry_run, refresh=refresh)
    except LeaseHeldError as error:
        return Cancelled(message=str(error))
    except NotStartedError as error:
        return Failed(message=f"Nothing was sent. {error}")
    except QboAttachError as error:
        return Failed(message=str(error))


def _require_deployable(given: dict[str, Any]) -> None:
    folders = {n: str(given[n] or as_written(n)) for n in ("files_dir", "data_dir", "log_dir")}
    for name, url in folders.items():
        if not url:
            raise NotStartedError(
                f"{name.upper()} is not set: give it as a parameter, or in the worker's environment"
            )
    require_absolute({name.upper(): url for name, url in folders.items()})


def _stages(settings: Settings, *, dry_run: bool, refresh: bool) -> State[Any]:
    logger = get_run_logger()
    inventory = inventory_task(settings)
    mapping = believed(mapping_task, settings, refresh=refresh)
    verification = believed(verify_task, settings, inventory, mapping, refresh=refresh)
    plan = plan_task(settings)
    for name, result in (
        ("inventory", inventory),
        ("mapping", mapping),
        ("verify", verification),
        ("plan", plan),
    ):
        logger.info("%s: %s", name, _listed(result.counts))
        for note in result.notes:
            logger.info("%s: %s", name, note)
    if dry_run:
        _summary(settings, "Dry run: nothing was sent", verification.counts, plan.counts)
        return Completed(name="DryRun", message=f"Plan: {_listed(plan.counts)}")
    run = UploadRun(settings)
    with run:
        RUNS[run.run_id] = run
        try:
            upload_task.map(run.batches).result()
        finally:
            del RUNS[run.run_id]
    return _ended(settings, run, verification, report_task(settings))


def _ended(
    settings: Settings, run: UploadRun, verification: StageResult, report: StageResult
) -> State[Any]:
    """The state that tells the truth about a run that came to its end."""
    stopped = run.result.stopped
    counts = report.counts
    status = exit_status(counts, verification.counts, stopped=bool(stopped))
    requests = sum(run.result.requests_sent.values())
    _summary(settings, f"Run {run.run_id}: {requests:,} requests", verification.counts, counts)
    _person_table(settings)
    said = f"{_listed(counts)}; {requests:,} requests"
    if status == 0:
        return Completed(message=said)
    if status == 1:
        return Completed(
            name="NeedsPerson",
            message=f"{said}. Rows need a person: see mapping_verification_log.csv and "
            "qbo_attach_errors.csv in LOG_DIR.",
        )
    return Failed(message=f"{stopped or said}. Run again to go on; nothing is sent twice.")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "nothing"


def _summary(
    settings: Settings, title: str, statuses: dict[str, int], outcomes: dict[str, int]
) -> None:
    lines = [f"# {title}", "", f"Logs: `{settings.log_dir}`", ""]
    for heading, counts in (("Verification", statuses), ("Outcome or plan", outcomes)):
        shown = {name: n for name, n in counts.items() if name != "bytes_to_send"}
        lines += [f"| {heading} | Attachments |", "| --- | ---: |"]
        lines += [f"| {name} | {count:,} |" for name, count in sorted(shown.items())]
        lines += [f"| **sum** | **{sum(shown.values()):,}** |", ""]
    create_markdown_artifact("\n".join(lines), key="summary", description=title)


def _person_table(settings: Settings) -> None:
    """The first rows that need a person; all of them are in the tables of LOG_DIR."""
    log = log_store(settings)
    rows = [
        {
            "what": row.outcome,
            "file": row.file_path,
            "reason": row.error,
            "remedy": _REMEDIES.get(row.outcome, ""),
        }
        for row in read_table(log, tables.ERRORS, RunLogRow)
    ]
    rows += [
        {
            "what": row.status,
            "file": row.file_path,
            "reason": row.reason,
            "remedy": "mend the mapping or the tree, or decide in MAPPING_OVERRIDES",
        }
        for row in read_table(log, tables.VERIFICATION, VerificationRow)
        if row.status not in ("ok", "excluded")
    ]
    if rows:
        create_table_artifact(
            rows[:_ROWS_SHOWN],
            key="needs-person",
            description=f"{len(rows):,} rows need a person; all are in {settings.log_dir}",
        )


def main() -> int:
    """Run the flow in this process; 0 completed, 1 rows need a person, 3 anything else."""
    state: State[Any] = migrate(return_state=True)
    print(f"{state.name}: {state.message}")  # noqa: T201 - the line a person waits for
    if state.is_completed():
        return 1 if state.name == "NeedsPerson" else 0
    return 3


if __name__ == "__main__":
    sys.exit(main())

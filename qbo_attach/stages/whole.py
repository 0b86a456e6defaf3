"""The whole pipeline in one process, without Prefect: every stage in order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from qbo_attach.core.errors import StoppedError, StorageError
from qbo_attach.core.model import StageResult
from qbo_attach.core.reporting import exit_status
from qbo_attach.settings import Settings
from qbo_attach.stages.batches import BATCHES_AT_ONCE
from qbo_attach.stages.company_mapping import run_mapping_stage
from qbo_attach.stages.inventory import run_inventory
from qbo_attach.stages.plan import run_plan
from qbo_attach.stages.report import run_report
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.verify import run_verify


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run came to; `files` are the tables it left, by name, as URLs."""

    run_id: str
    outcomes: dict[str, int]
    statuses: dict[str, int]
    requests_sent: int
    files: dict[str, str]
    notes: tuple[str, ...]
    stopped: str
    exit_status: int

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints."""
        return {
            "run_id": self.run_id,
            "counts": {"outcome": self.outcomes, "verification": self.statuses},
            "requests_sent": self.requests_sent,
            "files": self.files,
        }


def upload_and_report(settings: Settings, run: UploadRun) -> RunSummary:
    """Send every batch of a plan that is there, settle, and derive the tables."""
    with run, ThreadPoolExecutor(BATCHES_AT_ONCE) as pool:
        list(pool.map(run.send, run.batches))
    return sum_up(settings, run)


def sum_up(settings: Settings, run: UploadRun) -> RunSummary:
    """Derive the tables of an ended run, and what it came to.

    Raises:
        StoppedError: no tables could be derived. Not "not started": what was sent is in the run
            log, whatever becomes of the tables.
    """
    try:
        return summarise(settings, run)
    except StorageError as error:
        tables_too = f"no tables were derived: {error}"
        if run.result.stopped:
            raise StoppedError(f"{run.result.stopped}; {tables_too}") from error
        raise StoppedError(f"{tables_too}; run again to go on") from error


def summarise(settings: Settings, run: UploadRun) -> RunSummary:
    """Derive the tables of an ended run, and sum it up."""
    report = run_report(settings)
    statuses = report.statuses
    result = run.result
    return RunSummary(
        result.run_id,
        report.counts,
        statuses,
        sum(result.requests_sent.values()),
        {artifact.name: artifact.url for artifact in report.artifacts},
        result.notes,
        result.stopped,
        exit_status(report.counts, statuses, stopped=bool(result.stopped)),
    )


def run_all(
    settings: Settings,
    told: Callable[[str, StageResult], None],
    stoppable: Callable[[Callable[[Exception], None]], None],
    watched: Callable[[UploadRun], None] = lambda _: None,
    ask: Callable[[str], bool] | None = None,
) -> RunSummary:
    """Inventory, mapping, verify, plan, upload, report.

    Args:
        settings: all of them.
        told: called with each stage's name and result as it ends.
        stoppable: called with what stops the upload, before it starts.
        watched: called with the upload, before it starts: its progress can be asked.
        ask: shows a person a question, True for a yes; None: nobody is there to ask.

    Raises:
        QboAttachError: what kept the run from starting or ended it.
    """
    files = prepare(settings, told)
    upload = UploadRun(settings, ask=ask)
    stoppable(upload.stop)
    watched(upload)
    summary = upload_and_report(settings, upload)
    return replace(summary, files={**files, **summary.files})


def prepare(settings: Settings, told: Callable[[str, StageResult], None]) -> dict[str, str]:
    """All stages before the upload, in order; returns the URLs of their tables, by name.

    Raises:
        QboAttachError: what kept one of them from its end.
    """
    files: dict[str, str] = {}
    stages: tuple[tuple[str, Callable[[Settings], StageResult]], ...] = (
        ("inventory", run_inventory),
        ("mapping", run_mapping_stage),
        ("verify", run_verify),
        ("plan", run_plan),
    )
    for name, stage in stages:
        result = stage(settings)
        files.update((artifact.name, artifact.url) for artifact in result.artifacts)
        told(name, result)
    return files

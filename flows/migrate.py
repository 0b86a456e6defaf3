"""The flow `migrate`: one company, every stage a task, uploads in batches through one session."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, cast

from prefect import flow, get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from flows.artifacts import (
    harmless,
    letters,
    person_count,
    show_canary,
    show_needs_person,
    show_summary,
)
from flows.configuration import (
    EXPECTED_CHARACTERS,
    NAME_CHARACTERS,
    REALM_CHARACTERS,
    URL_CHARACTERS,
    run_settings,
)
from flows.progress import shown_progress
from flows.results import results_at
from flows.tasks import (
    RUNS,
    believed,
    canary_task,
    inventory_task,
    mapping_task,
    plan_task,
    report_task,
    upload_task,
    verify_task,
)
from qbo_attach.core import tables
from qbo_attach.core.errors import (
    LeaseHeldError,
    NotStartedError,
    QboAttachError,
    StoppedError,
)
from qbo_attach.core.model import Artifact, StageResult
from qbo_attach.core.reporting import exit_status
from qbo_attach.settings import Settings, as_written
from qbo_attach.stages.allocator import give_back_large_blocks
from qbo_attach.stages.batches import BATCHES_AT_ONCE

if TYPE_CHECKING:
    from qbo_attach.stages.canary import Canary
    from qbo_attach.stages.upload import UploadRun

_RUNNER = cast("TaskRunner[Any]", ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE))
_GOES_ON = "Run it again to go on; nothing is sent twice."

Url = Annotated[str, Field(max_length=URL_CHARACTERS)]


def run_name(company: str, realm_id: str, mode: str = "upload") -> str:
    """What a flow run is called: company, realm, mode (`dry run`, `canary`, `upload`)."""
    return f"{company or 'company'} ({realm_id or '?'}), {mode}"


def _run_name() -> str:
    given = runtime.flow_run.parameters
    realm_id = given.get("realm_id") or as_written("qbo_realm_id")
    mode = "dry run" if given.get("dry_run") else "canary" if given.get("canary") else "upload"
    return run_name(given.get("company", ""), realm_id, mode)


@flow(
    name="migrate",
    flow_run_name=_run_name,
    task_runner=_RUNNER,
    persist_result=False,
    validate_parameters=True,
)
def migrate(  # noqa: PLR0913, PLR0917 - the form in the UI: flat
    company: Annotated[str, Field(max_length=NAME_CHARACTERS)] = "",
    realm_id: Annotated[str, Field(pattern=r"^[0-9]*$", max_length=REALM_CHARACTERS)] = "",
    files_dir: Url = "",
    data_dir: Url = "",
    log_dir: Url = "",
    mapping_source: Url = "",
    mapping_overrides: Url = "",
    expect_company_name: Annotated[str, Field(max_length=EXPECTED_CHARACTERS)] = "",
    dry_run: bool = False,
    canary: Annotated[int, Field(ge=0, le=1_000)] = 0,
    refresh: bool = False,
    allow_shrink: bool = False,
    accept_coverage: bool = False,
    skip_refused: bool = False,
    fail_if_person_needed: bool = False,
) -> State[Any]:
    """Move one company's attachments into QuickBooks Online, each exactly once.

    The run log alone decides what is sent: run it again whenever it stopped. A parameter that is
    left empty or off is taken from the worker's environment, a Secret block or the Variable
    `qbo_attach`.

    Args:
        company: The company's name, for the run's name alone. Empty: as QuickBooks Online has it.
        realm_id: The company's id in QuickBooks Online, digits. Empty: QBO_REALM_ID.
        files_dir: The legacy tree (the Attach folder or its parent): absolute path, or a URL as
            s3://bucket/folder. Empty: FILES_DIR.
        data_dir: Where the inventory and the mapping are: absolute path or URL. Empty: DATA_DIR.
        log_dir: Where logs and run log go, one place a company: absolute path or URL. Empty:
            LOG_DIR.
        mapping_source: URL of a mapping table, qbo or match. Empty: MAPPING_SOURCE, or without that
            mapping_export.csv in data_dir as it is.
        mapping_overrides: URL of a table of decisions, applied last. Empty: MAPPING_OVERRIDES.
        expect_company_name: The company's name in QuickBooks Online, to the letter: nothing is sent
            to one of another name. Empty: EXPECT_COMPANY_NAME.
        dry_run: Stop after the plan. Nothing is sent.
        canary: Send so many attachments first, as unlike as can be, compare what QuickBooks Online
            gives back, and end. Run again without it to send the rest. 0: no canary.
        refresh: Run the cached stages (mapping, verify) again.
        allow_shrink: Accept a tree that has less than half as many files as the last time.
        accept_coverage: Upload although fewer attachments have an entity than MIN_COVERAGE asks.
        skip_refused: Leave alone what QuickBooks Online refused in an earlier run.
        fail_if_person_needed: Let the run fail, not complete, when rows need a person.
    """
    given = {
        "files_dir": files_dir,
        "data_dir": data_dir,
        "log_dir": log_dir,
        "qbo_realm_id": realm_id,
        "mapping_source": mapping_source,
        "mapping_overrides": mapping_overrides,
        "expect_company_name": expect_company_name,
        "allow_shrink": allow_shrink or None,
        "accept_coverage": accept_coverage or None,
        "skip_refused": skip_refused or None,
    }
    give_back_large_blocks()
    try:
        settings = run_settings(given, deployed=bool(runtime.deployment.id))
        settings.realm_id  # noqa: B018 - refused here, before the first stage
        with results_at(f"{settings.log_dir}/prefect-results", settings.storage_options):
            planned = _prepare(settings, refresh=refresh)
            if dry_run:
                return _planned(settings, planned)
            first = canary_task(settings, canary) if canary else None
            if first is not None:
                return _shown(settings, first)
            ended = _upload(settings, planned, company)
    except LeaseHeldError as error:
        return Cancelled(message=str(error))
    except NotStartedError as error:
        return Failed(message=f"Nothing was sent. {error}")
    except QboAttachError as error:
        return Failed(message=_with_remedy(str(error)))
    except Exception as error:  # noqa: BLE001 - the state has to say what to do next
        get_run_logger().exception("A defect")
        told = f"{type(error).__name__}: {error}"
        return Failed(message=f"A defect of qbo-attach, please report the log: {told}. {_GOES_ON}")
    if ended.name == "NeedsPerson" and fail_if_person_needed:
        return Failed(name="NeedsPerson", message=ended.message)
    return ended


class Planned:
    """What the stages before the upload left behind."""

    def __init__(self) -> None:
        self.results: dict[str, StageResult] = {}

    def add(self, name: str, result: StageResult) -> StageResult:
        """Keep a stage's result, and tell it in the log."""
        from qbo_attach.stages.report_page import visible

        logger = get_run_logger()
        self.results[name] = result
        logger.info("%s: %s", name, listed(result.counts))
        for note in result.notes:
            logger.info("%s: %s", name, visible(note))
        return result

    @property
    def statuses(self) -> dict[str, int]:
        """Files of the tree by verification status."""
        return self.results["verify"].counts

    @property
    def actions(self) -> dict[str, int]:
        """Planned attachments by action."""
        counts = self.results["plan"].counts
        return {name: n for name, n in counts.items() if name != "bytes_to_send"}

    @property
    def notes(self) -> list[str]:
        """The stages' notes, in order."""
        return [note for result in self.results.values() for note in result.notes]

    @property
    def tables(self) -> list[Artifact]:
        """The tables that the stages wrote."""
        return [table for result in self.results.values() for table in result.artifacts]


def _prepare(settings: Settings, *, refresh: bool) -> Planned:
    planned = Planned()
    inventory = planned.add("inventory", inventory_task(settings))
    mapping = planned.add("mapping", believed(mapping_task, settings, refresh=refresh))
    verified = believed(verify_task, settings, inventory, mapping, refresh=refresh)
    planned.add("verify", verified)
    planned.add("plan", plan_task(settings))
    return planned


def _planned(settings: Settings, planned: Planned) -> State[Any]:
    """A dry run's end."""
    show_summary(
        settings,
        "Dry run: nothing was sent",
        notes=["This is what a run would do now.", *planned.notes],
        statuses=planned.statuses,
        outcomes=planned.actions,
        logs=planned.tables,
    )
    return Completed(
        name="DryRun",
        message=f"Nothing was sent. Plan: {listed(planned.actions)}. Read {tables.PLAN} and the "
        "summary, then run without dry_run.",
    )


def _shown(settings: Settings, first: Canary) -> State[Any]:
    """A canary's end: the rest waits for a person's yes, which is a run without it."""
    show_canary(settings, first)
    if first.summary.stopped:
        return Failed(message=_with_remedy(first.summary.stopped))
    unlike = sum(not file.is_equal for file in first.files)
    see = f"see the artifact canary-{settings.realm_id}"
    if unlike:
        return Failed(
            name="CanaryFailed",
            message=f"{unlike:,} of {len(first.files):,} attachments are not in QuickBooks Online "
            f"as they were sent: {see}. The rest was not sent.",
        )
    return Completed(
        name="Canary",
        message=f"{len(first.files):,} attachments are in QuickBooks Online, each byte by byte as "
        f"it was sent: {see}, and look at some. {first.rest:,} are still to be sent: run without "
        "canary.",
    )


def _upload(settings: Settings, planned: Planned, company: str) -> State[Any]:
    from qbo_attach.stages.upload import UploadRun

    run = UploadRun(settings)
    RUNS[run.run_id] = run
    opened = False
    try:
        with shown_progress(run, settings), run:
            opened = True
            _call_it_by_name(company or run.company, settings)
            _send(run)
        report = report_task(settings)
    except NotStartedError as error:
        if not opened:
            raise
        # Not "nothing was sent": what was sent is in the run log, whatever becomes of the tables.
        said = f"{run.result.stopped}; " if run.result.stopped else ""
        raise StoppedError(f"{said}{error}") from error
    finally:
        del RUNS[run.run_id]
    return _ended(settings, run, planned, report)


def _call_it_by_name(company: str, settings: Settings) -> None:
    if company and runtime.flow_run.id:
        with harmless(), get_client(sync_client=True) as client:
            name = run_name(company, settings.realm_id)
            client.update_flow_run(runtime.flow_run.id, name=name)


def _send(run: UploadRun) -> None:
    """A task a batch, a few ahead, until the run stops; a stopped run leaves no task behind.

    What comes between (a person cancels: Prefect raises it here) stops the run; the tasks under way
    are awaited, since they still use its session.
    """
    waiting: deque[PrefectFuture[Any]] = deque()
    try:
        for batch in run.batches:
            waiting.append(upload_task.submit(batch))
            if len(waiting) > BATCHES_AT_ONCE and not _is_through(waiting.popleft()):
                break
        while waiting:
            _is_through(waiting.popleft())
    except BaseException:
        run.stop(StoppedError("stopped by a person; run again to go on"))
        get_run_logger().warning("Stopping: requests in flight are let in. %s", _GOES_ON)
        for task in waiting:
            task.wait()
        raise


def _is_through(task: PrefectFuture[Any]) -> bool:
    """Wait for a batch's task; False where the run stopped. Raises what a task did not expect."""
    task.wait()
    if task.state.is_failed() or task.state.is_crashed():
        task.result()
    return task.state.is_completed()


def _ended(settings: Settings, run: UploadRun, planned: Planned, report: StageResult) -> State[Any]:
    """The state that tells the truth about a run that came to its end."""
    stopped = run.result.stopped
    counts = report.counts
    status = exit_status(counts, planned.statuses, stopped=bool(stopped))
    requests = sum(run.result.requests_sent.values())
    show_summary(
        settings,
        run_name(run.company, settings.realm_id),
        notes=[
            f"**Stopped**: {letters(stopped)}" if stopped else "The run came to its end.",
            f"Run {run.run_id} in the run log; {requests:,} requests to QuickBooks Online.",
            *planned.notes,
            *run.result.notes,
        ],
        statuses=planned.statuses,
        outcomes=counts,
        logs=[*planned.tables, *report.artifacts],
    )
    with harmless():
        show_needs_person(settings)
    said = f"{listed(counts)}; {requests:,} requests"
    if status == 0:
        return Completed(message=f"Every attachment is accounted for: {said}.")
    if status == 1:
        people = person_count(planned.statuses, counts)
        return Completed(
            name="NeedsPerson",
            message=f"{people:,} attachments need a person: see the artifact "
            f"needs-person-{settings.realm_id}, {tables.VERIFICATION} and {tables.ERRORS} in "
            f"LOG_DIR. The rest is done: {said}.",
        )
    return Failed(message=_with_remedy(f"{stopped or 'not all came through'} ({said})"))


def _with_remedy(text: str) -> str:
    """A sentence that ends with what to do next."""
    text = text.rstrip(".")
    return f"{text}." if "again" in text else f"{text}. {_GOES_ON}"


def listed(counts: dict[str, int]) -> str:
    """Counts as words: `success 93, error 1`."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "nothing"


def main() -> int:
    """Run the flow in this process; 0 completed, 1 rows need a person, 3 anything else."""
    state: State[Any] = migrate(return_state=True)
    print(f"{state.name}: {state.message}")  # noqa: T201 - the line a person waits for
    if state.is_completed():
        return 1 if state.name == "NeedsPerson" else 0
    return 3


if __name__ == "__main__":
    sys.exit(main())

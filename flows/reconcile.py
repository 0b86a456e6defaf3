"""The flow `reconcile`: compare all that QuickBooks Online holds with what was sent; a report."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from flows.artifacts import ROWS_SHOWN, harmless, letters, linked
from flows.configuration import run_settings
from qbo_attach.core.differences import MARKS
from qbo_attach.core.errors import LeaseHeldError, QboAttachError
from qbo_attach.core.tables import ReconciliationRow
from qbo_attach.settings import Settings, as_written
from qbo_attach.stages.reconcile import SAMPLE, Depth, Reconciled, run_reconcile, run_repair

Url = Annotated[str, Field(max_length=2_000)]


def _run_name() -> str:
    given = runtime.flow_run.parameters
    realm_id = given.get("realm_id") or as_written("qbo_realm_id")
    return f"{given.get('company') or 'company'} ({realm_id or '?'}), reconcile"


@task(name="reconcile", task_run_name="reconcile", cache_policy=NO_CACHE, persist_result=False)
def reconcile_task(settings: Settings, depth: Depth) -> Reconciled:
    """Compare; the first differences become a UI artifact."""
    shown: list[dict[str, str]] = []

    def keep(row: ReconciliationRow) -> None:
        if MARKS[row.state] != "=" and len(shown) < ROWS_SHOWN:
            entity = f"{row.found_entity_type}:{row.found_entity_id}".strip(":")
            where = row.file_path or f"{entity}/{row.found_file_name}"
            reason = letters(row.reason)
            shown.append({"what": row.state, "where": letters(where), "reason": reason})

    found = run_reconcile(settings, depth, keep)
    if shown:
        differing = found.differences()
        with harmless():
            create_table_artifact(
                shown,
                key=f"differences-{settings.realm_id}",
                description=f"{differing:,} differences; all are in reconciliation.csv in "
                f"{linked(settings.log_dir, settings.log_dir)}",
                _sync=True,  # type: ignore[call-arg]  # Prefect's switch
            )
    return found


@task(name="repair", task_run_name="repair", cache_policy=NO_CACHE, persist_result=False)
def repair_task(settings: Settings, found: Reconciled) -> str:
    """Send what is missing, adopt what is ours; returns why it stopped, "" if it did not."""
    mended = run_repair(settings, found)
    get_run_logger().info("repair, run %s: %s", mended.run_id, _listed(mended.outcomes))
    return mended.stopped


@flow(name="reconcile", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
def reconcile(  # noqa: PLR0913, PLR0917 - the form in the UI: flat
    company: Annotated[str, Field(max_length=100)] = "",
    realm_id: Annotated[str, Field(pattern=r"^[0-9]*$", max_length=30)] = "",
    files_dir: Url = "",
    data_dir: Url = "",
    log_dir: Url = "",
    sample: Annotated[int, Field(ge=0)] = SAMPLE,
    full: bool = False,
    one_way: bool = False,
    repair: bool = False,
) -> State[Any]:
    """Compare all that QuickBooks Online holds with what was sent. Sends nothing unless told to.

    Leaves reconciliation.csv in LOG_DIR. Runs after `migrate`, in the same LOG_DIR; a parameter
    that is left empty is taken from where `migrate` takes it.

    Args:
        company: The company's name, for the run's name alone.
        realm_id: The company's id in QuickBooks Online, digits. Empty: QBO_REALM_ID.
        files_dir: The legacy tree, read by a repair alone. Empty: FILES_DIR.
        data_dir: Where the inventory and the mapping are. Empty: DATA_DIR.
        log_dir: Where logs and run log are, one place a company. Empty: LOG_DIR.
        sample: So many attachables are downloaded and compared by digest, drawn anew each time.
        full: All are, instead of a sample.
        one_way: What QuickBooks Online has of others besides is listed, and is no difference.
        repair: Send what is missing or was never sent, take over what is ours, compare again.
            Deletes nothing.
    """
    del company  # it names the run
    given = {
        "files_dir": files_dir,
        "data_dir": data_dir,
        "log_dir": log_dir,
        "qbo_realm_id": realm_id,
    }
    try:
        settings = run_settings(given, deployed=bool(runtime.deployment.id))
        depth = Depth(None if full else sample)
        found = reconcile_task(settings, depth)
        if repair and found.repairable:
            stopped = repair_task(settings, found)
            if stopped:
                return Failed(message=f"{stopped}. Run it again to go on; nothing is sent twice.")
            found = reconcile_task(settings, depth)
    except LeaseHeldError as error:
        return Cancelled(message=str(error))
    except QboAttachError as error:
        return Failed(message=str(error))
    _summary(settings, found)
    proof = f" {found.proof}" if found.proof is not None else ""
    said = f"{_listed(found.result.counts)}.{proof}"
    differing = found.differences(one_way=one_way)
    if differing:
        return Completed(
            name="NeedsPerson",
            message=f"{differing:,} differences: see the artifact differences-{settings.realm_id} "
            f"and reconciliation.csv in LOG_DIR. {said}",
        )
    return Completed(message=f"QuickBooks Online holds what was sent: {said}")


def _summary(settings: Settings, found: Reconciled) -> None:
    counts = found.result.counts
    lines = ["# Reconciliation", "", "| | State | Attachments |", "| --- | --- | ---: |"]
    lines += [
        f"| `{mark}` | {state!s} | {counts[state]:,} |"
        for state, mark in MARKS.items()
        if counts.get(state)
    ]
    lines += ["", *(f"- {letters(note)}" for note in found.result.notes), ""]
    lines += [f"- {linked(table.name, table.url)}" for table in found.result.artifacts]
    with harmless():
        create_markdown_artifact(
            "\n".join(lines),
            key=f"reconciliation-{settings.realm_id}",
            description="What QuickBooks Online holds, against what was sent",
            _sync=True,  # type: ignore[call-arg]  # Prefect's switch
        )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "nothing"

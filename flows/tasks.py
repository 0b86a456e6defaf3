"""Every Prefect task: a stage each; an upload task takes one batch.

Mapping and verify are cached by explicit keys over the digests of their inputs, the settings and a
version; a hit is believed only while its artifacts still have their digests. Inventory is the
listing itself; plan, upload and report follow the run log: none of these is ever cached.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.context import TaskRunContext
from prefect.states import Cancelled, Completed

from qbo_attach.core import tables
from qbo_attach.core.model import StageResult
from qbo_attach.settings import MAPPING_WORDS, Settings
from qbo_attach.stages.batches import Batch
from qbo_attach.stages.inputs import data_store
from qbo_attach.storage.artifacts import existing, is_intact
from qbo_attach.storage.files import Store
from qbo_attach.storage.urls import split

if TYPE_CHECKING:
    from qbo_attach.stages.canary import Canary
    from qbo_attach.stages.upload import UploadRun

STAGE_VERSIONS = {"mapping": 1, "verify": 1}
"""A stage's is raised when it would give another result for the same inputs."""

_OF_UPLOAD = frozenset(
    {
        "accept_coverage",
        "batch_size",
        "drain_s",
        "existing",
        "files_per_request",
        "lease_s",
        "qbo_access_token",
        "qbo_base_url",
        "qbo_client_id",
        "qbo_client_secret",
        "qbo_environment",
        "qbo_marker",
        "qbo_realm_id",
        "qbo_requests_per_min",
        "qbo_settle_s",
        "qbo_tokens",
        "skip_refused",
        "storage_options",
        "vanished",
    }
)
_OF_INVENTORY = frozenset({"allow_shrink", "files_dir"})
NOT_INPUTS = {
    "mapping": _OF_UPLOAD
    | _OF_INVENTORY
    | {
        "exclude_clients",
        "exclude_extensions",
        "exclude_larger_than_bytes",
        "exclude_names",
        "exclude_smaller_than_bytes",
        "file_types_table",
        "include_entity_types",
        "legacy_clients",
        "legacy_id_prefix",
        "legacy_layout",
        "legacy_list_prefix",
        "log_dir",
        "mapping_overrides",
        "min_coverage",
    },
    "verify": _OF_UPLOAD | _OF_INVENTORY | {"mapping_source"},
}
"""Settings that a cached stage does not depend on, or (its tables) by their digests alone. A new
setting counts as an input until it stands here. Where QBO is asked, nothing is cached."""

_TABLES = ("mapping_source", "mapping_overrides", "entity_types_table", "file_types_table")

RUNS: dict[str, UploadRun] = {}
"""Open uploads of this process by run id: a task gets a batch, and finds its session here."""


def _digest_of(settings: Settings, url: str) -> str:
    """Digest of a table that a setting names; "" where it is not set or not there."""
    if not url or url in MAPPING_WORDS:
        return ""
    folder, name = split(url)
    artifact = existing(Store(folder, settings.storage_options), name)
    return artifact.sha256 if artifact is not None else ""


def stage_key(stage: str, settings: Settings, *digests: str) -> str:
    """Names a cached stage's result: stage, version, inputs' digests, settings but for secrets."""
    left_out = NOT_INPUTS[stage]
    inputs = {
        "settings": settings.model_dump(mode="json", exclude=set(left_out)),
        "tables": [
            _digest_of(settings, getattr(settings, n)) for n in _TABLES if n not in left_out
        ],
        "inputs": digests,
    }
    text = json.dumps(inputs, sort_keys=True)
    return f"{stage}-v{STAGE_VERSIONS[stage]}-{hashlib.sha256(text.encode()).hexdigest()}"


def _mapping_key(_context: TaskRunContext, parameters: dict[str, Any]) -> str | None:
    settings: Settings = parameters["settings"]
    if settings.mapping_source in MAPPING_WORDS:
        return None
    there = existing(data_store(settings), tables.MAPPING)
    own = there.sha256 if there is not None and not settings.mapping_source else ""
    return stage_key("mapping", settings, own)


def _verify_key(_context: TaskRunContext, parameters: dict[str, Any]) -> str | None:
    settings: Settings = parameters["settings"]
    if settings.verify_against_qbo:
        return None
    inputs: tuple[StageResult, ...] = (parameters["inventory"], parameters["mapping"])
    digests = [artifact.sha256 for result in inputs for artifact in result.artifacts]
    return stage_key("verify", settings, *digests)


@task(name="inventory", task_run_name="inventory", cache_policy=NO_CACHE, persist_result=False)
def inventory_task(settings: Settings) -> StageResult:
    """List FILES_DIR."""
    from qbo_attach.stages.inventory import run_inventory

    return run_inventory(settings)


@task(name="mapping", task_run_name="mapping", cache_key_fn=_mapping_key, persist_result=True)
def mapping_task(settings: Settings) -> StageResult:
    """Read MAPPING_SOURCE."""
    from qbo_attach.stages.company_mapping import run_mapping_stage

    return run_mapping_stage(settings)


@task(name="verify", task_run_name="verify", cache_key_fn=_verify_key, persist_result=True)
def verify_task(settings: Settings, inventory: StageResult, mapping: StageResult) -> StageResult:
    """Join inventory and mapping."""
    from qbo_attach.stages.verify import run_verify

    del inventory, mapping  # they name the inputs in the key
    return run_verify(settings)


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_task(settings: Settings) -> StageResult:
    """Decide what the upload does."""
    from qbo_attach.stages.plan import run_plan

    return run_plan(settings)


@task(
    name="upload",
    task_run_name="upload {batch.number}/{batch.of}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def upload_task(batch: Batch) -> State[None]:
    """Send one batch through this run's session."""
    if RUNS[batch.run_id].send(batch):
        return Completed(message=f"{batch.rows:,} attachments are through")
    return Cancelled(message="The run stopped before this batch was through; run again to go on")


@task(name="canary", task_run_name="canary", cache_policy=NO_CACHE, persist_result=False)
def canary_task(settings: Settings, count: int) -> Canary | None:
    """Send so many of the plan and read them back; None where nothing is to be sent."""
    from qbo_attach.stages.canary import run_canary

    return run_canary(settings, count)


@task(name="report", task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report_task(settings: Settings) -> StageResult:
    """Derive the tables of the run log."""
    from qbo_attach.stages.report import run_report

    return run_report(settings)


def believed(task_of_stage: Any, *inputs: Any, refresh: bool) -> StageResult:  # noqa: ANN401 - a Prefect task
    """Run a cached stage; a hit whose artifacts are missing or altered runs again.

    Raises:
        Exception: what the stage raised.
    """
    chosen = task_of_stage.with_options(refresh_cache=True) if refresh else task_of_stage
    state = chosen(*inputs, return_state=True)
    result: StageResult = state.result()
    options = inputs[0].storage_options
    if state.name == "Cached" and not all(is_intact(a, options) for a in result.artifacts):
        again: StageResult = task_of_stage.with_options(refresh_cache=True)(*inputs)
        return again
    return result

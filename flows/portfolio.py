"""The flow `portfolio`: a run of `migrate` for each company of a list, a few at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import anyio
from prefect import flow, get_run_logger, runtime
from prefect.artifacts import (
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectException, PrefectHTTPStatusError
from prefect.settings import PREFECT_UI_URL
from prefect.states import Cancelling, Completed, Failed
from pydantic import Field

from flows.artifacts import harmless, letters
from flows.companies import Company, read_companies
from flows.configuration import run_settings
from qbo_attach.core.errors import QboAttachError

POLL_S = 5.0
"""How often each run that is under way is asked for: one small read of the server."""
AWAY_S = 600.0
"""How long the server may be away before a company is given up."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a company: the last state of its last run, and how many runs it took."""

    company: Company
    state: str
    message: str
    completed: bool
    runs: int
    flow_run_id: str = ""

    def row(self) -> dict[str, str | int]:
        """A row of the summary."""
        base = PREFECT_UI_URL.value()
        link = f"{base}/runs/flow-run/{self.flow_run_id}" if base and self.flow_run_id else ""
        return {
            "company": letters(self.company.name),
            "realm": self.company.realm_id,
            "state": self.state,
            "what happened, what next": letters(self.message),
            "runs": self.runs,
            "logs": self.company.log_dir,
            "flow run": link or self.flow_run_id,
        }


@flow(name="portfolio", flow_run_name="portfolio {companies}", persist_result=False)
async def portfolio(
    companies: Annotated[str, Field(min_length=1, max_length=2_000)],
    at_once: Annotated[int, Field(ge=1, le=100)] = 4,
    runs_after_crash: Annotated[int, Field(ge=0, le=5)] = 1,
    dry_run: bool = False,
    canary: Annotated[int, Field(ge=0, le=1_000)] = 0,
    refresh: bool = False,
    deployment: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")] = "migrate/local",
) -> State[Any]:
    """Move the attachments of many companies, a run of `migrate` each.

    The list is checked whole before the first run starts. A company that fails does not keep the
    others from theirs. Run it again whenever it stopped: what is done is not sent again.

    Args:
        companies: The list: absolute path or URL of a CSV or YAML file with the columns name,
            realm_id, files_dir, data_dir, log_dir, mapping_source, mapping_overrides,
            expect_company_name; the last three may be absent.
        at_once: How many companies are under way at one time, at most.
        runs_after_crash: How often a company whose run crashed (a worker died) is started anew.
        dry_run: Stop each company after its plan. Nothing is sent.
        canary: Send so many attachments of each company first, compare them, and end. Run again
            without it to send the rest. No company is started anew then: it would send more.
        refresh: Run the cached stages (mapping, verify) of each company again.
        deployment: The deployment that is run for each company.
    """
    try:
        found = await anyio.to_thread.run_sync(_read, companies)
    except QboAttachError as error:
        return Failed(message=f"Nothing was started. {error}")
    get_run_logger().info("%s companies, %s at once", len(found), at_once)
    chosen = {"dry_run": dry_run, "canary": canary, "refresh": refresh}
    again = 0 if canary else runs_after_crash
    ended = await _Runs(deployment, chosen, again, len(found)).of(found, at_once)
    with harmless():
        await acreate_table_artifact(
            [one.row() for one in ended],
            key="portfolio",
            description=f"{len(ended):,} companies of {companies}",
        )
    return _state(ended, canary)


def _read(url: str) -> list[Company]:
    return read_companies(url, run_settings({}).storage_options)


def _state(ended: Sequence[Ended], canary: int) -> State[Any]:
    counts = Counter(one.state for one in ended)
    said = ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))
    failed = [one for one in ended if not one.completed]
    if failed:
        names = ", ".join(one.company.name for one in failed[:5])
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""  # noqa: PLR2004
        then = "run it again, nothing is sent twice."
        if canary:
            then = (
                f"look at that before anything else goes. Run again with canary={canary}, it sends "
                "as many more of each company; without it, the rest. Nothing is sent twice."
            )
        return Failed(
            message=f"{len(failed):,} of {len(ended):,} companies did not complete: {names}{more} "
            f"({said}). The artifact `portfolio` says why; {then}"
        )
    person = counts["NeedsPerson"]
    if person:
        return Completed(
            name="NeedsPerson",
            message=f"{len(ended):,} companies completed; in {person:,} of them rows need a person:"
            " see the artifact `portfolio` and each company's run.",
        )
    return Completed(message=f"{len(ended):,} companies completed ({said}).")


class _Runs:
    """Starts and awaits the runs; each company's end is shown as it comes."""

    def __init__(
        self, deployment: str, parameters: dict[str, Any], runs_after_crash: int, total: int
    ) -> None:
        self._deployment = deployment
        self._parameters = parameters
        self._runs_after_crash = runs_after_crash
        self._total = total
        self._ended: dict[str, Ended] = {}

    async def of(self, companies: Sequence[Company], at_once: int) -> list[Ended]:
        """Each company's end, in the order of the list."""
        progress = None
        with harmless():
            progress = await acreate_progress_artifact(
                0.0, key="portfolio-progress", description=self._told()
            )
        limiter = anyio.CapacityLimiter(at_once)

        async def one(company: Company) -> None:
            async with limiter:
                self._ended[company.realm_id] = await self._run(company)
            with harmless():
                if progress is not None:
                    share = 100.0 * len(self._ended) / self._total
                    await aupdate_progress_artifact(progress, share, description=self._told())

        async with anyio.create_task_group() as group:
            for company in companies:
                group.start_soon(one, company)
        return [self._ended[company.realm_id] for company in companies]

    def _told(self) -> str:
        counts = Counter(one.state for one in self._ended.values())
        said = "".join(f" · {name} {n:,}" for name, n in sorted(counts.items()))
        return f"**{len(self._ended):,} of {self._total:,}** companies ended{said}"

    async def _run(self, company: Company) -> Ended:
        """Run a company to its end; again where the run crashed, as a worker's death leaves it."""
        runs = 0
        while True:
            runs += 1
            try:
                run = await self._awaited(company, runs)
            except ObjectNotFound:
                told = f"there is no deployment {self._deployment}; prefect deploy --all makes it"
                return Ended(company, "NotStarted", told, completed=False, runs=runs)
            except Exception as error:  # noqa: BLE001 - the other companies go on
                told = f"{type(error).__name__}: {error}"
                return Ended(company, "NotStarted", told, completed=False, runs=runs)
            if not _crashed(run) or runs > self._runs_after_crash:
                return _ended(company, run, runs)
            get_run_logger().warning("%s crashed; it is started again", company.name)

    async def _awaited(self, company: Company, number: int) -> FlowRun:
        """Start a run, and wait for its end; when we are cancelled, so is it."""

        async def start() -> FlowRun:
            return await arun_deployment(
                self._deployment,
                parameters={**company.parameters(), **self._parameters},
                flow_run_name=f"{company.name} ({company.realm_id})",
                tags=["portfolio"],
                timeout=0,
                idempotency_key=f"{runtime.flow_run.id}-{company.realm_id}-{number}",
            )

        run = await _patiently(start)
        try:
            async with get_client() as client:
                while run.state is None or not run.state.is_final():
                    await anyio.sleep(POLL_S)
                    run = await _patiently(partial(client.read_flow_run, run.id))
        except BaseException:
            with anyio.CancelScope(shield=True), harmless():
                async with get_client() as client:
                    told: State[Any] = Cancelling(message="The portfolio was cancelled.")
                    await client.set_flow_run_state(run.id, told)
            raise
        return run


async def _patiently(ask: Callable[[], Awaitable[FlowRun]]) -> FlowRun:
    """Ask the server, for some minutes again where it is away: the runs go on without it."""
    until = time.monotonic() + AWAY_S
    while True:
        try:
            return await ask()
        except Exception as error:
            if not _is_away(error) or time.monotonic() > until:
                raise
        await anyio.sleep(POLL_S)


def _is_away(error: Exception) -> bool:
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.status_code >= 500  # noqa: PLR2004 - the server's own fault
    return not isinstance(error, (PrefectException, TypeError, ValueError))


def _crashed(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_crashed()


def _ended(company: Company, run: FlowRun, runs: int) -> Ended:
    state = run.state
    if state is None:
        return Ended(company, "unknown", "the server told no state", completed=False, runs=runs)
    return Ended(
        company,
        state.name or state.type.value,
        state.message or "",
        completed=state.is_completed(),
        runs=runs,
        flow_run_id=str(run.id),
    )

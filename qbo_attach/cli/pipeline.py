"""The pipeline's commands: one a stage, and `run`, which is all of them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from qbo_attach.cli.estimates import estimate_lines
from qbo_attach.cli.terminal import (
    Flag,
    Json,
    app,
    end_of_run,
    print_files,
    print_stage,
    run_stage,
    settings_given,
    stop_on_signals,
    tell,
)
from qbo_attach.cli.watching import How, Watch


@app.command
def inventory(*, json: Json = False, allow_shrink: Flag = False) -> int:
    """List FILES_DIR into DATA_DIR/attachments_inventory.csv.

    Args:
        json: one JSON object on stdout.
        allow_shrink: accept an inventory less than half as large as the last one.
    """
    from qbo_attach.stages.inventory import run_inventory

    return run_stage(run_inventory, "inventory", as_json=json, allow_shrink=allow_shrink)


@app.command
def mapping(
    *,
    json: Json = False,
    from_: Annotated[str, Parameter(name="--from")] = "",
    read_anew: Flag = False,
) -> int:
    """Read MAPPING_SOURCE into DATA_DIR/mapping_export.csv.

    Args:
        json: one JSON object on stdout.
        from_: another source than MAPPING_SOURCE: a URL, qbo for QBO's own table, or match to make
            it from DESKTOP_EXPORT and what QBO holds.
        read_anew: with match, read QBO's entities again.
    """
    from qbo_attach.stages.company_mapping import run_mapping_stage

    return run_stage(
        run_mapping_stage, "mapping", as_json=json, mapping_source=from_, match_read_anew=read_anew
    )


@app.command
def verify(*, json: Json = False, against_qbo: Flag = False) -> int:
    """Join inventory and mapping: a status for every attachment, in LOG_DIR.

    Args:
        json: one JSON object on stdout.
        against_qbo: ask QBO whether it has the entities (as VERIFY_AGAINST_QBO, which run heeds).
    """
    from qbo_attach.stages.verify import run_verify

    return run_stage(run_verify, "verify", as_json=json, verify_against_qbo=against_qbo)


@app.command
def plan(*, json: Json = False, skip_refused: Flag = False) -> int:
    """Decide what the next upload would do, in LOG_DIR/upload_plan.csv. Sends nothing.

    Prints it by action, entity type, client and reason, with the requests and the time it takes;
    in full in LOG_DIR/upload_estimate.csv.

    Args:
        json: one JSON object on stdout.
        skip_refused: leave alone what QBO refused before.
    """
    from qbo_attach.stages.plan import plan_upload

    settings = settings_given(skip_refused=skip_refused)
    planned = plan_upload(settings)
    tell("plan", planned.result)
    if json:
        print_stage(planned.result, "plan", estimate=planned.estimate.as_json())
        return 0
    for line in estimate_lines(planned.estimate):
        print(line)
    print_files(planned.result)
    return 0


@app.command
def upload(*, json: Json = False, accept_coverage: Flag = False, progress: How = "auto") -> int:
    """Send what the plan says, then derive the tables of the run log.

    Args:
        json: one JSON object on stdout.
        accept_coverage: upload although the coverage is below MIN_COVERAGE.
        progress: how the work is shown on stderr.
    """
    from qbo_attach.stages.upload import UploadRun
    from qbo_attach.stages.whole import upload_and_report

    settings = settings_given(accept_coverage=accept_coverage)
    with Watch(progress, settings.qbo_requests_per_min, "upload") as watch:
        run = UploadRun(settings, ask=watch.ask)
        stop_on_signals(run.stop)
        watch.upload(run)
        summary = upload_and_report(settings, run)
    watch.ended(summary)
    return end_of_run(summary, as_json=json)


@app.command
def report(*, json: Json = False) -> int:
    """Derive the tables of the run log, and report.html and report.md, from all that is there."""
    from qbo_attach.stages.report import run_report

    return run_stage(run_report, "report", as_json=json)


@app.command
def run(
    *,
    json: Json = False,
    allow_shrink: Flag = False,
    accept_coverage: Flag = False,
    skip_refused: Flag = False,
    progress: How = "auto",
) -> int:
    """All stages in order, without Prefect.

    Args:
        json: one JSON object on stdout.
        allow_shrink: accept an inventory less than half as large as the last one.
        accept_coverage: upload although the coverage is below MIN_COVERAGE.
        skip_refused: leave alone what QBO refused before.
        progress: how the work is shown on stderr.
    """
    from qbo_attach.stages.whole import run_all

    settings = settings_given(
        allow_shrink=allow_shrink, accept_coverage=accept_coverage, skip_refused=skip_refused
    )
    with Watch(progress, settings.qbo_requests_per_min) as watch:
        summary = run_all(settings, watch.told, stop_on_signals, watch.upload, watch.ask)
    watch.ended(summary)
    return end_of_run(summary, as_json=json)

"""The command `canary`: a few first, then a person looks, then the rest."""

from __future__ import annotations

import json as json_text
import sys
from typing import TYPE_CHECKING

from qbo_attach.cli.terminal import (
    Flag,
    Json,
    app,
    end_of_run,
    one_line,
    settings_given,
    stop_on_signals,
)
from qbo_attach.cli.watching import How, Watch

if TYPE_CHECKING:
    from qbo_attach.settings import Settings
    from qbo_attach.stages.canary import Canary
    from qbo_attach.stages.whole import RunSummary


@app.command
def canary(
    count: int = 25,
    /,
    *,
    only: Flag = False,
    yes: Flag = False,
    json: Json = False,
    accept_coverage: Flag = False,
    progress: How = "auto",
) -> int:
    """Send a spread of types and sizes first, read them back, and the rest only after a yes.

    Runs all stages before the upload. Each attachment is downloaded again and compared by digest;
    its line has a link into QBO. Exit status: that of the run, if it goes on; else 0 all are there
    and equal, 1 some are not, 3 it was cut short or nobody could be asked: the rest is not sent.

    Args:
        count: how many are sent first.
        only: send no more than these.
        yes: do not ask; go on if all are there and equal.
        json: one JSON object on stdout.
        accept_coverage: upload although the coverage is below MIN_COVERAGE.
        progress: how the work is shown on stderr.
    """
    from qbo_attach.core.errors import NotStartedError
    from qbo_attach.stages.canary import run_canary
    from qbo_attach.stages.whole import prepare

    if only and yes:
        raise NotStartedError("--only and --yes exclude one another")
    settings = settings_given(accept_coverage=accept_coverage)
    with Watch(progress, settings.qbo_requests_per_min) as watch:
        prepare(settings, watch.told)
        first = run_canary(settings, count, stop_on_signals, watch.upload, watch.ask)
    if first is None:
        print("Nothing is to be sent: no canary was needed.", file=sys.stderr)
        if json:
            print(json_text.dumps({"canary": None, "run": None}))
        return 0
    if not json:
        _show(first)
    status = 1 if not first.passed else 0
    if first.summary.stopped:
        watch.ended(first.summary)
        status = 3
    elif status:
        print("The rest was not sent: see what became of the canary first.", file=sys.stderr)
    rest: RunSummary | None = None
    if not status and first.rest and not only:
        if yes or (watch.ask and watch.ask(_question(first))):
            rest = _go_on(settings, progress)
        else:
            print("The rest was not sent; qbo-attach run sends it.", file=sys.stderr)
            status = 3
    if json:
        told = {"canary": first.as_json(), "run": rest.as_json() if rest else None}
        print(json_text.dumps(told))
        return rest.exit_status if rest else status
    return end_of_run(rest, as_json=False) if rest else status


def _question(first: Canary) -> str:
    return (
        f"{len(first.files):,} attachments are in QBO, each byte by byte as it was sent. Look at "
        f"some of them; {first.rest:,} are still to be sent."
    )


def _go_on(settings: Settings, progress: str) -> RunSummary:
    from qbo_attach.stages.plan import run_plan
    from qbo_attach.stages.upload import UploadRun
    from qbo_attach.stages.whole import upload_and_report

    with Watch(progress, settings.qbo_requests_per_min, "plan") as watch:
        watch.told("plan", run_plan(settings))
        run = UploadRun(settings, ask=watch.ask)
        stop_on_signals(run.stop)
        watch.upload(run)
        summary = upload_and_report(settings, run)
    watch.ended(summary)
    return summary


def _show(first: Canary) -> None:
    for file in first.files:
        why = f": {file.reason}" if file.reason else ""
        where = file.link or file.entity
        path = one_line(file.path)
        print(f"{file.state}\t{path} ({file.size_bytes:,} bytes)\t{one_line(where + why)}")

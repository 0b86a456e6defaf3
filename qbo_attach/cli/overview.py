"""Commands around a run that send nothing: `status`, `doctor`, `leftovers`."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qbo_attach.cli.terminal import (
    Flag,
    Json,
    app,
    one_line,
    print_files,
    print_stage,
    settings_given,
    tell,
)

if TYPE_CHECKING:
    from qbo_attach.core.standing import Standing

_STATES = {
    "no_run": "no run yet",
    "running": "running",
    "cut_off": "cut off: its process is gone",
    "silent": "silent for longer than its lease",
    "ended": "ended",
}


@app.command
def status(*, json: Json = False) -> int:
    """Tell how a running or finished run stands, from LOG_DIR alone. Reads only, from anywhere.

    Args:
        json: one JSON object on stdout, and no lines.
    """
    from qbo_attach.stages.status import run_status

    found = run_status(settings_given())
    if json:
        print(json_text.dumps(found.as_json()))
    else:
        for name, said in _lines(found):
            print(f"{name:<14}{one_line(said)}")
    return 0


@app.command
def doctor(*, json: Json = False) -> int:
    """Look at everything that a run needs, and say what is ready and what is not.

    Settings, folders, run log, mapping coverage; QBO's connection, clock, company, closing date and
    entities. Nothing is sent. Exit status: 0 ready, 2 something is not.

    Args:
        json: one JSON object on stdout, and no lines.
    """
    from qbo_attach.stages.doctor import NOT_READY, run_doctor

    checks = []
    for check in run_doctor(settings_given()):
        checks.append(check)
        if not json:
            word = check.state.replace("_", " ")
            print(f"{word:<10}{check.name:<14}{one_line(check.said)}", flush=True)
    ready = all(check.state != NOT_READY for check in checks)
    if json:
        print(json_text.dumps({"ready": ready, "checks": [each.as_json() for each in checks]}))
    else:
        print("Ready for a run." if ready else "Not ready: mend what is not, then ask again.")
    return 0 if ready else 2


@app.command
def leftovers(*, to: str, index_only: Flag = False, json: Json = False) -> int:
    """Copy every file that is not in QBO to a folder, by reason, with an index.

    Writes there leftovers.csv, and exceptions.xlsx for the people who must decide, which
    MAPPING_OVERRIDES takes back. Run verify and plan first. Exit status: 0 all are copied, 1 some
    could not be.

    Args:
        to: the folder, a path or an fsspec URL, not within FILES_DIR.
        index_only: copy nothing; write the index and the workbook alone.
        json: one JSON object on stdout.
    """
    from qbo_attach.stages.leftovers import NOT_COPIED, run_leftovers

    result = run_leftovers(settings_given(), to, copying=not index_only)
    tell("leftovers", result)
    if json:
        print_stage(result, "leftovers")
    else:
        print_files(result)
    return 1 if result.counts.get(NOT_COPIED) else 0


def _lines(found: Standing) -> Iterator[tuple[str, str]]:
    from qbo_attach.core.watching import duration

    if found.run_id:
        of = f" of {found.undoes}" if found.undoes else ""
        yield "Undo" if of else "Run", f"{found.run_id}{of}, {_STATES[found.state]}"
        company = f"{found.company} " if found.company else ""
        yield "Company", f"{company}(realm {found.realm_id}, {found.environment or 'unknown'})"
        yield "Since", found.started_at or "unknown"
        lease = f"leased until {found.lease_until}" if found.lease_until else "lease released"
        yield "Holder", f"{found.holder}; {lease}"
        age = duration(found.last_segment_age_s or 0.0)
        yield "Last written", f"{age} ago, segment {found.segments:,} ({found.last_segment_at})"
        counts = ", ".join(f"{name} {n:,}" for name, n in found.counts.items())
        planned = "" if found.undoes else f" (of {found.planned:,} planned)"
        yield "Outcomes", f"{counts or 'none yet'}{planned}"
        yield "In doubt", f"{found.in_doubt:,}{_on_their_way(found)}"
        yield "In QBO", f"{found.in_qbo:,} by all runs"
    if found.ended_at:
        yield "Ended", f"{found.ended_at}; {found.requests_sent:,} requests"
    if found.stopped:
        yield "Stopped", found.stopped
    yield "Next", found.next_step


def _on_their_way(found: Standing) -> str:
    return ", those on their way among them" if found.in_doubt and found.state == "running" else ""

"""Commands that look and change nothing: `status`."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qbo_attach.cli.terminal import Json, app, plain, settings_given

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
            print(f"{name:<14}{plain(said)}")
    return 0


def _lines(found: Standing) -> Iterator[tuple[str, str]]:
    from qbo_attach.core.watching import duration

    what = f"Undo of {found.undoes}" if found.undoes else "Run"
    if found.run_id:
        yield what, f"{found.run_id}, {_STATES[found.state]}"
        company = f"{found.company} " if found.company else ""
        yield "Company", f"{company}(realm {found.realm_id}, {found.environment or 'unknown'})"
        yield "Since", found.started_at or "unknown"
        lease = f"leased until {found.lease_until}" if found.lease_until else "lease released"
        yield "Holder", f"{found.holder}; {lease}"
        age = duration(found.last_segment_age_s or 0.0)
        yield "Last written", f"{age} ago, segment {found.segments:,} ({found.last_segment_at})"
        counts = ", ".join(f"{name} {n:,}" for name, n in found.counts.items())
        yield "Outcomes", f"{counts or 'none yet'} (of {found.planned:,} planned)"
        yield "In doubt", f"{found.in_doubt:,}{_on_their_way(found)}"
        yield "In QBO", f"{found.in_qbo:,} by all runs"
    if found.ended_at:
        yield "Ended", f"{found.ended_at}; {found.requests_sent:,} requests"
    if found.stopped:
        yield "Stopped", found.stopped
    yield "Next", found.next_step


def _on_their_way(found: Standing) -> str:
    return ", those on their way among them" if found.in_doubt and found.state == "running" else ""

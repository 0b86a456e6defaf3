"""The fault matrix as a page: docs/fault-matrix.md, the same at every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from qbo_attach.fake_qbo.faults import AFTER, BEFORE, BODY, ITEMS, KINDS, LATENCY
from tests.matrix.cells import (
    CLASSIFIED,
    COMPLETE,
    GROUPS,
    LOOKS,
    POSITIONS,
    READINGS,
    REFRESHES,
    REFUSED,
    REQUESTS,
    STOPPED,
    Cell,
    Verdict,
)
from tests.matrix.world import RunResult

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"

_MOMENTS = {
    BEFORE: "before the effect",
    AFTER: "after the effect",
    ITEMS: "amid the effect",
    BODY: "while the request arrives",
    LATENCY: "not at all, it is slow",
}
_HEAD = """# Fault matrix

Written by `python -m tests.matrix`; a test compares it with a fresh run. Each cell is two runs of
the upload engine and the real client against the fake company, in virtual time: one in which the
fault strikes, one after it without. Then the company's ledger is counted.

{sums}

How to read a cell: how the run ended; then the requests it sent, uploads + looks; then what the
next run sent, if anything. Ends:

- **complete**: every file is in QBO once (exit status 0).
- **classified row**: a file has the outcome `error` with QBO's code and reason (exit status 1);
  the next run tried it again.
- **clean stop**: the run ended with the code shown (exit status 3); the next run went on.

"Not met" is a fault that cannot strike there: such a request has no body to be cut in.
"What the client sees" is the recovery it raised with its code ([design](design.md), 5.8).
Without faults a run below sends one upload a group, no look, and the next run nothing.
"""
_UPLOADS = f"""
## A fault meets an upload

{REQUESTS} request groups of 1, 3 or 10 files; the fault meets the first, the middle or the last.
What lasts in life lasts here: `quota` and `revoked_token` meet every upload from there on, and
after `revoked_token` and `invalid_grant` no token is given until somebody logs in again.
"""
_LOOKS = """
## A fault meets a look

The first of two groups lost its answer: it had arrived, or it was lost on the way. The fault meets
the first look, the second (the settled one), or every look of the run. Groups of 3.
"""
_REFRESHES = """
## A fault meets a token's renewal

The access token has to be renewed in the middle of the run; the fault meets the first request to
the token endpoint, or every one. Groups of 1, 10 files.
"""


_READINGS = """
## A fault meets the reading of what QBO holds

EXISTING=check: three of six files are in QBO from a run whose log is lost. The fault meets the
count, the page of attachables, the question asked again before sending, or all of them. A run
that cannot learn what QBO holds does not start (exit status 2), and sends nothing.
"""


def render(results: Sequence[tuple[Cell, Verdict]]) -> str:
    """The whole page."""
    by_place = {(c.table, c.kind, c.per_request, c.place): v for c, v in results}
    uploads = [
        [
            f"`{kind}`" if size == GROUPS[0] else "",
            _MOMENTS[KINDS[kind]] if size == GROUPS[0] else "",
            _seen(by_place["uploads", kind, size, place] for place in POSITIONS),
            str(size),
            *(_told(by_place["uploads", kind, size, place]) for place in POSITIONS),
        ]
        for kind in KINDS
        for size in GROUPS
    ]
    text = _HEAD.format(sums=_sums(results)) + _UPLOADS
    text += _table(["Fault", "Strikes", "What the client sees", "Group", *POSITIONS], uploads)
    text += _LOOKS + _short_table(by_place, "looks", 3, LOOKS)
    text += _REFRESHES + _short_table(by_place, "refreshes", 1, REFRESHES)
    return text + _READINGS + _short_table(by_place, "readings", 3, READINGS)


def _short_table(
    by_place: dict[tuple[str, str, int, str], Verdict],
    table: str,
    size: int,
    places: Iterable[str],
) -> str:
    kinds = [kind for kind in KINDS if any((table, kind, size, p) in by_place for p in places)]
    lines = [
        [f"`{kind}`", *(_told(by_place[table, kind, size, place]) for place in places)]
        for kind in kinds
    ]
    return _table(["Fault", *places], lines)


def _sums(results: Sequence[tuple[Cell, Verdict]]) -> str:
    ends = Counter(verdict.end for _, verdict in results if verdict.met)
    counted = ", ".join(f"{ends[end]} {end}" for end in (COMPLETE, CLASSIFIED, STOPPED, REFUSED))
    verdicts = [verdict for _, verdict in results]
    not_met = sum(not verdict.met for verdict in verdicts)
    lost, doubled = sum(v.lost for v in verdicts), sum(v.doubled for v in verdicts)
    wrong = sum(bool(v.wrong) for v in verdicts)
    return (
        f"{len(results)} cells: {counted}, {not_met} not met. Files lost: {lost}, doubled: "
        f"{doubled}. Cells that ended otherwise: {wrong}."
    )


def _seen(verdicts: Iterable[Verdict]) -> str:
    return "; ".join(dict.fromkeys(verdict.seen for verdict in verdicts))


def _told(verdict: Verdict) -> str:
    if verdict.wrong:
        return f"**WRONG: {', '.join(verdict.wrong)}**"
    if not verdict.met:
        return "not met"
    code = f" `{verdict.code}`" if verdict.code else ""
    then = f"; next {_requests(verdict.second)}" if verdict.second.requests else ""
    return f"{verdict.end}{code}, {_requests(verdict.first)}{then}"


def _requests(run: RunResult) -> str:
    return f"{run.requests.get('upload', 0)}+{run.requests.get('query', 0)}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)

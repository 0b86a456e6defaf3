"""What the report concludes: the sums that must hold, and the sentence on top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from qbo_attach.core import tables
from qbo_attach.core.model import Status
from qbo_attach.core.report_facts import Facts, Whereabouts

WHEREABOUTS: dict[str, str] = {
    Whereabouts.IN_QBO: "In QuickBooks Online",
    Whereabouts.SAME_CONTENT: "Same content, there once",
    Whereabouts.LEFT_OUT: "Left out by decision",
    Whereabouts.NEEDS_PERSON: "Needs a person",
    Whereabouts.RUN_AGAIN: "Run again",
    Whereabouts.TAKEN_BACK: "Taken back by an undo",
}
"""What a person reads for each, in this order."""


class Sum(NamedTuple):
    """Two numbers that must be one; where they are not, `remedy` says what to do."""

    left: str
    left_count: int
    right: str
    right_count: int
    remedy: str

    @property
    def holds(self) -> bool:
        """Whether they are."""
        return self.left_count == self.right_count


def sums_of(facts: Facts, inventory_rows: int | None) -> Iterator[Sum]:
    """What was counted in one place and again in another.

    Args:
        facts: complete.
        inventory_rows: None without an inventory.
    """
    files = facts.statuses.total()
    if inventory_rows is not None:
        yield Sum(
            "Files found (inventory)",
            inventory_rows,
            "files with a status (verification log)",
            files,
            "run qbo-attach verify: the inventory is newer than the verification log",
        )
    if facts.latest is None:
        return
    planned = facts.latest.started.plan_rows
    yield Sum(
        "Files that are ok (verification log)",
        facts.statuses[Status.OK],
        "attachments planned by the latest run",
        planned,
        "run again: the verification log is newer than the latest run",
    )
    yield Sum(
        "Attachments planned by the latest run",
        planned,
        "attachments with an outcome (run log)",
        facts.outcomes.total(),
        "the run's plan or run log is not what the run wrote",
    )
    yield Sum(
        "Files with a status (verification log)",
        files,
        "files that stand in one of the places above",
        facts.whereabouts.total(),
        "run again: the verification log is newer than the latest run",
    )


def verdict(facts: Facts, sums: list[Sum], *, stale: bool = False) -> tuple[str, str, str]:
    """Tone (good, ask, bad), a headline, and a sentence.

    Args:
        facts: complete.
        sums: those that must hold.
        stale: the reconciliation is from before the latest run ended, and counts no more.
    """
    latest = facts.latest
    there = facts.whereabouts[Whereabouts.IN_QBO]
    person = facts.whereabouts[Whereabouts.NEEDS_PERSON]
    again = facts.whereabouts[Whereabouts.RUN_AGAIN]
    back = facts.whereabouts[Whereabouts.TAKEN_BACK]
    if latest is None:
        return "ask", "Nothing was sent yet", "No run stands in the run log."
    broken = next((one for one in sums if not one.holds), None)
    if broken is not None:
        return "bad", "The sums do not hold", f"What to do: {broken.remedy}."
    if latest.stopped or again or not latest.ended_at:
        cut_off = "The run's end is not in the run log: it was cut off, or is still at work."
        why = latest.stopped or ("" if latest.ended_at else cut_off)
        left = f"{again:,} files wait for another run, which sends nothing twice." if again else ""
        return "ask", "Not finished: run again", f"{left} {why}".strip()
    said = f"{there:,} files are in QuickBooks Online, each once, by the run log."
    found = facts.reconciliation
    if found is not None and found.contradictions and not stale:
        differs = f"QBO differs from the run log in {found.contradictions:,}"
        return "bad", differs, f"{said} See {tables.RECONCILIATION} for what QBO shows instead."
    if back:
        return "ask", f"Taken back: {back:,}", f"An undo deleted them after the latest run. {said}"
    if person:
        return "ask", f"Complete, but for {person:,} that need a person", said
    return "good", "Complete: every file is accounted for", said


def bar(whereabouts: Mapping[str, int]) -> Iterator[tuple[str, float, float]]:
    """The parts of a bar 1,000 wide: whose, from where, how wide."""
    total = sum(whereabouts.values())
    begin = 0.0
    for name in WHEREABOUTS:
        width = whereabouts.get(name, 0) / total * 1_000 if total else 0.0
        if width:
            yield name, round(begin, 2), round(width, 2)
        begin += width

"""How a company's run log stands: which run, who holds it, what it came to, what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from qbo_attach.core.chain import Record, Recorded, RunEnded, RunStarted, SegmentHeader
from qbo_attach.core.model import NEEDS_PERSON_OUTCOMES, RUN_AGAIN_OUTCOMES, Outcome

NO_RUN = "no_run"
RUNNING = "running"
CUT_OFF = "cut_off"
SILENT = "silent"
ENDED = "ended"


@dataclass(slots=True)
class LatestRun:
    """What the chain's latest run left in its own segments, taken in chain order."""

    started: RunStarted | None = None
    ended: RunEnded | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, records: Iterable[Record]) -> None:
        """Take a segment's records."""
        for record in records:
            if isinstance(record, RunStarted):
                self.started, self.ended = record, None
                self.counts.clear()
            elif isinstance(record, RunEnded):
                self.ended = record
            elif isinstance(record, Recorded) and record.outcome != Outcome.NOT_SENT:
                # One that could not go out yet goes again, and has its outcome then.
                self.counts[record.outcome] += 1


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a run log for a person.

    `state`: NO_RUN; RUNNING; CUT_OFF (its process is gone); SILENT (its lease is over, and whether
    its process lives cannot be told from here); ENDED. `counts` by outcome: so far, or of the whole
    run once it has ended. `in_doubt`: attachments whose intent is written and whose outcome is not;
    while a run works, those on their way are among them. `in_qbo`: attachments that the run log has
    as done. `last_segment_age_s` is None without a segment.
    """

    state: str
    realm_id: str
    next_step: str
    run_id: str = ""
    undoes: str = ""
    company: str = ""
    environment: str = ""
    files_dir: str = ""
    holder: str = ""
    started_at: str = ""
    lease_until: str = ""
    last_segment_at: str = ""
    last_segment_age_s: float | None = None
    segments: int = 0
    planned: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    in_doubt: int = 0
    in_qbo: int = 0
    ended_at: str = ""
    requests_sent: int | None = None
    stopped: str = ""

    def as_json(self) -> dict[str, object]:
        """The same as an object."""
        return asdict(self)


def standing(
    *,
    realm_id: str,
    last: SegmentHeader | None,
    run: LatestRun,
    alive: bool | None,
    now: datetime,
    in_doubt: int,
    in_qbo: int,
) -> Standing:
    """Put together what was read.

    Args:
        realm_id: the company.
        last: the newest segment's header; None where there is no segment.
        run: the latest run.
        alive: whether the holder's process lives; None if that cannot be told from here.
        now: the reader's time, aware.
        in_doubt: attachments without an outcome.
        in_qbo: attachments that are done.
    """
    if last is None:
        return Standing(NO_RUN, realm_id, _NEXT[NO_RUN])
    state = _state(last, alive, now)
    started, ended = run.started, run.ended
    counts = dict(ended.counts if ended is not None else run.counts)
    stopped = ended.stopped if ended is not None else ""
    written = datetime.fromisoformat(last.written_at.replace("Z", "+00:00"))
    return Standing(
        state=state,
        realm_id=realm_id,
        next_step=_next_step(state, counts, in_doubt, stopped, started),
        run_id=last.run_id,
        undoes=started.undoes if started is not None else "",
        company=started.company if started is not None else "",
        environment=started.environment if started is not None else "",
        files_dir=started.files_dir if started is not None else "",
        holder=str(last.holder),
        started_at=started.at if started is not None else "",
        lease_until=last.lease_until,
        last_segment_at=last.written_at,
        last_segment_age_s=max(0.0, (now - written).total_seconds()),
        segments=last.seq,
        planned=started.plan_rows if started is not None else 0,
        counts=dict(sorted(counts.items())),
        in_doubt=in_doubt,
        in_qbo=in_qbo,
        ended_at=ended.at if ended is not None else "",
        requests_sent=ended.requests_sent if ended is not None else None,
        stopped=stopped,
    )


def _state(last: SegmentHeader, alive: bool | None, now: datetime) -> str:
    if not last.lease_until:
        return ENDED
    if alive is False:
        return CUT_OFF
    until = datetime.fromisoformat(last.lease_until.replace("Z", "+00:00"))
    return RUNNING if alive or now <= until else SILENT


_NEXT = {
    NO_RUN: "No run yet: qbo-attach plan shows what would be sent, qbo-attach run sends it.",
    RUNNING: "Let it work. It may be stopped with Ctrl-C or SIGTERM where it runs, and run again.",
    CUT_OFF: "Run qbo-attach run on that host: it takes over at once, asks QBO what arrived of "
    "what is in doubt, and goes on.",
    SILENT: "See whether that process still works. If it does not, run qbo-attach run: it watches "
    "for as long as the lease lasts, then takes over and goes on.",
    ENDED: "Nothing: every planned attachment has its outcome.",
}


_NEXT_OF_UNDO = {
    RUNNING: "Let the undo work. It may be stopped with Ctrl-C or SIGTERM where it runs; "
    "{again} then goes on.",
    CUT_OFF: "Run {again} on that host: it takes over at once and goes on. A qbo-attach run would "
    "send again what is deleted by now.",
    SILENT: "See whether that process still works. If it does not, run {again}: it watches for as "
    "long as the lease lasts, then takes over and goes on. A qbo-attach run would send again what "
    "is deleted by now.",
}


def _next_step(
    state: str, counts: Mapping[str, int], in_doubt: int, stopped: str, run: RunStarted | None
) -> str:
    if run is not None and run.undoes:
        again = f"qbo-attach undo --run {run.undoes}"
        if state != ENDED:
            return _NEXT_OF_UNDO[state].format(again=again)
        return f"Run {again} again to go on." if stopped else "Nothing: the undo has ended."
    if state != ENDED:
        return _NEXT[state]
    if stopped:
        return "Mend what stopped it, then run qbo-attach run to go on."
    if in_doubt or any(counts.get(outcome, 0) for outcome in RUN_AGAIN_OUTCOMES):
        return "Run qbo-attach run again: some are in doubt or not sent."
    people = sum(counts.get(outcome, 0) for outcome in NEEDS_PERSON_OUTCOMES)
    if people:
        return f"{people:,} rows of LOG_DIR/qbo_attach_errors.csv need a person; then run again."
    return _NEXT[ENDED]

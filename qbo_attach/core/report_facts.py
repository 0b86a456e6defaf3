"""What the report says, gathered while the tables are derived; bounded at any number of rows.

Every file of the tree has exactly one of these whereabouts:

| Whereabouts | When |
| --- | --- |
| `in_qbo` | an attachable in QBO is this file |
| `same_content` | its content is in QBO, sent from another path under the same name and entity |
| `left_out` | excluded by a rule or by a person |
| `needs_person` | a person has to act |
| `run_again` | another run does it, or looks |
| `taken_back` | was in QBO, until an undo deleted it |
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from qbo_attach.core.chain import Record, Recorded, RunEnded, RunStarted
from qbo_attach.core.differences import State
from qbo_attach.core.entity_check import INACTIVE
from qbo_attach.core.model import (
    DONE_OUTCOMES,
    NEEDS_PERSON_OUTCOMES,
    RUN_AGAIN_OUTCOMES,
    Outcome,
    Status,
    StrEnum,
)
from qbo_attach.core.planned import twin_of
from qbo_attach.core.report_groups import Crosstab, Draw, Groups, fault_code
from qbo_attach.core.report_rate import Rate
from qbo_attach.core.sampling import CONFIDENCE, upper_bound
from qbo_attach.core.tables import PlanRow, ReconciliationRow, RunLogRow, VerificationRow

RUNS_TOLD = 25
RUN_IDS_TOLD = 1_000
LINKS = 25
BY_PERSON = "override by "
"""How the reason of a row begins that a person decided in MAPPING_OVERRIDES (core/overrides)."""


_COMPARED_BY_BYTES = frozenset({State.EQUAL.value, State.CHANGED.value})
_NO_DIFFERENCE = frozenset({State.EQUAL.value, State.DUPLICATE_CONTENT.value})
_CONTRADICTIONS = frozenset(
    state.value
    for state in (
        State.MISSING,
        State.UNRECORDED,
        State.DOUBLED,
        State.WRONG_ENTITY,
        State.ALTERED,
        State.RENAMED,
        State.UNREADABLE,
    )
)
"""What the run log does not know of; the other differences have an outcome that tells them."""


class Whereabouts(StrEnum):
    """Where a file of the tree stands: exactly one each."""

    IN_QBO = "in_qbo"
    SAME_CONTENT = "same_content"
    LEFT_OUT = "left_out"
    NEEDS_PERSON = "needs_person"
    RUN_AGAIN = "run_again"
    TAKEN_BACK = "taken_back"


WHEREABOUTS_OF: dict[str, Whereabouts] = {
    **dict.fromkeys((o.value for o in DONE_OUTCOMES), Whereabouts.IN_QBO),
    Outcome.SKIPPED_ALREADY_UPLOADED.value: Whereabouts.IN_QBO,
    Outcome.DUPLICATE_CONTENT.value: Whereabouts.SAME_CONTENT,
    Outcome.DELETED.value: Whereabouts.TAKEN_BACK,
    **dict.fromkeys((o.value for o in NEEDS_PERSON_OUTCOMES), Whereabouts.NEEDS_PERSON),
    **dict.fromkeys((o.value for o in RUN_AGAIN_OUTCOMES), Whereabouts.RUN_AGAIN),
}
"""By the outcome of a planned attachment."""
_TEXT_OF = {where: where.value for where in Whereabouts}


@dataclass(slots=True)
class RunTold:
    """One run, as the chain tells it. `ended_at` is "" where its end is not in the chain."""

    started: RunStarted
    ended_at: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    requests_sent: int = 0
    stopped: str = ""


@dataclass(slots=True)
class Reconciliation:
    """What reconciliation.csv says. `population`: attachments whose bytes could be compared."""

    states: Counter[str] = field(default_factory=Counter)
    population: int = 0
    draws: int = 0
    defects: int = 0

    def add(self, row: ReconciliationRow) -> None:
        """Count a row."""
        self.states[row.state] += 1
        if not (row.file_path and row.sha256):
            return
        other = row.state == State.ALTERED and row.compared == "digest"
        defect = other or row.state == State.UNREADABLE
        if defect or row.state in _COMPARED_BY_BYTES:
            self.population += 1
            self.draws += defect or row.compared == "digest"
            self.defects += defect

    @property
    def differences(self) -> int:
        """Rows of any other state than `equal` and `duplicate_content`."""
        return sum(n for state, n in self.states.items() if state not in _NO_DIFFERENCE)

    @property
    def contradictions(self) -> int:
        """Rows where QBO is not as the run log says."""
        return sum(n for state, n in self.states.items() if state in _CONTRADICTIONS)

    @property
    def proof(self) -> str:
        """What comparing the bytes proves, in a sentence."""
        if not self.draws:
            return "No bytes were compared."
        found = f"{self.defects:,} differ" if self.defects else "none differs"
        if self.draws == self.population:
            return f"All {self.draws:,} with a digest in the run log were compared: {found}."
        bound = upper_bound(self.defects, self.draws)
        return (
            f"{self.draws:,} drawn of {self.population:,} were compared byte for byte: {found}. "
            f"With {CONFIDENCE:.0%} confidence at most {bound:.2%} of all do."
        )


class Facts:
    """Takes what the report stage reads anyway, row by row, and keeps the sums."""

    def __init__(self) -> None:
        self.runs: deque[RunTold] = deque(maxlen=RUNS_TOLD)
        """The last runs, in chain order."""
        self.run_ids: deque[str] = deque(maxlen=RUN_IDS_TOLD)
        self.runs_in_all = 0
        self.latest: RunTold | None = None
        """The latest run that was no undo."""
        self.statuses: Counter[str] = Counter()
        """Rows of the verification log."""
        self.outcomes: Counter[str] = Counter()
        """Of the latest run: one for each planned attachment."""
        self.whereabouts: Counter[str] = Counter()
        self.bytes_in_qbo = 0
        self.by_type = Crosstab()
        """Planned attachments by entity type and outcome; `deleted` where an undo came after."""
        self.by_client = Crosstab()
        """Files by client and where."""
        self.open = Groups()
        """What needs a person or another run."""
        self.decisions = Groups(exact=True)
        """What was left out, and what a person decided: by `excluded` and `ok`."""
        self.faults = Groups()
        """Errors of the latest run, and of an undo after it, by fault code ("" without one)."""
        self.faults_of_all: Counter[str] = Counter()
        """The same, of all runs."""
        self.remarks = Groups()
        """What needs nobody and is worth a look: by `success` what was sent with a remark (of all
        runs), such as a size that QBO shows differently; by `entity_inactive` what hangs there."""
        self.reconciliation: Reconciliation | None = None
        self.draw = Draw("", LINKS)
        self._undone: set[int] = set()
        self._undoing = False
        self._current: RunTold | None = None
        self._rate, self._rate_of = Rate(), ""
        self._sent: tuple[str, Rate] | None = None
        self._request = ""

    # -- the chain ----------------------------------------------------------------------------

    def records(self, records: Iterable[Record]) -> None:
        """Take a segment's records, in chain order."""
        for record in records:
            if isinstance(record, Recorded):
                self._recorded(record)
            elif isinstance(record, RunStarted):
                self._started(record)
            elif isinstance(record, RunEnded):
                self._ended(record)

    def _started(self, record: RunStarted) -> None:
        self._current = run = RunTold(record)
        self.runs.append(run)
        self.run_ids.append(record.run_id)
        self.runs_in_all += 1
        self._undoing = bool(record.undoes)
        if self._undoing:
            return
        self.latest = run
        self._undone.clear()
        self.draw = Draw(record.run_id, LINKS)
        if self._rate.files:
            self._sent = (self._rate_of, self._rate)
        self._rate, self._rate_of = Rate(), record.run_id

    def _ended(self, record: RunEnded) -> None:
        run = self._current
        if run is not None and run.started.run_id == record.run_id:
            run.ended_at = record.at
            run.counts = record.counts
            run.requests_sent = record.requests_sent
            run.stopped = record.stopped

    def _recorded(self, record: Recorded) -> None:
        if self._undoing:
            if record.outcome == Outcome.DELETED:
                self._undone.add(hash(record.path))
                if record.attachable_id:
                    self._undone.add(hash((record.attachable_id,)))
        elif record.request_id and record.outcome != Outcome.NOT_SENT:
            request = f"{record.request_id}/{record.attempt}"
            self._rate.add(record.at, requests=request != self._request, files=1)
            self._request = request

    @property
    def rate(self) -> tuple[str, Rate] | None:
        """The latest run that sent something, and its rate; None: no run did."""
        return (self._rate_of, self._rate) if self._rate.files else self._sent

    def told(self, row: RunLogRow) -> None:
        """Take an outcome of any run."""
        if row.outcome == Outcome.ERROR:
            self.faults_of_all[fault_code(row.error)] += 1
        elif row.outcome == Outcome.SUCCESS and row.error:
            self.remarks.add(row.outcome, row.error, row.file_path)

    def left_open(self, row: RunLogRow) -> None:
        """Take a row of qbo_attach_errors.csv."""
        self.open.add(row.outcome, row.error, row.file_path)

    def refused(self, row: RunLogRow) -> None:
        """Take an outcome that the latest run, or an undo after it, has in the run log."""
        if row.outcome == Outcome.ERROR:
            self.faults.add(fault_code(row.error), row.error, row.file_path)

    # -- the tables ---------------------------------------------------------------------------

    def planned(self, row: PlanRow, outcome: str) -> None:
        """Take a planned attachment of the latest run and its outcome, after the chain."""
        self.outcomes[outcome] += 1
        now = outcome
        if self._undone and WHEREABOUTS_OF[outcome] in (
            Whereabouts.IN_QBO,
            Whereabouts.SAME_CONTENT,
        ):
            names = {hash(twin_of(row) or row.file_path), hash((row.qbo_attachable_id,))}
            now = outcome if names.isdisjoint(self._undone) else Outcome.DELETED.value
        where = WHEREABOUTS_OF[now]
        told = _TEXT_OF[where]
        self.whereabouts[told] += 1
        self.by_type.add(row.qbo_entity_type, now)
        self.by_client.add(row.client, told)
        if where is Whereabouts.IN_QBO:
            self.bytes_in_qbo += int(row.size_bytes or 0)
            entity = (row.qbo_entity_type, row.qbo_entity_id)
            self.draw.offer(row.file_path, row.sent_file_name, entity, row.idempotency_key)

    def verified(self, row: VerificationRow) -> None:
        """Take a row of the verification log."""
        status = row.status
        self.statuses[status] += 1
        if status == Status.OK:
            if row.reason.startswith(BY_PERSON):
                self.decisions.add(status, row.reason, row.file_path)
            if INACTIVE in row.reason:
                self.remarks.add(INACTIVE, row.reason, row.file_path)
            return
        if status == Status.EXCLUDED:
            where = Whereabouts.LEFT_OUT
            self.decisions.add(status, row.reason, row.file_path)
        else:
            where = Whereabouts.NEEDS_PERSON
            self.open.add(status, row.reason, row.file_path)
        self.whereabouts[where.value] += 1
        self.by_client.add(row.client, where.value)

    def reconciled(self, row: ReconciliationRow) -> None:
        """Take a row of reconciliation.csv."""
        if self.reconciliation is None:
            self.reconciliation = Reconciliation()
        self.reconciliation.add(row)

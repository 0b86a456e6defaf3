"""From the chain to rows that people read, and to the run's exit status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from qbo_attach.core.chain import Done, GroupFile, Record, Recorded, RunStarted
from qbo_attach.core.done import DoneRows, MemoryRows
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.history import History
from qbo_attach.core.model import (
    NEEDS_PERSON_OUTCOMES,
    OF_ITS_TWIN,
    RUN_AGAIN_OUTCOMES,
    Action,
    Outcome,
    Status,
)
from qbo_attach.core.planned import outcome_so_far, twin_of
from qbo_attach.core.tables import PlanRow, RunLogRow

ERROR_OUTCOMES = NEEDS_PERSON_OUTCOMES | RUN_AGAIN_OUTCOMES
"""Rows of qbo_attach_errors.csv."""
DUP_OUTCOMES = frozenset(
    {Outcome.SKIPPED_ALREADY_UPLOADED, Outcome.DUPLICATE_CONTENT, Outcome.ALREADY_IN_QBO}
)
"""Rows of qbo_attach_dups.csv."""
_NO_PERSON_STATUSES = frozenset({Status.OK.value, Status.EXCLUDED.value})


_make_row: Callable[[tuple[str, ...]], RunLogRow] = partial(tuple.__new__, RunLogRow)
"""`RunLogRow` itself takes a third longer, and there are hundreds of thousands."""


class Telling:
    """Turns the chain, segment by segment, into rows; knows afterwards what the latest run did.

    `history`: the folded chain. `latest`: the start of the latest run that was no undo. `ended`:
    the paths (hashed) that had an outcome in it, with that outcome.

    Args:
        rows: where the rows of done attachments are kept.
        latest_run_id: of the latest run that was no undo; "": not known. Of a million outcomes
            of the runs before it, nothing has then to be held.
    """

    def __init__(self, rows: DoneRows | None = None, latest_run_id: str = "") -> None:
        self._latest_run_id = latest_run_id
        self.history = History(MemoryRows() if rows is None else rows)
        self.latest: RunStarted | None = None
        self.ended: dict[int, str] = {}
        self._undo: RunStarted | None = None
        """The undo whose records come now."""

    @property
    def in_undo(self) -> bool:
        """Whether the records that come now are those of an undo."""
        return self._undo is not None

    def rows(self, records: Iterable[Record]) -> Iterator[RunLogRow]:
        """The outcomes among a segment's records, as rows, in chain order."""
        collects = self._may_be_latest
        for record in records:
            if isinstance(record, RunStarted):
                self._undo = record if record.undoes else None
                if self._undo is None:
                    self.latest = record
                    self.ended.clear()
                collects = self._may_be_latest
            if isinstance(record, Recorded) and record.outcome != Outcome.NOT_SENT:
                if collects and record.outcome != Outcome.DELETED:
                    self.ended[hash(record.path)] = record.outcome
                yield self._row(record)
            self.history.apply(record)

    @property
    def _may_be_latest(self) -> bool:
        """Whether the records that come now may be those of the latest run that was no undo."""
        run_id = self.latest.run_id if self.latest is not None else ""
        return self._undo is None and self._latest_run_id in ("", run_id)

    def _row(self, record: Recorded) -> RunLogRow:
        file = record.file or self._file_in_doubt(record)
        done = self.history.rows.at_key(record.key) if file is None else None
        run = self._undo or self.latest
        run_id = run.run_id if run is not None else ""
        return _row_of(record, file, done, run_id)

    def _file_in_doubt(self, record: Recorded) -> GroupFile | None:
        request_id = self.history.doubt_of_key.get(record.key)
        return None if request_id is None else self.history.doubts[request_id].open[record.key]

    def latest_outcomes(self, plan: Iterable[PlanRow]) -> Iterator[tuple[str, RunLogRow | None]]:
        """For each planned attachment of the latest run its outcome, and the row that tells it.

        The row is None where the chain has told it already.
        """
        if self.latest is None:
            return
        for row in plan:
            outcome = self.ended.get(hash(row.file_path))
            if outcome is not None:
                yield outcome, None
            else:
                told = self._planned(row, self.latest)
                yield told.outcome, told

    def _planned(self, row: PlanRow, run: RunStarted) -> RunLogRow:
        outcome = outcome_so_far(row, self.ended, self.history)
        request_id = self.history.doubt_of_path.get(row.file_path, "")
        key = row.idempotency_key
        reason = row.reason
        refused = self.history.refused.get(twin_of(row)) if outcome == Outcome.ERROR else None
        if refused is not None:
            reason = refused.error + OF_ITS_TWIN
        known = row.qbo_attachable_id if row.action == Action.SKIP else ""
        cells = (
            run.at,
            row.legacy_txnid_norm,
            row.legacy_entity_type,
            row.raw_legacy_id,
            row.qbo_entity_type,
            row.qbo_entity_id,
            row.file_name,
            row.file_path,
            "",
            reason,
            "",
            outcome,
            row.client,
            row.size_bytes,
            row.modified_at,
            row.sha256,
            row.sent_file_name,
            known or (self.history.rows.attachable_id(key) if key else ""),
            request_id,
            key,
            run.run_id,
            "",
            "",
            row.match_rule,
        )
        return _make_row(cells)


def _row_of(record: Recorded, file: GroupFile | None, done: Done | None, run_id: str) -> RunLogRow:
    """A row for an outcome; one without its file takes what is done under its key.

    So stand deletions in older run logs, and those of an undo that could not read the run log.
    """
    known: GroupFile | Done | None = file or done
    cells = (
        record.at,
        file.legacy_txnid_norm if file else "",
        file.legacy_entity_type if file else "",
        file.raw_legacy_id if file else "",
        known.qbo_entity_type if known else "",
        known.qbo_entity_id if known else "",
        file.file_name if file else "",
        record.path,
        record.status_code,
        record.error,
        record.intuit_tid,
        record.outcome,
        file.client if file else "",
        str(known.size_bytes) if known else "",
        known.modified_at if known else "",
        record.sha256,
        known.sent_file_name if known else "",
        record.attachable_id,
        record.request_id,
        record.key,
        run_id,
        str(record.attempt or ""),
        str(record.duration_ms or ""),
        file.match_rule if file else "",
    )
    return _make_row(cells)


def check_conservation(counts: Mapping[str, int], planned: int) -> None:
    """Every planned attachment has exactly one outcome in a run.

    Raises:
        NotStartedError: the sums do not hold.
    """
    total = sum(counts.values())
    if total != planned:
        raise NotStartedError(
            f"the latest run has {total} outcomes for {planned} planned attachments: the run's "
            "plan or run log is not what the run wrote"
        )


def exit_status(outcomes: Mapping[str, int], statuses: Mapping[str, int], *, stopped: bool) -> int:
    """0: nothing left; 1: rows need a person; 3: stopped or unfinished, run again (before 1)."""
    if stopped or any(outcomes.get(o.value) for o in RUN_AGAIN_OUTCOMES):
        return 3
    person = any(outcomes.get(o.value) for o in NEEDS_PERSON_OUTCOMES)
    person = person or any(n for s, n in statuses.items() if s not in _NO_PERSON_STATUSES)
    return 1 if person else 0

"""The files that are not in QBO, each with its reason; those that a person can decide about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.exclusions import JUNK
from qbo_attach.core.existing import small_id
from qbo_attach.core.history import History
from qbo_attach.core.model import OF_ITS_TWIN, Action, Outcome, Status
from qbo_attach.core.planned import twin_of
from qbo_attach.core.remedies import meaning
from qbo_attach.core.tables import PlanRow, VerificationRow

LEFTOVERS = "leftovers.csv"

_IN_QBO = frozenset({Action.SKIP.value, Action.EXISTING.value})
_AS_OUTCOMES = {
    Action.CHANGED.value: Outcome.CHANGED.value,
    Action.FILE_MISSING.value: Outcome.FILE_MISSING.value,
    Action.SOURCE_CHANGED.value: Outcome.SOURCE_CHANGED.value,
    Action.REFUSED.value: Outcome.ERROR.value,
}

DECIDABLE = frozenset(
    {
        Status.MISSING_MAPPING.value,
        Status.ENTITY_MISSING.value,
        Status.AMBIGUOUS_MAPPING.value,
        Status.AMBIGUOUS_IDENTIFIER.value,
        Status.DUPLICATE_MAPPING.value,
        Status.UNSUPPORTED_ENTITY_TYPE.value,
        Outcome.ERROR.value,
    }
)
"""What a row of MAPPING_OVERRIDES can settle."""


class LeftoverRow(NamedTuple):
    """leftovers.csv: one row a file that is not in QBO.

    `reason` is a verification status or an outcome, `detail` its words. `copied_to` is where its
    copy lies below the folder; empty where there is none, and then `problem` says why.
    """

    reason: str
    detail: str
    file_path: str
    client: str = ""
    legacy_entity_type: str = ""
    raw_legacy_id: str = ""
    qbo_entity_type: str = ""
    qbo_entity_id: str = ""
    size_bytes: str = ""
    modified_at: str = ""
    copied_to: str = ""
    problem: str = ""
    remedy: str = ""


def find_leftovers(
    verified: Iterable[VerificationRow], plan: Iterable[PlanRow], history: History
) -> Iterator[LeftoverRow]:
    """The files that QBO has not, in the order of the tree, not yet copied.

    Args:
        verified: the verification log.
        plan: the latest plan: one row for each that is ok, in the same order.
        history: the run log.

    Raises:
        NotStartedError: the plan is not of this verification log.
    """
    planned = iter(plan)
    done = _DoneIds(history)
    for row in verified:
        if row.status != Status.OK:
            yield _leftover(row, row.status, row.reason)
            continue
        its = next(planned, None)
        if its is None or its.file_path != row.file_path:
            raise NotStartedError(
                "the plan is not of this verification log: run qbo-attach plan, then leftovers"
            )
        reason, detail = _why_not_there(its, history, done)
        if reason:
            yield _leftover(row, reason, detail)


class _DoneIds:
    """The attachables that are done; all are read at the first question, which few plans ask."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._ids: set[str | int] | None = None

    def __contains__(self, attachable_id: str) -> bool:
        if self._ids is None:
            done = self._history.rows.rows()
            self._ids = {small_id(one.attachable_id) for one in done if one.attachable_id}
        return bool(attachable_id) and small_id(attachable_id) in self._ids


def _why_not_there(row: PlanRow, history: History, done: _DoneIds) -> tuple[str, str]:
    """Reason and words; empty for what is in QBO."""
    path = row.file_path
    if row.action == Action.CHANGED:
        return Outcome.CHANGED.value, row.reason
    key = row.idempotency_key
    if row.action == Action.SKIP and key and history.rows.at_key(key) is None:
        return Outcome.NOT_SENT.value, "an undo has taken it back since it was planned"
    if row.action in _IN_QBO or history.rows.at_path(path) is not None:
        return "", ""
    other = twin_of(row)
    if other and (history.rows.at_path(other) is not None or row.qbo_attachable_id in done):
        return "", ""
    if path in history.doubt_of_path:
        return Outcome.IN_DOUBT.value, "QBO has not yet been asked what arrived"
    refused = history.refused.get(path)
    if refused is not None:
        return Outcome.ERROR.value, refused.error
    of_twin = None if other in history.doubt_of_path else history.refused.get(other)
    if of_twin is not None:
        return Outcome.ERROR.value, of_twin.error + OF_ITS_TWIN
    return _AS_OUTCOMES.get(row.action, Outcome.NOT_SENT.value), row.reason


def _leftover(row: VerificationRow, reason: str, detail: str) -> LeftoverRow:
    return LeftoverRow(
        reason,
        detail,
        row.file_path,
        row.client,
        row.legacy_entity_type,
        row.raw_legacy_id,
        row.qbo_entity_type,
        row.qbo_entity_id,
        row.size_bytes,
        row.modified_at,
        remedy=meaning(reason),
    )


def is_junk(row: LeftoverRow) -> bool:
    """Whether it is one of the files that systems leave behind: nobody keeps them."""
    return row.reason == Status.EXCLUDED and row.detail == JUNK


@dataclass(slots=True)
class Undecided:
    """A legacy id that a person can decide about: all its files have one fate."""

    legacy_id: str
    legacy_entity_type: str
    status: str
    reason: str
    client: str
    example: str
    files: int = 0


class Undecideds:
    """Collects leftovers by the id and type of their folder, in the order they come."""

    def __init__(self) -> None:
        self._by_folder: dict[tuple[str, str], Undecided] = {}

    def add(self, row: LeftoverRow) -> None:
        """Take a leftover; one that no override could settle is passed over."""
        if row.reason not in DECIDABLE or not row.raw_legacy_id:
            return
        key = (row.raw_legacy_id, row.legacy_entity_type)
        found = self._by_folder.get(key)
        if found is None:
            found = self._by_folder[key] = Undecided(
                *key, row.reason, row.detail or row.reason, row.client, row.file_path
            )
        found.files += 1

    def all(self) -> list[Undecided]:
        """One for each folder."""
        return list(self._by_folder.values())

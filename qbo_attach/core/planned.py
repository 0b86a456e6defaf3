"""A planned attachment and the run log: what it becomes there, and what a run has to tell of it.

A plan is a proposal. It is made from the run log and QBO as they were; the run log may have grown
since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from qbo_attach.core.chain import Facts, GroupFile, Recorded, entity_refs
from qbo_attach.core.history import History
from qbo_attach.core.model import DONE_OUTCOMES, SAME_AS, Action, Outcome
from qbo_attach.core.naming import folded
from qbo_attach.core.tables import PlanRow

OUTCOME_OF: dict[str, Outcome] = {
    Action.SKIP: Outcome.SKIPPED_ALREADY_UPLOADED,
    Action.CHANGED: Outcome.CHANGED,
    Action.EXISTING: Outcome.NOT_SENT,
    Action.DUPLICATE_CONTENT: Outcome.DUPLICATE_CONTENT,
    Action.FILE_MISSING: Outcome.FILE_MISSING,
    Action.SOURCE_CHANGED: Outcome.SOURCE_CHANGED,
    Action.REFUSED: Outcome.ERROR,
    Action.LOOK: Outcome.IN_DOUBT,
    Action.SEND: Outcome.NOT_SENT,
}
"""The outcome of a planned row that the run did nothing with (or had not yet reached)."""


def outcome_so_far(row: PlanRow, ended: Mapping[int, str], history: History) -> str:
    """The outcome of a planned attachment as a run stands.

    `ended` has the outcomes of the run, by the hash of the path.
    """
    outcome = ended.get(hash(row.file_path))
    if outcome is not None:
        return outcome
    if row.file_path in history.doubt_of_path:
        return Outcome.IN_DOUBT.value
    planned = OUTCOME_OF[row.action]
    if planned is Outcome.NOT_SENT and row.idempotency_key:
        done = history.rows.at_key(row.idempotency_key)
        if done is not None and done.path == row.file_path:
            # Another run did it after this plan was made.
            return Outcome.SKIPPED_ALREADY_UPLOADED.value
    if row.action == Action.DUPLICATE_CONTENT:
        return _outcome_of_twin(row, ended, history)
    return planned.value


def twin_of(row: PlanRow) -> str:
    """The path of the attachment whose content a `duplicate_content` has, "" for any other."""
    return row.reason.removeprefix(SAME_AS) if row.action == Action.DUPLICATE_CONTENT else ""


def _outcome_of_twin(row: PlanRow, ended: Mapping[int, str], history: History) -> str:
    """A duplicate is one of something that is there; where it is not, it was refused or not sent.

    What was not sent the next run may well send, or send this one in its place.
    """
    other = twin_of(row)
    now = ended.get(hash(other))
    # What was there when the run was planned was there, whatever has been renamed or undone since.
    there = row.qbo_attachable_id or history.rows.at_path(other)
    if now in DONE_OUTCOMES or there:
        return Outcome.DUPLICATE_CONTENT.value
    if now == Outcome.ERROR and other not in history.doubt_of_path:
        return Outcome.ERROR.value
    return Outcome.NOT_SENT.value


def group_file(row: PlanRow) -> GroupFile:
    """A planned attachment as its intent or its outcome has it in the run log."""
    return GroupFile(
        key=row.idempotency_key,
        path=row.file_path,
        sent_file_name=row.sent_file_name,
        content_type=row.content_type,
        size_bytes=int(row.size_bytes),
        modified_at=row.modified_at,
        etag=row.etag,
        qbo_entity_type=row.qbo_entity_type,
        qbo_entity_id=row.qbo_entity_id,
        legacy_txnid_norm=row.legacy_txnid_norm,
        legacy_entity_type=row.legacy_entity_type,
        raw_legacy_id=row.raw_legacy_id,
        client=row.client,
        file_name=row.file_name,
        sha256=row.sha256,
        match_rule=row.match_rule,
    )


KNOWN_ACTIONS = frozenset({Action.FILE_MISSING, Action.SOURCE_CHANGED, Action.EXISTING})
"""What became of these is known when the run starts, and the run log learns it."""


def taken_attachables(rows: Iterable[PlanRow], history: History) -> dict[str, str]:
    """Ids among what the plan found in QBO that the run log has as done by now, with digests."""
    found = {row.qbo_attachable_id for row in rows if row.action == Action.EXISTING}
    if not found:
        return {}
    return {
        done.attachable_id: done.sha256
        for done in history.rows.rows()
        if done.attachable_id in found and done.sha256
    }


def known_outcomes(
    row: PlanRow, history: History, at: str, taken: Mapping[str, str]
) -> Iterator[Recorded]:
    """The outcome of a planned attachment that needs no request; nothing for any other.

    A plan is a proposal: what the run log has as done or in doubt by now stays so, and what it
    found in QBO may be another attachment's by now. `taken`: see taken_attachables.
    """
    if row.action not in KNOWN_ACTIONS:
        return
    path = row.file_path
    existing = row.action == Action.EXISTING
    if existing and (
        path in history.done
        or path in history.doubt_of_path
        or history.holds(row.idempotency_key)
        or taken.get(row.qbo_attachable_id, row.sha256) != row.sha256
        or _may_be_in_doubt(row, history)
    ):
        return
    file = group_file(row)
    outcome = Outcome.ALREADY_IN_QBO if existing else OUTCOME_OF[row.action]
    yield Recorded(
        at=at,
        outcome=outcome.value,
        key=file.key,
        path=path,
        attachable_id=row.qbo_attachable_id,
        sha256=row.sha256,
        error=row.reason,
        file=file,
    )


def _may_be_in_doubt(row: PlanRow, history: History) -> bool:
    """Whether what the plan found may be what an intent in doubt has made."""
    refs = set(entity_refs(row.qbo_entity_type, row.qbo_entity_id))
    name = folded(row.sent_file_name)
    return any(
        folded(file.sent_file_name) == name and refs & set(file.refs)
        for doubt in history.doubts.values()
        for file in doubt.open.values()
    )


def new_facts(row: PlanRow, history: History) -> Facts | None:
    """What planning found out by reading a file that is not sent, if the log lacks it."""
    if not row.sha256 or row.action not in (Action.SKIP, Action.DUPLICATE_CONTENT):
        return None
    found = (int(row.size_bytes), row.modified_at, row.etag)
    key = row.idempotency_key if row.action == Action.SKIP else ""
    if key and _is_overtaken(row, history):
        return None
    known = history.done_by_key.get(key) if key else history.facts.get(row.file_path)
    if known is not None and (known.path, known.size_bytes, known.modified_at, known.etag) == (
        row.file_path,
        *found,
    ):
        return None
    return Facts(row.file_path, *found, sha256=row.sha256, key=key)


def _is_overtaken(row: PlanRow, history: History) -> bool:
    """Whether another run, after this plan, has put something else where it saw this attachment."""
    there = history.done.get(row.file_path)
    under = history.done_by_key.get(row.idempotency_key)
    return (
        under is None
        or under.sha256 not in ("", row.sha256)
        or (there is not None and there.key != under.key)
    )

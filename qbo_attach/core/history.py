"""The run log folded: what is in QBO, what is in doubt, what was refused.

`History` is the only authority on what was sent. It takes the chain's records in order and never
looks at a clock, a file or QBO.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from qbo_attach.core.chain import (
    Deleting,
    Done,
    Facts,
    GroupFile,
    Intent,
    Looked,
    Record,
    Recorded,
    Refused,
    RunEnded,
    RunStarted,
    Snapshot,
)
from qbo_attach.core.done import DoneRows, MemoryRows, by_key, by_path
from qbo_attach.core.model import DONE_OUTCOMES, Outcome

SETTLED_LOOKS = 3
"""So many settled looks that find nothing, and a group may go out under a new requestid."""


@dataclass(slots=True)
class Doubt:
    """A request group whose intent is written and whose outcome is not known for every file.

    `open` holds the files without an outcome, by key. `partial`: some file of the group has one,
    so that the identical request must never go out again.
    """

    intent: Intent
    open: dict[str, GroupFile]
    settled_looks: int = 0
    partial: bool = False


@dataclass(slots=True, repr=False)
class History:
    """The folded chain. It has no repr: asyncio makes one of a task's result, at any size.

    `rows`: attachments in QBO. `doubts`:
    groups in doubt by requestid. `refused`: last refusal by path. `facts`: digests by path of
    files that are not done themselves. `deleting`: by key what an undo was about to delete when it
    was cut off. `store` and `run_id`: of the run whose records come now.
    """

    rows: DoneRows = field(default_factory=MemoryRows)
    doubts: dict[str, Doubt] = field(default_factory=dict)
    doubt_of_key: dict[str, str] = field(default_factory=dict)
    doubt_of_path: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    deleting: dict[str, Deleting] = field(default_factory=dict)
    store: str = ""
    files_dir: str = ""
    run_id: str = ""
    last_run: RunStarted | None = None
    last_end: RunEnded | None = None

    @property
    def done(self) -> Mapping[str, Done]:
        """Attachments in QBO, by path."""
        return by_path(self.rows)

    @property
    def done_by_key(self) -> Mapping[str, Done]:
        """Attachments in QBO, by idempotency key."""
        return by_key(self.rows)

    def fold(self, records: Iterable[Record]) -> History:
        """Take records in chain order; returns itself."""
        for record in records:
            self.apply(record)
        return self

    def apply(self, record: Record) -> None:  # noqa: C901 - one branch a kind, a table in effect
        """Take one record."""
        match record:
            case Recorded():
                self._recorded(record)
            case Intent():
                self._intent(record)
            case Facts():
                self._facts(record)
            case Deleting():
                self.deleting[record.key] = record
            case Looked():
                if record.settled and record.request_id in self.doubts:
                    self.doubts[record.request_id].settled_looks += 1
            case RunStarted():
                self.last_run, self.last_end = record, None
                self.run_id = record.run_id
                if not record.undoes:
                    self.store, self.files_dir = record.store, record.files_dir
            case RunEnded():
                self.last_end = record
            case Snapshot():
                self.store, self.files_dir = record.store, record.files_dir
            case Done():
                self.rows.keep(record)
            case Refused():
                self.refused[record.path] = record

    def _intent(self, intent: Intent) -> None:
        earlier = self.doubts.get(intent.request_id)
        if earlier is not None:
            # What an earlier attempt made is older than this intent, and is still this group's.
            first = earlier.intent
            earlier.intent = replace(
                intent,
                files=first.files,
                written_at=first.written_at,
                clock_offset_s=first.clock_offset_s,
            )
            return
        open_files = {file.key: file for file in intent.files}
        doubt = Doubt(intent, open_files, partial=intent.partial)
        self.doubts[intent.request_id] = doubt
        for file in intent.files:
            # A key that stood in another group in doubt has left it: the rest of a group that
            # was found in part, or three settled looks found nothing of, goes out anew.
            self._close(file.key)
            self.doubt_of_key[file.key] = intent.request_id
            self.doubt_of_path[file.path] = intent.request_id

    def _close(self, key: str) -> GroupFile | None:
        """Take a key out of the group it is in doubt in; the group goes with its last file."""
        request_id = self.doubt_of_key.pop(key, None)
        if request_id is None:
            return None
        doubt = self.doubts[request_id]
        file = doubt.open.pop(key)
        doubt.partial = True
        if self.doubt_of_path.get(file.path) == request_id:
            del self.doubt_of_path[file.path]
        if not doubt.open:
            del self.doubts[request_id]
        return file

    def _recorded(self, record: Recorded) -> None:
        file = self._close(record.key) or record.file
        outcome = record.outcome
        of_undo = self.deleting.pop(record.key, None) is not None
        if outcome == Outcome.DELETED:
            gone = self.rows.at_key(record.key)
            if gone is not None:
                self._leave_path(gone)
                self.rows.forget_key(gone.key)
        elif outcome in DONE_OUTCOMES and file is not None:
            self.refused.pop(record.path, None)
            self.facts.pop(record.path, None)
            # What is there already may be another's: only who has read it tells its digest.
            sent = "" if outcome == Outcome.ALREADY_IN_QBO else file.sha256
            self.rows.keep(
                Done(  # by name takes a third longer, and there are hundreds of thousands
                    record.key,
                    file.path,
                    file.sent_file_name,
                    file.qbo_entity_type,
                    file.qbo_entity_id,
                    file.size_bytes,
                    file.modified_at,
                    file.etag,
                    record.sha256 or sent,
                    record.attachable_id,
                    outcome,
                    self.run_id,
                    self.store,
                )
            )
        elif outcome == Outcome.ERROR and not of_undo:
            self.refused[record.path] = Refused(record.path, record.error, self.run_id)

    def _facts(self, facts: Facts) -> None:
        done = self.rows.at_key(facts.key) if facts.key else None
        if done is None:
            # Of what is in QBO no more: it must not move what is sent under this key later.
            self.facts[facts.path] = replace(facts, key="")
            return
        self._leave_path(done)
        self.rows.keep(
            replace(
                done,
                path=facts.path,
                size_bytes=facts.size_bytes,
                modified_at=facts.modified_at,
                etag=facts.etag,
                sha256=facts.sha256 or done.sha256,
                store=self.store,
            )
        )

    def _leave_path(self, done: Done) -> None:
        if self.rows.at_path(done.path) == done:
            self.rows.forget_path(done.path)

    def holds(self, key: str) -> bool:
        """Whether an attachable may exist under this key: done, or in doubt."""
        return key in self.doubt_of_key or self.rows.at_key(key) is not None

    def doubtful_file(self, path: str) -> GroupFile | None:
        """The attachment at this path in a group in doubt, as its intent has it."""
        request_id = self.doubt_of_path.get(path)
        if request_id is None:
            return None
        return next(f for f in self.doubts[request_id].open.values() if f.path == path)

    def snapshot_size(self) -> int:
        """How many records `snapshot` gives."""
        looks = sum(1 + doubt.settled_looks for doubt in self.doubts.values())
        others = len(self.refused) + len(self.facts) + len(self.deleting)
        return 1 + self.rows.keys() + others + looks

    def snapshot(self, folds_to: int) -> Iterator[Record | bytes]:
        """The records that fold to this very state; done rows perhaps as lines of a segment."""
        yield Snapshot(folds_to, self.store, self.rows.keys(), self.files_dir)
        yield from self.rows.lines()
        yield from sorted(self.refused.values(), key=lambda refused: refused.path)
        yield from sorted(self.facts.values(), key=lambda facts: facts.path)
        yield from self.deleting.values()
        for doubt in self.doubts.values():
            intent = doubt.intent
            if doubt.partial:
                intent = replace(intent, files=tuple(doubt.open.values()), partial=True)
            yield intent
            for _ in range(doubt.settled_looks):
                yield Looked(intent.request_id, intent.written_at, 0, settled=True)

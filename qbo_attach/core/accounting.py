"""Which attachable is which attachment's, after the fact: by id, by marker, by place, name, size.

Takes each attachable that QBO shows and strikes it off against the run log; what is left on either
side when all were taken is then brought together, the surest sign first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from qbo_attach.core.chain import Done, GroupFile, entity_refs
from qbo_attach.core.differences import Finding, State, cells_of, compared, difference, refs_of
from qbo_attach.core.existing import small_id
from qbo_attach.core.file_types import FileTypes
from qbo_attach.core.history import History
from qbo_attach.core.model import Attachable, Status
from qbo_attach.core.naming import folded, idempotency_key
from qbo_attach.core.strangers import Refs, Seen, Strangers, seen
from qbo_attach.core.tables import VerificationRow

Verified = Callable[[], Iterable[VerificationRow]]


class Leftover(NamedTuple):
    """An attachable that is no attachment's own. `like`: whose content it may have."""

    one: Seen
    finding: Finding
    like: tuple[Done, ...] = ()


class Accounts:
    """The run log and the verification log on one side, QBO's attachables on the other.

    Args:
        realm_id: the company.
        history: the run log.
        file_types: tell under which name a file would be sent.
    """

    def __init__(self, realm_id: str, history: History, file_types: FileTypes) -> None:
        self.history = history
        self.findings: dict[str, Finding] = {}
        """What is not equal: done attachments by key, others by path."""
        self.twins: dict[str, str] = {}
        """Paths of attachments whose content went under another path, and that path."""
        self.leftovers: list[Leftover] = []
        self._realm_id = realm_id
        self._file_types = file_types
        self._strangers = Strangers()
        self._taken: dict[int, str] = {}
        """Paths of attachments that a stranger was found for, by hashes of its traits."""
        self._expected: dict[str | int, int] = {}
        """Of each attachable that QBO has not shown so far, a hash of what it is to be."""
        self._shown: set[str | int] = set()
        self._differing: dict[str | int, Seen] = {}
        for done in history.rows.rows():
            name = small_id(done.attachable_id)
            wanted = _hash(refs_of(done), done.sent_file_name, done.size_bytes)
            # What was there before may be several attachments: then none is like it at first sight.
            self._expected[name] = _SEVERAL if name in self._expected else wanted

    @property
    def shown(self) -> int:
        """How many attachables QBO has shown."""
        return len(self._shown)

    def add(self, attachable: Attachable) -> None:
        """Take an attachable that QBO shows; a second time it counts for nothing."""
        name = small_id(attachable.id)
        if name in self._shown:
            return
        self._shown.add(name)
        expected = self._expected.pop(name, None)
        if expected is None:
            self._strangers.add(seen(attachable))
        elif expected != _hash(attachable.refs, attachable.file_name, attachable.size_bytes):
            self._differing[name] = seen(attachable)

    def unseen(self) -> list[str]:
        """Ids of attachables that the run log has and QBO has not shown so far."""
        return [str(name) for name in self._expected if name != ""]

    def settle(self, verified: Verified) -> None:
        """Find what the rest of both sides may be to one another; after all were taken."""
        gone = self._not_as_sent()
        for done in gone:
            self.findings[done.key] = self._instead(done) or Finding(
                State.MISSING, f"QBO has no attachable {done.attachable_id}"
            )
        for doubt in self.history.doubts.values():
            for file in doubt.open.values():
                self.findings[file.path] = self._doubtful(file)
        self._find_twins(verified)
        for row in verified():
            if self._is_open(row) and row.file_path not in self.twins:
                finding = self._unsent(row)
                if finding is not None:
                    self.findings[row.file_path] = finding
        self._find_replaced(gone)
        self.leftovers = list(self._left())

    def _not_as_sent(self) -> list[Done]:
        """Note how what QBO shows differs from what was sent; returns what it does not show."""
        gone: list[Done] = []
        for done in self.history.rows.rows() if self._expected or self._differing else ():
            name = small_id(done.attachable_id)
            if name in self._expected:
                gone.append(done)
            elif name in self._differing:
                differs = difference(self._differing[name], done)
                if differs is not None:
                    self.findings[done.key] = differs
        return gone

    def _instead(self, done: Done) -> Finding | None:
        """Another attachable where a done one is gone: with its marker, or just like it."""
        other = self._strangers.take_marked(done.key) or self._strangers.take_like(
            refs_of(done), {folded(done.sent_file_name)}, done.size_bytes
        )
        return None if other is None else self._replaced(done, other)

    def _replaced(self, done: Done, other: Seen) -> Finding:
        self._take(done.path, other)
        reason = f"the run log has attachable {done.attachable_id}, QBO has {other.id} instead"
        differs = difference(other, done)
        if differs is None:
            return Finding(State.UNRECORDED, reason, other)
        return Finding(differs.state, f"{differs.reason}; {reason}", other)

    def _find_replaced(self, gone: list[Done]) -> None:
        """Of what is still missing: a stranger of its name at its entities is what became of it."""
        if not len(self._strangers):
            return
        for done in gone:
            if self.findings[done.key].state is State.MISSING:
                other = self._strangers.take_named(refs_of(done), folded(done.sent_file_name))
                if other is not None:
                    self.findings[done.key] = self._replaced(done, other)

    def _doubtful(self, file: GroupFile) -> Finding:
        other = self._strangers.take_marked(file.key)
        where = f"QBO has it as attachable {other.id}" if other is not None else "QBO has it not"
        return Finding(State.IN_DOUBT, f"its upload was not answered, {where}: run again", other)

    def _is_open(self, row: VerificationRow) -> bool:
        path = row.file_path
        return (
            row.status == Status.OK
            and path not in self.history.done
            and path not in self.history.doubt_of_path
        )

    def _find_twins(self, verified: Verified) -> None:
        """Attachments whose content went to their entity under another path."""
        wanted: dict[tuple[str, str, str], list[str]] = {}
        for row in verified():
            facts = self.history.facts.get(row.file_path)
            if facts is not None and facts.sha256 and self._is_open(row):
                content = (row.qbo_entity_type, row.qbo_entity_id, facts.sha256)
                wanted.setdefault(content, []).append(row.file_path)
        for done in self.history.rows.rows() if wanted else ():
            content = (done.qbo_entity_type, done.qbo_entity_id, done.sha256)
            self.twins.update(dict.fromkeys(wanted.pop(content, ()), done.path))

    def _unsent(self, row: VerificationRow) -> Finding | None:
        """What QBO may have of an attachment that no run has sent; None: nothing."""
        if not len(self._strangers):
            return None
        name = self._file_types.sent_name(row.file_name)
        types, ids, size = row.qbo_entity_type, row.qbo_entity_id, int(row.size_bytes)
        refs = entity_refs(types, ids)
        names = {folded(row.file_name), folded(name)}
        there = self._strangers.take_like(refs, names, size, by_digest_name=True)
        differs = None
        if there is None:
            there = self._strangers.take_marked(self._key(types, ids, name))
            if there is None:
                return None
            differs = compared(there, refs, name, size)
        self._take(row.file_path, there)
        return differs or Finding(State.UNRECORDED, "the run log does not know it", there)

    def _take(self, path: str, one: Seen) -> None:
        for trait in _traits(one):
            self._taken[trait] = path

    def _key(self, types: str, ids: str, name: str) -> str:
        return idempotency_key(self._realm_id, types, ids, name)

    def _left(self) -> Iterator[Leftover]:
        """What is nobody's, and what each may be a copy of."""
        done_by_key = self.history.done_by_key
        like: dict[tuple[Refs, int | None], list[Done]] = {
            (one.refs, one.size_bytes): [] for one in self._strangers
        }
        for done in self.history.rows.rows() if like else ():
            same = like.get((refs_of(done), done.size_bytes))
            if same is not None:
                same.append(done)
        for one in self._strangers:
            copies = tuple(like[one.refs, one.size_bytes])
            marked = next((done_by_key[mark] for mark in one.marks if mark in done_by_key), None)
            named = done_by_key.get(self._key(*cells_of(one.refs), one.file_name))
            taken = next((self._taken[t] for t in _traits(one) if t in self._taken), "")
            if marked is not None:
                yield Leftover(one, second(marked.path, "carries its marker", one))
            elif named is not None and named.size_bytes == one.size_bytes:
                why = "has its entity, name and size"
                yield Leftover(one, second(named.path, why, one), copies)
            elif taken:
                why = "has its marker, or its entity, name and size"
                yield Leftover(one, second(taken, why, one))
            else:
                note = "" if one.size_bytes is not None else "a note, without a file"
                yield Leftover(one, Finding(State.UNKNOWN, note, one), copies)


_SEVERAL = 0


def _hash(refs: Refs, file_name: str, size_bytes: int | None) -> int:
    return hash((refs, file_name, size_bytes)) or 1


def second(path: str, why: str, one: Seen) -> Finding:
    """That an attachable is one too many of an attachment."""
    return Finding(State.DOUBLED, f"{why}: a second attachable of {path}", one)


def _traits(one: Seen) -> Iterator[int]:
    """Hashes of its markers, and of its place, name and size."""
    yield from map(hash, one.marks)
    yield hash((one.refs, folded(one.file_name), one.size_bytes))

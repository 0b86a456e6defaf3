"""One pass of decisions over the verified rows: the table in core/planning, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from qbo_attach.core.chain import Done, GroupFile
from qbo_attach.core.done import State
from qbo_attach.core.existing import Wanting
from qbo_attach.core.model import OF_ITS_TWIN, SAME_AS, Action, Outcome
from qbo_attach.core.naming import digest_names, folded
from qbo_attach.core.tables import VerificationRow

if TYPE_CHECKING:
    from qbo_attach.core.planning import Planner

MISSING = "missing"
CHANGED = "changed"
"""What a digest may be instead: the file is gone, or is not what was listed."""


class Decision(NamedTuple):
    """What is to be done with one attachment, and under which name it goes or went.

    `attachable_id`: of the attachable that is this attachment in QBO already, or has its content.
    """

    action: Action
    reason: str
    sent_file_name: str = ""
    key: str = ""
    sha256: str = ""
    attachable_id: str = ""


class _There(NamedTuple):
    """Where a content is or goes: from which path, and which attachable it is, if it is done."""

    path: str
    attachable_id: str = ""


@dataclass(slots=True)
class Survey:
    """What one pass over all verified rows shows.

    `ok` counts the attachments. `shared`: natural keys that several attachments have, with those
    in order. `gone`: done attachments whose path is not among the rows, by entity and size;
    `doubted`: one in doubt of each such place.
    `names`: hashes of all names within their entities; `twice`: of those that occur again.
    `plain`: hashes of the paths that are done and unchanged, as size, time and etag tell; `exact`
    counts those of them whose size, time and etag the run log has to the letter.
    """

    ok: int = 0
    exact: int = 0
    twice: set[int] = field(default_factory=set)
    plain: set[int] = field(default_factory=set)
    shared: dict[str, list[VerificationRow]] = field(default_factory=dict)
    gone: dict[tuple[str, str, int], list[Done]] = field(default_factory=dict)
    doubted: dict[tuple[str, str, int], GroupFile] = field(default_factory=dict)
    names: set[int] = field(default_factory=set)

    @property
    def all_plain(self) -> bool:
        """Whether every attachment is done and unchanged, under a name that no other has."""
        return len(self.plain) == self.ok and not self.twice

    @property
    def settled(self) -> bool:
        """Whether, besides, the run log has nothing to learn of any attachment."""
        return self.all_plain and self.exact == self.ok


def state_of(row: VerificationRow) -> State:
    """What a done attachment is compared with."""
    return row.qbo_entity_type, row.qbo_entity_id, int(row.size_bytes), row.modified_at, row.etag


class Sitting:
    """One pass of decisions; remembers which names and renames it has given away."""

    def __init__(self, planner: Planner, survey: Survey, digests: Mapping[str, str]) -> None:
        self._planner = planner
        self._history = planner.history
        self._survey = survey
        self._digests = digests
        self._resolved: dict[str, Decision] = {}
        self._taken: dict[str, str] = {}
        self._renamed: set[str] = set()
        self.to_download: list[str] = []
        """Ids of attachables whose digest must be known before these decisions hold."""
        self.believed: set[str] = set()
        """Paths taken for what was adopted unread under their name and size, with QBO not asked."""

    def decide(self, row: VerificationRow) -> Decision:
        """The table in this module's docstring."""
        if row.file_path in self._resolved:
            return self._resolved.pop(row.file_path)
        if self._survey.shared:
            key = self._planner.natural_key(row)
            members = self._survey.shared.get(key)
            if members is not None:
                self._resolve(key, members)
                return self._resolved.pop(row.file_path)
        if hash(row.file_path) in self._survey.plain:
            sent = self._history.rows.sent_exactly(row.file_path, state_of(row))
            if sent is not None:  # what `_again` would say of it, in a fraction of the time
                return Decision(Action.SKIP, "done", *sent)
        return self._settled(row) or self._alone(row)

    def digest(self, row: VerificationRow) -> str:
        """The row's digest, as read for this plan or known before; "" where nothing needed it."""
        done = self._history.rows.at_path(row.file_path)
        read = self._digests.get(row.file_path) or self._planner.known_digest(row)
        return read or (done.sha256 if done is not None else "")

    def _settled(self, row: VerificationRow) -> Decision | None:
        """Decisions that concern this attachment alone."""
        done = self._history.rows.at_path(row.file_path)
        if done is not None:
            return self._again(row, done)
        file = self._history.doubtful_file(row.file_path)
        if file is not None:
            reason = "sent before, the answer is not known"
            return Decision(Action.LOOK, reason, file.sent_file_name, file.key, file.sha256)
        place = (row.qbo_entity_type, row.qbo_entity_id, int(row.size_bytes))
        moved = self._survey.doubted.get(place)
        if moved is not None:
            # It may be the same file under a new path: what became of that one decides first.
            return Decision(Action.LOOK, f"{moved.path}, of its size, is gone and in doubt")
        refused = self._history.refused.get(row.file_path)
        if refused is not None and self._planner.skip_refused:
            return Decision(Action.REFUSED, f"refused before: {refused.error}")
        digest = self.digest(row)
        if digest == MISSING:
            return Decision(Action.FILE_MISSING, "the file is gone since the inventory")
        if digest == CHANGED:
            return Decision(Action.SOURCE_CHANGED, "the file changed since the inventory")
        return self._rename(row, digest)

    def _again(self, row: VerificationRow, done: Done) -> Decision:
        planner = self._planner
        name, key = done.sent_file_name, done.key
        if not planner.entity_is(done, row):
            was = f"{done.qbo_entity_type}:{done.qbo_entity_id}"
            return Decision(Action.CHANGED, f"entity_changed: it was sent to {was}", name, key)
        if planner.facts_equal(done, row):
            return Decision(Action.SKIP, "done", name, key, done.sha256, done.attachable_id)
        if done.size_bytes == int(row.size_bytes):
            digest = self.digest(row)
            if digest == MISSING:
                return Decision(Action.FILE_MISSING, "the file is gone since the inventory")
            # What was found in QBO was believed by its size, unread: so it is once more.
            found = not done.sha256 and done.outcome == Outcome.ALREADY_IN_QBO
            if digest and (found or digest == done.sha256):
                reason = "done; same content at another time"
                return Decision(Action.SKIP, reason, name, key, digest, done.attachable_id)
        return Decision(Action.CHANGED, "content_changed since it was sent", name, key)

    def _rename(self, row: VerificationRow, digest: str) -> Decision | None:
        if not digest:
            return None
        place = (row.qbo_entity_type, row.qbo_entity_id, int(row.size_bytes))
        for done in self._survey.gone.get(place, ()):
            if done.key not in self._renamed and self._is_moved(done, row, digest):
                self._renamed.add(done.key)
                reason, name = f"renamed from {done.path}", done.sent_file_name
                return Decision(Action.SKIP, reason, name, done.key, digest, done.attachable_id)
        return None

    def _is_moved(self, done: Done, row: VerificationRow, digest: str) -> bool:
        """Whether a done attachment of this entity and size, whose path is gone, is this one.

        Its digest is not known where it was found in QBO by name and size alone, which is believed
        of its name once more, or where its source was gone when it was adopted.
        """
        existing = self._planner.existing
        known = done.sha256 or (existing.digest(done.attachable_id) if existing else "")
        if known:
            return known == digest
        found = done.outcome == Outcome.ALREADY_IN_QBO
        if found or not existing:
            if not found:
                self.believed.add(row.file_path)
            return done.key == self._planner.natural_key(row)
        self.to_download.append(done.attachable_id)
        return False

    def _alone(self, row: VerificationRow) -> Decision:
        """Decide on an attachment that shares its name with no other one that is here."""
        name = self._planner.sent_name(row)
        key = self._planner.key(row, name)
        if not (
            self._history.holds(key)
            or key in self._taken
            or self._planner.may_exist(row, name, self._survey)
        ):
            return Decision(Action.SEND, "", name, key)
        self._resolve(key, [row])
        return self._resolved.pop(row.file_path)

    def _resolve(self, natural_key: str, members: list[VerificationRow]) -> None:
        """Decide all members of a shared name at once, in their order."""
        unsent: list[VerificationRow] = []
        contents: set[str] = set()
        for member in members:
            settled = self._settled(member)
            digest = self.digest(member)
            if settled is None:
                unsent.append(member)
            else:
                self._resolved[member.file_path] = settled
            if digest not in (MISSING, CHANGED):
                contents.add(digest or member.file_path)
        sent = self._held(natural_key, members) | self._moved(members)
        for path, decision in self._existing(natural_key, members, unsent).items():
            self._resolved[path] = decision
            if decision.sha256:
                sent.setdefault(decision.sha256, _There(path))
        self._resolved.update(self._refused_too(members, unsent, sent))
        unsent = [member for member in unsent if member.file_path not in self._resolved]
        natural = (
            len(contents) == 1
            and not self._history.holds(natural_key)
            and natural_key not in self._taken
            and not any(self._planner.name_exists(m, self._planner.sent_name(m)) for m in unsent)
        )
        doubted = self._doubted(natural_key)
        for member in unsent:
            digest = self.digest(member)
            if digest in sent:
                decision = _duplicate(sent[digest], digest)
            elif doubted is not None and doubted.size_bytes == int(member.size_bytes):
                # It may be the very same content, moved: its look decides first.
                decision = Decision(Action.LOOK, f"{doubted.path}, of the same name, is in doubt")
            else:
                decision = self._give_name(member, digest, natural=natural)
                if decision.action is Action.SEND:
                    sent[digest] = _There(member.file_path)
            self._resolved[member.file_path] = decision

    def _refused_too(
        self,
        members: list[VerificationRow],
        unsent: list[VerificationRow],
        sent: Mapping[str, _There],
    ) -> dict[str, Decision]:
        """Those of the unsent members whose content was refused from another path, by path."""
        decided = ((self.digest(m), self._resolved.get(m.file_path)) for m in members)
        refused = {
            digest: decision.reason + OF_ITS_TWIN
            for digest, decision in decided
            if decision is not None
            and decision.action is Action.REFUSED
            and digest not in ("", MISSING, CHANGED)
        }
        return {
            member.file_path: Decision(Action.REFUSED, refused[digest], sha256=digest)
            for member in unsent
            if (digest := self.digest(member)) in refused and digest not in sent
        }

    def _existing(
        self, natural_key: str, members: list[VerificationRow], unsent: list[VerificationRow]
    ) -> dict[str, Decision]:
        """Those of the unsent members that QBO has already, by path."""
        planner = self._planner
        existing = planner.existing
        if not existing or not unsent:
            return {}
        names = sorted({name for m in unsent for name in (m.file_name, planner.sent_name(m))})
        first: dict[str, VerificationRow] = {}
        for member in unsent:
            first.setdefault(self.digest(member) or member.file_path, member)
        wanting = [
            Wanting(member.file_path, int(member.size_bytes), self.digest(member))
            for member in first.values()
        ]
        candidates = {
            held.id: held
            for member in first.values()
            for held in planner.candidates(member, names, self._survey)
        }
        if not candidates:
            return {}
        done = [self._history.rows.at_path(member.file_path) for member in members]
        done.append(self._history.done_by_key.get(natural_key))
        rivals = [was.size_bytes for was in done if was is not None]
        place = planner.place(unsent[0])
        paired, download = existing.pair(place, list(candidates.values()), wanting, names, rivals)
        self.to_download += download
        decisions: dict[str, Decision] = {}
        for member in first.values():
            held = paired.get(member.file_path)
            if held is not None:
                digest = self.digest(member)
                key = self._key_of_existing(member, held.file_name, digest)
                reason = f"QBO has it as attachable {held.id}"
                decisions[member.file_path] = Decision(
                    Action.EXISTING, reason, held.file_name, key, digest, held.id
                )
        return decisions

    def _key_of_existing(self, row: VerificationRow, name: str, digest: str) -> str:
        """Its key; where QBO has several of that name, that of its digest name from the second.

        Of digest names only one that no attachment has by itself, which would have its key.
        """
        for number, tried in enumerate((name, *islice(digest_names(name, digest), 8))):
            key = self._planner.key(row, tried)
            place = (row.qbo_entity_type, row.qbo_entity_id, folded(tried))
            theirs = number > 0 and hash(place) in self._survey.names
            if not theirs and not self._history.holds(key) and key not in self._taken:
                self._taken[key] = digest
                return key
        raise AssertionError("eight digest names are taken")  # pragma: no cover

    def _moved(self, members: list[VerificationRow]) -> dict[str, _There]:
        """Digests that are at QBO since before a member had its path, and by which member."""
        decided = ((m.file_path, self._resolved.get(m.file_path)) for m in members)
        return {
            decision.sha256: _There(path, decision.attachable_id)
            for path, decision in decided
            if decision is not None and decision.action is Action.SKIP and decision.sha256
        }

    def _held(self, natural_key: str, members: list[VerificationRow]) -> dict[str, _There]:
        """Digests that are at QBO, or on their way, under these names; and from where.

        What went to an entity that a file was mapped to before is not at the one it has now.
        """
        held: dict[str, _There] = {}
        for member in members:
            done = self._history.rows.at_path(member.file_path)
            doubt = self._history.doubtful_file(member.file_path)
            for was in (done, doubt):
                if was is None or not self._planner.entity_is(was, member):
                    continue
                sha256 = was.sha256
                if not sha256 and done is not None:
                    unread = self._planner.facts_equal(done, member)
                    sha256 = self.digest(member) if unread else self._learned(done, members)
                if sha256 not in ("", MISSING, CHANGED):
                    held.setdefault(sha256, _there(was))
        holder = self._history.done_by_key.get(natural_key)
        if holder is not None:
            sha256 = holder.sha256 or self._learned(holder, members)
            if sha256:
                held.setdefault(sha256, _there(holder))
        return held

    def _learned(self, done: Done, members: list[VerificationRow]) -> str:
        """The digest at QBO of one that nobody has read, where it may be another member's."""
        existing = self._planner.existing
        known = existing.digest(done.attachable_id) if existing else ""
        if existing and not known:
            others = (m for m in members if m.file_path != done.path)
            if any(int(other.size_bytes) == done.size_bytes for other in others):
                self.to_download.append(done.attachable_id)
        return known

    def _doubted(self, natural_key: str) -> GroupFile | None:
        request_id = self._history.doubt_of_key.get(natural_key)
        return None if request_id is None else self._history.doubts[request_id].open[natural_key]

    def _give_name(self, row: VerificationRow, digest: str, *, natural: bool) -> Decision:
        planner = self._planner
        plain = planner.sent_name(row)
        if natural:
            key = planner.key(row, plain)
            self._taken[key] = digest
            return Decision(Action.SEND, "", plain, key, digest)
        for name in digest_names(plain, digest):
            key = planner.key(row, name)
            holder = self._history.done_by_key.get(key)
            if holder is not None and holder.sha256 == digest:
                return _duplicate(_there(holder), digest)
            if not self._is_free(row, name, key):
                continue
            self._taken[key] = digest
            return Decision(
                Action.SEND, "another attachment of this entity has its name", name, key, digest
            )
        raise AssertionError("digest names have no end")  # pragma: no cover

    def _is_free(self, row: VerificationRow, name: str, key: str) -> bool:
        place = (row.qbo_entity_type, row.qbo_entity_id, folded(name))
        return not (
            self._history.holds(key)
            or key in self._taken
            or hash(place) in self._survey.names
            or self._planner.name_exists(row, name)
        )


def _there(was: Done | GroupFile) -> _There:
    return _There(was.path, was.attachable_id if isinstance(was, Done) else "")


def _duplicate(of: _There, digest: str) -> Decision:
    reason = SAME_AS + of.path
    return Decision(Action.DUPLICATE_CONTENT, reason, sha256=digest, attachable_id=of.attachable_id)

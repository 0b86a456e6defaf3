"""The plan: for each `ok` attachment what the next upload would do with it.

Decisions, first that applies:

| the attachment                                                       | action            |
| -------------------------------------------------------------------- | ----------------- |
| done, at this path, under this entity; size, time and etag equal     | skip              |
| ... else its digest equal                                            | skip, new facts   |
| ... else                                                             | changed           |
| done, at this path, under another entity                             | changed           |
| in doubt                                                             | look              |
| refused before, and refused ones are to be left                      | refused           |
| equal to a done one of its entity whose path is gone                 | skip (renamed)    |
| alone under its name in its entity                                   | send              |
| equal content is done, in doubt or sent under this name              | duplicate_content |
| its name is held by, or shared with, differing content               | send, digest name |
| gone, when its digest had to be read                                 | file_missing      |
| not what was listed, when its digest had to be read                  | source_changed    |

Two passes over the verified rows: `survey` finds the names that several attachments share;
`decide` gives one row each, in the order of the verified rows. In between the caller reads the
digests that `wants_digest` asks for: nothing else has to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qbo_attach.core.chain import Done, Facts, GroupFile
from qbo_attach.core.file_types import FileTypes
from qbo_attach.core.history import History
from qbo_attach.core.model import Action, Outcome, Status
from qbo_attach.core.naming import digest_names, folded, idempotency_key
from qbo_attach.core.tables import PlanRow, VerificationRow

MISSING = "missing"
CHANGED = "changed"
"""What a digest may be instead: the file is gone, or is not what was listed."""

OUTCOME_OF: dict[str, Outcome] = {
    Action.SKIP: Outcome.SKIPPED_ALREADY_UPLOADED,
    Action.CHANGED: Outcome.CHANGED,
    Action.EXISTING: Outcome.ALREADY_IN_QBO,
    Action.DUPLICATE_CONTENT: Outcome.DUPLICATE_CONTENT,
    Action.FILE_MISSING: Outcome.FILE_MISSING,
    Action.SOURCE_CHANGED: Outcome.SOURCE_CHANGED,
    Action.REFUSED: Outcome.ERROR,
    Action.LOOK: Outcome.IN_DOUBT,
    Action.SEND: Outcome.NOT_SENT,
}
"""The outcome of a planned row that the run did nothing with (or had not yet reached)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with one attachment, and under which name it goes or went."""

    action: Action
    reason: str
    sent_file_name: str = ""
    key: str = ""
    sha256: str = ""


@dataclass(slots=True)
class Survey:
    """What one pass over all verified rows shows.

    `shared`: natural keys that several attachments have. `gone`: done attachments whose path is
    not among the rows, by entity and size. `members`: the attachments of each shared key, in
    order. `names`: hashes of all natural keys.
    """

    shared: dict[str, list[VerificationRow]] = field(default_factory=dict)
    gone: dict[tuple[str, str, int], list[Done]] = field(default_factory=dict)
    names: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Planner:
    """Decides; holds what all decisions share.

    `store` names the store that FILES_DIR lies in: etags compare only within one store.
    `skip_refused` leaves attachments alone that QBO refused before.
    """

    realm_id: str
    history: History
    file_types: FileTypes
    store: str
    skip_refused: bool = False

    def survey(self, rows: Callable[[], Iterable[VerificationRow]]) -> Survey:
        """Find shared names and vanished paths. Reads the rows twice, holds few of them."""
        survey = Survey()
        twice: set[int] = set()
        present: set[str] = set()
        done = self.history.done
        for row in rows():
            if row.status == Status.OK:
                name = hash(self._name(row))
                if name in survey.names:
                    twice.add(name)
                survey.names.add(name)
                if row.file_path in done:
                    present.add(row.file_path)
        if twice:
            survey.shared = self._shared(rows(), twice)
        if len(present) < len(done):
            for path, was in done.items():
                if path not in present:
                    place = (was.qbo_entity_type, was.qbo_entity_id, was.size_bytes)
                    survey.gone.setdefault(place, []).append(was)
        return survey

    def _shared(
        self, rows: Iterable[VerificationRow], names: set[int]
    ) -> dict[str, list[VerificationRow]]:
        shared: dict[str, list[VerificationRow]] = {}
        for row in rows:
            if row.status == Status.OK and hash(self._name(row)) in names:
                shared.setdefault(self.natural_key(row), []).append(row)
        # Two different names may have one hash: those are not shared.
        return {key: members for key, members in shared.items() if len(members) > 1}

    def wants_digest(self, row: VerificationRow, survey: Survey) -> bool:
        """Whether a decision on this row needs the file's digest."""
        if row.status != Status.OK or self.known_digest(row):
            return False
        done = self.history.done.get(row.file_path)
        if done is not None:
            # A done member of a shared name has its digest in the log already.
            return (
                self.entity_is(done, row)
                and not self.facts_equal(done, row)
                and done.size_bytes == int(row.size_bytes)
                and bool(done.sha256)
            )
        if row.file_path in self.history.doubt_of_path:
            return False
        place = (row.qbo_entity_type, row.qbo_entity_id, int(row.size_bytes))
        key = self.natural_key(row)
        return place in survey.gone or key in survey.shared or self.history.holds(key)

    def decide(
        self,
        rows: Iterable[VerificationRow],
        survey: Survey,
        digests: Mapping[str, str],
    ) -> Iterator[PlanRow]:
        """One plan row for each `ok` row, in their order.

        Args:
            rows: the verified rows, the same as surveyed.
            survey: what `survey` found.
            digests: by path, of the rows that `wants_digest` named: a sha256, MISSING or CHANGED.
        """
        sitting = _Sitting(self, survey, digests)
        for row in rows:
            if row.status == Status.OK:
                yield self._plan_row(row, sitting.decide(row))

    def _plan_row(self, row: VerificationRow, decision: Decision) -> PlanRow:
        return PlanRow(
            row.legacy_txnid_norm,
            row.legacy_entity_type,
            row.raw_legacy_id,
            row.file_name,
            row.file_path,
            row.qbo_entity_type,
            row.qbo_entity_id,
            decision.action.value,
            decision.reason,
            decision.sent_file_name,
            self.file_types.content_type(row.file_name),
            decision.key,
            row.client,
            row.size_bytes,
            row.modified_at,
            row.etag,
            decision.sha256,
        )

    def sent_name(self, row: VerificationRow) -> str:
        """The name an attachment has by itself, before any collision."""
        return self.file_types.sent_name(row.file_name)

    def key(self, row: VerificationRow, sent_file_name: str) -> str:
        """Idempotency key of this attachment under that name."""
        return idempotency_key(
            self.realm_id, row.qbo_entity_type, row.qbo_entity_id, sent_file_name
        )

    def _name(self, row: VerificationRow) -> tuple[str, str, str]:
        return row.qbo_entity_type, row.qbo_entity_id, folded(self.sent_name(row))

    def natural_key(self, row: VerificationRow) -> str:
        """Idempotency key of this attachment under the name it has by itself."""
        return self.key(row, self.sent_name(row))

    def entity_is(self, done: Done, row: VerificationRow) -> bool:
        """Whether it was sent to the entity that it is mapped to now."""
        return (done.qbo_entity_type, done.qbo_entity_id) == (
            row.qbo_entity_type,
            row.qbo_entity_id,
        )

    def facts_equal(self, done: Done, row: VerificationRow) -> bool:
        """Whether size, time and etag say that the file is what was sent."""
        return same_facts(
            (done.size_bytes, done.modified_at, done.etag),
            (int(row.size_bytes), row.modified_at, row.etag),
            etags_compare=done.store == self.store,
        )

    def known_digest(self, row: VerificationRow) -> str:
        """Digest of a file that an earlier run read and that is what it was; else ""."""
        facts = self.history.facts.get(row.file_path)
        if facts is not None and same_facts(
            (facts.size_bytes, facts.modified_at, facts.etag),
            (int(row.size_bytes), row.modified_at, row.etag),
            etags_compare=True,
        ):
            return facts.sha256
        return ""


class _Sitting:
    """One pass of decisions; remembers which names and renames it has given away."""

    def __init__(self, planner: Planner, survey: Survey, digests: Mapping[str, str]) -> None:
        self._planner = planner
        self._history = planner.history
        self._survey = survey
        self._digests = digests
        self._resolved: dict[str, Decision] = {}
        self._taken: dict[str, str] = {}
        self._renamed: set[str] = set()

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
        return self._settled(row) or self._alone(row)

    def digest(self, row: VerificationRow) -> str:
        """The row's digest, as read for this plan or known before; "" where nothing needed it."""
        done = self._history.done.get(row.file_path)
        read = self._digests.get(row.file_path) or self._planner.known_digest(row)
        return read or (done.sha256 if done is not None else "")

    def _settled(self, row: VerificationRow) -> Decision | None:
        """Decisions that concern this attachment alone."""
        done = self._history.done.get(row.file_path)
        if done is not None:
            return self._again(row, done)
        file = self._history.doubtful_file(row.file_path)
        if file is not None:
            reason = "sent before, the answer is not known"
            return Decision(Action.LOOK, reason, file.sent_file_name, file.key, file.sha256)
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
            return Decision(Action.SKIP, "done", name, key, done.sha256)
        if done.size_bytes == int(row.size_bytes):
            digest = self.digest(row)
            if digest == MISSING:
                return Decision(Action.FILE_MISSING, "the file is gone since the inventory")
            if digest == done.sha256:
                return Decision(
                    Action.SKIP, "done; same content at another time", name, key, digest
                )
        return Decision(Action.CHANGED, "content_changed since it was sent", name, key)

    def _rename(self, row: VerificationRow, digest: str) -> Decision | None:
        if not digest:
            return None
        place = (row.qbo_entity_type, row.qbo_entity_id, int(row.size_bytes))
        for done in self._survey.gone.get(place, ()):
            if done.sha256 == digest and done.key not in self._renamed:
                self._renamed.add(done.key)
                return Decision(
                    Action.SKIP, f"renamed from {done.path}", done.sent_file_name, done.key, digest
                )
        return None

    def _alone(self, row: VerificationRow) -> Decision:
        """Decide on an attachment that shares its name with no other one that is here."""
        name = self._planner.sent_name(row)
        key = self._planner.key(row, name)
        if not self._history.holds(key) and key not in self._taken:
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
        natural = (
            len(contents) == 1
            and not self._history.holds(natural_key)
            and natural_key not in self._taken
        )
        sent = self._held(natural_key, members)
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
                    sent[digest] = member.file_path
            self._resolved[member.file_path] = decision

    def _held(self, natural_key: str, members: list[VerificationRow]) -> dict[str, str]:
        """Digests that are at QBO, or on their way, under these names; and by which path."""
        held: dict[str, str] = {}
        for member in members:
            done = self._history.done.get(member.file_path)
            if done is not None and done.sha256:
                held.setdefault(done.sha256, done.path)
            doubt = self._history.doubtful_file(member.file_path)
            if doubt is not None and doubt.sha256:
                held.setdefault(doubt.sha256, doubt.path)
        holder = self._history.done_by_key.get(natural_key)
        if holder is not None and holder.sha256:
            held.setdefault(holder.sha256, holder.path)
        return held

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
                return _duplicate(holder.path, digest)
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
            self._history.holds(key) or key in self._taken or hash(place) in self._survey.names
        )


def _duplicate(path: str, digest: str) -> Decision:
    return Decision(Action.DUPLICATE_CONTENT, f"same content as {path}", sha256=digest)


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
    )


def new_facts(row: PlanRow, history: History) -> Facts | None:
    """What planning found out by reading a file that is not sent, if the log lacks it."""
    if not row.sha256 or row.action not in (Action.SKIP, Action.DUPLICATE_CONTENT):
        return None
    found = (int(row.size_bytes), row.modified_at, row.etag)
    key = row.idempotency_key if row.action == Action.SKIP else ""
    known = history.done_by_key.get(key) if key else history.facts.get(row.file_path)
    if known is not None and (known.path, known.size_bytes, known.modified_at, known.etag) == (
        row.file_path,
        *found,
    ):
        return None
    return Facts(row.file_path, *found, sha256=row.sha256, key=key)


def same_facts(
    one: tuple[int, str, str], other: tuple[int, str, str], *, etags_compare: bool
) -> bool:
    """Whether size, modification time and etag say that a file is what it was.

    Etags count only where both are given and from one store; times are compared in whole seconds
    if either side has nothing finer.
    """
    if one[0] != other[0]:
        return False
    if etags_compare and one[2] and other[2] and one[2] != other[2]:
        return False
    if one[1] == other[1]:
        return True
    if "." in one[1] and "." in other[1]:
        return False
    return one[1].rstrip("Z").partition(".")[0] == other[1].rstrip("Z").partition(".")[0]

"""The plan: for each `ok` attachment what the next upload would do with it.

Decisions, first that applies:

| the attachment                                                       | action            |
| -------------------------------------------------------------------- | ----------------- |
| done, at this path, under this entity; size, time and etag equal     | skip              |
| ... else its digest equal                                            | skip, new facts   |
| ... else                                                             | changed           |
| done, at this path, under another entity                             | changed           |
| in doubt                                                             | look              |
| of entity and size of one in doubt whose path is gone                | look              |
| refused before, or its equal of this name was; those are to be left  | refused           |
| equal to a done one of its entity whose path is gone                 | skip (renamed)    |
| QBO has it, and no run made that (core/existing)                     | existing          |
| alone under its name in its entity                                   | send              |
| equal content is done, in doubt or sent under this name              | duplicate_content |
| its name is held by, or shared with, differing content               | send, digest name |
| gone, when its digest had to be read                                 | file_missing      |
| not what was listed, when its digest had to be read                  | source_changed    |

Two passes over the verified rows: `survey` finds the names that several attachments share;
`decide` gives one row each, in the order of the verified rows. In between the caller reads the
digests that `wants_digest` asks for, and downloads the attachables that `to_download` names:
nothing else has to be read. Where all is done there is nothing to decide: `skips` needs one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from qbo_attach.core.chain import Done, GroupFile, entity_refs
from qbo_attach.core.existing import Existing, Held, Place
from qbo_attach.core.file_types import FileTypes
from qbo_attach.core.history import History
from qbo_attach.core.model import Action, Outcome, Status
from qbo_attach.core.naming import folded, idempotency_key
from qbo_attach.core.sitting import CHANGED, MISSING, Decision, Sitting, Survey, state_of
from qbo_attach.core.tables import PlanRow, VerificationRow

__all__ = ["CHANGED", "MISSING", "Decision", "Planner", "Survey", "UnsettledError"]


_STATUS = VerificationRow._fields.index("status")
"""The columns before it are the first ones of the plan, too."""
_TEXT_OF = {action: action.value for action in Action}
_make_row: Callable[[tuple[str, ...]], PlanRow] = partial(tuple.__new__, PlanRow)
"""`PlanRow` itself takes a third longer, and there are hundreds of thousands."""


class UnsettledError(Exception):
    """Not every attachment is done to the letter, under a name that no other has."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Decides; holds what all decisions share.

    `store` names the store that FILES_DIR lies in: etags compare only within one store.
    `skip_refused` leaves attachments alone that QBO refused before. `existing`: what QBO holds, or
    None where it was not asked. `gone`: attachments that were done and are to be sent again since
    QBO has them no more, by path the id that they had; `history` has them as deleted.
    """

    realm_id: str
    history: History
    file_types: FileTypes
    store: str
    skip_refused: bool = False
    existing: Existing | None = None
    gone: Mapping[str, str] = field(default_factory=dict)

    def entities_to_send(
        self, rows: Iterable[VerificationRow], survey: Survey, digests: Mapping[str, str]
    ) -> dict[str, set[str]]:
        """The entities of what is to be sent, as far as the run log knows: by type their ids.

        Also those of moved attachments whose digest only a download can tell.
        """
        entities: dict[str, set[str]] = {}
        sitting = Sitting(self, survey, digests)
        for row in rows:
            if row.status != Status.OK or self._is_plain(row, survey):
                continue
            action = sitting.decide(row).action
            if action is Action.SEND or row.file_path in sitting.believed:
                for ref in entity_refs(row.qbo_entity_type, row.qbo_entity_id):
                    entities.setdefault(ref.type, set()).add(ref.id)
        return entities

    def skips(self, rows: Iterable[VerificationRow]) -> Iterator[PlanRow]:
        """What `decide` gives if every attachment is done, and its size, time and etag unchanged.

        Raises:
            UnsettledError: one is not so, or has another's name.
        """
        names: set[int] = set()
        for number, row in enumerate((row for row in rows if row.status == Status.OK), 1):
            sent = self.history.rows.sent_exactly(row.file_path, state_of(row))
            names.add(hash(self._name(row)))
            if sent is None or len(names) < number:
                raise UnsettledError
            yield self._plan_row(row, Decision(Action.SKIP, "done", *sent))

    def survey(self, rows: Callable[[], Iterable[VerificationRow]]) -> Survey:
        """Find shared names, vanished paths, and what is done and unchanged.

        Reads the rows once, and again where names are shared; holds few of them.
        """
        survey = Survey()
        changed: set[int] = set()
        done_rows = self.history.rows
        doubted = dict(self.history.doubt_of_path)
        for row in rows():
            if row.status == Status.OK:
                survey.ok += 1
                name = hash(self._name(row))
                if name in survey.names:
                    survey.twice.add(name)
                survey.names.add(name)
                if done_rows.is_exactly(row.file_path, state_of(row)):
                    survey.exact += 1
                    survey.plain.add(hash(row.file_path))
                elif (done := done_rows.at_path(row.file_path)) is not None:
                    plain = self.entity_is(done, row) and self.facts_equal(done, row)
                    (survey.plain if plain else changed).add(hash(row.file_path))
                if doubted:
                    doubted.pop(row.file_path, None)
        if survey.twice:
            survey.shared = self._shared(rows(), survey.twice)
        self._note_gone(survey, changed, doubted)
        return survey

    def _note_gone(self, survey: Survey, changed: set[int], doubted: Iterable[str]) -> None:
        """What is done or in doubt at paths that no row has."""
        if len(survey.plain) + len(changed) < self.history.rows.paths():
            for path, was in self.history.done.items():
                if hash(path) not in survey.plain and hash(path) not in changed:
                    place = (was.qbo_entity_type, was.qbo_entity_id, was.size_bytes)
                    survey.gone.setdefault(place, []).append(was)
        for path in doubted:
            file = self.history.doubtful_file(path)
            if file is not None:
                place = (file.qbo_entity_type, file.qbo_entity_id, file.size_bytes)
                survey.doubted[place] = file

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
        if row.status != Status.OK or self._is_plain(row, survey) or self.known_digest(row):
            return False
        done = self.history.rows.at_path(row.file_path)
        if done is not None:
            if not self.entity_is(done, row):
                return False
            if self.facts_equal(done, row):
                # It was found in QBO, or adopted, unread; now a namesake asks what it is.
                return not done.sha256 and self.natural_key(row) in survey.shared
            known = done.sha256 or done.outcome == Outcome.ALREADY_IN_QBO
            return done.size_bytes == int(row.size_bytes) and bool(known)
        if row.file_path in self.history.doubt_of_path:
            return False
        place = (row.qbo_entity_type, row.qbo_entity_id, int(row.size_bytes))
        key = self.natural_key(row)
        return (
            place in survey.gone
            or key in survey.shared
            or self.history.holds(key)
            or self._is_unclear(row, survey)
        )

    def _is_plain(self, row: VerificationRow, survey: Survey) -> bool:
        """Whether it is done and unchanged, and no other attachment has its name."""
        return hash(row.file_path) in survey.plain and hash(self._name(row)) not in survey.twice

    def _is_unclear(self, row: VerificationRow, survey: Survey) -> bool:
        """Whether its digest tells if QBO has it, or which name is left for it."""
        if not self.existing:
            return False
        name = self.sent_name(row)
        names = (row.file_name, name)
        found = self.candidates(row, names, survey)
        if len(found) == 1 and self.existing.is_plain(found[0], self.place(row), names):
            return False
        return bool(found) or self.name_exists(row, name)

    def candidates(self, row: VerificationRow, names: Iterable[str], survey: Survey) -> list[Held]:
        """The attachables at QBO that may be this attachment, which has these names."""
        if not self.existing:
            return []
        place = self.place(row)

        def in_tree(name: str) -> bool:
            return hash((*place, name)) in survey.names

        return self.existing.candidates(place, names, int(row.size_bytes), in_tree)

    def may_exist(self, row: VerificationRow, name: str, survey: Survey) -> bool:
        """Whether QBO holds something of this name, or that may be this attachment."""
        return self.name_exists(row, name) or bool(
            self.candidates(row, (row.file_name, name), survey)
        )

    def name_exists(self, row: VerificationRow, name: str) -> bool:
        """Whether QBO shows an attachable of this name at the attachment's entities."""
        return self.existing is not None and self.existing.holds(self.place(row), name)

    def place(self, row: VerificationRow) -> Place:
        """The attachment's entities, as its cells have them."""
        return row.qbo_entity_type, row.qbo_entity_id

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
        sitting = Sitting(self, survey, digests)
        for row in rows:
            if row.status == Status.OK:
                yield self._plan_row(row, sitting.decide(row))

    def to_download(
        self, rows: Iterable[VerificationRow], survey: Survey, digests: Mapping[str, str]
    ) -> list[str]:
        """Ids of the attachables whose bytes must be known to `existing` before `decide`."""
        sitting = Sitting(self, survey, digests)
        for row in rows:
            if row.status == Status.OK:
                sitting.decide(row)
        return sitting.to_download

    def _plan_row(self, row: VerificationRow, decision: Decision) -> PlanRow:
        action, reason, sent_file_name, key, sha256, attachable_id = decision
        cells = (
            *row[:_STATUS],
            _TEXT_OF[action],
            reason,
            sent_file_name,
            self.file_types.content_type(row.file_name),
            key,
            row.client,
            row.size_bytes,
            row.modified_at,
            row.etag,
            sha256,
            attachable_id,
            self.gone.get(row.file_path, ""),
            row.match_rule,
        )
        return _make_row(cells)

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

    def entity_is(self, done: Done | GroupFile, row: VerificationRow) -> bool:
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

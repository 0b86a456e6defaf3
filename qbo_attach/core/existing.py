"""What QBO holds already, and which attachment each of it is.

Attachables that the run log does not know come from Intuit's conversion, from a person, or from a
run whose LOG_DIR is lost. An attachment is `existing` when its entity holds an attachable that
nothing else accounts for, of the attachment's size, under its own name or its digest name:

| the attachable's content                               | it is the attachment              |
| ------------------------------------------------------ | --------------------------------- |
| known (downloaded, or sent by a run)                   | if the digest is the attachment's |
| shown by a digest name, that no file of the tree has   | if that is the attachment's       |
| else, and only this attachable and attachment may pair | yes, if their entities are equal  |
| else                                                   | download it, and see above        |

What may belong to an intent in doubt is left to its look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from qbo_attach.core.chain import Done, entity_refs
from qbo_attach.core.history import History
from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.core.naming import digest_in_name, folded, idempotency_key

Place = tuple[str, str]
"""Entity refs as two cells of a table have them: types and ids."""

UNKNOWN = "unknown"
"""The digest of an attachable whose bytes QBO does not give: it is equal to nothing."""


class Held(NamedTuple):
    """An attachable as far as it matters here."""

    id: str
    file_name: str
    size_bytes: int | None
    refs: tuple[EntityRef, ...]


class Wanting(NamedTuple):
    """An attachment that may be at QBO already. `digest` is "" where it was not read."""

    path: str
    size_bytes: int
    digest: str


class Existing:
    """The attachables of the entities that attachments are about to be sent to.

    `add` each attachable that QBO shows, then `account` once.

    Args:
        realm_id: the company.
        history: the run log; what it has as done or in doubt is accounted for.
        entities: those that matter, by type their ids; None: all.
    """

    def __init__(
        self, realm_id: str, history: History, entities: dict[str, set[str]] | None = None
    ) -> None:
        self._realm_id = realm_id
        self._history = history
        self._entities = entities
        self._at: dict[EntityRef, list[Held]] = {}
        self._claimed: set[tuple[str, Place]] = set()
        self._digests: dict[str, str] = {}
        self._shown: set[str | int] = set()

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
        if {attachable.tag, attachable.note} & self._history.doubt_of_key.keys():
            return
        held = Held(attachable.id, attachable.file_name, attachable.size_bytes, attachable.refs)
        for ref in attachable.refs:
            if self._entities is None or ref.id in self._entities.get(ref.type, ()):
                self._at.setdefault(ref, []).append(held)

    def account(self, counts: Callable[[Done], bool]) -> tuple[list[Done], int]:
        """See which attachables are the run log's; returns what QBO did not show of them.

        Args:
            counts: whether QBO was asked so that it would have shown this attachment.

        Returns:
            The done attachments that it did not show, and how many it should have shown.
        """
        held = {one.id for some in self._at.values() for one in some}
        vanished: list[Done] = []
        looked_for = 0
        for done in self._history.rows.rows():
            if not done.attachable_id:
                continue
            if counts(done):
                looked_for += 1
                if small_id(done.attachable_id) not in self._shown:
                    vanished.append(done)
            if done.attachable_id in held:
                place = (done.qbo_entity_type, done.qbo_entity_id)
                self._claimed.add((done.attachable_id, place))
                if done.sha256:
                    self._digests[done.attachable_id] = done.sha256
        return vanished, looked_for

    def __bool__(self) -> bool:
        """Whether anything is held at the entities that matter."""
        return bool(self._at)

    def learn(self, attachable_id: str, sha256: str) -> None:
        """Take the digest of an attachable's bytes, or UNKNOWN."""
        self._digests[attachable_id] = sha256

    def digest(self, attachable_id: str) -> str:
        """The digest of an attachable's bytes, "" where it is not known (yet)."""
        return self._digests.get(attachable_id, "")

    def holds(self, place: Place, file_name: str) -> bool:
        """Whether these entities hold an attachable of that name, whatever its content."""
        name = folded(file_name)
        return any(folded(held.file_name) == name for held in self._of(place))

    def candidates(
        self,
        place: Place,
        names: Iterable[str],
        size_bytes: int,
        in_tree: Callable[[str], bool],
    ) -> list[Held]:
        """The attachables of these entities that may be an attachment of these names and size.

        `names` are the attachment's own name and the one it would be sent under; `in_tree` tells
        of a folded name whether some file has it at these entities.
        """
        plain = set(map(folded, names))
        return [
            held
            for held in self._of(place)
            if held.size_bytes == size_bytes
            and (held.id, place) not in self._claimed
            and self._key(place, held) not in self._history.doubt_of_key
            and (
                folded(held.file_name) in plain
                or (
                    any(digest_in_name(held.file_name, name) for name in plain)
                    and not in_tree(folded(held.file_name))
                )
            )
        ]

    def is_plain(self, held: Held, place: Place, names: Iterable[str]) -> bool:
        """Whether nothing but name and size is known of it, and it is at these entities alone."""
        return (
            held.id not in self._digests
            and set(held.refs) == set(entity_refs(*place))
            and not any(digest_in_name(held.file_name, name) for name in names)
        )

    def pair(
        self,
        place: Place,
        candidates: Sequence[Held],
        wanting: Sequence[Wanting],
        names: Sequence[str],
        rival_sizes: Iterable[int] = (),
    ) -> tuple[dict[str, Held], list[str]]:
        """Which of these attachments are there already, under one name at one entity.

        Args:
            place: their entities.
            candidates: what `candidates` gave for them.
            wanting: attachments of different content, or one whose digest is not known.
            names: as `candidates` got them.
            rival_sizes: sizes of other attachments of this name and entity, that are done: an
                attachable of such a size may be a copy of theirs.

        Returns:
            The attachable of each attachment that is there, by path, and the ids of the
            attachables that must be downloaded first (`learn`) to tell.
        """
        paired: dict[str, Held] = {}
        unclear: list[Held] = []
        rivals = set(rival_sizes)
        for held in candidates:
            known = self._digests.get(held.id, "")
            mark = next(filter(None, (digest_in_name(held.file_name, n) for n in names)), "")
            if not known and not mark:
                unclear.append(held)
                continue
            for one in wanting:
                fits = one.digest == known if known else _shows(mark, one.digest)
                if one.size_bytes == held.size_bytes and one.digest and fits:
                    paired.setdefault(one.path, held)
        download: list[str] = []
        for held in unclear:
            mine = [w for w in wanting if w.size_bytes == held.size_bytes and w.path not in paired]
            like = [other for other in unclear if other.size_bytes == held.size_bytes]
            alone = len(mine) == 1 and len(like) == 1 and held.size_bytes not in rivals
            if alone and set(held.refs) == set(entity_refs(*place)):
                paired[mine[0].path] = held
            elif mine:
                download.append(held.id)
        return paired, download

    def _of(self, place: Place) -> list[Held]:
        refs = entity_refs(*place)
        here = self._at.get(refs[0], []) if refs else []
        return here if len(refs) == 1 else [h for h in here if set(refs) <= set(h.refs)]

    def _key(self, place: Place, held: Held) -> str:
        return idempotency_key(self._realm_id, *place, held.file_name)


def small_id(attachable_id: str) -> str | int:
    """An id as what takes little room in a set of very many; QBO's are numbers."""
    plain = attachable_id.isascii() and attachable_id.isdigit() and attachable_id[0] != "0"
    return int(attachable_id) if plain else attachable_id


def _shows(mark: str, sha256: str) -> bool:
    """Whether the part of a digest that a digest name shows is of this digest."""
    shown = mark.partition("-")[0]
    return bool(sha256) and sha256.startswith(shown)

"""Attachables that no attachment of the run log accounts for by id, and finding the right one.

What is taken out is accounted for; what is left at the end is doubled or unknown. Without a run log
all that a company has is in here: the indexes go by hash, and each hit is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from sys import intern
from typing import NamedTuple

from qbo_attach.core.existing import small_id
from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.core.naming import digest_in_name, folded

Refs = tuple[EntityRef, ...]
Ids = dict[int, "str | int | list[str | int]"]


class Seen(NamedTuple):
    """An attachable as QBO shows it, as far as it matters here. `marks`: its tag and note."""

    id: str
    file_name: str
    size_bytes: int | None
    refs: Refs
    marks: tuple[str, ...] = ()


def seen(attachable: Attachable) -> Seen:
    """What is kept of an attachable."""
    marks = tuple(mark for mark in (attachable.tag, attachable.note) if mark)
    refs = tuple(EntityRef(intern(ref.type), ref.id) for ref in attachable.refs)
    return Seen(attachable.id, attachable.file_name, attachable.size_bytes, refs, marks)


class Strangers:
    """A set of attachables, found by marker, or by entities and size."""

    def __init__(self) -> None:
        self._all: dict[str | int, Seen] = {}
        self._by_mark: Ids = {}
        self._by_place: Ids = {}
        self._by_name: Ids | None = None
        """Made when it is asked for first, of what is left by then: nothing is added later."""

    def add(self, one: Seen) -> None:
        """Take one in."""
        name = small_id(one.id)
        self._all[name] = one
        for mark in one.marks:
            _put(self._by_mark, hash(mark), name)
        _put(self._by_place, hash((_ordered(one.refs), one.size_bytes)), name)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Seen]:
        return iter(self._all.values())

    def take_marked(self, key: str) -> Seen | None:
        """The first with this marker, taken out."""
        return self._take(self._by_mark, hash(key), lambda one: key in one.marks)

    def take_like(
        self, refs: Refs, names: Collection[str], size_bytes: int, *, by_digest_name: bool = False
    ) -> Seen | None:
        """The first of this size at just these entities under one of these names, taken out.

        `names` are folded; with `by_digest_name` the digest name of one of them counts as well.
        """
        place = _ordered(refs)

        def fits(one: Seen) -> bool:
            if one.size_bytes != size_bytes or _ordered(one.refs) != place:
                return False
            return folded(one.file_name) in names or (
                by_digest_name and any(digest_in_name(one.file_name, name) for name in names)
            )

        return self._take(self._by_place, hash((place, size_bytes)), fits)

    def take_named(self, refs: Refs, name: str) -> Seen | None:
        """The first of this folded name at just these entities, of any size, taken out."""
        if self._by_name is None:
            self._by_name = {}
            for one_id, one in self._all.items():
                wanted = hash((_ordered(one.refs), folded(one.file_name)))
                _put(self._by_name, wanted, one_id)
        place = _ordered(refs)
        return self._take(
            self._by_name,
            hash((place, name)),
            lambda one: _ordered(one.refs) == place and folded(one.file_name) == name,
        )

    def _take(self, index: Ids, hashed: int, fits: Callable[[Seen], bool]) -> Seen | None:
        found = index.get(hashed, [])
        for one_id in found if isinstance(found, list) else (found,):
            one = self._all.get(one_id)
            if one is not None and fits(one):
                return self._all.pop(one_id)
        return None


def _put(index: Ids, hashed: int, one_id: str | int) -> None:
    before = index.setdefault(hashed, one_id)
    if isinstance(before, list):
        before.append(one_id)
    elif before != one_id:
        index[hashed] = [before, one_id]


def _ordered(refs: Refs) -> Refs:
    return refs if len(refs) < 2 else tuple(sorted(refs))  # noqa: PLR2004

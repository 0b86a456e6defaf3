"""Attachables that no attachment of the run log accounts for by id, and finding the right one.

What is taken out is accounted for; what is left at the end is doubled or unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.core.naming import digest_in_name, folded

Refs = tuple[EntityRef, ...]


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
    return Seen(attachable.id, attachable.file_name, attachable.size_bytes, attachable.refs, marks)


class Strangers:
    """A set of attachables, found by marker, or by entities and size."""

    def __init__(self) -> None:
        self._all: dict[str, Seen] = {}
        self._by_mark: dict[str, list[str]] = {}
        self._by_place: dict[tuple[Refs, int | None], list[str]] = {}
        self._by_name: dict[tuple[Refs, str], list[str]] | None = None
        """Made when it is asked for first, of what is left by then: nothing is added later."""

    def add(self, one: Seen) -> None:
        """Take one in."""
        self._all[one.id] = one
        for mark in one.marks:
            self._by_mark.setdefault(mark, []).append(one.id)
        self._by_place.setdefault((_ordered(one.refs), one.size_bytes), []).append(one.id)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Seen]:
        return iter(self._all.values())

    def take_marked(self, key: str) -> Seen | None:
        """The first with this marker, taken out."""
        return self._take(self._by_mark.get(key, ()))

    def take_like(
        self, refs: Refs, names: Collection[str], size_bytes: int, *, by_digest_name: bool = False
    ) -> Seen | None:
        """The first of this size at just these entities under one of these names, taken out.

        `names` are folded; with `by_digest_name` the digest name of one of them counts as well.
        """
        here = self._by_place.get((_ordered(refs), size_bytes), ())
        return self._take(
            [
                one_id
                for one_id in here
                if one_id in self._all and _is_named(self._all[one_id], names, by_digest_name)
            ]
        )

    def take_named(self, refs: Refs, name: str) -> Seen | None:
        """The first of this folded name at just these entities, of any size, taken out."""
        if self._by_name is None:
            self._by_name = {}
            for one in self:
                place = (_ordered(one.refs), folded(one.file_name))
                self._by_name.setdefault(place, []).append(one.id)
        return self._take(self._by_name.get((_ordered(refs), name), ()))

    def _take(self, ids: Collection[str]) -> Seen | None:
        for one_id in ids:
            if one_id in self._all:
                return self._all.pop(one_id)
        return None


def _ordered(refs: Refs) -> Refs:
    return refs if len(refs) < 2 else tuple(sorted(refs))  # noqa: PLR2004


def _is_named(one: Seen, names: Collection[str], by_digest_name: bool) -> bool:
    return folded(one.file_name) in names or (
        by_digest_name and any(digest_in_name(one.file_name, name) for name in names)
    )

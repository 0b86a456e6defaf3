"""Rows of both sides by what they share: the look-ups that matching is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from qbo_attach.core.matching.desktop_export import DesktopRow
from qbo_attach.core.matching.forms import name_form

ZERO = "0"


class QboRow(NamedTuple):
    """An entity of QBO; number, date, amount and name in compared spelling, "" where it has none.

    `type` is its `EntityRef.type`. `active` is `false` for an inactive name; for a transaction "".
    """

    type: str
    id: str
    number: str
    date: str
    amount: str
    name: str
    active: str = ""


Pair = tuple[int, int]
"""Places of a Desktop row and an entity in the lists of their type."""
Key = Hashable
Three = tuple[str, str, str]
Keys = Sequence["Key | None"]
"""What each row of a side shares with others; None where it lacks a part of it."""
Places = dict[Key, "int | list[int]"]
"""The rows that have a key: one place, or several. Nearly all keys have one."""


class Names:
    """The forms of all names that occur on each side, transactions and lists together."""

    def __init__(self, desktop: Iterable[str], qbo: Iterable[str]) -> None:
        self._forms: dict[str, str] = {}
        self.desktop = {self.form(name) for name in desktop}
        self.qbo = {self.form(name) for name in qbo}

    def form(self, name: str) -> str:
        """`name_form`, once for each name."""
        form = self._forms.get(name)
        if form is None:
            form = self._forms[name] = name_form(name)
        return form


Telling = Callable[[int], object]
"""What tells a row, by its place, from others with its key; compared as text."""


class Groups:
    """Rows that share a key with others of their side, and what alone tells them apart.

    Only keys that several rows of a side have are held: nearly all have one.
    """

    def __init__(self, keys: tuple[Keys, Keys], apart: tuple[Telling, Telling]) -> None:
        shared = _shared(keys[0]) | _shared(keys[1])
        self.mine, self.theirs = (
            places_of(key if key in shared else None for key in side) for side in keys
        )
        self._apart = apart
        self._same: dict[Key, bool] = {}

    def __contains__(self, key: Key | None) -> bool:
        return key in self.mine or key in self.theirs

    def same(self, key: Key | None) -> bool:
        """Whether the rows of a key are as many on both sides, and equally told apart.

        One row on each side is enough: whether these two agree is the tier's affair.
        """
        if key not in self:
            return True
        if key not in self._same:
            here, there = self._apart
            mine = sorted(str(here(place)) for place in group_of(self.mine, key))
            others = sorted(str(there(place)) for place in group_of(self.theirs, key))
            self._same[key] = mine == others
        return self._same[key]


def sharing(keys: Iterable[Key | None]) -> int:
    """How many rows have a key that another row of their side has as well."""
    counts = Counter(key for key in keys if key is not None)
    return sum(count for count in counts.values() if count > 1)


def _shared(keys: Keys) -> set[Key]:
    seen: set[Key] = set()
    shared: set[Key] = set()
    for key in keys:
        if key in seen:
            shared.add(key)
        elif key is not None:
            seen.add(key)
    return shared


def twin_key(row: DesktopRow | QboRow, name: str) -> Three | None:
    """What twins share; None where the row lacks one of it."""
    return (row.date, row.amount, name) if row.date and row.amount and name else None


def day_key(row: DesktopRow | QboRow) -> tuple[str, str] | None:
    """Date and amount; an amount of nothing says nothing."""
    amount = row.amount if row.amount != ZERO else ""
    return (row.date, amount) if row.date and amount else None


def number_day_key(row: DesktopRow | QboRow) -> Three | None:
    """Number as written, date and amount."""
    day = day_key(row)
    return (row.number, *day) if row.number and day else None


def namesake_key(row: DesktopRow | QboRow, stem: str) -> Three | None:
    """What namesakes share."""
    return (stem, row.date, row.amount) if stem and row.date and row.amount else None


def reused_key(stem: str, name: str) -> Key | None:
    """Number and name."""
    return (stem, name) if stem and name else None


def numbered(number: str, alike: Three | None) -> Key | None:
    """A number and what twins share."""
    return (number, *alike) if number and alike else None


def places_of(keys: Iterable[Key | None]) -> Places:
    """The places of each key; None is no key."""
    places: Places = {}
    for place, key in enumerate(keys):
        if key is None:
            continue
        there = places.setdefault(key, place)
        if isinstance(there, list):
            there.append(place)
        elif there != place:
            places[key] = [there, place]
    return places


def group_of(places: Places, key: Key) -> Sequence[int]:
    """The places of one key."""
    found = places.get(key, ())
    return (found,) if isinstance(found, int) else found


def unique_pairs(mine: Iterable[Key | None], theirs: Iterable[Key | None]) -> Iterator[Pair]:
    """Places whose key no other row of their side has."""
    others: dict[Key, int] = {}
    for place, key in enumerate(theirs):
        if key is not None:
            others[key] = place if key not in others else -1
    own: dict[Key, int] = {}
    for place, key in enumerate(mine):
        if key is not None and key in others:
            own[key] = place if key not in own else -1
    for key, place in own.items():
        if place >= 0 and others[key] >= 0:
            yield place, others[key]

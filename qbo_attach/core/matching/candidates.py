"""For a Desktop row without a partner: the entities that agree with it in part, for a person.

At most five a row. An entity that was paired with another row is none. Transactions must agree in
two of number, date, amount and name; list entries in their name but for one letter, a level or
spaces. Found by look-ups; of many that share two fields, those nearest in time are taken.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from qbo_attach.core.matching.desktop_export import DesktopRow
from qbo_attach.core.matching.forms import number_form
from qbo_attach.core.matching.groups import Key, Names, QboRow, day_key
from qbo_attach.core.matching.pairing import TypeResult

MOST = 5
_LEAST_AGREEING = 2
_FAR = 1_000_000
_NEIGHBOURS = 40
"""Letters of a name, from its start, of which one may be amiss."""


class Candidate(NamedTuple):
    """An entity that may be the partner; `differs` names the fields in which it does not agree."""

    entity: QboRow
    differs: tuple[str, ...]


Buckets = dict[Key, list[tuple[str, int]]]


def candidates(
    result: TypeResult, names: Names
) -> Iterator[tuple[DesktopRow, str, list[Candidate]]]:
    """Each undecided row of a type, why it is, and its candidates, the likeliest first."""
    if not result.undecided:
        return
    taken = {pair.qbo.id for pair in result.matched}
    free = [entity for entity in result.qbo if entity.id not in taken]
    is_list = result.undecided[0][0].kind.is_list
    find = _by_name(free, names) if is_list else _by_fields(free, names)
    for row, why in result.undecided:
        yield row, why, find(row)


class _by_fields:  # noqa: N801  # a function that keeps its look-ups
    def __init__(self, free: Sequence[QboRow], names: Names) -> None:
        self._free = free
        self._names = names
        self._buckets: Buckets = {}
        for place, entity in enumerate(free):
            for key in _keys(entity, names.form(entity.name)):
                self._buckets.setdefault(key, []).append((entity.date, place))
        for bucket in self._buckets.values():
            bucket.sort()

    def __call__(self, row: DesktopRow) -> list[Candidate]:
        name = self._names.form(row.name)
        places: dict[int, None] = {}
        for key in _keys(row, name):
            for place in _nearest(self._buckets.get(key, []), row.date):
                places[place] = None
        ranked: list[tuple[int, int, str, Candidate]] = []
        for place in places:
            entity = self._free[place]
            differs = self._differs(row, entity, name)
            if 4 - len(differs) >= _LEAST_AGREEING:  # four fields
                days = _days_apart(row.date, entity.date)
                ranked.append((len(differs), days, entity.id, Candidate(entity, differs)))
        ranked.sort(key=lambda each: each[:3])
        return [each[3] for each in ranked[:MOST]]

    def _differs(self, row: DesktopRow, entity: QboRow, name: str) -> tuple[str, ...]:
        stem = number_form(row.number).stem
        agree = {
            "number": bool(stem) and stem == number_form(entity.number).stem,
            "date": bool(row.date) and row.date == entity.date,
            "amount": bool(row.amount) and row.amount == entity.amount,
            "name": bool(name) and name == self._names.form(entity.name),
        }
        return tuple(field for field, same in agree.items() if not same)


def _keys(row: DesktopRow | QboRow, name: str) -> Iterator[Key]:
    """Every two fields in which a row could agree."""
    stem = number_form(row.number).stem
    day = day_key(row)
    if stem:
        yield from (("number", stem, field) for field in (row.date, row.amount, name) if field)
    if day is not None:
        yield ("day", *day)
    if name:
        yield from (("name", name, field) for field in (row.date, row.amount) if field)


def _nearest(bucket: list[tuple[str, int]], date: str) -> Iterable[int]:
    at = bisect_left(bucket, (date, -1))
    return [place for _, place in bucket[max(0, at - MOST) : at + MOST]]


def _days_apart(one: str, other: str) -> int:
    if not one or not other:
        return _FAR
    return abs((dt.date.fromisoformat(one) - dt.date.fromisoformat(other)).days)


class _by_name:  # noqa: N801  # a function that keeps its look-ups
    def __init__(self, free: Sequence[QboRow], names: Names) -> None:
        self._free = free
        self._names = names
        self._places: dict[str, list[int]] = {}
        for place, entity in enumerate(free):
            for key in _name_keys(names.form(entity.name)):
                there = self._places.setdefault(key, [])
                if len(there) < 2 * MOST:
                    there.append(place)

    def __call__(self, row: DesktopRow) -> list[Candidate]:
        form = self._names.form(row.name)
        votes: dict[int, int] = {}
        for key in _name_keys(form):
            for place in self._places.get(key, ()):
                votes[place] = votes.get(place, 0) + 1
        best = sorted(votes, key=lambda place: (-votes[place], self._free[place].id))[:MOST]
        return [
            Candidate(self._free[p], () if self._free[p].name == row.name else ("name",))
            for p in best
        ]


def _name_keys(form: str) -> set[str]:
    """What two names share that differ by a letter, a space, or levels."""
    if not form:
        return set()
    plain = form.replace(" ", "")
    levels = [level for level in form.split(":") if level]
    short = plain[:_NEIGHBOURS]
    return {form, plain, levels[0], levels[-1]} | {
        plain[:at] + plain[at + 1 :] for at in range(len(short))
    }

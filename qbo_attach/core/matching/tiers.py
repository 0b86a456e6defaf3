"""Which transactions of one type are one and the same on both sides: the tiers.

A tier compares some fields. It pairs a Desktop row with an entity of QBO only if both have all of
these fields, agree in them, and are the only ones of their side that do (among all rows of the
type, those that a stricter tier paired included). Unique is not enough: the true partner may be
missing and another may agree. So what a tier leaves out must not speak against the pair, and what
stands beside the pair must not either:

| Tier | Agree | The rest |
| --- | --- | --- |
| `all` | number, date, amount, name | nothing is left |
| `number_form` | number but for zeros and prefix; date, amount, name | prefixes do not differ |
| `name_variant` | number, date, amount | names differ as one name does: see below |
| `without_name` | number, date, amount | a side has no name, or the customer was merged |
| `without_number` | date, amount, name | a side has no number |

**Twins.** Where several rows share date, amount and name, only their numbers tell them apart; a
conversion that numbered anew would make each look like its neighbour. There the numbers of both
sides must be equal as a whole, or none of the rows is paired. The same holds for the names of rows
that share number, date and amount, which vendors who were merged would make alike; and for dates
and amounts of rows that share number and name, one of which may have been altered or entered anew.

**Names that differ.** Spellings that are both in use on both sides are two names. Else one may be
the other's variant (`matching_forms.name_variant`), or, if it does not occur in QBO at all, merged
into it: then at least `LEAST_MERGED` rows, each alone with its number on both sides, must say so,
and none may say otherwise.

**A side that is silent** (`without_name`, `without_number`) shows nothing against a pair, nor much
for it. Such a pair is wrong if the true partners of both rows are missing. These tiers are weak:
`matching_checks` lets them count only where nothing in the company shows that this can be. Where
numbers come from others (bills), two vendors may use one, and a silent name never counts.

**Numbers that say nothing.** Where more than a fifth of the rows whose number is alone on both
sides agree in neither date nor amount, the numbers were given anew, and no tier by number counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from qbo_attach.core.matching.desktop_export import DesktopRow
from qbo_attach.core.matching.forms import (
    name_variant,
    number_form,
    prefixes_contradict,
)
from qbo_attach.core.matching.groups import (
    ZERO,
    Groups,
    Key,
    Keys,
    Names,
    Pair,
    QboRow,
    Three,
    day_key,
    group_of,
    namesake_key,
    number_day_key,
    numbered,
    places_of,
    reused_key,
    sharing,
    twin_key,
    unique_pairs,
)

ALL, NUMBER_FORM, NAME_VARIANT = "all", "number_form", "name_variant"
WITHOUT_NAME, WITHOUT_NUMBER = "without_name", "without_number"
TXN_TIERS = (ALL, NUMBER_FORM, NAME_VARIANT, WITHOUT_NAME, WITHOUT_NUMBER)
"""Strict first."""
WEAK_TIERS = (WITHOUT_NAME, WITHOUT_NUMBER)
LEAST_MERGED = 3
"""Rows that must say that one name became another."""

_LEAST_RENUMBERED = 2
_RENUMBERED_ONE_IN = 5


class Facts(NamedTuple):
    """What the rows of one type show about how sure a silent side is; counts of both sides.

    `same_day` share date and amount with another row of their side, under whatever name, since
    names may have been merged; `same_number` share their number.
    """

    rows: int
    same_day: int
    same_number: int


class Proposals(NamedTuple):
    """What the tiers of one type would pair.

    `tied` are Desktop rows that share all that is compared but their number, or their name, with
    others, on both sides; `renumbered` says that numbers were given anew.
    """

    tiers: dict[str, list[Pair]]
    tied: frozenset[int]
    facts: Facts
    renumbered: bool = False


def _numbers(
    desktop: Sequence[DesktopRow], qbo: Sequence[QboRow]
) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Stems and prefixes of both sides' numbers."""
    mine, theirs = [number_form(r.number) for r in desktop], [number_form(r.number) for r in qbo]
    return (
        ([form.stem for form in mine], [form.stem for form in theirs]),
        ([form.prefix for form in mine], [form.prefix for form in theirs]),
    )


def propose(desktop: Sequence[DesktopRow], qbo: Sequence[QboRow], names: Names) -> Proposals:
    """What each tier would pair of the transactions of one type; by look-ups, linear in the rows.

    Args:
        desktop: the type's rows in Desktop.
        qbo: its rows in QBO.
        names: of the whole company.
    """
    return _TypeTiers(desktop, qbo, names).proposals


class _TypeTiers:
    def __init__(self, desktop: Sequence[DesktopRow], qbo: Sequence[QboRow], names: Names) -> None:
        self._desktop = desktop
        self._qbo = qbo
        self._known_names = names
        self._names = [names.form(r.name) for r in desktop], [names.form(r.name) for r in qbo]
        self._stems, self._prefixes = _numbers(desktop, qbo)
        self._by_stem = (
            places_of(s or None for s in self._stems[0]),
            places_of(s or None for s in self._stems[1]),
        )
        self._twin_keys = self._keys(twin_key, self._names)
        # Twins are told apart by their numbers alone, namesakes by their names alone.
        self._by_number = self._stems[0].__getitem__, self._stems[1].__getitem__
        self._by_name = self._names[0].__getitem__, self._names[1].__getitem__
        self._twins = Groups(self._twin_keys, self._by_number)
        self._namesakes = Groups(self._keys(namesake_key, self._stems), self._by_name)
        # One number of one name is told apart by date and amount.
        self._reused = Groups(
            (
                list(map(reused_key, self._stems[0], self._names[0])),
                list(map(reused_key, self._stems[1], self._names[1])),
            ),
            (lambda place: day_key(desktop[place]), lambda place: day_key(qbo[place])),
        )
        renumbered = self._is_renumbered()
        tiers: dict[str, list[Pair]] = {tier: [] for tier in TXN_TIERS}
        if not renumbered:
            tiers[ALL] = list(self._all())
            tiers[NUMBER_FORM] = list(self._number_form())
            self._name_tiers(tiers)
        tiers[WITHOUT_NUMBER] = list(self._without_number())
        same_day = sharing(map(day_key, desktop)) + sharing(map(day_key, qbo))
        same_number = sum(sharing(stem or None for stem in side) for side in self._stems)
        facts = Facts(len(desktop) + len(qbo), same_day, same_number)
        self.proposals = Proposals(tiers, self._tied(), facts, renumbered)

    def _keys(
        self,
        make: Callable[[DesktopRow | QboRow, str], Three | None],
        said: tuple[Sequence[str], Sequence[str]],
    ) -> tuple[list[Three | None], list[Three | None]]:
        return list(map(make, self._desktop, said[0])), list(map(make, self._qbo, said[1]))

    def _tied(self) -> frozenset[int]:
        return frozenset(
            place
            for key in self._twins.mine
            if self._twins.theirs.get(key) is not None
            for place in group_of(self._twins.mine, key)
        )

    def _all(self) -> Iterator[Pair]:
        d_twins, q_twins = self._twin_keys
        d_numbers, q_numbers = (row.number for row in self._desktop), (r.number for r in self._qbo)
        d_keys, q_keys = map(numbered, d_numbers, d_twins), map(numbered, q_numbers, q_twins)
        return filter(self._beside_agrees, unique_pairs(d_keys, q_keys))

    def _number_form(self) -> Iterator[Pair]:
        d_twins, q_twins = self._twin_keys
        d_keys = [
            numbered(stem, key) if row.amount != ZERO else None
            for row, stem, key in zip(self._desktop, self._stems[0], d_twins, strict=True)
        ]
        q_keys = [numbered(stem, key) for stem, key in zip(self._stems[1], q_twins, strict=True)]
        for d, q in filter(self._beside_agrees, unique_pairs(d_keys, q_keys)):
            if not prefixes_contradict(self._prefixes[0][d], self._prefixes[1][q]):
                yield d, q

    def _beside_agrees(self, pair: Pair) -> bool:
        """Whether what stands beside a pair is the same on both sides."""
        d, _ = pair
        stem, name = self._stems[0][d], self._names[0][d]
        return (
            self._twins.same(self._twin_keys[0][d])
            and self._namesakes.same(namesake_key(self._desktop[d], stem))
            and self._reused.same(reused_key(stem, name))
        )

    def _name_tiers(self, tiers: dict[str, list[Pair]]) -> None:
        """Number, date and amount agree, and the names differ or a side has none."""
        found = [
            (d, q)
            for d, q in unique_pairs(
                [number_day_key(row) for row in self._desktop],
                [number_day_key(row) for row in self._qbo],
            )
            if self._names[0][d] != self._names[1][q] or not self._names[0][d]
        ]
        merged = self._merged()
        days = self._days_of(found)
        by_number = Groups(days, self._by_number)
        nameless = Groups(
            (
                [None if name else day for day, name in zip(days[0], self._names[0], strict=True)],
                [None if name else day for day, name in zip(days[1], self._names[1], strict=True)],
            ),
            self._by_number,
        )
        variants = [pair for pair in found if self._is_variant(pair)]
        agreed = self._variants_agree(variants, days[0])
        for d, q in variants:
            day, mine, theirs = days[0][d], self._names[0][d], self._names[1][q]
            keys = [reused_key(self._stems[0][d], name) for name in (mine, theirs)]
            reused = all(self._reused.same(key) for key in keys)
            if reused and agreed[day, mine, theirs] and nameless.same(day):
                tiers[NAME_VARIANT].append((d, q))
        for d, q in found:
            mine, theirs = self._names[0][d], self._names[1][q]
            silent = not (mine and theirs) or merged.get(mine) == theirs
            if silent and self._is_alone(d) and by_number.same(days[0][d]):
                tiers[WITHOUT_NAME].append((d, q))

    def _without_number(self) -> Iterator[Pair]:
        found: list[Pair] = []
        for d, q in unique_pairs(*self._twin_keys):
            here, there = self._stems[0][d], self._stems[1][q]
            # A number that only one side has must not be another row's on the other side.
            if here and (there or here in self._by_stem[1]):
                continue
            if there and there in self._by_stem[0]:
                continue
            if self._desktop[d].amount != ZERO:
                found.append((d, q))
        days = self._days_of(found)
        by_name = Groups(days, self._by_name)
        return ((d, q) for d, q in found if by_name.same(days[0][d]))

    def _days_of(self, pairs: Sequence[Pair]) -> tuple[list[Key | None], list[Key | None]]:
        """Date and amount of all rows, None where none of these pairs has them."""
        wanted = {day_key(self._desktop[d]) for d, _ in pairs}
        return (
            [day if day in wanted else None for day in map(day_key, self._desktop)],
            [day if day in wanted else None for day in map(day_key, self._qbo)],
        )

    def _is_variant(self, pair: Pair) -> bool:
        mine, theirs = self._names[0][pair[0]], self._names[1][pair[1]]
        known = mine in self._known_names.qbo and theirs in self._known_names.desktop
        return bool(mine and theirs and not known and name_variant(mine, theirs))

    def _variants_agree(self, pairs: Sequence[Pair], days: Keys) -> dict[Key, bool]:
        """Whether the rows of a date and amount under either name have the same numbers."""
        cases = {(days[d], self._names[0][d], self._names[1][q]) for d, q in pairs}
        wanted = {(*day, name) for day, *both in cases if isinstance(day, tuple) for name in both}
        mine, theirs = (
            places_of(key if key in wanted else None for key in side) for side in self._twin_keys
        )
        agreed: dict[Key, bool] = {}
        for day, *both in cases:
            keys = [(*day, name) for name in both] if isinstance(day, tuple) else []
            here = [self._stems[0][place] for key in keys for place in group_of(mine, key)]
            there = [self._stems[1][place] for key in keys for place in group_of(theirs, key)]
            agreed[(day, *both)] = sorted(here) == sorted(there)
        return agreed

    def _is_alone(self, d: int) -> bool:
        """Whether the company numbers these itself, and their number is no other row's."""
        stem = self._stems[0][d]
        alone = all(isinstance(places.get(stem), int) for places in self._by_stem)
        return alone and self._desktop[d].kind.own_numbers

    def _merged(self) -> dict[str, str]:
        """Names that QBO does not have, and the one name that their rows have there."""
        said: dict[str, Counter[str]] = {}
        for d, q in self._numbers_alone():
            mine, theirs = self._names[0][d], self._names[1][q]
            same = day_key(self._desktop[d]) == day_key(self._qbo[q]) is not None
            if same and mine and theirs and mine not in self._known_names.qbo:
                said.setdefault(mine, Counter())[theirs] += 1
        return {
            mine: next(iter(names))
            for mine, names in said.items()
            if len(names) == 1 and sum(names.values()) >= LEAST_MERGED
        }

    def _numbers_alone(self) -> Iterator[Pair]:
        mine, theirs = self._by_stem
        for stem, d in mine.items():
            q = theirs.get(stem)
            if isinstance(d, int) and isinstance(q, int):
                yield d, q

    def _is_renumbered(self) -> bool:
        agree = differ = 0
        for d, q in self._numbers_alone():
            mine, theirs = self._desktop[d], self._qbo[q]
            if mine.date == theirs.date or mine.amount == theirs.amount:
                agree += 1
            else:
                differ += 1
        return differ >= _LEAST_RENUMBERED and differ * _RENUMBERED_ONE_IN > agree + differ

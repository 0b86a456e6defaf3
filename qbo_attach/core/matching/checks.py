"""How far a tier can be trusted, and which tiers are off.

- **Measured**: where a part of QbdtEntityIdMapping is known, a tier's pairs are compared with it.
  A tier whose share of wrong pairs is above the bound is off, for all types.
- **Estimated**: a weak tier, in which a side is silent, errs where another row is like this one and
  the true partners of both are missing. So its error is estimated as the share of rows that are
  alike (in date and amount; for `without_name`, in their number), times the shares of rows without
  a partner on each side. A share is that of the type, or, for a type of fewer than `ENOUGH_ROWS`
  rows, the larger one of type and company: in few rows, none is no sign. Above the bound the tier
  is off for this type.

The bound (MATCH_MAX_ERROR) is 0 unless a person raises it: any sign is enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from qbo_attach.core.matching.desktop_export import DesktopRow
from qbo_attach.core.matching.groups import Pair, QboRow
from qbo_attach.core.matching.tiers import TXN_TIERS, WEAK_TIERS, WITHOUT_NUMBER, Proposals

ENOUGH_ROWS = 200
_SOME_MORE = 1.1
"""So that the bound that is named lies above the estimate however it is rounded."""


class Options(NamedTuple):
    """`max_error`: the share of wrong pairs above which a tier is off; `off`: tiers left off."""

    max_error: float = 0.0
    off: frozenset[str] = frozenset()


@dataclass(slots=True)
class Known:
    """A part of QbdtEntityIdMapping: Desktop id (canonical) to entities, and back."""

    refs: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    _owners: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, legacy_id: str, ref_type: str, qbo_id: str) -> None:
        """Take a row in."""
        self.refs.setdefault(legacy_id, set()).add((ref_type, qbo_id))
        self._owners[ref_type, qbo_id] = legacy_id

    def has(self, row: DesktopRow) -> bool:
        """Whether it has this Desktop row."""
        return row.id in self.refs

    def owner(self, entity: QboRow) -> str:
        """The Desktop id of an entity; "" where it does not say."""
        return self._owners.get((entity.type, entity.id), "")

    def judges(self, row: DesktopRow, entity: QboRow) -> bool | None:
        """Whether a pair is right; None where it has neither of the two."""
        refs = self.refs.get(row.id)
        if refs is not None:
            return (entity.type, entity.id) in refs
        return False if self.owner(entity) else None


class TierCheck(NamedTuple):
    """One tier of one type.

    `pairs` it would make; of them `known` could be compared with QBO's own table and `wrong` were
    wrong; `estimate` is its estimated share of wrong pairs, None where its fields leave no doubt.
    `why` it is off; "" while it is on.
    """

    type: str
    tier: str
    pairs: int
    known: int
    wrong: int
    estimate: float | None
    why: str

    @property
    def is_on(self) -> bool:
        """Whether its pairs count."""
        return not self.why


Judged = tuple[Sequence[DesktopRow], Sequence[QboRow], Proposals]


def judge(types: Sequence[Judged], known: Known, options: Options) -> list[TierCheck]:
    """Measure and estimate every tier of every type, and say which are off."""
    totals: dict[str, Counter[str]] = {}
    measured: list[tuple[str, str, int, int, int]] = []
    for desktop, qbo, tiers in types:
        for tier, pairs in tiers.tiers.items():
            right = Counter(known.judges(desktop[d], qbo[q]) for d, q in pairs if known.refs)
            seen, wrong = right[True] + right[False], right[False]
            totals.setdefault(tier, Counter()).update(known=seen, wrong=wrong)
            measured.append((desktop[0].kind.qbo_entity_type, tier, len(pairs), seen, wrong))
    estimates = _estimates(types)
    return [
        TierCheck(
            kind, tier, pairs, seen, wrong, estimates.get((kind, tier)),
            _why_off(tier, totals[tier], estimates.get((kind, tier)), options),
        )
        for kind, tier, pairs, seen, wrong in measured
    ]  # fmt: skip


def _why_off(tier: str, total: Counter[str], estimate: float | None, options: Options) -> str:
    if tier in options.off:
        return "MATCH_TIERS_OFF names it"
    if total["wrong"] > options.max_error * total["known"]:
        return (
            f"{total['wrong']:,} of its {total['known']:,} pairs that QBO's own table has are "
            f"wrong; MATCH_MAX_ERROR is {options.max_error:g}"
        )
    if estimate is not None and estimate > options.max_error:
        return (
            f"rows are alike and rows are missing on both sides: about {estimate:.1g} of its pairs "
            f"could be wrong; MATCH_MAX_ERROR={estimate * _SOME_MORE:.2g} would accept that"
        )
    return ""


class _Shares(NamedTuple):
    """Counts of a type, or of all: rows that are alike and rows without a partner."""

    rows: int = 0
    same_day: int = 0
    same_number: int = 0
    desktop: int = 0
    qbo: int = 0
    desktop_left: int = 0
    qbo_left: int = 0

    def plus(self, other: _Shares) -> _Shares:
        return _Shares(*(a + b for a, b in zip(self, other, strict=True)))

    def estimate(self, tier: str) -> float:
        alike = self.same_day if tier == WITHOUT_NUMBER else self.same_number
        return (
            _share(alike, self.rows)
            * _share(self.desktop_left, self.desktop)
            * _share(self.qbo_left, self.qbo)
        )


def _estimates(types: Sequence[Judged]) -> dict[tuple[str, str], float]:
    by_type: dict[str, _Shares] = {}
    total = _Shares()
    for desktop, qbo, tiers in types:
        if TXN_TIERS[0] in tiers.tiers:
            shares = _shares(desktop, qbo, tiers)
            by_type[desktop[0].kind.qbo_entity_type] = shares
            total = total.plus(shares)
    return {
        (kind, tier): _joint(shares, total, tier)
        for kind, shares in by_type.items()
        for tier in WEAK_TIERS
    }


def _joint(own: _Shares, total: _Shares, tier: str) -> float:
    if own.rows >= ENOUGH_ROWS:
        return own.estimate(tier)
    # Each type has its own numbering; all else is looked for in the whole company.
    alike = (
        max(_share(own.same_day, own.rows), _share(total.same_day, total.rows))
        if tier == WITHOUT_NUMBER
        else _share(own.same_number, own.rows)
    )
    left = max(_share(own.desktop_left, own.desktop), _share(total.desktop_left, total.desktop))
    there = max(_share(own.qbo_left, own.qbo), _share(total.qbo_left, total.qbo))
    return alike * left * there


def _shares(desktop: Sequence[DesktopRow], qbo: Sequence[QboRow], tiers: Proposals) -> _Shares:
    paired: list[Pair] = [pair for pairs in tiers.tiers.values() for pair in pairs]
    mine, theirs = {d for d, _ in paired}, {q for _, q in paired}
    facts = tiers.facts
    return _Shares(
        facts.rows,
        facts.same_day,
        facts.same_number,
        len(desktop),
        len(qbo),
        _left(desktop, mine, [row.date for row in qbo]),
        _left(qbo, theirs, [row.date for row in desktop]),
    )


def _left(rows: Sequence[DesktopRow | QboRow], paired: set[int], dates: Iterable[str]) -> int:
    """Rows without a partner, of the time that the other side covers.

    What QBO booked after the conversion has no partner in Desktop, and says nothing about it.
    """
    dated = [date for date in dates if date]
    first, last = min(dated, default=""), max(dated, default="")
    return sum(
        1
        for place, row in enumerate(rows)
        if place not in paired and (not row.date or not dated or first <= row.date <= last)
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

"""Matching: a mapping from what both sides know, where QuickBooks has none.

Each tier (`matching_tiers`, `matching_lists`) says by itself which rows are one. Here they are put
together: a row that two tiers give different partners, or a partner that two rows claim, is left to
a person, and so is all that a tier says which is off (`matching_checks`). Nothing is paired by
elimination: that every other candidate is taken is no sign that the last one is right.

Where a part of QbdtEntityIdMapping exists it is the truth: its rows stand as they are, and the
tiers, tried as if it did not exist, are measured against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from qbo_attach.core.errors import SettingError
from qbo_attach.core.matching.checks import Known, Options, TierCheck, judge
from qbo_attach.core.matching.desktop_export import DesktopRow
from qbo_attach.core.matching.groups import Names, QboRow
from qbo_attach.core.matching.lists import LIST_TIERS, propose_lists
from qbo_attach.core.matching.tiers import TXN_TIERS, Proposals, propose

TIERS = TXN_TIERS + LIST_TIERS
KNOWN = "known"
"""The match rule of a row that QBO's own table has."""

TIE = "tie"
TIERS_DISAGREE = "tiers_disagree"
TIER_OFF = "tier_off"
TAKEN = "taken"
NO_PARTNER = "no_partner"
WHY: dict[str, str] = {
    TIE: "several rows agree in all that is compared",
    TIERS_DISAGREE: "two tiers give it different partners",
    TIER_OFF: "only a tier that is off pairs it",
    TAKEN: "its partner belongs to another id by QBO's own table, or two ids claim it",
    NO_PARTNER: "no entity agrees in enough",
}
"""Why a Desktop row has no partner."""


class Matched(NamedTuple):
    """A Desktop row and its entity; `rule` is the strictest tier that pairs them."""

    desktop: DesktopRow
    qbo: QboRow
    rule: str


@dataclass(slots=True)
class TypeResult:
    """What became of one type of QBO. `undecided` are Desktop rows with the reason (WHY)."""

    type: str
    desktop: list[DesktopRow]
    qbo: list[QboRow]
    matched: list[Matched] = field(default_factory=list)
    undecided: list[tuple[DesktopRow, str]] = field(default_factory=list)
    known: int = 0
    """Desktop rows that QBO's own table has."""
    renumbered: bool = False


@dataclass(slots=True)
class Matching:
    """Everything that came of one matching."""

    types: list[TypeResult]
    checks: list[TierCheck]
    names: Names

    def matched(self) -> Iterable[Matched]:
        """All pairs, type by type, in the order of the export."""
        for result in self.types:
            yield from result.matched


def check_tiers(names: Iterable[str]) -> frozenset[str]:
    """The names of tiers to leave off.

    Raises:
        SettingError: one of them is no tier.
    """
    chosen = frozenset(names)
    for name in sorted(chosen - set(TIERS)):
        raise SettingError("MATCH_TIERS_OFF", name, f"no such tier; there are {', '.join(TIERS)}")
    return chosen


def match(
    desktop: Sequence[DesktopRow],
    qbo: Sequence[QboRow],
    known: Known | None = None,
    options: Options | None = None,
) -> Matching:
    """Pair Desktop rows with entities of QBO; linear in the rows of both.

    Args:
        desktop: each id once.
        qbo: entities of the types that `desktop` became, each once.
        known: a part of QbdtEntityIdMapping.
        options: bound of error, and tiers that are off.
    """
    known = known or Known()
    options = options or Options()
    names = Names((row.name for row in desktop), (row.name for row in qbo))
    results = _by_type(desktop, qbo)
    tiers: dict[str, Proposals] = {}
    for result in results:
        is_list = bool(result.desktop) and result.desktop[0].kind.is_list
        make = propose_lists if is_list else propose
        tiers[result.type] = make(result.desktop, result.qbo, names)
        result.renumbered = tiers[result.type].renumbered
    checks = judge([(r.desktop, r.qbo, tiers[r.type]) for r in results], known, options)
    for result in results:
        is_on = {check.tier for check in checks if check.type == result.type and check.is_on}
        _decide(result, tiers[result.type], is_on, known)
    return Matching(results, checks, names)


def _by_type(desktop: Sequence[DesktopRow], qbo: Sequence[QboRow]) -> list[TypeResult]:
    results: dict[str, TypeResult] = {}
    for row in desktop:
        kind = row.kind.qbo_entity_type
        result = results.get(kind)
        if result is None:
            result = results[kind] = TypeResult(kind, [], [])
        result.desktop.append(row)
    for entity in qbo:
        # What no Desktop row became is nobody's partner.
        if entity.type in results:
            results[entity.type].qbo.append(entity)
    return [results[kind] for kind in sorted(results)]


def _decide(result: TypeResult, tiers: Proposals, is_on: set[str], known: Known) -> None:
    """Put the tiers of one type together: what is off pairs nothing, but still speaks against."""
    partner: dict[int, tuple[int, str]] = {}
    said: dict[int, int] = {}
    disagree: set[int] = set()
    for tier, pairs in tiers.tiers.items():
        for d, q in pairs:
            if tier in is_on:
                partner.setdefault(d, (q, tier))
            if said.setdefault(d, q) != q:
                disagree.add(d)
    claims = Counter(said.values())
    for d, row in enumerate(result.desktop):
        if known.has(row):
            result.known += 1
            continue
        found = partner.get(d)
        if d in disagree:
            result.undecided.append((row, TIERS_DISAGREE))
        elif found is None:
            why = TIER_OFF if d in said else TIE if d in tiers.tied else NO_PARTNER
            result.undecided.append((row, why))
        elif claims[found[0]] > 1 or known.owner(result.qbo[found[0]]):
            result.undecided.append((row, TAKEN))
        else:
            result.matched.append(Matched(row, result.qbo[found[0]], found[1]))

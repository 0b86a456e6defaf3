"""Which entries of a list (customers, vendors, items, ...) are one on both sides: by name.

`full_name` compares names as they are written, `name_form` without case, accents and punctuation.
An entry counts only if it is the only one of its side with this name. Where several entries of a
side have one form (O'Neil and ONeil), the written names must be the same ones on both sides, or
none of them is paired: one may have taken the other's place.

QBO writes ` (deleted)` behind the name of an inactive entry; it is no part of the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qbo_attach.core.matching.desktop_export import DesktopRow
from qbo_attach.core.matching.groups import Names, Pair, QboRow
from qbo_attach.core.matching.tiers import Facts, Proposals

FULL_NAME, NAME_FORM = "full_name", "name_form"
LIST_TIERS = (FULL_NAME, NAME_FORM)
DELETED = " (deleted)"


def propose_lists(desktop: Sequence[DesktopRow], qbo: Sequence[QboRow], names: Names) -> Proposals:
    """What each tier would pair of the entries of one list; arguments as for `propose`."""
    groups: dict[str, tuple[list[int], list[int]]] = {}
    both: tuple[Sequence[DesktopRow | QboRow], ...] = (desktop, qbo)
    for side, rows in enumerate(both):
        for place, row in enumerate(rows):
            form = names.form(row.name)
            if form:
                groups.setdefault(form, ([], []))[side].append(place)
    tiers: dict[str, list[Pair]] = {tier: [] for tier in LIST_TIERS}
    tied: set[int] = set()
    for mine, theirs in groups.values():
        if len(mine) == len(theirs) == 1:
            d, q = mine[0], theirs[0]
            same = desktop[d].name == qbo[q].name
            tiers[FULL_NAME if same else NAME_FORM].append((d, q))
        elif mine and theirs:
            tied.update(mine)
            tiers[FULL_NAME] += _by_written_name(desktop, qbo, mine, theirs)
    return Proposals(tiers, frozenset(tied), Facts(len(desktop) + len(qbo), 0, 0))


def _by_written_name(
    desktop: Sequence[DesktopRow], qbo: Sequence[QboRow], mine: list[int], theirs: list[int]
) -> Iterator[Pair]:
    here = {desktop[d].name: d for d in mine}
    there = {qbo[q].name: q for q in theirs}
    if len(here) == len(mine) and len(there) == len(theirs) and here.keys() == there.keys():
        yield from ((d, there[name]) for name, d in here.items())

"""Synthetic companies whose two sides disagree: the truth is known, what both sides say is damaged.

Each company draws which kinds of damage it has, and how often, so that some are nearly whole and
some a ruin. Damage that concerns single rows is told apart in `Damaged.kind`.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from qbo_attach.core.matching.desktop_export import DesktopRow
from qbo_attach.core.matching.forms import name_text, number_text, plain_amount
from qbo_attach.core.matching.groups import QboRow
from qbo_attach.core.matching.types import built_in_match_types
from qbo_attach.sample.books import Books, Saying
from qbo_attach.sample.company import BILL, CHECK, INVOICE, Kind

TYPES = built_in_match_types()
KINDS = (
    BILL,
    INVOICE,
    CHECK,
    Kind("CREDIT_CARD", "CREDIT_CARD", "Purchase", 8),
    Kind("GENERAL_JOURNAL", "GENERAL_JOURNAL", "JournalEntry", 4),
)
NAMELESS = "JournalEntry"


@dataclass
class Damaged:
    """A transaction: its truth (`legacy_id`, `qbo_id`; "" where that side lost it), and both sayings."""

    legacy_id: str
    qbo_id: str
    kind_of: Kind
    desktop: Saying
    qbo: Saying
    kinds: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        """Its damage, for the account."""
        return " + ".join(sorted(self.kinds)) if len(self.kinds) < 2 else "several"


@dataclass
class DamagedCompany:
    """What matching gets, and the truth."""

    rows: list[Damaged]

    def desktop(self) -> list[DesktopRow]:
        made = []
        for place, row in enumerate(self.rows, 2):
            if row.legacy_id:
                kind = TYPES.of(row.kind_of.desktop)
                assert kind is not None
                said = row.desktop
                made.append(
                    DesktopRow(
                        place, row.legacy_id, kind, number_text(said.number), said.date,
                        plain_amount(said.amount), name_text(said.name),
                    )
                )  # fmt: skip
        return made

    def qbo(self) -> list[QboRow]:
        return [
            QboRow(
                row.kind_of.ref, row.qbo_id, number_text(row.qbo.number), row.qbo.date,
                plain_amount(row.qbo.amount), name_text(row.qbo.name),
            )
            for row in self.rows
            if row.qbo_id
        ]  # fmt: skip

    def truth(self) -> dict[str, tuple[str, str]]:
        """Desktop id to type and id in QBO, where both sides still have the transaction."""
        return {
            r.legacy_id: (r.kind_of.ref, r.qbo_id) for r in self.rows if r.legacy_id and r.qbo_id
        }


def damaged_company(seed: int, rows: int = 90, only: str = "") -> DamagedCompany:
    """Make one.

    Args:
        seed: decides everything.
        rows: transactions, roughly.
        only: one kind of damage alone, by its name; "" draws.
    """
    chance = random.Random(f"damage {seed}")
    books = Books(seed)
    names = [books.new_name() for _ in range(chance.randint(4, 15))]
    company = DamagedCompany([])
    while len(company.rows) < rows:
        kind = chance.choice(KINDS)
        name = "" if kind.ref == NAMELESS else chance.choice(names)
        _add(company, kind, books.transaction(kind, name or "none")._replace(name=name))
    for kind_name, alike in ALIKE.items():
        if kind_name == only or (not only and chance.random() < 0.6):
            alike(company, chance)
    _merge(company, names, chance, only)
    shares = {kind: _share(chance, kind, only) for kind in (*DAMAGE, MISSING)}
    for row in company.rows:
        for kind_name, damage in DAMAGE.items():
            if chance.random() < shares[kind_name]:
                before = (row.desktop, row.qbo)
                damage(row, chance)
                if before != (row.desktop, row.qbo):
                    row.kinds.add(kind_name)
    _renumber(company, chance, only)
    for row in company.rows:
        if chance.random() < shares[MISSING]:
            row.qbo_id = ""
        elif chance.random() < shares[MISSING]:
            row.legacy_id = ""
    chance.shuffle(company.rows)
    return company


MERGED, RENUMBERED = "customer merged", "renumbered"


def _merge(company: DamagedCompany, names: list[str], chance: random.Random, only: str) -> None:
    """One or two customers are another one in QBO."""
    if only != MERGED and (only or chance.random() < 0.7):
        return
    into = dict(list(zip(names[::2], names[1::2], strict=False))[: chance.randint(1, 2)])
    for row in company.rows:
        if row.desktop.name in into:
            row.qbo = row.qbo._replace(name=into[row.desktop.name])
            row.kinds.add(MERGED)


def _renumber(company: DamagedCompany, chance: random.Random, only: str) -> None:
    """All numbers of a type moved by a few."""
    for kind in KINDS:
        if only != RENUMBERED and (only or chance.random() < 0.95):
            continue
        step = chance.choice((1, 1, 2, 7))
        for row in company.rows:
            if row.kind_of is kind and row.qbo.number.isdigit():
                row.qbo = row.qbo._replace(number=str(int(row.qbo.number) + step))
                row.kinds.add(RENUMBERED)


MISSING = "missing row"


def _share(chance: random.Random, kind: str, only: str) -> float:
    if only:
        return 0.2 if kind == only else 0.0
    return chance.choice((0.0, 0.02, 0.05, 0.15)) if chance.random() < 0.6 else 0.0


def _add(company: DamagedCompany, kind: Kind, said: Saying, alike: str = "") -> None:
    place = len(company.rows) + 1
    kinds = {alike} if alike else set()
    company.rows.append(Damaged(f"D{place}", f"{place}", kind, said, said, kinds))


def _some(company: DamagedCompany, chance: random.Random) -> list[Damaged]:
    return chance.sample(company.rows, chance.randint(1, 8))


def _twins(company: DamagedCompany, chance: random.Random) -> None:
    """The same customer, day and amount, under the next number or one far away."""
    taken = {(row.kind_of.ref, row.desktop.number) for row in company.rows}
    for row in _some(company, chance):
        row.kinds.add("twin")
        number = int(row.desktop.number)
        for _ in range(chance.choice((1, 1, 2))):
            number += chance.choice((1, 100_000))
            while (row.kind_of.ref, str(number)) in taken:
                number += 10_000
            taken.add((row.kind_of.ref, str(number)))
            _add(company, row.kind_of, row.desktop._replace(number=str(number)), "twin")


def _equal_amounts(company: DamagedCompany, chance: random.Random) -> None:
    """Another customer, the same day and amount."""
    names = [row.desktop.name for row in company.rows]
    for row in _some(company, chance):
        number = str(int(row.desktop.number) + 200_000)
        name = chance.choice(names) if row.kind_of.ref != NAMELESS else ""
        _add(company, row.kind_of, row.desktop._replace(number=number, name=name), "equal amounts")


def _one_number(company: DamagedCompany, chance: random.Random) -> None:
    """Bills of several vendors under one number, some on one day over one amount."""
    bills = [row for row in company.rows if row.kind_of is BILL]
    names = sorted({row.desktop.name for row in bills})
    for row in bills[: chance.randint(1, 6)]:
        other = chance.choice(
            [name for name in names if name != row.desktop.name] or ["Other Firm"]
        )
        date, amount = row.desktop.date, row.desktop.amount
        if chance.random() < 0.5:
            date, amount = _moved(date, chance), f"{chance.randrange(500, 90_000) / 100:.2f}"
        _add(company, BILL, Saying(row.desktop.number, date, amount, other), "one number")


def _recurring(company: DamagedCompany, chance: random.Random) -> None:
    """The same customer and amount, month after month."""
    for row in _some(company, chance):
        day = dt.date.fromisoformat(row.desktop.date)
        for month in range(1, chance.randint(2, 5)):
            number = str(int(row.desktop.number) + 300_000 + month)
            date = (day + dt.timedelta(30 * month)).isoformat()
            _add(company, row.kind_of, row.desktop._replace(number=number, date=date), "recurring")


def _moved(date: str, chance: random.Random) -> str:
    days = chance.choice((-30, -2, -1, 1, 2, 7, 30, 31))
    return (dt.date.fromisoformat(date) + dt.timedelta(days)).isoformat()


def _number_altered(row: Damaged, chance: random.Random) -> None:
    digits = list(row.qbo.number or "1")
    digits[chance.randrange(len(digits))] = str(chance.randrange(10))
    row.qbo = row.qbo._replace(number="".join(digits))


def _number_form(row: Damaged, chance: random.Random) -> None:
    if row.qbo.number:
        form = chance.choice(("00{}", "INV-{}", "#{}", "No. {}", " {} "))
        row.qbo = row.qbo._replace(number=form.format(row.qbo.number))


def _number_missing(row: Damaged, chance: random.Random) -> None:
    lost = chance.choice(("desktop", "qbo", "both"))
    if lost != "qbo":
        row.desktop = row.desktop._replace(number="")
    if lost != "desktop":
        row.qbo = row.qbo._replace(number="")


def _date_moved(row: Damaged, chance: random.Random) -> None:
    row.qbo = row.qbo._replace(date=_moved(row.qbo.date, chance))


def _amount_changed(row: Damaged, chance: random.Random) -> None:
    row.qbo = row.qbo._replace(amount=f"{chance.randrange(500, 900_000) / 100:.2f}")


def _name_mistyped(row: Damaged, chance: random.Random) -> None:
    name = row.qbo.name
    if len(name) < 3:
        return
    at = chance.randrange(1, len(name) - 1)
    mistyped = chance.choice(
        (
            name[:at] + name[at + 1 :],
            name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            name[:at] + "x" + name[at:],
        )
    )
    row.qbo = row.qbo._replace(name=mistyped)


def _name_form(row: Damaged, chance: random.Random) -> None:
    name = row.qbo.name
    row.qbo = row.qbo._replace(
        name=chance.choice(
            (name.upper(), name.replace(" ", "  "), f"{name}.", name.replace("'", ""))
        )
    )


def _name_missing(row: Damaged, chance: random.Random) -> None:
    row.qbo = row.qbo._replace(name="")


def _name_path(row: Damaged, chance: random.Random) -> None:
    if row.qbo.name:
        row.qbo = row.qbo._replace(name=f"{row.qbo.name}:Job {chance.randrange(9)}")


ALIKE: dict[str, Callable[[DamagedCompany, random.Random], None]] = {
    "twin": _twins,
    "equal amounts": _equal_amounts,
    "one number": _one_number,
    "recurring": _recurring,
}
DAMAGE: dict[str, Callable[[Damaged, random.Random], None]] = {
    "number altered": _number_altered,
    "number in another form": _number_form,
    "number missing": _number_missing,
    "date moved": _date_moved,
    "amount changed": _amount_changed,
    "name mistyped": _name_mistyped,
    "name in another form": _name_form,
    "name missing": _name_missing,
    "sub-customer": _name_path,
}

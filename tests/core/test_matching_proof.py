"""Matching never guesses: no wrong pair in synthetic companies whose sides disagree in every way.

And it does so in linear time: 300,000 transactions against 300,000 entities.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from qbo_attach.core.matching.candidates import candidates
from qbo_attach.core.matching.checks import Options
from qbo_attach.core.matching.pairing import match
from tests.core.damaged_books import (
    ALIKE,
    DAMAGE,
    MERGED,
    MISSING,
    RENUMBERED,
    DamagedCompany,
    damaged_company,
)

ROOT = Path(__file__).resolve().parents[2]
ROWS = 300_000
MOST_SECONDS, MOST_MIB = 30, 500


class Account:
    """Transactions that both sides still have, by kind of damage: matched, offered, neither."""

    def __init__(self) -> None:
        self.whole: Counter[str] = Counter()
        self.matched: Counter[str] = Counter()
        self.offered: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()
        self.wrong: list[str] = []

    def take(self, seed: int, company: DamagedCompany) -> None:
        matching = match(company.desktop(), company.qbo(), None, Options())
        truth = company.truth()
        kind_of = {row.legacy_id: row.kind or "none" for row in company.rows}
        pairs = list(matching.matched())
        undecided = sum(len(result.undecided) for result in matching.types)
        assert len(pairs) + undecided == len(company.desktop())
        assert len({(pair.qbo.type, pair.qbo.id) for pair in pairs}) == len(pairs)
        for legacy_id in truth:
            self.whole[kind_of[legacy_id]] += 1
        for pair in pairs:
            self.rules[pair.rule] += 1
            if truth.get(pair.desktop.id) != (pair.qbo.type, pair.qbo.id):
                self.wrong.append(f"company {seed}: {pair}")
            else:
                self.matched[kind_of[pair.desktop.id]] += 1
        for result in matching.types:
            for row, _, found in candidates(result, matching.names):
                assert len(found) <= 5
                if truth.get(row.id) in {(each.entity.type, each.entity.id) for each in found}:
                    self.offered[kind_of[row.id]] += 1

    def __str__(self) -> str:
        lines = [f"{'damage':<24}{'rows':>8}{'matched':>9}{'offered to a person':>21}"]
        for kind, whole in sorted(self.whole.items()):
            matched, offered = self.matched[kind] / whole, self.offered[kind] / whole
            lines.append(f"{kind:<24}{whole:>8,}{matched:>9.1%}{offered:>21.1%}")
        rules = ", ".join(f"{rule} {count:,}" for rule, count in self.rules.most_common())
        return "\n".join([*lines, rules, f"wrong pairs: {len(self.wrong)}"])


def test_no_wrong_pair_in_sixty_damaged_companies() -> None:
    account = Account()
    for seed in range(5_000, 5_060):
        account.take(seed, damaged_company(seed))
    assert account.wrong == []
    assert sum(account.matched.values()) > 0.5 * sum(account.whole.values())


@pytest.mark.proof
def test_no_wrong_pair_in_a_thousand_damaged_companies(capsys: pytest.CaptureFixture[str]) -> None:
    account = Account()
    for seed in range(1_000):
        account.take(seed, damaged_company(seed))
    with capsys.disabled():
        print(f"\n1,000 companies, several kinds of damage each\n{account}")
    assert account.wrong == []
    assert account.matched["none"] > 0.9 * account.whole["none"]


@pytest.mark.proof
def test_what_one_kind_of_damage_alone_costs(capsys: pytest.CaptureFixture[str]) -> None:
    account = Account()
    for kind in (*ALIKE, *DAMAGE, MERGED, RENUMBERED, MISSING):
        for seed in range(10):
            account.take(seed, damaged_company(seed, only=kind))
    with capsys.disabled():
        print(f"\n10 companies for each kind of damage alone\n{account}")
    assert account.wrong == []
    for kind in ("none", "name mistyped", "name in another form"):
        assert account.matched[kind] > 0.9 * account.whole[kind], kind
    # What says something else than its partner is never paired, and always offered.
    for kind in ("amount changed", "date moved", "number altered", RENUMBERED):
        assert (account.matched[kind], account.offered[kind]) == (0, account.whole[kind]), kind


def test_these_companies_mislead_whoever_takes_what_is_unique() -> None:
    """The proof would see a wrong pair: unique date, amount and name alone make many."""
    wrong = 0
    for seed in range(100):
        company = damaged_company(seed)
        truth = company.truth()
        places: dict[tuple[str, ...], list[str]] = {}
        for entity in company.qbo():
            places.setdefault((entity.type, entity.date, entity.amount, entity.name), []).append(
                entity.id
            )
        for row in company.desktop():
            kind = row.kind.qbo_entity_type
            found = places.get((kind, row.date, row.amount, row.name), [])
            wrong += len(found) == 1 and truth.get(row.id) != (kind, found[0])
    assert wrong > 20


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_three_hundred_thousand_rows_are_matched_in_bounded_time_and_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole stage in a process of its own: tables read, matched, checked and written.

    Time is the processor's, so that a busy machine does not decide.
    """
    third = _measured(tmp_path, ROWS // 3)
    whole = _measured(tmp_path, ROWS)
    with capsys.disabled():
        for rows, (seconds, mib) in ((ROWS // 3, third), (ROWS, whole)):
            print(f"\n{rows:,} x {rows:,}: {seconds:.1f} s, {mib:.0f} MiB", end="")
        print()
    assert whole[0] <= MOST_SECONDS
    assert whole[1] <= MOST_MIB
    assert whole[0] <= 4 * third[0]


def _measured(folder: Path, rows: int) -> tuple[float, float]:
    place = folder / str(rows)
    _large_books("make", place, rows)
    seconds, mib = _large_books("match", place, rows).split()
    return float(seconds), float(mib)


def _large_books(step: str, place: Path, rows: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.large_books", step, str(place), str(rows)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

"""Legacy ids: canonical spelling, prefix, scores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.errors import SettingError
from qbo_attach.core.identifiers import (
    LIST,
    TXN,
    IdRules,
    RuleScores,
    canonical_legacy_id,
    normalize_legacy_id,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("abc123", "ABC123"),
        (" 80a1b2 ", "80A1B2"),
        ("1e-1648662274", "1E-1648662274"),
        ("80A1\N{EN DASH}1439202892", "80A1-1439202892"),
        ("80A1\N{MINUS SIGN}14", "80A1-14"),
        ("\N{FULLWIDTH DIGIT EIGHT}0\N{NO-BREAK SPACE}a", "80A"),
        ("\ufeffa\N{ZERO WIDTH SPACE}b", "AB"),
        ("a b\tc\n", "ABC"),
        ("0007", "0007"),
        ("", ""),
    ],
)
def test_an_id_has_one_spelling(text: str, canonical: str) -> None:
    assert canonical_legacy_id(text) == canonical


@given(st.text())
def test_canonical_is_idempotent_and_without_white_space(text: str) -> None:
    once = canonical_legacy_id(text)
    assert canonical_legacy_id(once) == once
    assert not any(char.isspace() for char in once)


def test_canonical_is_idempotent_for_every_character_with_neighbours() -> None:
    for code in range(0x80, 0x3000):
        once = canonical_legacy_id(f"x{chr(code)}\N{COMBINING ACUTE ACCENT}")
        assert canonical_legacy_id(once) == once, hex(code)


@given(st.text(alphabet="08AB-ab ", max_size=10))
def test_the_prefix_is_dropped_once_and_only_from_the_front(raw: str) -> None:
    canonical = canonical_legacy_id(raw)
    norm = normalize_legacy_id(raw)
    if canonical.startswith("80") and canonical != "80":
        assert "80" + norm == canonical
    else:
        assert norm == canonical


@pytest.mark.parametrize(
    ("raw", "norm"),
    [("80abc123", "ABC123"), ("8080X", "80X"), ("X80", "X80"), ("80", "80"), (" 80a ", "A")],
)
def test_known_folder_names(raw: str, norm: str) -> None:
    assert normalize_legacy_id(raw) == norm


def test_each_class_has_its_prefix() -> None:
    rules = IdRules.of("80", "l-")
    assert rules.normalize("80A", TXN) == "A"
    assert rules.normalize("80A", LIST) == "80A"
    assert rules.normalize("L-5", LIST) == "5"


def test_none_says_no_prefix() -> None:
    assert IdRules.of("None", "").normalize("80A", TXN) == "80A"


def test_a_better_rule_stops_and_names_setting_and_value() -> None:
    scores = RuleScores(TXN, "80")
    for raw in ("80A", "80B", "80A"):
        scores.count(raw, raw, {"80A", "80B"}.__contains__)
    assert scores.ids == 2
    with pytest.raises(
        SettingError, match=r"LEGACY_ID_PREFIX=80: 0.0% \(0 of 2\).*LEGACY_ID_PREFIX=none"
    ) as caught:
        scores.check()
    assert caught.value.variable == "LEGACY_ID_PREFIX"


def test_an_equal_rule_does_not_stop() -> None:
    scores = RuleScores(LIST, "")
    scores.check()
    scores = RuleScores(TXN, "80")
    scores.count_met("A", dropped=False)
    scores.check()
    assert "80 dropped 100.0% (1 of 1), nothing dropped 100.0% (1 of 1)" in scores.sentence()

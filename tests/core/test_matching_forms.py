"""Numbers, names, dates and amounts in compared spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.matching.forms import (
    amount_form,
    name_form,
    name_text,
    name_variant,
    number_form,
    number_text,
    plain_amount,
    prefixes_contradict,
    read_amount,
    read_date,
)


@pytest.mark.parametrize(
    ("raw", "stem", "prefix"),
    [
        ("42", "42", ""),
        ("0042", "42", ""),
        ("INV-0042", "42", "INV"),
        (" inv 42 ", "42", "INV"),
        ("#42", "42", ""),
        ("000", "0", ""),
        ("4A2", "4A2", ""),
        ("A", "A", ""),
        ("", "", ""),
        ("--", "", ""),
    ],
)
def test_a_number_keeps_what_tells_it_apart(raw: str, stem: str, prefix: str) -> None:
    assert number_form(number_text(raw)) == (stem, prefix)


def test_digits_that_a_sign_parts_stay_apart() -> None:
    assert number_form("10-1").stem != number_form("101").stem
    assert number_form("2024-001").stem != number_form("2024-1").stem


def test_two_prefixes_contradict_and_one_does_not() -> None:
    assert prefixes_contradict("INV", "CM")
    assert not prefixes_contradict("INV", "")
    assert not prefixes_contradict("INV", "INV")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("O'Brien & Söhne", "OBRIEN AND SOHNE"),
        ("St. Mary's  Parish", "st marys parish"),
        ("Smith: Kitchen", "smith:kitchen"),
    ],
)
def test_case_accents_and_punctuation_are_no_part_of_a_name(one: str, other: str) -> None:
    assert name_form(one) == name_form(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Smith Inc", "Smith LLC"), ("A:B", "A B"), ("日本", "日")]
)
def test_firms_that_are_two_keep_two_forms(one: str, other: str) -> None:
    assert name_form(one) != name_form(other)


def test_a_name_of_signs_alone_is_still_a_name() -> None:
    assert name_form("***")
    assert not name_form("  ")


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("smith", "smith:kitchen", "path"),
        ("kitchen", "smith:kitchen", "path"),
        ("van der berg", "vanderberg", "spacing"),
        ("john smith", "smith john", "word_order"),
        ("jonathan", "jonahtan", "one_letter"),
        ("jonathan", "jonatha", "one_letter"),
        ("jonathan", "jonathxn", "one_letter"),
        ("jonathan", "jonathaxn", "one_letter"),
    ],
)
def test_a_variant_says_how_it_differs(one: str, other: str, how: str) -> None:
    assert name_variant(one, other) == name_variant(other, one) == how


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("unit 11", "unit 12"),
        ("jon", "jan"),
        ("smith", "jones"),
        ("abbott bakery", "abbott roofing"),
    ],
)
def test_two_names_are_no_variants(one: str, other: str) -> None:
    assert name_variant(one, other) == ""


def test_dates_are_read_in_one_order_only() -> None:
    assert read_date("2024-03-01", "iso") == "2024-03-01"
    assert read_date("3/1/2024", "mdy") == "2024-03-01"
    assert read_date("3/1/2024", "dmy") == "2024-01-03"
    assert read_date("31.12.2024", "dmy") == "2024-12-31"
    assert read_date("2024-03-01 10:00:00", "iso") == "2024-03-01"
    assert read_date("", "iso") == ""
    assert read_date("31/12/2024", "mdy") is None
    assert read_date("3/1/2024", "iso") is None
    assert read_date("2024-02-30", "iso") is None
    assert read_date("3/1/24", "mdy") is None


@pytest.mark.parametrize(
    ("cell", "sign", "amount"),
    [
        ("1,234.56", ".", "1234.56"),
        ("1.234,56", ",", "1234.56"),
        ("$1,234.50", ".", "1234.5"),
        ("(45.10)", ".", "45.1"),
        ("-45,10 €", ",", "45.1"),
        ("45.10-", ".", "45.1"),
        ("0.500", ".", "0.5"),
        ("1234.567", ".", "1234.567"),
        ("1'234.50", ".", "1234.5"),
        ("12 345,60", ",", "12345.6"),
        ("1,234,567", ".", "1234567"),
    ],
)
def test_an_amount_proves_its_decimal_sign(cell: str, sign: str, amount: str) -> None:
    read = read_amount(cell)
    assert read is not None
    assert read.proof == sign
    assert amount_form(read.figure, sign) == amount


def test_three_digits_after_one_sign_prove_nothing() -> None:
    read = read_amount("1,234")
    assert read is not None
    assert (read.proof, read.matters) == ("", True)
    assert amount_form(read.figure, ".") == "1234"
    assert amount_form(read.figure, ",") == "1.234"


@pytest.mark.parametrize("cell", ["abc", "12a", "", "1-2"])
def test_what_is_no_amount_is_none(cell: str) -> None:
    assert read_amount(cell) is None


def test_signs_that_do_not_fit_are_no_amount() -> None:
    assert amount_form("1.234,56", ".") is None
    assert amount_form("12,34", ".") is None


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_all_ways_to_write_an_amount_are_one(units: int, cents: int) -> None:
    plain = plain_amount(f"{units}.{cents:02}")
    read = read_amount(f"{units:,}.{cents:02}")
    continental = read_amount(f"{units:,}".replace(",", ".") + f",{cents:02}")
    assert read is not None
    assert continental is not None
    assert amount_form(read.figure, ".") == amount_form(continental.figure, ",") == plain
    assert plain_amount(repr(float(f"{units}.{cents:02}"))) == plain


@given(st.text(max_size=30))
def test_any_text_has_forms(text: str) -> None:
    number = number_text(text)
    assert bool(number_form(number).stem) == bool(number)
    assert name_form(name_text(text)) or not any(c.isalnum() for c in name_text(text))

"""Numbers, names, dates and amounts in the spelling in which two systems' records are compared.

A form leaves out only what copying between systems changes; whatever could tell two records apart
stays. What is left out is never taken for granted where two forms differ: see `name_variant` and
`prefixes_contradict`.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from decimal import Decimal
from typing import NamedTuple

_PARTS = re.compile(r"\d+|[^\W\d_]+")
_DIGITS = re.compile(r"[0-9]+")
_DATES = {
    "iso": (re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?:[T ]\d\d:\d\d.*)?"), (0, 1, 2)),
    "mdy": (re.compile(r"(\d\d?)[/.-](\d\d?)[/.-](\d{4})(?: \d\d?:\d\d.*)?"), (2, 0, 1)),
    "dmy": (re.compile(r"(\d\d?)[/.-](\d\d?)[/.-](\d{4})(?: \d\d?:\d\d.*)?"), (2, 1, 0)),
}
DATE_ORDERS = tuple(_DATES)
_LEAST_LETTERS = 5
"""A name shorter than this has no letter to spare: `Jon` and `Jan` are two people."""


class NumberForm(NamedTuple):
    """A document number: `stem` is compared, `prefix` (letters before it) must not contradict."""

    stem: str
    prefix: str


def number_text(raw: str) -> str:
    """A number as written, but for case and white space; "" where it says nothing."""
    if raw.isascii() and raw.isdigit():
        return raw
    text = " ".join(unicodedata.normalize("NFKC", raw).upper().split())
    return text if any(c.isalnum() for c in text) else ""


def number_form(text: str) -> NumberForm:
    """`INV-0042` is 42 after INV, `0042` is 42; `10-1` stays apart from `101`.

    Args:
        text: as `number_text` gives it.
    """
    if text.isdigit() and text.isascii():
        return NumberForm(text.lstrip("0") or "0", "")
    parts = _PARTS.findall(text)
    prefix = parts.pop(0) if len(parts) > 1 and not parts[0].isdigit() else ""
    stem = ""
    for part in parts:
        between = "-" if stem[-1:].isdigit() and part.isdigit() else ""
        stem += between + part
    return NumberForm(stem.lstrip("0") or stem[-1:], prefix) if stem else NumberForm("", "")


def prefixes_contradict(one: str, other: str) -> bool:
    """Whether two prefixes are both there and differ: INV 42 is not CM 42."""
    return bool(one and other and one != other)


def name_text(raw: str) -> str:
    """A name as written, but for white space."""
    return " ".join(unicodedata.normalize("NFKC", raw).split())


def name_form(raw: str) -> str:
    """A name without case, accents and punctuation; the levels of a full name stay, by `:`.

    Legal forms (Inc, LLC) and digits stay: they tell firms and branches apart.
    """
    return ":".join(filter(None, (_level_form(level) for level in raw.split(":"))))


def _level_form(level: str) -> str:
    if level.isascii():
        plain = level.lower()
    else:
        spread = unicodedata.normalize("NFKD", level).casefold()
        plain = "".join(c for c in spread if not unicodedata.combining(c))
    plain = (
        plain.replace("&", " and ")
        .replace("'", "")
        .replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
        .replace(".", "")
    )
    words = "".join(c if c.isalnum() else " " for c in plain).split()
    # A name of signs alone is still a name.
    return " ".join(words) or "".join(plain.split())


def name_variant(one: str, other: str) -> str:
    """How two differing name forms are one name, or "" where nothing shows that they are.

    `path`: one is the end or the beginning of the other's levels; `spacing`; `word_order`;
    `one_letter`: one letter put in, left out, changed, or two neighbours swapped, in names with
    the same digits.
    """
    a, b = one.split(":"), other.split(":")
    short, long = (a, b) if len(a) < len(b) else (b, a)
    if len(short) < len(long) and short in (long[: len(short)], long[-len(short) :]):
        return "path"
    if one.replace(" ", "") == other.replace(" ", ""):
        return "spacing"
    if sorted(one.split()) == sorted(other.split()):
        return "word_order"
    letters = min(sum(c.isalpha() for c in one), sum(c.isalpha() for c in other))
    same_digits = _DIGITS.findall(one) == _DIGITS.findall(other)
    if letters >= _LEAST_LETTERS and same_digits and _is_one_letter_off(one, other):
        return "one_letter"
    return ""


def _is_one_letter_off(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    at = 0
    while at < min(len(one), len(other)) and one[at] == other[at]:
        at += 1
    a, b = one[at:], other[at:]
    if len(a) != len(b):
        return a[1:] == b or a == b[1:]
    swapped = a[:2] == b[1::-1] and a[2:] == b[2:]
    return a[1:] == b[1:] or swapped


def read_date(raw: str, order: str) -> str | None:
    """A date as `2024-03-31`; "" for an empty cell; None where it is no date in this order.

    Args:
        raw: the cell; a time of day after the date is passed over.
        order: `iso`, `mdy` or `dmy`.
    """
    text = raw.strip()
    if not text:
        return ""
    pattern, places = _DATES[order]
    match = pattern.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(match.groups()[place]) for place in places)
    try:
        return dt.date(year, month, day).isoformat()
    except ValueError:
        return None


POINT, COMMA = ".", ","
_AMOUNT = re.compile(
    r"\(?[-+]?[^\w.,()+-]*[-+]?(?P<figure>[0-9][0-9.,' \u00a0\u202f]*)[^\w.,()+-]*\)?-?"
)


_PLAIN_AMOUNT = re.compile(r"[1-9][0-9]*\.[0-9][1-9]?")
"""Nearly all amounts: written with a point, and without a closing zero but a single one."""


class AmountCell(NamedTuple):
    """An amount's figure, without currency sign and minus, before its decimal sign is known.

    `proof` is the sign that it proves to be the decimal one; "" where either would do;
    `matters` says whether that would make two amounts of it.
    """

    figure: str
    proof: str
    matters: bool


def read_amount(raw: str) -> AmountCell | None:
    """Take an amount's cell apart; None where it is none.

    `1,234.56` and `0.5` prove the point, `1.234,56` and `7,50` the comma; `1,234` proves nothing.
    """
    if _PLAIN_AMOUNT.fullmatch(raw):
        return AmountCell(raw, POINT, matters=True)
    text = unicodedata.normalize("NFKC", raw.strip()).replace("\N{MINUS SIGN}", "-")
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return None
    figure = "".join(c for c in match.group("figure") if c.isdigit() or c in (POINT, COMMA))
    last = max(figure.rfind(POINT), figure.rfind(COMMA))
    if last < 0:
        return AmountCell(figure, "", matters=False)
    sign = figure[last]
    other = COMMA if sign == POINT else POINT
    groups = figure.split(sign)
    if len(groups) > 2:  # noqa: PLR2004  # a sign that comes twice parts thousands
        return AmountCell(figure, other, matters=True)
    if other in figure or len(groups[1]) != 3 or groups[0] in ("", "0"):  # noqa: PLR2004
        return AmountCell(figure, sign, matters=True)
    if len(groups[0]) > 3:  # noqa: PLR2004  # 1234.567 has no thousands parted
        return AmountCell(figure, sign, matters=True)
    return AmountCell(figure, "", matters=True)


def amount_form(figure: str, decimal_sign: str) -> str | None:
    """An amount's size as plain digits (`1234.5`); None where the signs do not fit.

    The minus is left out: QBO writes a credit as a positive amount of another type.
    """
    if "." not in figure and "," not in figure:
        return figure.lstrip("0") or "0"
    if decimal_sign == POINT and _PLAIN_AMOUNT.fullmatch(figure):
        return figure.removesuffix(".0")
    whole, _, cents = figure.partition(decimal_sign)
    thousands = COMMA if decimal_sign == POINT else POINT
    groups = whole.split(thousands)
    if thousands in cents or decimal_sign in cents:
        return None
    if len(groups) > 1 and any(len(group) != 3 for group in groups[1:]):  # noqa: PLR2004
        return None
    return plain_amount("".join(groups) + "." + (cents or "0"))


def plain_amount(number: str) -> str:
    """A number's size without sign and closing zeros: what JSON has for TotalAmt, or a workbook."""
    if _PLAIN_AMOUNT.fullmatch(number):
        return number.removesuffix(".0")
    value = abs(Decimal(number))
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.lstrip("0") if text.startswith("0") and text[1:2].isdigit() else (text or "0")

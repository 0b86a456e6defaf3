"""What a Desktop type becomes in QBO, for matching: an editable table.

Columns: `name` (as exports write it, compared without case, spaces and signs), `desktop_type` (as
entity_types.csv spells it), `qbo_entity_type` (`EntityRef.type`, empty: nothing that an attachment
could hang on), `numbers`: `ours` where the company numbers its documents itself, so that one number
is one document; `theirs` where numbers come from others and two vendors may use the same one.
"""

from __future__ import annotations

import functools
import io
import pkgutil
from typing import NamedTuple

from qbo_attach.core.edited_tables import read_edited_table
from qbo_attach.core.errors import TableError

_COLUMNS = ("name", "desktop_type", "qbo_entity_type", "numbers")
_OURS, _THEIRS = "ours", "theirs"

LIST_TYPES = ("Customer", "Vendor", "Employee", "Item", "Account")
TXN_TYPES = (
    "Bill", "BillPayment", "CreditMemo", "Deposit", "Estimate", "Invoice", "JournalEntry",
    "Payment", "Purchase", "PurchaseOrder", "RefundReceipt", "SalesReceipt", "Transfer",
    "VendorCredit",
)  # fmt: skip
"""Types of QBO whose number, date, amount and name we know how to read."""


class MatchType(NamedTuple):
    """A row of the table. `qbo_entity_type` is "" where nothing becomes of it in QBO."""

    name: str
    desktop_type: str
    qbo_entity_type: str
    numbers: str

    @property
    def own_numbers(self) -> bool:
        """Whether one number is one document."""
        return self.numbers == _OURS

    @property
    def is_list(self) -> bool:
        """Whether it is an entry of a list, matched by name alone."""
        return self.qbo_entity_type in LIST_TYPES


@functools.lru_cache(maxsize=1024)
def word_key(word: str) -> str:
    """A type's or a column's name as it is compared: letters and digits alone."""
    return "".join(c for c in word.casefold() if c.isalnum())


class MatchTypes:
    """The table, by name."""

    def __init__(self, by_key: dict[str, MatchType]) -> None:
        self._by_key = by_key

    def of(self, name: str) -> MatchType | None:
        """The type of this name, or None if the table does not have it."""
        return self._by_key.get(word_key(name))


def read_match_types(stream: io.BufferedIOBase, url: str) -> MatchTypes:
    """Read the table.

    Raises:
        TableError: broken, a name with two meanings, or a value that is not allowed.
    """
    by_key: dict[str, MatchType] = {}
    for row, cells in read_edited_table(stream, url, _COLUMNS):
        found = MatchType._make(cells)
        problem, column = _problem(found)
        if problem:
            raise TableError(url, problem, row=row, column=column)
        for name in filter(None, {found.name, found.desktop_type}):
            # The Desktop type's own spelling stands for its first row.
            kept = by_key.setdefault(word_key(name), found)
            if name == found.name and kept[1:] != found[1:]:
                raise TableError(url, f"{name} has another meaning in an earlier row", row=row)
    return MatchTypes(by_key)


def _problem(found: MatchType) -> tuple[str, str]:
    if not word_key(found.name):
        return "is empty", "name"
    kind = found.qbo_entity_type
    if kind and kind not in LIST_TYPES + TXN_TYPES:
        allowed = ", ".join(sorted(LIST_TYPES + TXN_TYPES))
        return f"is {kind!r}; allowed are {allowed}, or empty", "qbo_entity_type"
    if kind in TXN_TYPES and found.numbers not in (_OURS, _THEIRS):
        return f"is {found.numbers!r}; allowed are {_OURS} and {_THEIRS}", "numbers"
    return "", ""


@functools.cache
def built_in_match_types() -> MatchTypes:
    """The table that the package ships."""
    name = "data/match_types.csv"
    data = pkgutil.get_data("qbo_attach.core", name) or b""
    return read_match_types(io.BytesIO(data), name)

"""Reading what a Desktop company exported of itself: transactions and list entries.

A table, CSV or XLSX, as the SDK, an ODBC driver or a report tool writes it. Which column is which
is decided by an editable list of names (data/desktop_columns.csv); of several names for one thing
that a table has, the first of the list is taken. Where a table has no column for the type, its
name is the type: `Bill.csv`, or a sheet called Bill.

Dates are read in one order, by a setting. The decimal sign is a setting too, or proven by the
file: some cell shows it, and none shows the other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import NamedTuple

from qbo_attach.core.errors import TableError
from qbo_attach.core.identifiers import canonical_legacy_id
from qbo_attach.core.mapping import is_spoilt
from qbo_attach.core.matching.desktop_columns import FIELDS, Columns
from qbo_attach.core.matching.forms import (
    COMMA,
    DATE_ORDERS,
    POINT,
    amount_form,
    name_text,
    number_text,
    plain_amount,
    read_amount,
    read_date,
)
from qbo_attach.core.matching.types import MatchType, MatchTypes
from qbo_attach.core.workbooks import Day, Number, Sheet, read_sheets

DECIMAL_SIGNS = {"auto": "", "point": POINT, "comma": COMMA}
_PLAIN = "="
"""Marks an amount that a workbook holds as a number."""


class DesktopRow(NamedTuple):
    """A transaction or list entry of Desktop; number, date, amount and name in compared spelling.

    `id` is canonical (TxnID, ListID). A cell that was empty, or is not compared, is "". `row` is
    the line in its table.
    """

    row: int
    id: str
    kind: MatchType
    number: str
    date: str
    amount: str
    name: str


class DesktopExport:
    """The rows of one or several files, each id once.

    `rows` are those that become something in QBO; `without_entity` counts by type those that do
    not; `repeated_rows` the lines that say again what an earlier one said (a line a transaction
    line); `notes` tell which columns were taken.
    """

    def __init__(self, types: MatchTypes, columns: Columns, date_order: str, decimal: str) -> None:
        if date_order not in DATE_ORDERS or decimal not in DECIMAL_SIGNS:
            raise ValueError(f"{date_order}, {decimal}: no order of dates, or no decimal sign")
        self._types = types
        self._columns = columns
        self._date_order = date_order
        self._decimal = DECIMAL_SIGNS[decimal]
        self._at: dict[tuple[bool, str], int] = {}
        self._dates: dict[str, str | None] = {}
        self._names: dict[str, str] = {}
        self.rows: list[DesktopRow] = []
        self.without_entity: dict[str, int] = {}
        self.repeated_rows = 0
        self.notes: list[str] = []

    def add(self, stream: io.BufferedIOBase, url: str) -> None:
        """Read one file's tables.

        Raises:
            TableError: names file, row and column, and the remedy.
        """
        raw: list[tuple[str, DesktopRow]] = []
        signs = _Signs(url, self._decimal)
        unknown: dict[str, tuple[str, int]] = {}
        for sheet in read_sheets(stream, url):
            place = sheet.place
            picks = self._picks(sheet)
            cells_of = _reader(picks, sheet.name)
            for line, cells in sheet.rows:
                legacy_id, type_name, date, number, name, amount = cells_of(cells)
                kind = self._types.of(type_name)
                if kind is None:
                    unknown.setdefault(type_name, (place, line))
                elif not kind.qbo_entity_type:
                    self.without_entity[kind.name] = self.without_entity.get(kind.name, 0) + 1
                else:
                    if not kind.is_list:
                        self._require(picks, sheet)
                    row = DesktopRow(
                        line,
                        _checked_id(legacy_id, place, line),
                        kind,
                        "" if kind.is_list else number_text(number),
                        "" if kind.is_list else self._date(date, place, line),
                        "" if kind.is_list else signs.figure(amount, place, line),
                        self._names.setdefault(name, name_text(name)),
                    )
                    raw.append((place, row))
        _refuse_unknown(unknown)
        sign = signs.decided()
        for place, row in raw:
            self._keep(row._replace(amount=_amount(row, sign, place)), place)

    def _picks(self, sheet: Sheet) -> dict[str, int]:
        picks = self._columns.picks(sheet, sheet.place)
        if "type" not in picks and self._types.of(sheet.name) is None:
            known = ", ".join(self._columns.names.get("type", ()))
            problem = (
                f"no column for the type (one of {known}), and {sheet.name!r}, the table's name, "
                f"is no type; found: {', '.join(sheet.header)}"
            )
            raise TableError(sheet.place, problem, row=1)
        taken = ", ".join(f"{field} from {sheet.header[i]}" for field, i in picks.items())
        self.notes.append(f"{sheet.place}: {taken}.")
        return picks

    def _require(self, picks: dict[str, int], sheet: Sheet) -> None:
        """Without date and amount no transaction could be paired."""
        for field in ("date", "amount"):
            if field not in picks:
                known = ", ".join(self._columns.names.get(field, ()))
                problem = (
                    f"no column for the {field} (one of {known}); found: "
                    f"{', '.join(sheet.header)}; name it in DESKTOP_COLUMNS_TABLE"
                )
                raise TableError(sheet.place, problem, row=1)

    def _date(self, cell: str, url: str, line: int) -> str:
        if isinstance(cell, Day):
            return str(cell)
        # A company has some thousand days, and each comes often.
        if cell not in self._dates:
            self._dates[cell] = read_date(cell, self._date_order)
        date = self._dates[cell]
        if date is None:
            problem = f"{cell!r} is no date in the order {self._date_order}; set DESKTOP_DATES"
            raise TableError(url, problem, row=line, column="date")
        return date

    def _keep(self, row: DesktopRow, url: str) -> None:
        key = (row.kind.is_list, row.id)
        at = self._at.setdefault(key, len(self.rows))
        if at == len(self.rows):
            self.rows.append(row)
            return
        earlier = self.rows[at]
        if earlier[1:] != row[1:]:
            problem = (
                f"{row.id} stands in row {earlier.row} already, with another type, number, date, "
                "amount or name; export one row a transaction"
            )
            raise TableError(url, problem, row=row.row, column="id")
        self.repeated_rows += 1


def _reader(picks: dict[str, int], sheet_name: str) -> Callable[[list[str]], list[str]]:
    """Picks the cells of FIELDS from a row; without a column, the table's name is the type."""
    places = [picks.get(field) for field in FIELDS]
    named = FIELDS.index("type") if "type" not in picks else None

    def cells_of(cells: list[str]) -> list[str]:
        values = ["" if place is None else cells[place] for place in places]
        if named is not None:
            values[named] = sheet_name
        return values

    return cells_of


def _checked_id(raw: str, url: str, line: int) -> str:
    legacy_id = canonical_legacy_id(raw)
    if not legacy_id:
        raise TableError(url, "is empty; fill it or take this row out", row=line, column="id")
    if isinstance(raw, Number) or is_spoilt(legacy_id):
        problem = f"{raw!s} is what a spreadsheet made of an id; export again, ids as text"
        raise TableError(url, problem, row=line, column="id")
    return legacy_id


def _refuse_unknown(unknown: dict[str, tuple[str, int]]) -> None:
    if not unknown:
        return
    url, line = next(iter(unknown.values()))
    names = ", ".join(sorted(repr(name) for name in unknown))
    problem = f"no such Desktop type is known: {names}; add a row a type to MATCH_TYPES_TABLE"
    raise TableError(url, problem, row=line, column="type")


class _Signs:
    """Which decimal sign a file's amounts have: the setting's, or the one that cells prove."""

    def __init__(self, url: str, given: str) -> None:
        self._url = url
        self._given = given
        self._proofs: dict[str, tuple[str, int, str]] = {}
        self._undecided: tuple[str, int, str] | None = None

    def figure(self, cell: str, url: str, line: int) -> str:
        """An amount's figure, for `_amount` to read; a workbook's numbers as they are."""
        if isinstance(cell, Number):
            return _PLAIN + plain_amount(cell)
        if not cell.strip():
            return ""
        read = read_amount(cell)
        if read is None:
            problem = f"{cell!r} is no amount; correct it"
            raise TableError(url, problem, row=line, column="amount")
        if read.proof:
            self._proofs.setdefault(read.proof, (url, line, cell))
        elif read.matters and self._undecided is None:
            self._undecided = (url, line, cell)
        return read.figure

    def decided(self) -> str:
        """The sign.

        Raises:
            TableError: two cells prove different ones, or none proves any where it matters.
        """
        if self._given:
            return self._given
        if len(self._proofs) > 1:
            (_, row, cell), (url, other_row, other) = self._proofs.values()
            problem = (
                f"{other!r} has another decimal sign than {cell!r} in row {row}; set "
                "DESKTOP_DECIMAL to point or comma"
            )
            raise TableError(url, problem, row=other_row, column="amount")
        if not self._proofs and self._undecided is not None:
            url, line, cell = self._undecided
            problem = f"{cell!r} can be read in two ways; set DESKTOP_DECIMAL to point or comma"
            raise TableError(url, problem, row=line, column="amount")
        return next(iter(self._proofs), POINT)


def _amount(row: DesktopRow, sign: str, url: str) -> str:
    figure = row.amount
    if not figure:
        return ""
    if figure.startswith(_PLAIN):
        return figure[len(_PLAIN) :]
    read = amount_form(figure, sign)
    if read is None:
        word = "point" if sign == POINT else "comma"
        problem = f"{figure!r} is no amount whose decimal sign is the {word}; set DESKTOP_DECIMAL"
        raise TableError(url, problem, row=row.row, column="amount")
    return read


def types_of(rows: Iterable[DesktopRow]) -> tuple[str, ...]:
    """The types of QBO that these rows became, each once, in order."""
    return tuple(sorted({row.kind.qbo_entity_type for row in rows}))

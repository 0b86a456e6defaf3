"""Reading a mapping in any form that people have it in.

CSV with the four columns of mapping_export.csv or Intuit's four fields of QbdtEntityIdMapping, in
any case and order; or JSON with Intuit's fields (or ours): an array, answers of the query API
(`{"QueryResponse": {"QbdtEntityIdMapping": [...]}}`), or one of these a line.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from qbo_attach.core.edited_tables import header_cells
from qbo_attach.core.errors import TableError
from qbo_attach.core.table_text import Lines
from qbo_attach.core.tables import MappingRow, open_text, records

COLUMNS = MappingRow._fields
MATCH_RULE = "match_rule"
"""A column of a mapping that was made by matching: by what a row was matched."""
INTUIT_FIELDS = ("QbdtExportableId", "QbdtEntityType", "QboEntityType", "QboEntityId")
"""Intuit's names of our four columns, in our order."""

_COLUMN_BY_NAME = {
    name.lower(): column
    for names in (COLUMNS, INTUIT_FIELDS)
    for name, column in zip(names, COLUMNS, strict=True)
}


RawMapping = tuple[int, str, str, str, str, str]
"""Row, legacy id, legacy type, QBO type, QBO id, match rule: the cells as the source has them.

The match rule is "" in a mapping that was not made by matching.

The row is the line of a CSV file or of JSON lines; in a JSON array it counts the entries from 1.
"""


def read_mapping(stream: io.BufferedIOBase, url: str) -> Iterator[RawMapping]:
    """Read a mapping, streamed if it is CSV.

    Raises:
        TableError: it has none of the forms above; names row and column.
    """
    text = open_text(stream, url)
    try:
        first = text.readline()
        while first and not first.strip("\ufeff \t\r\n,;"):
            first = text.readline()
        if first.lstrip("\ufeff \t")[:1] in {"[", "{"}:
            yield from _json_rows((first + text.read()).lstrip("\ufeff"), url)
            return
    except UnicodeDecodeError as error:
        problem = f"is not {error.encoding} text ({error.reason}); save the table as UTF-8"
        raise TableError(url, problem) from error
    yield from _csv_rows(first, text, url)


def mapping_rows(rows: Iterable[Mapping[str, object]], url: str) -> Iterator[RawMapping]:
    """Rows from records with Intuit's fields, or ours, in any case; `row` counts them from 1.

    Raises:
        TableError: a record lacks a field, or has it twice.
    """
    for number, row in enumerate(rows, 1):
        yield _from_record(row, number, url)


def _csv_rows(first: str, rest: Iterable[str], url: str) -> Iterator[RawMapping]:
    delimiter, header = header_cells(first, url)
    width = len(header)
    a, b, c, d = _picks(header, url)
    rule = header.index(MATCH_RULE) if MATCH_RULE in header else None
    lines = Lines(rest, delimiter)
    for row, cells in records(lines, delimiter, url):
        if len(cells) != width:
            if not any(cell.strip() for cell in cells):
                continue
            problem = f"has {len(cells)} cells where the header has {width} columns"
            raise TableError(url, problem, row=row)
        legacy_id, qbo_id = cells[a], cells[d]
        if not legacy_id and not any(cell.strip() for cell in cells):
            continue
        if lines.may_be_guarded:
            # The mark by which a spreadsheet is told that a cell is text.
            legacy_id, qbo_id = legacy_id.removeprefix("'"), qbo_id.removeprefix("'")
        yield row, legacy_id, cells[b], cells[c], qbo_id, "" if rule is None else cells[rule]


def _picks(header: list[str], url: str) -> list[int]:
    where: dict[str, int] = {}
    for index, name in enumerate(header):
        column = _COLUMN_BY_NAME.get(name)
        if column and where.setdefault(column, index) != index:
            raise TableError(url, f"stands twice, as {name}", row=1, column=column)
    for column, intuit in zip(COLUMNS, INTUIT_FIELDS, strict=True):
        if column not in where:
            found = ", ".join(header)
            problem = f"this column, or {intuit}, is missing; found: {found}"
            raise TableError(url, problem, row=1, column=column)
    return [where[column] for column in COLUMNS]


def _json_rows(text: str, url: str) -> Iterator[RawMapping]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            problem = f"is not readable as JSON ({error.msg})"
            raise TableError(url, problem, row=error.lineno) from error
        yield from chain.from_iterable(_json_lines(text, url))
        return
    yield from mapping_rows(_entries(whole, None, url), url)


def _json_lines(text: str, url: str) -> Iterator[Iterator[RawMapping]]:
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            problem = f"is not readable as JSON ({error.msg})"
            raise TableError(url, problem, row=line_number) from error
        entries = _entries(value, line_number, url)
        yield (_from_record(entry, line_number, url) for entry in entries)


def _entries(value: object, row: int | None, url: str) -> list[dict[str, object]]:
    """Records in a JSON value: an array, an answer of the query API, or one record."""
    if isinstance(value, dict):
        answer = value.get("QueryResponse")
        if isinstance(answer, dict):
            # A page past the last one has no list at all.
            value = answer.get("QbdtEntityIdMapping", [])
        elif answer is None:
            value = [value]
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        fields = ", ".join(INTUIT_FIELDS)
        raise TableError(url, f"must hold a list of objects with {fields}", row=row)
    return value


def _from_record(record: Mapping[str, object], row: int, url: str) -> RawMapping:
    found: dict[str, str] = {}
    for name, value in record.items():
        column = _COLUMN_BY_NAME.get(name.lower())
        if column is None:
            continue
        if column in found:
            raise TableError(url, f"stands twice, as {name}", row=row, column=column)
        if not isinstance(value, str):
            # A number could have lost leading zeros or digits already.
            problem = f"{name} is {json.dumps(value, default=str)}; it must be text in quotes"
            raise TableError(url, problem, row=row, column=column)
        found[column] = value
    for column, intuit in zip(COLUMNS, INTUIT_FIELDS, strict=True):
        if column not in found:
            raise TableError(url, f"{intuit} is missing", row=row, column=column)
    legacy_id, legacy_type, qbo_type, qbo_id = (found[column] for column in COLUMNS)
    return row, legacy_id, legacy_type, qbo_type, qbo_id, ""

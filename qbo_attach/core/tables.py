"""Every table we write: its columns in order, and how a cell is written and read back.

A row is a NamedTuple of text: ids never become numbers, so leading zeros live. The first columns
of each table are those that users of the earlier public pipeline know; ours follow them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar, cast

from qbo_attach.core.errors import TableError
from qbo_attach.core.table_text import Lines, not_text
from qbo_attach.core.table_text import open_text as open_text  # noqa: PLC0414 - for readers of tables
from qbo_attach.core.table_text import records as records  # noqa: PLC0414


class InventoryRow(NamedTuple):
    """attachments_inventory.csv: one row a file found. Identity: `file_path`."""

    legacy_txnid_norm: str
    legacy_entity_type: str
    raw_legacy_id: str
    file_name: str
    file_path: str
    client: str = ""
    size_bytes: str = ""
    modified_at: str = ""
    etag: str = ""
    problem: str = ""


class MappingRow(NamedTuple):
    """mapping_export.csv: legacy id and type to a QBO entity."""

    legacy_txnid_norm: str
    legacy_entity_type: str
    qbo_entity_type: str
    qbo_entity_id: str


class VerificationRow(NamedTuple):
    """mapping_verification_log.csv: one row an inventory row, with its status.

    Several entity refs (by an override) stand as `Bill;Invoice` and `12;34`. `match_rule`: by what
    the mapping's row was matched, where it was (docs/matching.md).
    """

    legacy_txnid_norm: str
    legacy_entity_type: str
    raw_legacy_id: str
    file_name: str
    file_path: str
    qbo_entity_type: str
    qbo_entity_id: str
    status: str
    reason: str
    client: str = ""
    size_bytes: str = ""
    modified_at: str = ""
    etag: str = ""
    match_rule: str = ""


class SkipRow(NamedTuple):
    """mapping_verification_skips.csv: the rows excluded by configuration; `reason` is the rule."""

    legacy_txnid_norm: str
    legacy_entity_type: str
    file_name: str
    reason: str
    file_path: str = ""
    client: str = ""
    size_bytes: str = ""


class PlanRow(NamedTuple):
    """upload_plan.csv: one row an `ok` attachment, with what the next upload would do.

    `qbo_attachable_id`: of an `existing` row, the attachable that QBO has; of one that is skipped,
    the attachable that it is; of a duplicate of what was done, the one that has its content.
    `gone_attachable_id`: of a row that was done and is to be sent again, the one that QBO has no
    more.
    """

    legacy_txnid_norm: str
    legacy_entity_type: str
    raw_legacy_id: str
    file_name: str
    file_path: str
    qbo_entity_type: str
    qbo_entity_id: str
    action: str
    reason: str
    sent_file_name: str = ""
    content_type: str = ""
    idempotency_key: str = ""
    client: str = ""
    size_bytes: str = ""
    modified_at: str = ""
    etag: str = ""
    sha256: str = ""
    qbo_attachable_id: str = ""
    gone_attachable_id: str = ""
    match_rule: str = ""


class RunLogRow(NamedTuple):
    """qbo_attach_runlog.csv, qbo_attach_errors.csv, qbo_attach_dups.csv: one row an outcome."""

    ts: str
    legacy_txnid_norm: str
    legacy_entity_type: str
    raw_legacy_id: str
    qbo_entity_type: str
    qbo_entity_id: str
    file_name: str
    file_path: str
    status_code: str
    error: str
    intuit_tid: str
    outcome: str
    client: str = ""
    size_bytes: str = ""
    modified_at: str = ""
    sha256: str = ""
    sent_file_name: str = ""
    qbo_attachable_id: str = ""
    request_id: str = ""
    idempotency_key: str = ""
    run_id: str = ""
    attempt: str = ""
    duration_ms: str = ""
    match_rule: str = ""


class ReconciliationRow(NamedTuple):
    """reconciliation.csv: one row an attachment, then one an attachable that is none of them.

    An attachment is a row of the verification log that is `ok`, or one that the run log has as
    done. `state` and `reason`: see core/reconciliation. The columns from `qbo_entity_type` to
    `qbo_attachable_id` are what the run log (or, not yet sent, the verification log) has; those
    that begin with `found_` what QBO shows, empty where it shows nothing. `compared`: `digest`
    where the bytes were compared, `size` where names, sizes and entities were.
    """

    file_path: str
    state: str
    reason: str
    qbo_entity_type: str = ""
    qbo_entity_id: str = ""
    sent_file_name: str = ""
    size_bytes: str = ""
    sha256: str = ""
    qbo_attachable_id: str = ""
    found_entity_type: str = ""
    found_entity_id: str = ""
    found_file_name: str = ""
    found_size_bytes: str = ""
    found_sha256: str = ""
    found_attachable_id: str = ""
    compared: str = ""
    run_id: str = ""


INVENTORY = "attachments_inventory.csv"
MAPPING = "mapping_export.csv"
VERIFICATION = "mapping_verification_log.csv"
SKIPS = "mapping_verification_skips.csv"
PLAN = "upload_plan.csv"
RUNLOG = "qbo_attach_runlog.csv"
ERRORS = "qbo_attach_errors.csv"
DUPS = "qbo_attach_dups.csv"
RECONCILIATION = "reconciliation.csv"

COLUMNS: dict[str, tuple[str, ...]] = {
    INVENTORY: InventoryRow._fields,
    MAPPING: MappingRow._fields,
    VERIFICATION: VerificationRow._fields,
    SKIPS: SkipRow._fields,
    PLAN: PlanRow._fields,
    RUNLOG: RunLogRow._fields,
    ERRORS: RunLogRow._fields,
    DUPS: RunLogRow._fields,
    RECONCILIATION: ReconciliationRow._fields,
}

Row = TypeVar("Row", bound=tuple[str, ...])
"""A NamedTuple of text: what a table's rows are made of."""

_GUARDED = frozenset("=+-@'\t\r\n")
"""A cell that begins so would be run by a spreadsheet (or hide from it); it gets a leading `'`."""

_ODD = tuple((char, f",{char}", f"\n{char}") for char in "=+-@'\t")
"""Characters, each with the marks of a cell to guard: one is found far more quickly than two."""

_CHUNK_ROWS = 250
"""Few: see storage/table_writer."""
_PIECE_ROWS = 16
"""So few that an odd cell here and there leaves most pieces plain."""


def encode_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[bytes]:
    """Write a table as UTF-8 CSV, in pieces of some hundred rows, the header first.

    Line ends are LF. Cells are guarded against spreadsheets. Bytes of a file name that are not
    UTF-8 appear as an escape, so that the table itself always is UTF-8.
    """
    yield encode_rows([columns])
    rows = iter(rows)
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        yield encode_rows(chunk)


def encode_rows(rows: Iterable[tuple[str, ...]]) -> bytes:
    """Rows as they stand in the table, without a header."""
    rows = list(rows)
    pieces = (rows[i : i + _PIECE_ROWS] for i in range(0, len(rows), _PIECE_ROWS))
    return "".join(map(_text, pieces)).encode("utf-8", "backslashreplace")


def _text(rows: list[tuple[str, ...]]) -> str:
    """A few rows as text; `csv`, which looks at each character, is asked only for odd ones.

    Nothing is to be quoted or guarded if all commas and line ends stand between cells, and none of
    the marks does.
    """
    text = "\n".join(map(",".join, rows))
    commas = sum(map(len, rows)) - len(rows)
    if commas and text.count(",") == commas and text.count("\n") == len(rows) - 1:
        text = f"\n{text}\n"
        if not _is_odd(text):
            return text[1:]
    buffer = io.StringIO()
    guarded = [tuple(f"'{c}" if c[:1] in _GUARDED else c for c in row) for row in rows]
    csv.writer(buffer, lineterminator="\n").writerows(guarded)
    return buffer.getvalue()


def _is_odd(text: str) -> bool:
    """Whether a cell is to be quoted or guarded. A plain loop: it is asked for every few rows."""
    if '"' in text or "\r" in text:
        return True
    for char, within, first in _ODD:  # noqa: SIM110 - `any` takes twice as long
        if char in text and (within in text or first in text):
            return True
    return False


def decode_table(row_type: type[Row], stream: io.BufferedIOBase, url: str) -> Iterator[Row]:
    """Read a table with a header row: UTF-8 with or without BOM, or UTF-16; `,` or `;`.

    Columns may stand in any order and any case; columns we do not know are passed over; a column
    with a default may be absent. Blank lines are passed over.

    Raises:
        TableError: not readable as such a table; names the row and the column.
    """
    text = open_text(stream, url)
    header_line, delimiter = _header(text, url)
    header = [name.strip().lower() for name in header_line]
    width = len(header)
    picks, defaults = _columns(row_type, header, url)
    straight = picks == list(range(width))
    make = cast("Callable[[list[str]], Row]", partial(tuple.__new__, row_type))
    lines = Lines(text, delimiter)
    for line, cells in records(lines, delimiter, url):
        if len(cells) == width:
            row = cells if straight else _picked(cells + defaults, picks)
            yield make(_unguarded(row) if lines.may_be_guarded else row)
        elif any(cell.strip() for cell in cells):
            problem = f"has {len(cells)} cells where the header has {width} columns"
            raise TableError(url, problem, row=line)


def _picked(cells: list[str], picks: list[int]) -> list[str]:
    return [cells[i] for i in picks]


def _unguarded(row: list[str]) -> list[str]:
    if "'" in [cell[:1] for cell in row]:
        return [cell[1:] if cell[:1] == "'" else cell for cell in row]
    return row


def _header(text: io.TextIOWrapper, url: str) -> tuple[list[str], str]:
    try:
        line = text.readline()
    except UnicodeDecodeError as error:
        raise TableError(url, not_text(error), row=1) from error
    delimiter = ";" if line.count(";") > line.count(",") else ","
    for _, cells in records([line], delimiter, url, first_line=1):
        return [cell.lstrip("\ufeff") for cell in cells], delimiter
    raise TableError(url, "the first line must name the columns", row=1)


def _columns(row_type: type[Row], header: list[str], url: str) -> tuple[list[int], list[str]]:
    """Where each field's cell stands in a record to which the defaults were appended."""
    picks: list[int] = []
    defaults: list[str] = []
    fields: tuple[str, ...] = row_type._fields  # type: ignore[attr-defined]
    field_defaults: dict[str, str] = row_type._field_defaults  # type: ignore[attr-defined]
    for name in fields:
        if header.count(name) > 1:
            raise TableError(url, "this column stands twice in the header", row=1, column=name)
        if name in header:
            picks.append(header.index(name))
        elif name in field_defaults:
            picks.append(len(header) + len(defaults))
            defaults.append(field_defaults[name])
        else:
            found = ", ".join(header)
            raise TableError(url, f"this column is missing; found: {found}", row=1, column=name)
    return picks, defaults

"""Every table we write: its columns in order, and how a cell is written and read back.

A row is a NamedTuple of text: ids never become numbers, so leading zeros live. The first columns
of each table are those that users of the earlier public pipeline know; ours follow them.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar, cast

from qbo_attach.core.errors import TableError


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

    `qbo_attachable_id`: of an `existing` row, the attachable that QBO has. `gone_attachable_id`: of
    a row that was done and is to be sent again, the one that QBO has no more.
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


class LeftoverRow(NamedTuple):
    """leftovers.csv: one row a file that is not in QBO.

    `reason` is a verification status or an outcome, `detail` its words. `copied_to` is where its
    copy lies below the folder; empty where there is none, and then `problem` says why.
    """

    reason: str
    detail: str
    file_path: str
    client: str = ""
    legacy_entity_type: str = ""
    raw_legacy_id: str = ""
    qbo_entity_type: str = ""
    qbo_entity_id: str = ""
    size_bytes: str = ""
    modified_at: str = ""
    copied_to: str = ""
    problem: str = ""
    remedy: str = ""


class EstimateRow(NamedTuple):
    """upload_estimate.csv: what the next upload would do, counted in several ways.

    `by` is `total`, `entity_type`, `client` or `reason`: `what` is then an action of the plan, or
    the verification status of what is not planned; `number` attachments of `size_bytes` in all. Or
    `by` is `requests` (`value` is their kind) or `duration` (`value` is its bound): `what` is the
    unit of `number`.
    """

    by: str
    value: str
    what: str
    number: str
    size_bytes: str = ""


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
ESTIMATE = "upload_estimate.csv"
LEFTOVERS = "leftovers.csv"

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
    ESTIMATE: EstimateRow._fields,
    LEFTOVERS: LeftoverRow._fields,
}

Row = TypeVar("Row", bound=tuple[str, ...])
"""A NamedTuple of text: what a table's rows are made of."""

_GUARDED = frozenset("=+-@'\t\r\n")
"""A cell that begins so would be run by a spreadsheet (or hide from it); it gets a leading `'`."""

_CHUNK_ROWS = 2_000


def encode_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[bytes]:
    """Write a table as UTF-8 CSV, in pieces of some thousand rows, the header first.

    Line ends are LF. Cells are guarded against spreadsheets. Bytes of a file name that are not
    UTF-8 appear as an escape, so that the table itself always is UTF-8.
    """
    yield encode_rows([columns])
    rows = iter(rows)
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        yield encode_rows(chunk)


def encode_rows(rows: Iterable[tuple[str, ...]]) -> bytes:
    """Rows as they stand in the table, without a header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        if _GUARDED.isdisjoint([cell[:1] for cell in row]):
            writer.writerow(row)
        else:
            writer.writerow([f"'{c}" if c[:1] in _GUARDED else c for c in row])
    return buffer.getvalue().encode("utf-8", "backslashreplace")


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
    make = cast("Callable[[list[str]], Row]", row_type._make)  # type: ignore[attr-defined]
    for line, cells in records(text, delimiter, url):
        if len(cells) != width:
            if not any(cell.strip() for cell in cells):
                continue
            raise TableError(
                url, f"has {len(cells)} cells where the header has {width} columns", row=line
            )
        row = cells if straight else _picked(cells + defaults, picks)
        if "'" in [cell[:1] for cell in row]:
            row = [cell[1:] if cell[:1] == "'" else cell for cell in row]
        yield make(row)


def _picked(cells: list[str], picks: list[int]) -> list[str]:
    return [cells[i] for i in picks]


def open_text(stream: io.BufferedIOBase, url: str) -> io.TextIOWrapper:
    """Text of a CSV or JSON file by its byte order mark; UTF-8 where it has none.

    Raises:
        TableError: the file is empty.
    """
    head = stream.read(4)
    if not head:
        raise TableError(url, "the file is empty; it needs at least a header row")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif head[1:2] == b"\0":
        encoding = "utf-16-le"
    elif head[:1] == b"\0":
        encoding = "utf-16-be"
    else:
        encoding = "utf-8-sig"
    return io.TextIOWrapper(
        io.BufferedReader(_Rejoined(head, stream), 1 << 16), encoding=encoding, newline=""
    )


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already, with them put back."""

    def __init__(self, head: bytes, rest: io.BufferedIOBase) -> None:
        super().__init__()
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer
        piece = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def records(
    text: Iterable[str], delimiter: str, url: str, *, first_line: int = 2
) -> Iterator[tuple[int, list[str]]]:
    """CSV records with the 1-based line each begins on.

    Raises:
        TableError: quotes that do not match, or bytes that are not text.
    """
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    line = first_line
    try:
        for cells in reader:
            yield line, cells
            line = first_line + reader.line_num
    except csv.Error as error:
        raise TableError(url, f"is not readable as CSV ({error})", row=line) from error
    except UnicodeDecodeError as error:
        raise TableError(url, _not_text(error), row=line) from error


def _not_text(error: UnicodeDecodeError) -> str:
    return f"is not {error.encoding} text ({error.reason}); save the table as UTF-8"


def _header(text: io.TextIOWrapper, url: str) -> tuple[list[str], str]:
    try:
        line = text.readline()
    except UnicodeDecodeError as error:
        raise TableError(url, _not_text(error), row=1) from error
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

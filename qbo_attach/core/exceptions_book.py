"""exceptions.xlsx: for the people who must decide what becomes of leftovers.

Its sheet `decisions` is a table for MAPPING_OVERRIDES: a person fills `entity_refs` and `by_whom`.
Its sheet `files` lists every leftover. All cells are text, so that no id loses a zero, and none is
a formula, whatever a file is called.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from qbo_attach.core.leftovers import LeftoverRow, Undecided
from qbo_attach.core.overrides import DECISIONS_SHEET
from qbo_attach.core.workbooks import read_sheets

NAME = "exceptions.xlsx"
DECISION_COLUMNS = (
    *("legacy_id", "legacy_entity_type", "entity_refs", "by_whom", "reason"),
    *("status", "client", "files", "example"),
)
ANSWERS = ("entity_refs", "by_whom")
"""What a person fills."""
MOST_FILES = 50_000
"""So many leftovers stand in the sheet; leftovers.csv has all."""

_MOST_CHARACTERS = 32_000
"""A cell of a workbook holds at most 32,767."""
_WIDTHS = {"reason": 50, "example": 60, "file_path": 60, "detail": 50, "entity_refs": 24}


def exceptions_book(undecided: Iterable[Undecided], files: Iterable[LeftoverRow]) -> bytes:
    """The workbook's bytes."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    decisions = (
        (
            *(one.legacy_id, one.legacy_entity_type, "", "", one.reason),
            *(one.status, one.client, str(one.files), one.example),
        )
        for one in undecided
    )
    _add_sheet(book, DECISIONS_SHEET, DECISION_COLUMNS, decisions)
    _add_sheet(book, "files", LeftoverRow._fields, files)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def decided(stream: io.BufferedIOBase, url: str) -> int:
    """How many rows of an exceptions.xlsx somebody has filled, whatever the sheets are called now.

    Raises:
        TableError: it is no workbook.
    """
    filled = 0
    for sheet in read_sheets(stream, url):
        header = [name.strip().lower() for name in sheet.header]
        answers = [header.index(name) for name in ANSWERS if name in header]
        filled += sum(any(cells[i].strip() for i in answers) for _, cells in sheet.rows)
    return filled


def _add_sheet(
    book: object, name: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(name)  # type: ignore[attr-defined]  # openpyxl has no types
    sheet.freeze_panes = "A2"
    for number, column in enumerate(columns, 1):
        sheet.column_dimensions[get_column_letter(number)].width = _WIDTHS.get(column, 18)

    def text_cell(value: str) -> WriteOnlyCell:
        cell = WriteOnlyCell(sheet, value=_harmless(value))
        cell.data_type = "s"
        cell.number_format = "@"
        return cell

    header = [text_cell(column) for column in columns]
    for cell in header:
        cell.font = Font(bold=True)
    sheet.append(header)
    for row in rows:
        sheet.append([text_cell(value) for value in row])


def _harmless(value: str) -> str:
    """Without characters that XML forbids: they are shown as escapes."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)
    return shown[:_MOST_CHARACTERS]

"""Small tables that people write or edit by hand: overrides, entity types, file types."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from qbo_attach.core.errors import TableError
from qbo_attach.core.tables import open_text, records
from qbo_attach.core.workbooks import Number, read_sheets


def read_edited_table(
    stream: io.BufferedIOBase, url: str, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells, in the order of `columns` then `optional`, without outer spaces.

    Takes what `tables.decode_table` takes. An optional column that is absent gives "".

    Raises:
        TableError: it is not such a table; names row and column.
    """
    text = open_text(stream, url)
    try:
        line = text.readline()
    except UnicodeDecodeError as error:
        raise TableError(url, "is not text; save the table as UTF-8", row=1) from error
    delimiter, header = header_cells(line, url)
    where: list[int | None] = [_index(header, column, url) for column in columns]
    where += [_index(header, column, url) if column in header else None for column in optional]
    for row, cells in records(text, delimiter, url):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problem = f"has {len(cells)} cells where the header has {len(header)} columns"
            raise TableError(url, problem, row=row)
        yield row, ["" if i is None else _tidy(cells[i]) for i in where]


def read_edited_sheet(
    stream: io.BytesIO, url: str, name: str, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """The same of a workbook: of its sheet of this name, or of its first one if it has none such.

    Raises:
        TableError: it is not such a table, or a cell that we need holds a number: what a
            spreadsheet took for one may have lost digits. Names row and column.
    """
    first: list[tuple[int, list[str]]] | None = None
    for sheet in read_sheets(stream, url):
        header = [cell.lower() for cell in sheet.header]
        if sheet.name.lower() == name or first is None:
            place = sheet.place
            if not set(columns) <= set(header) and sheet.name.lower() != name:
                list(sheet.rows)  # used up, as the next sheet demands
                continue
            found = list(_sheet_rows(sheet.rows, header, place, [*columns, *optional], columns))
            if sheet.name.lower() == name:
                yield from found
                return
            first = found
        else:
            list(sheet.rows)
    if first is None:
        needed = ", ".join(columns)
        raise TableError(url, f"no sheet has the columns {needed}")
    yield from first


def _sheet_rows(
    rows: Iterator[tuple[int, list[str]]],
    header: list[str],
    place: str,
    wanted: Sequence[str],
    needed: Sequence[str],
) -> Iterator[tuple[int, list[str]]]:
    where = [
        _index(header, column, place) if column in header or column in needed else None
        for column in wanted
    ]
    for row, cells in rows:
        for column, index in zip(wanted, where, strict=True):
            if index is not None and isinstance(cells[index], Number):
                problem = f"{cells[index]} is a number; give the cell the format Text, and mend it"
                raise TableError(place, problem, row=row, column=column)
        yield row, ["" if i is None else _tidy(cells[i]) for i in where]


def header_cells(line: str, url: str) -> tuple[str, list[str]]:
    """The delimiter of a table (`,` or `;`) and its column names in lower case.

    Raises:
        TableError: the line names no columns.
    """
    delimiter = ";" if line.count(";") > line.count(",") else ","
    for _, cells in records([line], delimiter, url, first_line=1):
        names = [cell.strip("\ufeff \t").lower() for cell in cells]
        if any(names):
            return delimiter, names
    raise TableError(url, "the first line must name the columns", row=1)


def _index(header: list[str], column: str, url: str) -> int:
    if header.count(column) > 1:
        raise TableError(url, "this column stands twice in the header", row=1, column=column)
    if column not in header:
        found = ", ".join(header)
        raise TableError(url, f"this column is missing; found: {found}", row=1, column=column)
    return header.index(column)


def _tidy(cell: str) -> str:
    # A leading ' is the mark by which a spreadsheet is told that a cell is text.
    return cell.strip().removeprefix("'").strip()

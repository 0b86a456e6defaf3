"""Small tables that people write or edit by hand: overrides, entity types, file types."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from qbo_attach.core.errors import TableError
from qbo_attach.core.tables import open_text, records


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

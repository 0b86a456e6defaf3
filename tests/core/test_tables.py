"""How rows become the text of a table."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core import table_text
from qbo_attach.core.errors import TableError
from qbo_attach.core.table_text import Lines, records
from qbo_attach.core.tables import encode_rows

CELLS = st.text(st.sampled_from(" ab-=+@'\t\r\n,;\"\x00\u2028\udcff"), max_size=4)
ROWS = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[CELLS] * width), max_size=40))


def by_csv(rows: list[tuple[str, ...]]) -> bytes:
    """The same rows, each cell looked at by itself."""
    buffer = io.StringIO()
    guarded = [[f"'{c}" if c[:1] in set("=+-@'\t\r\n") else c for c in row] for row in rows]
    csv.writer(buffer, lineterminator="\n").writerows(guarded)
    return buffer.getvalue().encode("utf-8", "backslashreplace")


@given(ROWS)
def test_the_short_way_for_plain_rows_writes_what_csv_would(rows: list[tuple[str, ...]]) -> None:
    assert encode_rows(rows) == by_csv(rows)


TEXTS = st.lists(
    st.sampled_from(["a,b\n", "a;b,c\n", "\n", "\r\n", "a,b\r", '"', '"a\n', ',"', "\0", "'", "ü"]),
    max_size=12,
).map("".join)


def read_by_csv(text: str) -> list[object]:
    """Each record with its line as `csv` alone reads it, and the line of what it does not take."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    told: list[object] = []
    line = 2
    try:
        for cells in reader:
            told.append((line, cells))
            line = 2 + reader.line_num
    except csv.Error as error:
        told.append((line, f"is not readable as CSV ({error})"))
    return told


@given(TEXTS, st.integers(1, 3), st.booleans())
def test_lines_that_need_no_csv_are_read_as_csv_would(text: str, lines: int, marked: bool) -> None:
    stream = io.StringIO(text, newline="")
    told: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_text, "_BLOCK_LINES", lines)
        try:
            told.extend(records(Lines(stream, ",") if marked else stream, ",", "table"))
        except TableError as error:
            told.append((error.row, error.problem))
    assert told == read_by_csv(text)


def test_a_cell_longer_than_csv_takes_is_refused_in_plain_lines_too() -> None:
    text = io.StringIO("a,b\n" + "c" * (csv.field_size_limit() + 1) + ",d\n", newline="")
    with pytest.raises(TableError, match="field larger than field limit"):
        list(records(text, ",", "table"))


@pytest.mark.parametrize("odd", ["a,b", 'a"b', "a\nb", "a\rb", *"=+-@'\t\r\n"])
@pytest.mark.parametrize("row", [0, 1, 17])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_one_odd_cell_among_plain_rows_is_quoted_or_guarded(
    odd: str, row: int, column: int
) -> None:
    rows = [("a-b", "c=d", "") for _ in range(18)]
    cells = list(rows[row])
    cells[column] = odd
    rows[row] = (cells[0], cells[1], cells[2])
    assert encode_rows(rows) == by_csv(list(rows))

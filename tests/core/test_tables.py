"""How rows become the text of a table."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

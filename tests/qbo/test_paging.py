"""Pages, read while rows are deleted and added: what is there all the time is seen once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qbo_attach.qbo.faults import InDoubtError
from qbo_attach.qbo.paging import rows_by_id, rows_of_short_pages

ROWS = 4


class Table:
    """Rows in the order of their ids, and what others do to them after each page."""

    def __init__(self, ids: Sequence[int], then: Callable[[set[int], int], None]) -> None:
        self.ids = set(ids)
        self.pages = 0
        self._then = then

    async def read(self, start: int) -> Sequence[dict[str, Any]]:
        rows = [{"Id": str(one)} for one in sorted(self.ids)[start - 1 : start - 1 + ROWS]]
        self._then(self.ids, self.pages)
        self.pages += 1
        return rows

    def seen(self) -> list[int]:
        async def all_rows() -> list[int]:
            return [int(row["Id"]) async for row in rows_by_id(self.read, ROWS)]

        return asyncio.run(all_rows())


CHANGES = st.lists(
    st.tuples(st.lists(st.integers(0, 40), max_size=6), st.lists(st.integers(0, 60), max_size=6)),
    max_size=8,
)


@given(st.sets(st.integers(0, 40), max_size=30), CHANGES)
@example({1, 2, 3, 4, 5, 6}, [([1], [50])])
@example({1, 2, 3, 4}, [([1, 2, 3, 4], [])])
def test_what_is_there_from_first_to_last_is_seen_once(
    ids: set[int], changes: list[tuple[list[int], list[int]]]
) -> None:
    """QBO gives no id twice; where it puts a new one in its order by Id is not documented."""
    always, ever = set(ids), set(ids)

    def change(table: set[int], page: int) -> None:
        if page < len(changes):
            gone, added = changes[page]
            table.difference_update(gone)
            always.difference_update(gone)
            table.update(set(added) - ever)
            ever.update(added)

    try:
        seen = Table(sorted(ids), change).seen()
    except InDoubtError:
        deleted = sum(len(gone) for gone, _ in changes)
        assert deleted >= ROWS or (
            any(gone for gone, _ in changes) and any(new for _, new in changes)
        )
        return
    assert always <= set(seen)
    assert len([one for one in seen if one in always]) == len(always)


def test_a_table_that_nobody_changes_takes_a_read_for_each_page_but_its_first_row() -> None:
    for rows, pages in ((0, 1), (3, 1), (4, 2), (7, 3), (8, 3), (10, 4)):
        table = Table(range(rows), lambda _, __: None)
        assert table.seen() == list(range(rows))
        assert table.pages == pages


def test_rows_that_are_deleted_faster_than_they_are_read_are_told() -> None:
    table = Table(range(8), lambda ids, _: ids.clear())
    with pytest.raises(InDoubtError, match="being deleted"):
        table.seen()


async def test_rows_without_an_id_are_paged_by_position() -> None:
    rows = [{"Name": str(n)} for n in range(9)]

    async def read(start: int) -> Sequence[dict[str, Any]]:
        return rows[start - 1 : start - 1 + ROWS]

    assert [row async for row in rows_by_id(read, ROWS)] == rows
    assert [row async for row in rows_of_short_pages(read)] == rows

"""Pages, read while rows are deleted and added: what is there all the time is seen once."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qbo_attach.qbo.paging import RowsMovedError, rows_by_id, rows_of_short_pages

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
    except RowsMovedError:
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
    with pytest.raises(RowsMovedError, match="faster than they are read"):
        table.seen()
    assert table.pages == 3


def test_rows_of_which_no_known_one_is_left_are_looked_for_three_pages_back() -> None:
    def change(ids: set[int], page: int) -> None:
        if page == 19:
            ids.difference_update(range(50, 70))

    table = Table(range(200), change)
    with pytest.raises(RowsMovedError):
        table.seen()
    assert table.pages == 20 + 1 + 3


async def test_a_company_that_shows_the_first_page_again_and_again_is_told() -> None:
    async def read(_: int) -> Sequence[dict[str, Any]]:
        return [{"Id": str(one)} for one in range(ROWS)]

    with pytest.raises(RowsMovedError):
        _ = [row async for row in rows_by_id(read, ROWS)]


async def test_little_is_kept_of_what_was_seen_though_the_last_row_of_a_page_is_deleted() -> None:
    rows = [{"Id": str(one)} for one in range(30_000)]

    async def read(start: int) -> Sequence[dict[str, Any]]:
        page = rows[start - 1 : start - 1 + 100]
        if start == 100 and rows[198]["Id"] == "198":
            del rows[198]
        return page

    async def seen() -> int:
        return sum([1 async for _ in rows_by_id(read, 100)])

    tracemalloc.start()
    try:
        assert await seen() == 30_000
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()


async def test_rows_without_an_id_are_paged_by_position() -> None:
    rows: list[dict[str, Any]] = [{"Name": str(n)} for n in range(9)]

    async def read(start: int) -> Sequence[dict[str, Any]]:
        return rows[start - 1 : start - 1 + ROWS]

    assert [row async for row in rows_by_id(read, ROWS)] == rows
    assert [row async for row in rows_of_short_pages(read)] == rows
    for n in (0, 1, 2, 4, 8):
        rows[n]["Id"] = str(n)
    assert [row async for row in rows_by_id(read, ROWS)] == rows

"""Reading a query page by page while others change what it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from qbo_attach.core.model import Fault
from qbo_attach.qbo.envelopes import get, text_of
from qbo_attach.qbo.faults import UNREADABLE, InDoubtError

Row = dict[str, Any]
ReadPage = Callable[[int], Awaitable[Sequence[Row]]]
"""Reads the page that begins at a row; the first is 1 (QBO's STARTPOSITION)."""


_IDLE_PAGES = 3
"""So many pages after one another that show nothing new are put up with."""


class RowsMovedError(InDoubtError):
    """So many rows are deleted while they are read that it cannot be told which were seen."""

    def __init__(self) -> None:
        super().__init__(Fault(UNREADABLE, "rows are deleted or added faster than they are read"))


async def rows_by_id(read: ReadPage, page_size: int) -> AsyncIterator[Row]:
    """All rows of a query that is ordered by Id, each once, until a page is not full.

    Pages are told by position: a row that is deleted meanwhile moves all behind it one up, and the
    first of the next page would never be seen. So each page begins with the last row of the one
    before it; where nothing of that is met again, some rows are read once more. A row without an
    Id cannot be met again: behind it, pages follow one another by position alone.

    Args:
        read: a page of `page_size` rows at most.
        page_size: 2 or more.

    Raises:
        QboError: what `read` raises.
        RowsMovedError: nearly a page of rows, or more, was deleted or added between two reads.
    """
    start, idle = 1, 0
    known: list[str] = []
    """Ids that were seen and may be met again, in their order."""
    while True:
        rows = await read(start)
        ids = [text_of(get(row, "Id")) for row in rows]
        place = {one: at for at, one in enumerate(known)}
        met = [at for at, one in enumerate(ids) if one in place]
        lost = bool(known) and not met
        fresh = [] if lost else rows[met[-1] + 1 if met else 0 :]
        for row in fresh:
            yield row
        if len(rows) < page_size and not lost:
            return
        idle = 0 if fresh else idle + 1
        if idle > _IDLE_PAGES or (lost and start == 1):
            raise RowsMovedError
        if lost:
            start = max(1, start - page_size + 1)
            continue
        # What was seen behind the last of these, before other rows came in between.
        behind = known[max(place[ids[at]] for at in met) + 1 :] if met else []
        known = [*filter(None, ids), *behind] if ids[-1] else []
        start += len(rows) - 1 if known else len(rows)


async def rows_of_short_pages(read: ReadPage) -> AsyncIterator[Row]:
    """All rows, until a page is empty, or the one before again.

    For an entity whose paging is not documented: its pages may be shorter than asked for, or each
    of them all there is.

    Raises:
        QboError: what `read` raises.
    """
    start = 1
    before: Sequence[Row] = ()
    while (rows := await read(start)) and rows != before:
        for row in rows:
            yield row
        start, before = start + len(rows), rows

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


async def rows_by_id(read: ReadPage, page_size: int) -> AsyncIterator[Row]:
    """All rows of a query that is ordered by Id, each once, until a page is not full.

    Pages are told by position: a row that is deleted meanwhile moves all behind it one up, and the
    first of the next page would never be seen. So each page begins with the last row of the one
    before it; where that is not there, some rows are read again.

    Args:
        read: a page of `page_size` rows at most.
        page_size: 2 or more.

    Raises:
        QboError: what `read` raises.
        InDoubtError: rows are deleted faster than they are read.
    """
    start, before, last = 1, frozenset[str](), ""
    while True:
        rows = await read(start)
        ids = [text_of(get(row, "Id")) for row in rows]
        seen = max((at for at, one in enumerate(ids) if one in before), default=-1)
        if before and seen < 0:
            if start == 1:
                fault = Fault(UNREADABLE, "all that was just shown is gone: rows are being deleted")
                raise InDoubtError(fault)
            start = max(1, start - page_size + 1)
            continue
        for row in rows[seen + 1 :]:
            yield row
        if len(rows) < page_size:
            return
        shown = frozenset(filter(None, ids))
        if last in shown or not before:
            before, last = shown, ids[-1]
        else:
            # The last row seen is gone, or behind rows that came: it may be met again.
            before |= shown
        start += len(rows) - 1 if before else len(rows)


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

"""What the tests of undo ask, of the company and of the run log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from qbo_attach.core.tables import RUNLOG, RunLogRow
from qbo_attach.stages.undo import Undone, find_undoable, run_undo
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.stages.case import Case


def undone(case: Case, run_id: str, *entities: str, **given: Any) -> Undone:
    settings = case.settings(**given)
    return run_undo(settings, find_undoable(settings, run_id, entities))


def ids(case: Case) -> set[str]:
    return {str(one["Id"]) for one in case.attachables()}


def contents(case: Case) -> list[tuple[str, str, str]]:
    """What hangs where, without ids and times."""
    return sorted(
        (str(one["refs"]), str(one["FileName"]), str(one["sha256"])) for one in case.attachables()
    )


def gone(case: Case) -> list[str]:
    """Ids of what was deleted, in order; each once, or the company would say so."""
    return [str(one["Id"]) for one in case.fake.ledger()["deleted"]]


def log(case: Case, name: str = RUNLOG) -> list[RunLogRow]:
    return list(read_table(Store(case.sample.log_dir), name, RunLogRow))


def made_by(case: Case, run_id: str) -> set[str]:
    return {
        row.qbo_attachable_id
        for row in log(case)
        if row.run_id == run_id and row.outcome in ("success", "adopted")
    }


def on_deletes(patch: pytest.MonkeyPatch, at: Callable[[int, str], None]) -> None:
    """Call `at` with the number of each request that deletes: "before" it leaves, and "after".

    After: its effect is there, and its answer has not been read. What `at` raises comes out of the
    request. Requests are counted from 1, batches and single ones alike.
    """
    send = httpx.AsyncHTTPTransport.handle_async_request
    count = 0

    async def watched(
        transport: httpx.AsyncHTTPTransport, request: httpx.Request
    ) -> httpx.Response:
        nonlocal count
        single = request.url.params.get("operation") == "delete"
        if not single and not request.url.path.endswith("/batch"):
            return await send(transport, request)
        count += 1
        number = count
        at(number, "before")
        response = await send(transport, request)
        at(number, "after")
        return response

    patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", watched)

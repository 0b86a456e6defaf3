"""What the tests of undo ask, of the company and of the run log."""

from __future__ import annotations

from typing import Any

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

"""LOG_DIR/upload_estimate.csv: what the next upload would do and take."""

from __future__ import annotations

from qbo_attach.core.estimating import ESTIMATE, Estimate, EstimateRow, Measured, Tally, estimate
from qbo_attach.core.history import History
from qbo_attach.core.model import Artifact
from qbo_attach.settings import Settings
from qbo_attach.stages.inputs import log_store
from qbo_attach.storage.artifacts import write_table
from qbo_attach.storage.files import Store
from qbo_attach.storage.latest_run import read_latest_run

_RUNS_BACK = 5
"""So many runs are looked through for one that was long enough to tell a rate."""


def new_tally(settings: Settings) -> Tally:
    """A tally that packs as FILES_PER_REQUEST says."""
    per_request = settings.files_per_request
    return Tally(per_request if isinstance(per_request, int) else None)


def write_estimate(settings: Settings, tally: Tally, history: History) -> tuple[Artifact, Estimate]:
    """Write the table of what a plan's tally comes to."""
    log = log_store(settings)
    tally.close()
    found = estimate(
        tally,
        groups_in_doubt=[len(doubt.open) for doubt in history.doubts.values()],
        requests_per_min=settings.qbo_requests_per_min,
        asks_existing=settings.existing == "check",
        measured=_measured(log, settings.realm_id) if tally.upload_requests else None,
    )
    return write_table(log, ESTIMATE, EstimateRow._fields, found.rows()), found


def _measured(log: Store, realm_id: str) -> Measured | None:
    """The latest run that tells a rate, if one of the last few does."""
    before: int | None = None
    for _ in range(_RUNS_BACK):
        measured = Measured()
        first = 0
        for header, records in read_latest_run(log, realm_id, before):
            first = first or header.seq
            measured.take(records)
        if measured.tells:
            return measured
        if first <= 1:
            return None
        before = first
    return None

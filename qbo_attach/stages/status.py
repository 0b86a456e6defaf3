"""The status stage: how the run log of LOG_DIR stands. Reads only, from anywhere."""

from __future__ import annotations

from datetime import datetime, timezone

from qbo_attach.core.standing import LatestRun, Standing, standing
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import check_log_dir
from qbo_attach.stages.inputs import log_store
from qbo_attach.storage.holder import Life, life_of
from qbo_attach.storage.latest_run import read_latest_run
from qbo_attach.storage.runlog import read_chain

_ALIVE = {Life.ALIVE: True, Life.GONE: False, Life.UNKNOWN: None}


def run_status(settings: Settings) -> Standing:
    """How it stands now. The company is not asked, and nothing is written.

    Raises:
        SettingError: no QBO_REALM_ID, or LOG_DIR is another company's.
        RunLogDamagedError: the run log is not whole.
        StorageError: LOG_DIR cannot be read.
    """
    log = log_store(settings)
    check_log_dir(settings, log)
    chain = read_chain(log, settings.realm_id)
    run = LatestRun()
    for _, records in read_latest_run(log, settings.realm_id):
        run.take(records)
    last = chain.last
    return standing(
        realm_id=settings.realm_id,
        last=last,
        run=run,
        alive=_ALIVE[life_of(last.holder)] if last is not None else None,
        now=datetime.now(timezone.utc),
        in_doubt=len(chain.history.doubt_of_key),
        in_qbo=chain.history.rows.keys(),
    )

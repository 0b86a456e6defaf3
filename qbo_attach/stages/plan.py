"""The plan stage: LOG_DIR/upload_plan.csv, what the next upload would do. Sends nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

from qbo_attach.core import tables
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.estimating import Estimate, Tally
from qbo_attach.core.history import History
from qbo_attach.core.model import Action, Artifact, StageResult
from qbo_attach.core.planning import Planner, Survey, UnsettledError
from qbo_attach.core.tables import PlanRow, VerificationRow
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import check_log_dir
from qbo_attach.stages.estimate import new_tally, write_estimate
from qbo_attach.stages.existing import (
    Basis,
    Checked,
    Verified,
    check_existing,
    learn_unclear,
    note_basis,
)
from qbo_attach.stages.inputs import load_file_types, log_store
from qbo_attach.stages.sources import read_digests, store_name
from qbo_attach.storage.artifacts import read_table, write_table
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import read_chain


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what carrying it out would take."""

    result: StageResult
    estimate: Estimate


_Decide = Callable[[Iterator[VerificationRow]], Iterator[PlanRow]]


@dataclass(frozen=True, slots=True)
class _Written:
    """The plan as it lies there, and what was counted on the way."""

    artifact: Artifact
    counts: Counter[str]
    tally: Tally


def run_plan(settings: Settings, missing: Collection[str] | None = None) -> StageResult:
    """Plan, and estimate what it takes; see plan_upload."""
    return plan_upload(settings, missing).result


def plan_upload(settings: Settings, missing: Collection[str] | None = None) -> Planned:
    """Decide for each `ok` attachment what the next upload would do with it.

    Reads the verification log and the run log; of the files only those whose digest decides.
    Where something may have to be sent, and EXISTING=check, it reads what QBO holds already.

    Args:
        settings: all of them.
        missing: paths of done attachments that QBO has no more, to be sent again in place of what
            VANISHED says.

    Returns:
        The plan and the estimate as artifacts; counts by action, and `bytes_to_send`.

    Raises:
        NotStartedError: no verification log; or QBO cannot be read, or has lost so much of what
            was sent that a person must say why.
        RunLogDamagedError: the run log is not whole.
    """
    log = log_store(settings)
    check_log_dir(settings, log)
    files = Store(settings.files_dir, settings.storage_options)
    chain = read_chain(log, settings.realm_id)
    planner = Planner(
        realm_id=settings.realm_id,
        history=chain.history,
        file_types=load_file_types(settings),
        store=store_name(settings.files_dir),
        skip_refused=settings.skip_refused,
    )

    def verified() -> Iterator[VerificationRow]:
        return read_table(log, tables.VERIFICATION, VerificationRow)

    def write(decide: _Decide) -> _Written:
        return _write(log, verified(), decide, new_tally(settings))

    anew = missing is not None or settings.vanished == "send"
    written = None if anew else _written_if_done(planner, write)
    checked, settled = Checked(planner), True
    if written is None:
        checked, survey, digests = _informed(settings, planner, files, verified, missing)
        planner = checked.planner
        written = write(partial(planner.decide, survey=survey, digests=digests))
        if written.artifact.rows != survey.ok:
            raise NotStartedError(
                f"{written.artifact.url} has {written.artifact.rows} rows where {survey.ok} "
                "attachments are ok: the verification log changed while it was read; run again"
            )
        settled = survey.settled and set(written.counts) <= {"bytes_to_send", Action.SKIP}
    artifact, counts = written.artifact, written.counts
    settled_rows = artifact.rows if settled and not planner.history.doubts else None
    note_basis(log, Basis(artifact.sha256, chain.segments, checked.asked_at, settled_rows))
    table, estimate = write_estimate(settings, written.tally, planner.history)
    undone, doubted = _cut_off(planner.history), _doubted(settings, planner.history)
    notes = (*checked.notes, *undone, *doubted, *estimate.sentences())
    return Planned(StageResult((artifact, table), dict(counts), notes), estimate)


def _written_if_done(planner: Planner, write: Callable[[_Decide], _Written]) -> _Written | None:
    """The usual second run: all is done, and one pass tells. None: it is not."""
    try:
        return write(planner.skips)
    except UnsettledError:
        return None


def _write(
    log: Store,
    verified: Iterator[VerificationRow],
    decide: _Decide,
    tally: Tally,
) -> _Written:
    """Write the plan, row by row as it is decided."""
    counts: Counter[str] = Counter(bytes_to_send=0)

    def tallied() -> Iterator[VerificationRow]:
        for row in verified:
            tally.left(row)
            yield row

    def counted() -> Iterator[PlanRow]:
        for row in decide(tallied()):
            counts[row.action] += 1
            tally.planned(row)
            if row.action == "send":
                counts["bytes_to_send"] += int(row.size_bytes)
            yield row

    return _Written(write_table(log, tables.PLAN, PlanRow._fields, counted()), counts, tally)


def _doubted(settings: Settings, history: History) -> Iterator[str]:
    """What the duration does not count: how long QBO's silence must last."""
    if files := len(history.doubt_of_key):
        yield (
            f"{files:,} attachments are in doubt since an earlier run. QBO is asked for them: what "
            f"it does not show {settings.qbo_settle_s:g} s after that run ended (QBO_SETTLE_S) is "
            "sent again, which comes on top of the duration."
        )


def _cut_off(history: History) -> Iterator[str]:
    """What an undo was about to delete when it ended, and is still done by the run log."""
    for run_id in sorted({record.undoes for record in history.deleting.values()}):
        yield (
            f"An undo of run {run_id} was cut off: some of its attachments may be gone from QBO. "
            f"Run qbo-attach undo --run {run_id} again."
        )


def _informed(
    settings: Settings,
    planner: Planner,
    files: Store,
    verified: Verified,
    missing: Collection[str] | None,
) -> tuple[Checked, Survey, dict[str, str]]:
    """All that the decisions need: what QBO holds, shared names, digests of files."""
    survey = planner.survey(verified)
    if survey.all_plain and missing is None and settings.vanished != "send":
        # Nothing is to be read or asked: times are told more finely, or etags are another store's.
        return Checked(planner), survey, {}
    wanted = (row for row in verified() if planner.wants_digest(row, survey))
    digests = read_digests(files, wanted)
    if settings.existing == "off":
        return Checked(planner), survey, digests
    entities = planner.entities_to_send(verified(), survey, digests)
    checked = check_existing(settings, planner, entities, verified, missing)
    planner = checked.planner
    if planner.gone:
        survey = planner.survey(verified)
    if planner.gone or planner.existing:
        more = (row for row in verified() if planner.wants_digest(row, survey))
        digests.update(read_digests(files, (row for row in more if row.file_path not in digests)))
    if planner.existing:
        unclear = planner.to_download(verified(), survey, digests)
        learn_unclear(settings, planner.existing, unclear)
    return checked, survey, digests

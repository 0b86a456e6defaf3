"""The reconcile stage: LOG_DIR/reconciliation.csv, what QBO really holds against what was sent."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qbo_attach.core import tables
from qbo_attach.core.accounting import Accounts, Verified
from qbo_attach.core.differences import REPAIRABLE, State
from qbo_attach.core.errors import NotStartedError, StoppedError
from qbo_attach.core.model import StageResult
from qbo_attach.core.reconciliation import Comparison, Proof
from qbo_attach.core.tables import ReconciliationRow, VerificationRow
from qbo_attach.engine.holdings import learn_digests
from qbo_attach.engine.stocktaking import take_stock
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import check_log_dir, make_client, make_pacer
from qbo_attach.stages.inputs import load_file_types, log_store
from qbo_attach.stages.plan import run_plan
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.whole import RunSummary, upload_and_report
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import Chain, read_chain, runlog_folder
from qbo_attach.storage.table_writer import open_table

SAMPLE = 400
"""Without a defect among so many, at most 0.75 % of all have one (95 % confidence)."""

_SEEDS = 1_000_000
_NO_DIFFERENCE = frozenset({State.EQUAL.value, State.DUPLICATE_CONTENT.value})
_CONVERTED_SHARE = 0.5
"""More of what was sent gone than this share: the company is hardly the same any more."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How deep a reconciliation goes: `draws` attachables are compared by digest, None: all.

    `seed` decides which; None: drawn anew.
    """

    draws: int | None = SAMPLE
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a reconciliation came to.

    `result` counts by state. `proof` is None where no bytes were to be compared. `missing`: paths
    that can be sent again. `estranged`: paths of which no run knows what QBO has changed of them.
    `requests_sent` by kind.
    """

    result: StageResult
    proof: Proof | None
    missing: frozenset[str]
    estranged: tuple[str, ...]
    done: int
    requests_sent: dict[str, int]

    def differences(self, *, one_way: bool = False) -> int:
        """How many rows a person must see; with `one_way` not what QBO has of others besides."""
        ignored = _NO_DIFFERENCE | ({State.UNKNOWN.value} if one_way else set())
        return sum(n for state, n in self.result.counts.items() if state not in ignored)

    @property
    def repairable(self) -> int:
        """How many rows another plan and upload may mend."""
        return sum(self.result.counts.get(state.value, 0) for state in REPAIRABLE)


def run_reconcile(
    settings: Settings,
    depth: Depth | None = None,
    told: Callable[[ReconciliationRow], None] | None = None,
) -> Reconciled:
    """Compare all that QBO holds with the run log and the verification log. Changes nothing.

    Reads every attachable's record, 1,000 a read, and the bytes of as many as `depth` says; none
    of the legacy files: their digests stand in the run log.

    Args:
        settings: all of them.
        depth: how deep; a sample of SAMPLE if not given.
        told: called with each row when all are written: who listens may stop listening.

    Raises:
        NotStartedError: no verification log, or LOG_DIR is another company's.
        StoppedError: the company or the run log changed while it was read.
        QboError: QBO cannot be read.
        RunLogDamagedError: the run log is not whole.
    """
    depth = depth or Depth()
    log = log_store(settings)
    check_log_dir(settings, log)
    chain = read_chain(log, settings.realm_id)

    def verified() -> Iterator[VerificationRow]:
        return read_table(log, tables.VERIFICATION, VerificationRow)

    next(verified(), None)  # it is there, before QBO is asked for anything
    comparison, proof, requests = asyncio.run(_compare(settings, chain, verified, depth))
    _refuse_if_grown(settings, log, chain)
    with open_table(log, tables.RECONCILIATION, ReconciliationRow._fields) as table:
        for row in comparison.rows(verified):
            table.add(row)
    if told is not None:
        for row in read_table(log, tables.RECONCILIATION, ReconciliationRow):
            told(row)
    return Reconciled(
        StageResult(
            (table.artifact(log, tables.RECONCILIATION),),
            dict(comparison.counts),
            tuple(_notes(chain, proof, comparison)),
        ),
        proof,
        frozenset(comparison.to_send_again),
        tuple(comparison.estranged),
        chain.history.rows.keys(),
        requests,
    )


async def _compare(
    settings: Settings, chain: Chain, verified: Verified, depth: Depth
) -> tuple[Comparison, Proof | None, dict[str, int]]:
    clock = SystemClock()
    client = make_client(settings, make_pacer(settings, clock), clock)
    file_types = load_file_types(settings)
    try:
        accounts = await _read(
            client, lambda: Accounts(settings.realm_id, chain.history, file_types)
        )
        await asyncio.to_thread(accounts.settle, verified)
        comparison = Comparison(accounts)
        proof = await _prove(client, comparison, depth)
        return comparison, proof, client.requests_sent
    finally:
        await client.aclose()


async def _read(client: QboClient, begin: Callable[[], Accounts]) -> Accounts:
    try:
        return await take_stock(client, begin)
    except NotStartedError as error:  # to a plan it is that; here some of it was read
        raise StoppedError(str(error)) from error


async def _prove(client: QboClient, comparison: Comparison, depth: Depth) -> Proof | None:
    if depth.draws == 0:
        return None
    seed = secrets.randbelow(_SEEDS) if depth.seed is None else depth.seed
    ids, population = comparison.sample(depth.draws, seed)
    unclear = comparison.unclear()[: depth.draws]
    await learn_digests(client, comparison, [*ids, *unclear])
    return comparison.proof(ids, population, seed)


def _refuse_if_grown(settings: Settings, log: Store, chain: Chain) -> None:
    """What another run sent meanwhile would be told as a difference.

    Raises:
        StoppedError: the run log is longer than it was.
    """
    names = log.list_names(runlog_folder(settings.realm_id))
    if sum(name.endswith(".jsonl") for name in names) != chain.segments:
        raise StoppedError(
            "another run wrote to the run log while QBO was read: reconcile again when it has ended"
        )


def _notes(chain: Chain, proof: Proof | None, comparison: Comparison) -> Iterator[str]:
    if proof is not None:
        yield str(proof)
    last = chain.last
    if last is not None and last.lease_until:
        yield f"Run {last.run_id} is still at work, or was cut off: run again to settle it."
    if comparison.counts[State.DOUBLED]:
        yield "Nothing is ever deleted here: of what is doubled, delete one by hand in QBO."


def run_repair(
    settings: Settings,
    found: Reconciled,
    stoppable: Callable[[Callable[[Exception], None]], None] = lambda _: None,
) -> RunSummary:
    """Send what is missing or was never sent, through plan and upload; adopt what is ours there.

    What the reconciliation found missing gets a `deleted` record and is sent anew, unless the plan
    finds that QBO has it under another id. Deletes nothing.

    Args:
        settings: all of them.
        found: what the reconciliation came to.
        stoppable: called with what stops the upload, before it starts.

    Raises:
        NotStartedError: a person must look first; nothing was sent.
        QboAttachError: what kept the upload from starting or ended it.
    """
    if found.estranged:
        raise NotStartedError(
            f"{len(found.estranged):,} attachments are at QBO with our marker, but renamed, moved "
            f"or altered, and the run log does not know them ({', '.join(found.estranged[:3])}): a "
            "repair would send them once more. Undo the change in QBO, or delete them there, and "
            "reconcile again. Nothing was sent."
        )
    lost = len(found.missing)
    if lost > _CONVERTED_SHARE * found.done and settings.vanished != "send":
        raise NotStartedError(
            f"QBO has {lost:,} of the {found.done:,} attachables no more that the run log has as "
            "done. Was the company converted again, or is it another one? Then use a new LOG_DIR "
            "and a new mapping. To send them all again, set VANISHED=send. Nothing was sent."
        )
    checking = settings.model_copy(update={"existing": "check"})
    run_plan(checking, found.missing)
    run = UploadRun(checking)
    stoppable(run.stop)
    return upload_and_report(checking, run)

"""The undo stage: delete exactly what a run made, each only if it is as the run left it."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from threading import Event

from qbo_attach import __version__
from qbo_attach.core.chain import Done, GroupFile, Record, RunStarted
from qbo_attach.core.errors import (
    NotStartedError,
    QboAttachError,
    StoppedError,
    StorageError,
)
from qbo_attach.core.model import EntityRef, Outcome
from qbo_attach.core.undoing import FilesSent, is_undone_by, parse_entity, why_left
from qbo_attach.engine.undoing import CHUNK, Sent, Undoing, UndoOptions
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QboError
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import (
    check_log_dir,
    claim_log_dir,
    environment_name,
    make_client,
    make_pacer,
)
from qbo_attach.stages.first_contact import check_expected
from qbo_attach.stages.inputs import log_store
from qbo_attach.stages.report import run_report
from qbo_attach.storage.done_file import DoneFile
from qbo_attach.storage.holder import new_run_id, this_holder
from qbo_attach.storage.runlog import (
    RunLog,
    StoredSegments,
    ended_here,
    read_chain,
    read_segments,
    utc_text,
)

WOULD_DELETE = "would_delete"
GONE = "gone"
LEFT = "left"
"""What a dry run says of an attachable."""

_RUNS_NAMED = 5

Told = Callable[[Done, str, str], None]
"""Takes an attachment, what became of it, and the reason."""


@dataclass(frozen=True, slots=True)
class Undoable:
    """What an undo would concern: `keys` of the attachments that a run made, and in which company.

    `in_doubt`: attachments of the run log that no run has settled yet; an undo leaves them.
    """

    run_id: str
    entities: frozenset[EntityRef]
    keys: tuple[str, ...]
    company: str
    in_doubt: int


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo came to. `counts` by outcome, one for each attachment it got to."""

    run_id: str
    undoes: str
    counts: dict[str, int]
    requests_sent: int
    files: dict[str, str]
    stopped: str

    @property
    def exit_status(self) -> int:
        """0: all of it is gone; 1: some was left, a person must look; 3: run again."""
        if self.stopped or self.counts.get(Outcome.NOT_SENT.value):
            return 3
        return 1 if set(self.counts) - {Outcome.DELETED.value} else 0

    def as_json(self) -> dict[str, object]:
        """The object that `--json` prints."""
        return {
            "run_id": self.run_id,
            "undoes": self.undoes,
            "counts": self.counts,
            "requests_sent": self.requests_sent,
            "files": self.files,
        }


def find_undoable(settings: Settings, run_id: str, entities: Sequence[str] = ()) -> Undoable:
    """Which attachables a run made that are still there by the run log. Changes nothing.

    Args:
        settings: all of them.
        run_id: the run.
        entities: `Type:Id` each; only what hangs on these. None: all.

    Raises:
        NotStartedError: the run log has no such run, QBO cannot be asked, an entity is none, or
            the company has not the name that EXPECT_COMPANY_NAME has.
        RunLogDamagedError: the run log is not whole.
    """
    refs = frozenset(map(parse_entity, entities))
    log = log_store(settings)
    check_log_dir(settings, log)
    history = read_chain(log, settings.realm_id).history
    keys = tuple(done.key for done in history.rows.rows() if is_undone_by(done, run_id, refs))
    if not keys:
        _refuse_unknown(settings, run_id)

    async def ask() -> str:
        async with _client(settings) as (client, _):
            return await client.company_name()

    try:
        company = asyncio.run(ask())
    except QboError as error:
        raise NotStartedError(f"nothing was deleted: {error}") from error
    check_expected(settings, company)
    return Undoable(run_id, refs, keys, company, len(history.doubt_of_key))


def _refuse_unknown(settings: Settings, run_id: str) -> None:
    runs = [record for record in _records(settings) if isinstance(record, RunStarted)]
    found = next((run for run in runs if run.run_id == run_id), None)
    if found is None:
        known = ", ".join(run.run_id for run in runs[-_RUNS_NAMED:] if not run.undoes) or "none"
        raise NotStartedError(
            f"--run {run_id}: the run log of {settings.log_dir} has no such run. Its latest: "
            f"{known}. Nothing was deleted"
        )
    if found.undoes:
        raise NotStartedError(
            f"--run {run_id}: is itself an undo, of run {found.undoes}; run qbo-attach upload to "
            "send its files again"
        )


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[tuple[QboClient, SystemClock]]:
    clock = SystemClock()
    client = make_client(settings, make_pacer(settings, clock), clock)
    try:
        yield client, clock
    finally:
        await client.aclose()


def preview_undo(settings: Settings, undoable: Undoable, told: Told) -> dict[str, int]:
    """What an undo would do with each attachable, asked of QBO. Deletes and writes nothing.

    Returns:
        Counts of WOULD_DELETE, LEFT and GONE.

    Raises:
        QboError: QBO cannot be read.
    """
    rows = read_chain(log_store(settings), settings.realm_id).history.rows
    counts: Counter[str] = Counter()

    async def look() -> None:
        async with _client(settings) as (client, _):
            for some in _chunks(undoable.keys):
                dones = [done for key in some if (done := rows.at_key(key)) is not None]
                found = await client.attachables_by_id([done.attachable_id for done in dones])
                shown = {one.id: one for one in found}
                for done in dones:
                    one = shown.get(done.attachable_id)
                    reason = why_left(done, one, undoable.entities) if one is not None else ""
                    what = GONE if one is None else LEFT if reason else WOULD_DELETE
                    counts[what] += 1
                    told(done, what, reason)

    asyncio.run(look())
    return dict(counts)


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))


def run_undo(
    settings: Settings,
    undoable: Undoable,
    told: Told = lambda *_: None,
    stoppable: Callable[[Callable[[Exception], None]], None] = lambda _: None,
) -> Undone:
    """Delete what the run made, under the lease of the run log; then derive its tables.

    What was changed in QBO since is left (outcome `changed`). Cut off at any moment, it goes on
    when it is run again. With nothing to delete it derives the tables alone, and has no id.

    Args:
        settings: all of them.
        undoable: what `find_undoable` gave.
        told: called with each attachment, its outcome and the reason.
        stoppable: called with what stops the undo, before it starts.

    Raises:
        NotStartedError: LOG_DIR is another company's, or cannot be written.
        LeaseHeldError: another run works on this realm.
        RunLogDamagedError: the run log is not whole.
    """
    if not undoable.keys:
        # One that was cut off after its last outcome has derived no tables yet.
        return Undone("", undoable.run_id, {}, 0, _derived(settings), "")
    claim_log_dir(settings, log_store(settings))
    run_id = new_run_id()
    undoing = asyncio.run(_undo(settings, undoable, run_id, told, stoppable))
    return Undone(
        run_id,
        undoable.run_id,
        dict(undoing.counts),
        sum(undoing.company.requests_sent.values()),
        _derived(settings),
        str(undoing.stopped) if undoing.stopped is not None else "",
    )


def _derived(settings: Settings) -> dict[str, str]:
    """Derive the tables of the run log; returns their URLs by name."""
    try:
        report = run_report(settings)
    except StorageError as error:
        # What was deleted stays deleted, whatever becomes of the tables.
        raise StoppedError(f"no tables were derived: {error}; run the undo again") from error
    return {artifact.name: artifact.url for artifact in report.artifacts}


async def _undo(
    settings: Settings,
    undoable: Undoable,
    run_id: str,
    told: Told,
    stoppable: Callable[[Callable[[Exception], None]], None],
) -> Undoing:
    async with AsyncExitStack() as stack:
        client, clock = await stack.enter_async_context(_client(settings))
        sent = stack.enter_context(_files_sent(settings, undoable.keys))
        runlog = RunLog(
            StoredSegments(log_store(settings), settings.realm_id),
            clock,
            holder=this_holder(),
            run_id=run_id,
            new_nonce=lambda: uuid.uuid4().hex,
            lease_s=settings.lease_s,
            new_rows=DoneFile,
        )
        await runlog.open()
        undoing = Undoing(
            clock,
            runlog,
            client,
            UndoOptions(undoable.entities, settings.drain_s, settings.lease_s),
            told,
            sent,
        )
        loop = asyncio.get_running_loop()

        def stop(reason: Exception) -> None:
            with suppress(RuntimeError):  # the loop has ended: the tables are being derived
                loop.call_soon_threadsafe(undoing.stop, reason)

        stoppable(stop)
        started = RunStarted(
            run_id=run_id,
            at=utc_text(clock.utcnow()),
            realm_id=settings.realm_id,
            environment=environment_name(settings),
            company=undoable.company,
            files_dir="",
            store="",
            version=__version__,
            undoes=undoable.run_id,
        )
        stack.callback(ended_here, run_id)
        await undoing.run(started, undoable.keys)
        return undoing


@contextmanager
def _files_sent(settings: Settings, keys: Sequence[str]) -> Iterator[Sent]:
    """Tells what the chain has of these attachments; reads it in a thread, as far as is needed.

    What it cannot read it does not tell: an undo does not end for the sake of its rows.
    """
    leaving = Event()
    records = _records(settings, leaving.is_set)
    files = FilesSent(records, keys)

    def read(dones: Sequence[Done]) -> dict[str, GroupFile]:
        try:
            return {done.key: file for done in dones if (file := files.of(done)) is not None}
        except (OSError, QboAttachError):
            return {}

    with ThreadPoolExecutor(1) as reader:
        try:
            yield lambda dones: asyncio.get_running_loop().run_in_executor(reader, read, dones)
        finally:
            leaving.set()
            reader.submit(records.close)  # after what it is at


def _records(
    settings: Settings, enough: Callable[[], bool] = lambda: False
) -> Generator[Record, None, None]:
    """The records of the chain, segment by segment, until it is enough."""
    for header, records in read_segments(log_store(settings), settings.realm_id):
        if enough():
            return
        if not header.is_snapshot:
            yield from records

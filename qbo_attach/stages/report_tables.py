"""The tables beside the report: read once each, for their sums and their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from qbo_attach.core import tables
from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import Artifact
from qbo_attach.core.report_facts import Facts
from qbo_attach.core.segments import segment_name, segment_numbers
from qbo_attach.core.tables import (
    InventoryRow,
    ReconciliationRow,
    Row,
    VerificationRow,
    decode_table,
)
from qbo_attach.settings import Settings
from qbo_attach.stages.inputs import data_store, log_store
from qbo_attach.storage.digesting import digesting
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import runlog_folder

_KINDS = (".csv", ".json", ".jsonl", ".xlsx")
_FILES_AT_MOST = 100


@dataclass(frozen=True, slots=True)
class Digested:
    """A file and its digest. `rows` is None where they were not counted.

    `folder` is the setting that names its folder, `name` the path below it.
    """

    folder: str
    name: str
    rows: int | None
    sha256: str


@dataclass(slots=True)
class Beside:
    """What was found beside the report.

    `inventory_rows` is None without an inventory. `segments`: how many the run log has. `notes`:
    what could not be read, for a person.
    """

    files: list[Digested] = field(default_factory=list)
    inventory_rows: int | None = None
    reconciled_at: str = ""
    segments: int = 0
    notes: list[str] = field(default_factory=list)


def read_beside(settings: Settings, facts: Facts, derived: Iterable[Artifact]) -> Beside:
    """Read the tables of LOG_DIR and DATA_DIR; the facts take the rows of those that have any.

    Args:
        settings: all of them.
        facts: takes the verification log and reconciliation.csv.
        derived: what the report stage has just written: these are not read again.

    Raises:
        TableError: a table of ours is broken.
        StorageError: LOG_DIR cannot be read.
    """
    found = Beside()
    log = log_store(settings)
    _take(found, log, "LOG_DIR", tables.VERIFICATION, VerificationRow, facts.verified)
    if _take(found, log, "LOG_DIR", tables.RECONCILIATION, ReconciliationRow, facts.reconciled):
        info = log.info(tables.RECONCILIATION)
        found.reconciled_at = info.modified_at if info is not None else ""
    found.files += (Digested("LOG_DIR", t.name, t.rows, t.sha256) for t in derived)
    data = data_store(settings)
    if data.url == log.url:
        _take(found, log, "LOG_DIR", tables.INVENTORY, InventoryRow, lambda _: None)
    _take_others(found, log, "LOG_DIR")
    _take_runlog(found, settings, log)
    if data.url != log.url:
        try:
            _take(found, data, "DATA_DIR", tables.INVENTORY, InventoryRow, lambda _: None)
            _take_others(found, data, "DATA_DIR")
        except StorageError as error:
            found.notes.append(f"DATA_DIR could not be read: {error}")
    inventory = next((f for f in found.files if f.name == tables.INVENTORY), None)
    found.inventory_rows = inventory.rows if inventory is not None else None
    return found


def _take(
    found: Beside,
    store: Store,
    folder: str,
    name: str,
    row_type: type[Row],
    take: Callable[[Row], None],
) -> bool:
    """Hand over the rows of a table; whether it is there."""
    rows = 0
    try:
        with digesting(store, name) as stream:
            for row in decode_table(row_type, stream, store.child_url(name)):
                take(row)
                rows += 1
            found.files.append(Digested(folder, name, rows, stream.sha256()))
    except FileNotFoundError:
        return False
    return True


def _take_others(found: Beside, store: Store, folder: str) -> None:
    """The digests of all other tables of a folder."""
    there = {one.name for one in found.files if one.folder == folder}
    names = [n for n in store.list_names("") if n.endswith(_KINDS) and n not in there]
    _digest(found, store, folder, names[:_FILES_AT_MOST])
    if len(names) > _FILES_AT_MOST:
        more = len(names) - _FILES_AT_MOST
        found.notes.append(f"{more:,} more files of {folder} were left without a digest.")


def _take_runlog(found: Beside, settings: Settings, log: Store) -> None:
    """The run log's last segment, whose digest stands for all, and the run's plan beside it."""
    folder = runlog_folder(settings.realm_id)
    names = log.list_names(folder)
    numbers = segment_numbers(names, log.child_url(folder))
    found.segments = len(numbers)
    wanted = [f"{folder}/{name}" for name in names if name.startswith("plan-")]
    if numbers:
        wanted.append(f"{folder}/{segment_name(numbers[-1])}")
    _digest(found, log, "LOG_DIR", wanted)


def _digest(found: Beside, store: Store, folder: str, names: Iterable[str]) -> None:
    for name in names:
        # A run at work may take its predecessor's plan away meanwhile.
        with suppress(FileNotFoundError), digesting(store, name) as stream:
            found.files.append(Digested(folder, name, None, stream.sha256()))

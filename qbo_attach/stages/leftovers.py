"""The leftovers: every file that is not in QBO is copied with an index, so that it is kept."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from qbo_attach.core import tables
from qbo_attach.core.errors import NotStartedError, QboAttachError, TableError
from qbo_attach.core.exceptions_book import MOST_FILES, NAME, decided, exceptions_book
from qbo_attach.core.leftovers import (
    LEFTOVERS,
    LeftoverRow,
    Undecideds,
    find_leftovers,
    is_junk,
)
from qbo_attach.core.model import RUN_AGAIN_OUTCOMES, StageResult
from qbo_attach.core.tables import PlanRow, VerificationRow
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import check_log_dir
from qbo_attach.stages.inputs import log_store
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store, absolute_url
from qbo_attach.storage.runlog import read_chain
from qbo_attach.storage.table_writer import open_table

_COPIERS = 8
_CHUNK = 256
_PIECE_BYTES = 1 << 20
_ESCAPED = re.compile(r"\\udc([89a-f][0-9a-f])")
NOT_COPIED = "not_copied"


def run_leftovers(settings: Settings, to: str, *, copying: bool = True) -> StageResult:
    """Copy what is not in QBO to `to`, by reason; write leftovers.csv and exceptions.xlsx there.

    Files that systems leave behind (`junk`) stand in the index and are not copied.

    Args:
        settings: all of them.
        to: folder, as a path or fsspec URL; not within FILES_DIR.
        copying: False: only the index and the workbook.

    Returns:
        Counts by reason, and NOT_COPIED where a copy could not be made.

    Raises:
        NotStartedError: the plan is not of the verification log, or `to` lies within FILES_DIR, or
            holds a workbook that somebody has filled.
        StorageError: `to` cannot be written, or a stage was not run yet.
        RunLogDamagedError: the run log is not whole.
    """
    target = Store(absolute_url(to), settings.storage_options)
    if f"{target.url}/".startswith(f"{settings.files_dir.rstrip('/')}/"):
        raise NotStartedError(
            f"--to {target.url}: lies within FILES_DIR, where the next inventory would find the "
            "copies; choose another folder"
        )
    if filled := _filled(target):
        raise NotStartedError(
            f"{target.child_url(NAME)} holds {filled:,} rows that somebody has filled, and would "
            "be written anew: choose another --to, and keep that file for MAPPING_OVERRIDES"
        )
    log = log_store(settings)
    check_log_dir(settings, log)
    history = read_chain(log, settings.realm_id).history
    found = find_leftovers(
        read_table(log, tables.VERIFICATION, VerificationRow),
        read_table(log, tables.PLAN, PlanRow),
        history,
    )
    files = Store(settings.files_dir, settings.storage_options)
    counts: Counter[str] = Counter()
    undecided, listed = Undecideds(), list[LeftoverRow]()
    with open_table(target, LEFTOVERS, LeftoverRow._fields) as table:
        for row in _copied(found, files, target) if copying else found:
            counts[row.reason] += 1
            if row.problem:
                counts[NOT_COPIED] += 1
            undecided.add(row)
            if len(listed) < MOST_FILES:
                listed.append(row)
            table.add(row)
    to_decide = undecided.all()
    # Copying may have taken hours, and somebody may have used them.
    changed = _filled_meanwhile(target)
    if not changed:
        with target.writing(NAME) as stream:
            stream.write(exceptions_book(to_decide, listed))
    return StageResult(
        (table.artifact(target, LEFTOVERS),),
        dict(counts),
        tuple(_notes(target, len(to_decide), counts, changed, settings.mapping_overrides)),
    )


def _filled(target: Store) -> int:
    """How many rows of a workbook that is there already people have filled.

    Raises:
        TableError: it is no workbook, or is just being saved.
    """
    try:
        with target.open_binary(NAME) as stream:
            return decided(stream, target.child_url(NAME))
    except FileNotFoundError:
        return 0


def _filled_meanwhile(target: Store) -> str:
    """What has become of it since, in words; "" if it is as it was and may be written anew."""
    try:
        filled = _filled(target)
    except TableError as error:
        return f"is not readable now ({error})"
    return f"was filled meanwhile ({filled:,} rows)" if filled else ""


def _notes(
    target: Store, to_decide: int, counts: Counter[str], changed: str, in_use: str
) -> Iterator[str]:
    unfinished = sum(counts[outcome.value] for outcome in RUN_AGAIN_OUTCOMES)
    if unfinished:
        yield f"{unfinished:,} of them are only not sent yet, or in doubt: qbo-attach run first."
    if changed:
        yield (
            f"{target.child_url(NAME)} {changed} and is left: it may lack what is new in "
            f"{LEFTOVERS}. Keep it for MAPPING_OVERRIDES, and take another --to for the next round."
        )
    elif to_decide:
        then = "set MAPPING_OVERRIDES to that file"
        if in_use:
            then = f"add these rows to {in_use}, which MAPPING_OVERRIDES names: one table has all"
        yield (
            f"{to_decide:,} legacy ids wait for a person: fill entity_refs (Bill:12, or exclude) "
            f"and by_whom in {target.child_url(NAME)}, sheet decisions, {then}, and run again."
        )
    if failed := counts[NOT_COPIED]:
        yield f"{failed:,} files could not be copied: column problem of {LEFTOVERS}."


def _copied(rows: Iterator[LeftoverRow], files: Store, target: Store) -> Iterator[LeftoverRow]:
    """The rows in order, each with where its copy lies."""
    with ThreadPoolExecutor(_COPIERS) as pool:
        while some := list(islice(rows, _CHUNK)):
            yield from pool.map(lambda row: _copy(row, files, target), some)


def _copy(row: LeftoverRow, files: Store, target: Store) -> LeftoverRow:
    if is_junk(row):
        return row
    path = row.file_path
    if any(part in ("", ".", "..") for part in path.split("/")):
        return row._replace(problem="its path leads out of the tree")
    to = f"{row.reason}/{path}"
    try:
        source = path if files.info(path) is not None else _as_bytes(path)
        with files.open_binary(source) as stream, target.writing(to) as copy:
            shutil.copyfileobj(stream, copy, _PIECE_BYTES)
    except FileNotFoundError:
        return row._replace(problem="it is not there any more")
    except (OSError, ValueError, QboAttachError) as error:
        return row._replace(problem=str(error))
    return row._replace(copied_to=to)


def _as_bytes(path: str) -> str:
    """A name that is not UTF-8, as a listing has it; our tables show its bytes as escapes."""
    return _ESCAPED.sub(lambda found: chr(0xDC00 + int(found[1], 16)), path)

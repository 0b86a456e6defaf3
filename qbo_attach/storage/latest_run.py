"""The segments of the latest run alone, found without reading the chain before them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from qbo_attach.core.chain import Record, RunStarted, SegmentHeader
from qbo_attach.core.segments import decode_header, decode_segment, segment_name, segment_numbers
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import FIRST_BYTES, runlog_folder

_READ_AHEAD = 8


def read_latest_run(
    store: Store, realm_id: str, before: int | None = None
) -> Iterator[tuple[SegmentHeader, list[Record]]]:
    """The latest run's segments in order; of snapshots only the headers. Nothing is written.

    A run's segments follow one another, so that its first is found by halving. Whether each
    follows from the one before is not checked here; `read_chain` does that. With `before`, the run
    that was the latest before that segment.

    Raises:
        RunLogDamagedError: a segment is missing or torn.
        StorageError: LOG_DIR cannot be read.
    """
    folder = runlog_folder(realm_id)
    url = store.child_url(folder)
    numbers = segment_numbers(store.list_names(folder), url)
    numbers = numbers[: before - 1] if before is not None else numbers

    def read(number: int) -> tuple[SegmentHeader, list[Record]]:
        name = segment_name(number)
        with store.open_binary(f"{folder}/{name}") as stream:
            data = stream.read(FIRST_BYTES)
            header = decode_header(data, f"{url}/{name}")
            if header.is_snapshot:
                return header, []
            data += stream.read()
        return header, decode_segment(data, f"{url}/{name}")[1]

    if not numbers:
        return
    last = numbers[-1]
    run_id = read(last)[0].run_id
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        if read(middle)[0].run_id == run_id:
            high = middle
        else:
            low = middle + 1
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        for start in range(low, last + 1, _READ_AHEAD):
            yield from pool.map(read, range(start, min(start + _READ_AHEAD, last + 1)))


def latest_run_id(store: Store, realm_id: str) -> str:
    """The latest run that was no undo; "" where none is found.

    Raises:
        RunLogDamagedError, StorageError: as `read_latest_run`.
    """
    before: int | None = None
    while True:
        header, records = next(read_latest_run(store, realm_id, before), (None, []))
        started = next((record for record in records if isinstance(record, RunStarted)), None)
        if started is not None and not started.undoes:
            return started.run_id
        if header is None or header.seq == 1:
            return ""
        before = header.seq

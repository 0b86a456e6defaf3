"""The run log on its store: reading the chain, and holding it, which is the lease.

Opening, renewing and taking over each create the next segment, once; whoever finds its number
taken by another writes no more and sends no more. A chain that was left without a release is
taken over at once from a process proven dead, else only after it stood still for a whole lease.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol

from qbo_attach.core.chain import Deleting, Holder, Record, SegmentHeader
from qbo_attach.core.done import DoneRows, MemoryRows
from qbo_attach.core.errors import LeaseHeldError, LeaseLostError, RunLogDamagedError, StorageError
from qbo_attach.core.history import History
from qbo_attach.core.ports import Clock
from qbo_attach.core.segments import (
    FORMAT,
    decode_header,
    decode_segment,
    encode_segment,
    segment_name,
    segment_numbers,
    snapshot_seq,
)
from qbo_attach.storage.digesting import digesting
from qbo_attach.storage.done_file import DoneFile
from qbo_attach.storage.files import Store
from qbo_attach.storage.holder import Life, life_of

WATCH_S = 2.0
"""How often a chain that may be abandoned is looked at."""

SNAPSHOT_RECORDS = 50_000
"""Records in one segment of a snapshot: some 25 MB, so that no reader needs much memory."""

FIRST_BYTES = 1 << 20
"""So much of a segment is read first: the whole of most; of a part of a snapshot the header, since
not every reader needs its rows, and eight such parts read ahead would take 200 MB."""

UNPROVEN_S = 600.0
"""So long the next runs are told of a holder not proven gone: what it sent has ended by then."""

_READ_AHEAD = 8


class Segments(Protocol):
    """A folder of segments; async, so that a simulation can stand in for a store."""

    url: str

    async def names(self) -> list[str]:
        """File names in the folder; none where it does not exist."""

    async def read(self, name: str) -> bytes:
        """A segment's bytes."""

    async def create_once(self, name: str, data: bytes) -> bool:
        """True: these bytes are there now, durable; False: others were there before."""


class StoredSegments:
    """Segments on a `Store`, each call in a thread of its own."""

    def __init__(self, store: Store, realm_id: str) -> None:
        self._store = store
        self.folder = runlog_folder(realm_id)
        self.url = store.child_url(self.folder)

    async def names(self) -> list[str]:
        """See Segments."""
        return await asyncio.to_thread(self._store.list_names, self.folder)

    async def read(self, name: str) -> bytes:
        """See Segments."""
        return await asyncio.to_thread(self._store.read_bytes, f"{self.folder}/{name}")

    async def create_once(self, name: str, data: bytes) -> bool:
        """See Segments."""
        return await asyncio.to_thread(self._store.create_once, f"{self.folder}/{name}", data)


def runlog_folder(realm_id: str) -> str:
    """Folder of a realm's run log below LOG_DIR."""
    return f"runlog/{realm_id}"


@dataclass(frozen=True, slots=True)
class Chain:
    """What was read of a run log: its state, its last segment, and the digest of that one."""

    history: History
    last: SegmentHeader | None
    last_sha256: str
    segments: int


def read_chain(store: Store, realm_id: str) -> Chain:
    """The state of a realm's run log: the newest snapshot and what follows. Writes nothing.

    Raises:
        RunLogDamagedError: a segment is missing, torn or altered.
        StorageError: LOG_DIR cannot be read.
    """
    return asyncio.run(_read(StoredSegments(store, realm_id), DoneFile()))


def read_segments(store: Store, realm_id: str) -> Iterator[tuple[SegmentHeader, list[Record]]]:
    """All segments from the first, each proven to follow the one before; snapshots without rows.

    Raises:
        RunLogDamagedError: a segment is missing, torn or altered.
    """
    folder = runlog_folder(realm_id)
    url = store.child_url(folder)
    numbers = segment_numbers(store.list_names(folder), url)

    def read(number: int) -> tuple[bytes, str]:
        name = segment_name(number)
        with digesting(store, f"{folder}/{name}") as stream:
            data = stream.read(FIRST_BYTES)
            if not decode_header(data, f"{url}/{name}").is_snapshot:
                data += stream.read()
            return data, stream.sha256()

    link = _Link(url)
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        for start in range(0, len(numbers), _READ_AHEAD):
            for data, sha256 in pool.map(read, numbers[start : start + _READ_AHEAD]):
                yield link.follow(data, sha256=sha256)


class _Link:
    """Checks that segments follow one another."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seq = 0
        self.sha256 = ""

    def follow(
        self,
        data: bytes,
        seq: int | None = None,
        *,
        snapshot: int = 0,
        keep_done: Callable[[bytes], None] | None = None,
        sha256: str = "",
    ) -> tuple[SegmentHeader, list[Record]]:
        """Take the next segment; with `seq`, the first one read may be any.

        Records of a snapshot are read only of the one that begins at `snapshot`; of another the
        header is enough. `sha256`: the digest of the whole segment, if it is known.
        """
        expected = seq or self.seq + 1
        url = f"{self._url}/{segment_name(expected)}"
        header = decode_header(data, url)
        records: list[Record] = []
        if not header.is_snapshot or header.seq - header.part + 1 == snapshot:
            header, records = decode_segment(data, url, keep_done)
        if header.seq != expected:
            raise RunLogDamagedError(url, f"holds segment {header.seq}")
        if self.seq and header.prev_sha256 != self.sha256:
            altered = f"{self._url}/{segment_name(self.seq)}"
            said = f"was altered after it was written, as {segment_name(expected)} proves"
            raise RunLogDamagedError(altered, said)
        self.seq = expected
        self.sha256 = sha256 or hashlib.sha256(data).hexdigest()
        return header, records


async def _read(segments: Segments, rows: DoneRows) -> Chain:
    numbers = segment_numbers(await segments.names(), segments.url)
    history = History(rows)
    keep_done = rows.keep_line if isinstance(rows, DoneFile) else None
    if not numbers:
        return Chain(history, None, "", 0)
    last_data = await segments.read(segment_name(numbers[-1]))
    last = decode_header(last_data, f"{segments.url}/{segment_name(numbers[-1])}")
    first = snapshot_seq(last) or 1
    link = _Link(segments.url)
    for number in range(first, numbers[-1] + 1):
        is_last = number == numbers[-1]
        data = last_data if is_last else await segments.read(segment_name(number))
        header, records = link.follow(data, number, snapshot=first, keep_done=keep_done)
        if number == first > 1 and not (header.is_snapshot and header.part == 1):
            raise RunLogDamagedError(f"{segments.url}/{segment_name(number)}", "is no snapshot")
        history.fold(records)
    return Chain(history, last, link.sha256, len(numbers))


_ENDED_HERE: set[str] = set()


def ended_here(run_id: str) -> None:
    """A run of this process writes and sends no more, whether or not it could say so in its log.

    Without this a run whose log could not be written would keep the realm from the next one of
    the same process, which lives.
    """
    _ENDED_HERE.add(run_id)


class RunLog:
    """The run log held by one run.

    Args:
        segments: where they lie.
        clock: the time.
        holder: this process.
        run_id: this run.
        new_nonce: gives a text no other writer uses, so that our own bytes are known as ours.
        lease_s: how long a silent holder keeps the lease.
        life: tells whether a holder is gone.
        new_rows: where the rows of done attachments are kept.
    """

    def __init__(
        self,
        segments: Segments,
        clock: Clock,
        *,
        holder: Holder,
        run_id: str,
        new_nonce: Callable[[], str],
        lease_s: float = 60.0,
        life: Callable[[Holder], Life] = life_of,
        new_rows: Callable[[], DoneRows] = MemoryRows,
    ) -> None:
        self._segments = segments
        self._clock = clock
        self._holder = holder
        self._run_id = run_id
        self._new_nonce = new_nonce
        self._lease_s = lease_s
        self._life = life
        self._new_rows = new_rows
        self._seq = 0
        self._sha256 = ""
        self._snapshot_seq = 0
        self._unproven_since = ""
        self._failed: Exception | None = None
        self.url = segments.url
        self.history = History()
        self.predecessor_unproven_since: float | None = None
        """Monotonic time at which the chain of a holder not proven dead was first read, by us or
        by a run not long before; None: every holder released its lease or is proven dead."""

    async def open(self) -> History:
        """Read the chain and take the lease's right; nothing is written before `append`.

        Raises:
            LeaseHeldError: another run holds it.
            RunLogDamagedError: the chain is not whole.
        """
        chain = await _read(self._segments, self._new_rows())
        first_read = self._clock.monotonic()
        if chain.last is not None and chain.last.lease_until:
            await self._outlast(chain.last, first_read)
        self.history = chain.history
        if chain.last is not None:
            self._seq = chain.last.seq
            self._sha256 = chain.last_sha256
            self._snapshot_seq = snapshot_seq(chain.last)
            self._heed(chain.last)
        return self.history

    def _heed(self, last: SegmentHeader) -> None:
        """Take on what an earlier run knew: a holder before it is not proven gone.

        Another machine's clock may be minutes from ours: of its times only the difference counts,
        and what has passed since is not known.
        """
        if not last.unproven_since or self.predecessor_unproven_since is not None:
            return
        now, writer = self._clock.utcnow(), last.holder
        ours = (writer.host, writer.boot_id) == (self._holder.host, self._holder.boot_id)
        told_at = now if ours else _moment(last.written_at)
        age_s = max(0.0, (told_at - _moment(last.unproven_since)).total_seconds())
        if age_s < UNPROVEN_S:
            self._unproven_since = utc_text(now - timedelta(seconds=age_s))
            self.predecessor_unproven_since = self._clock.monotonic() - age_s

    async def _outlast(self, last: SegmentHeader, first_read: float) -> None:
        """Return when the holder is gone for certain; raise when it lives."""
        who = f"{last.holder}, run {last.run_id}"
        if last.holder == self._holder and last.run_id in _ENDED_HERE:
            return
        life = self._life(last.holder)
        if life is Life.GONE:
            return
        if life is Life.ALIVE:
            raise LeaseHeldError(who)
        successor = segment_name(last.seq + 1)
        while self._clock.monotonic() < first_read + self._lease_s:
            await self._clock.sleep(WATCH_S)
            if successor in await self._segments.names():
                raise LeaseHeldError(who)
        self.predecessor_unproven_since = first_read
        watched_s = self._clock.monotonic() - first_read
        self._unproven_since = utc_text(self._clock.utcnow() - timedelta(seconds=watched_s))

    async def append(self, records: Sequence[Record], *, release: bool = False) -> None:
        """Make records durable in the next segment, and renew (or release) the lease.

        After any failure this run log takes no more records: what was sent must not outrun it.

        Raises:
            LeaseLostError: the number is taken by another.
            StorageError, OSError: the segment could not be written.
        """
        await self._create(records, release=release)
        self.history.fold(records)

    async def append_snapshot(self) -> None:
        """Write the folded state, in as many segments as it takes, and release the lease.

        Until the last of them is there, readers begin at the snapshot before.

        Raises:
            LeaseLostError, StorageError, OSError: as `append`.
        """
        parts = max(1, -(-self.history.snapshot_size() // SNAPSHOT_RECORDS))
        first = self._seq + 1
        records = self.history.snapshot(self._seq)
        for part in range(1, parts + 1):
            some = list(islice(records, SNAPSHOT_RECORDS))
            await self._create(some, release=part == parts, part=part, parts=parts)
        self._snapshot_seq = first

    async def _create(
        self,
        records: Sequence[Record | bytes],
        *,
        release: bool,
        part: int = 0,
        parts: int = 1,
    ) -> None:
        if self._failed is not None:
            raise self._failed
        now = self._clock.utcnow()
        header = SegmentHeader(
            seq=self._seq + 1,
            run_id=self._run_id,
            holder=self._holder,
            written_at=utc_text(now),
            lease_until="" if release else utc_text(now + timedelta(seconds=self._lease_s)),
            nonce=self._new_nonce(),
            prev_sha256=self._sha256,
            snapshot_seq=self._snapshot_seq,
            is_snapshot=part > 0,
            format=FORMAT if parts > 1 or any(isinstance(r, Deleting) for r in records) else 1,
            part=max(part, 1),
            parts=parts,
            unproven_since=self._unproven_since,
        )
        data = encode_segment(header, records)
        name = segment_name(header.seq)
        try:
            created = await self._segments.create_once(name, data)
        except (OSError, StorageError) as error:
            self._failed = error
            raise
        except asyncio.CancelledError:
            self._failed = LeaseLostError(f"{self.url}/{name}: it is not known if it was written")
            raise
        if not created:
            first = header.seq == 1 or self._first_append
            self._failed = LeaseLostError(
                f"{self.url}/{name} is taken by another run; this one stops and sends nothing more"
            )
            if first:
                raise LeaseHeldError(await self._writer_of(name)) from self._failed
            raise self._failed
        self._first_append = False
        self._seq = header.seq
        self._sha256 = hashlib.sha256(data).hexdigest()

    async def _writer_of(self, name: str) -> str:
        try:
            header = decode_header(await self._segments.read(name), f"{self.url}/{name}")
        except (OSError, StorageError, RunLogDamagedError):
            return "it began at the same moment"
        return f"{header.holder}, run {header.run_id}, which began at the same moment"

    _first_append = True

    @property
    def segments(self) -> int:
        """How many segments the chain has."""
        return self._seq


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(f"{text[:-1]}+00:00")


def utc_text(moment: datetime) -> str:
    """An aware UTC moment as ISO 8601 with milliseconds and `Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

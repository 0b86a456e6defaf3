"""The run log on its store, and the lease that holding it is."""

from __future__ import annotations

import hashlib
import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from qbo_attach.core.chain import GroupFile, Holder, Intent, Looked, Refused, SegmentHeader
from qbo_attach.core.errors import LeaseHeldError, LeaseLostError, RunLogDamagedError, StorageError
from qbo_attach.core.segments import decode_segment, encode_segment, segment_name
from qbo_attach.storage.files import Store
from qbo_attach.storage.holder import Life, life_of, this_holder
from qbo_attach.storage.runlog import (
    RunLog,
    StoredSegments,
    ended_here,
    read_chain,
    read_segments,
)
from tests.qbo.virtual_clock import VirtualClock

REALM = "77"
ELSEWHERE = Holder("another-host", 7, "boot", "ns", "99")
LEASE_S = 60.0
_NONCES = itertools.count()


class MemorySegments:
    """Segments in a dict; `before_create` and `before_names` let another writer come in between."""

    url = "memory://log/runlog/77"

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.before_create: Callable[[str], None] = lambda _: None
        self.before_names: Callable[[], None] = lambda: None

    async def names(self) -> list[str]:
        self.before_names()
        return list(self.held)

    async def read(self, name: str) -> bytes:
        return self.held[name]

    async def create_once(self, name: str, data: bytes) -> bool:
        self.before_create(name)
        return self.held.setdefault(name, data) is data


def runlog(
    segments: MemorySegments | StoredSegments,
    clock: VirtualClock | None = None,
    *,
    holder: Holder = ELSEWHERE,
    life: Life | None = None,
) -> RunLog:
    return RunLog(
        segments,
        clock or VirtualClock(),
        holder=holder,
        run_id="run",
        new_nonce=lambda: str(next(_NONCES)),
        lease_s=LEASE_S,
        life=life_of if life is None else lambda _: life,
    )


def refused(name: str) -> Refused:
    return Refused(name, "6041 no", "run")


async def left_without_release(segments: MemorySegments, holder: Holder = ELSEWHERE) -> None:
    log = runlog(segments, holder=holder)
    await log.open()
    await log.append([refused("a")])


async def test_a_new_run_log_is_empty_and_writes_nothing_before_append() -> None:
    segments = MemorySegments()
    history = await runlog(segments).open()
    assert history.refused == {}
    assert segments.held == {}


async def test_what_was_appended_is_read_by_the_next_run() -> None:
    segments = MemorySegments()
    log = runlog(segments)
    await log.open()
    await log.append([refused("a")])
    await log.append([refused("b")], release=True)
    assert list((await runlog(segments).open()).refused) == ["a", "b"]


async def test_a_chain_is_read_from_its_newest_snapshot() -> None:
    segments = MemorySegments()
    log = runlog(segments)
    await log.open()
    await log.append([refused("a")])
    await log.append_snapshot()
    await log.append([refused("b")], release=True)
    segments.held[segment_name(1)] = b"not read any more"
    assert list((await runlog(segments).open()).refused) == ["a", "b"]


async def a_snapshot_of_several_parts(segments: MemorySegments) -> None:
    """Segments 1 to 3: an event, a whole snapshot of one part, an event; then 4 to 6: parts."""
    log = runlog(segments)
    await log.open()
    await log.append([refused("a")])
    await log.append_snapshot()
    await log.append([refused("b"), refused("c")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qbo_attach.storage.runlog.SNAPSHOT_RECORDS", 2)
        await log.append_snapshot()
    assert max(segments.held) == segment_name(5)


@pytest.mark.parametrize("there", [3, 4, 5])
async def test_a_snapshot_counts_when_its_last_part_is_there(there: int) -> None:
    segments = MemorySegments()
    await a_snapshot_of_several_parts(segments)
    for seq in range(there + 1, 6):
        del segments.held[segment_name(seq)]
    taker = runlog(segments, life=Life.GONE)
    assert list((await taker.open()).refused) == ["a", "b", "c"]
    await taker.append([refused("d")], release=True)
    if there == 5:
        for seq in (1, 2, 3):
            segments.held[segment_name(seq)] = b"not read any more"
    assert list((await runlog(segments).open()).refused) == ["a", "b", "c", "d"]
    await taker.append_snapshot()
    assert list((await runlog(segments).open()).refused) == ["a", "b", "c", "d"]


async def test_looks_are_not_counted_twice_by_a_snapshot_that_was_cut_off() -> None:
    segments = MemorySegments()
    log = runlog(segments)
    await log.open()
    file = GroupFile("k", "x/1.pdf", "1.pdf", "application/pdf", 1, "", "", "Bill", "1")
    at = "2026-01-01T00:00:00Z"
    intent = Intent("r1", "b1", 1, at, at, "tag", (file,))
    await log.append([intent, Looked("r1", at, 0, settled=True), refused("a"), refused("b")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qbo_attach.storage.runlog.SNAPSHOT_RECORDS", 2)
        await log.append_snapshot()
    assert max(segments.held) == segment_name(4)
    del segments.held[segment_name(4)]
    history = await runlog(segments, life=Life.GONE).open()
    assert history.doubts["r1"].settled_looks == 1


async def test_a_released_lease_is_taken_at_once() -> None:
    segments = MemorySegments()
    log = runlog(segments)
    await log.open()
    await log.append([refused("a")], release=True)
    clock = VirtualClock()
    start = clock.now
    taker = runlog(segments, clock, life=Life.ALIVE)
    await taker.open()
    assert clock.now == start
    assert taker.predecessor_unproven_since is None


def test_a_holder_that_lives_keeps_the_lease() -> None:
    clock, segments = VirtualClock(), MemorySegments()
    clock.run(left_without_release(segments, this_holder()))
    with pytest.raises(LeaseHeldError, match=str(this_holder().pid)):
        clock.run(runlog(segments, clock).open())


async def test_a_run_that_ended_in_this_process_does_not_keep_the_lease_from_the_next() -> None:
    segments = MemorySegments()
    log = RunLog(
        segments,
        VirtualClock(),
        holder=this_holder(),
        run_id="could not write its end",
        new_nonce=lambda: "n",
    )
    await log.open()
    await log.append([refused("a")])
    with pytest.raises(LeaseHeldError):
        await runlog(segments, holder=this_holder()).open()
    ended_here("could not write its end")
    assert list((await runlog(segments, holder=this_holder()).open()).refused) == ["a"]
    with pytest.raises(LeaseHeldError):
        await runlog(segments, life=Life.ALIVE).open()


async def test_a_holder_whose_process_is_gone_is_taken_over_at_once() -> None:
    here = this_holder()
    dead = Holder(here.host, here.pid, here.boot_id, here.pid_namespace, "1")
    segments = MemorySegments()
    await left_without_release(segments, dead)
    taker = runlog(segments)
    await taker.open()
    assert taker.predecessor_unproven_since is None


def test_an_unknown_holder_is_taken_over_after_standing_still_for_a_whole_lease() -> None:
    clock = VirtualClock()
    segments = MemorySegments()

    async def work() -> float | None:
        await left_without_release(segments)
        start = clock.now
        taker = runlog(segments, clock)
        await taker.open()
        assert LEASE_S <= clock.now - start < LEASE_S + 5
        assert taker.predecessor_unproven_since == start
        await taker.append([refused("b")])
        return taker.predecessor_unproven_since

    clock.run(work())
    assert sorted(segments.held) == [segment_name(1), segment_name(2)]


def test_an_unknown_holder_that_writes_meanwhile_keeps_the_lease() -> None:
    clock = VirtualClock()
    segments = MemorySegments()

    async def work() -> None:
        holder = runlog(segments)
        await holder.open()
        await holder.append([refused("a")])
        late = clock.now + LEASE_S / 2

        def renew() -> None:
            if clock.now >= late:
                segments.held[segment_name(2)] = b"a renewal"

        segments.before_names = renew
        with pytest.raises(LeaseHeldError, match="another-host"):
            await runlog(segments, clock).open()

    clock.run(work())


async def test_a_run_whose_number_is_taken_writes_no_more() -> None:
    segments = MemorySegments()
    log = runlog(segments)
    await log.open()
    await log.append([refused("a")])
    segments.held[segment_name(2)] = b"of another run"
    with pytest.raises(LeaseLostError, match="00000002"):
        await log.append([refused("b")])
    del segments.held[segment_name(2)]
    with pytest.raises(LeaseLostError):
        await log.append([refused("c")])
    assert list(segments.held) == [segment_name(1)]
    assert list(log.history.refused) == ["a"]


async def test_of_two_runs_that_begin_at_one_moment_the_second_did_not_start() -> None:
    segments = MemorySegments()
    first, second = runlog(segments), runlog(segments)
    await first.open()
    await second.open()
    await first.append([refused("a")])
    with pytest.raises(LeaseHeldError, match=r"process .* on .*, run .*, which began at the same"):
        await second.append([refused("b")])


async def test_after_a_failed_write_nothing_is_taken_any_more() -> None:
    segments = MemorySegments()
    log = runlog(segments)
    await log.open()

    def full(_: str) -> None:
        raise StorageError("memory://log", "is full")

    segments.before_create = full
    with pytest.raises(StorageError):
        await log.append([refused("a")])
    segments.before_create = lambda _: None
    with pytest.raises(StorageError):
        await log.append([refused("a")])
    assert segments.held == {}


async def test_the_last_segment_releases_the_lease() -> None:
    segments = MemorySegments()
    log = runlog(segments)
    await log.open()
    await log.append([refused("a")])
    await log.append([], release=True)
    headers = [decode_segment(data, "log")[0] for data in segments.held.values()]
    assert [bool(header.lease_until) for header in headers] == [True, False]


# -- on a disk ---------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "log"))


async def written(store: Store, *names: str) -> None:
    log = runlog(StoredSegments(store, REALM))
    await log.open()
    for name in names:
        await log.append([refused(name)], release=name == names[-1])


def segment(store: Store, number: int) -> Path:
    return Path(store.url, "runlog", REALM, segment_name(number))


async def test_all_segments_are_read_in_order_from_a_store(store: Store) -> None:
    names = [f"n{n}" for n in range(20)]
    await written(store, *names)
    told = list(read_segments(store, REALM))
    assert [header.seq for header, _ in told] == list(range(1, 21))
    assert [r.path for _, rs in told for r in rs if isinstance(r, Refused)] == names


def test_a_store_without_a_run_log_has_an_empty_chain(store: Store) -> None:
    chain = read_chain(store, REALM)
    assert (chain.last, chain.segments, chain.history.done) == (None, 0, {})
    assert list(read_segments(store, REALM)) == []


async def test_an_altered_segment_is_known_by_its_successor(store: Store) -> None:
    await written(store, "a", "b", "c")
    path = segment(store, 2)
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"x"'))
    with pytest.raises(RunLogDamagedError, match=r"00000002\.jsonl: was altered"):
        list(read_segments(store, REALM))
    with pytest.raises(RunLogDamagedError, match=r"00000002\.jsonl: was altered"):
        await runlog(StoredSegments(store, REALM)).open()


async def test_a_missing_or_torn_segment_stops_by_its_name(store: Store) -> None:
    await written(store, "a", "b", "c")
    path = segment(store, 2)
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(RunLogDamagedError, match="00000002"):
        await runlog(StoredSegments(store, REALM)).open()
    path.write_bytes(whole[:-5])
    with pytest.raises(RunLogDamagedError, match="00000002"):
        await runlog(StoredSegments(store, REALM)).open()


async def test_a_segment_under_another_number_is_refused(store: Store) -> None:
    await written(store, "a", "b")
    segment(store, 3).write_bytes(segment(store, 2).read_bytes())
    with pytest.raises(RunLogDamagedError, match="holds segment 2"):
        await runlog(StoredSegments(store, REALM)).open()


_PARTS, _PART_BYTES = 8, 8 << 20


@pytest.fixture
def large_snapshot(store: Store) -> Store:
    """A segment, and a snapshot of eight parts of 8 MiB."""
    Path(store.url, "runlog", REALM).mkdir(parents=True)
    before = ""
    for seq in range(1, _PARTS + 2):
        part = seq - 1
        head = SegmentHeader(
            seq, "run", ELSEWHERE, "", "", "n", before, is_snapshot=part > 0, part=max(part, 1),
            parts=_PARTS if part else 1, format=2,
        )  # fmt: skip
        data = encode_segment(head, [b"x" * _PART_BYTES if part else refused("a")])
        before = hashlib.sha256(data).hexdigest()
        segment(store, seq).write_bytes(data)
    return store


def test_who_reads_all_segments_holds_no_rows_of_a_snapshot(large_snapshot: Store) -> None:
    tracemalloc.start()
    try:
        told = [(h.seq, len(records)) for h, records in read_segments(large_snapshot, REALM)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told == [(1, 1), *((seq, 0) for seq in range(2, _PARTS + 2))]
    assert peak < _PARTS * _PART_BYTES / 2


def test_an_altered_row_of_a_snapshot_that_nobody_holds_is_known(large_snapshot: Store) -> None:
    with segment(large_snapshot, 4).open("r+b") as stream:
        stream.seek(-100, 2)
        stream.write(b"y")
    with pytest.raises(RunLogDamagedError, match=r"00000004\.jsonl: was altered"):
        list(read_segments(large_snapshot, REALM))

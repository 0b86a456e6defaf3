"""What every kind of place must hold."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from qbo_attach.core.model import ListedFile
from qbo_attach.storage.files import SourceChangedError, SourceMissingError, Store
from qbo_attach.storage.place import PIECE_BYTES, SMALL_BYTES, own_temporary_name
from tests.storage.odd_names import EMPTY_PATH, odd_paths


def put(store: Store, path: str, data: bytes) -> None:
    with store.writing(path) as stream:
        stream.write(data)


def listed(store: Store, path: str) -> ListedFile:
    file = store.info(path)
    assert file is not None
    return file


async def pieces(store: Store, file: ListedFile) -> list[bytes]:
    return [piece async for piece in store.read_pieces(file)]


def read(store: Store, file: ListedFile) -> bytes:
    return b"".join(asyncio.run(pieces(store, file)))


class TestOddNames:
    def test_each_odd_name_is_listed_found_and_read_as_it_is(self, store: Store, kind: str) -> None:
        paths = odd_paths(kind)
        bodies = {p: b"" if p == EMPTY_PATH else p.encode() for p in paths}
        for path, body in bodies.items():
            put(store, path, body)
        rows = {row.path: row for row in store.list_files()}
        assert sorted(rows) == sorted(paths)
        for path, body in bodies.items():
            row = rows[path]
            assert row.problem == ""
            assert row.size_bytes == len(body)
            assert row.modified_at.endswith("Z")
            assert store.info(path) == row
            assert store.read_bytes(path) == body
            with store.open_binary(path) as stream:
                assert stream.read() == body

        async def all_at_once() -> list[list[bytes]]:
            return await asyncio.gather(*(pieces(store, row) for row in rows.values()))

        got = dict(zip(rows, asyncio.run(all_at_once()), strict=True))
        assert {path: b"".join(parts) for path, parts in got.items()} == bodies

    def test_removing_one_name_spares_its_look_alikes(self, store: Store) -> None:
        for path in ("st*r.csv", "stXr.csv", "st[X]r.csv", "st?r.csv"):
            put(store, path, b"x")
        store.remove("st*r.csv")
        store.remove("st[X]r.csv")
        assert sorted(row.path for row in store.list_files()) == ["st?r.csv", "stXr.csv"]

    def test_a_listing_is_the_same_seen_by_names(self, store: Store) -> None:
        for path in ("f/b", "f/a c", "f/deep/x", "g"):
            put(store, path, b"x")
        assert store.list_names("f") == ["a c", "b"]
        assert store.list_names("") == ["g"]
        assert store.list_names("no such folder") == []

    def test_leftovers_of_unfinished_writes_are_no_names(self, store: Store) -> None:
        put(store, f"f/{own_temporary_name()}", b"x")
        put(store, "f/1", b"x")
        assert store.list_names("f") == ["1"]


class TestWriting:
    def test_a_write_replaces_the_file_whole(self, store: Store) -> None:
        put(store, "a/t.csv", b"old, and longer")
        put(store, "a/t.csv", b"new")
        assert store.read_bytes("a/t.csv") == b"new"
        assert [row.path for row in store.list_files()] == ["a/t.csv"]

    def test_an_exception_while_writing_changes_nothing(self, store: Store) -> None:
        put(store, "t.csv", b"old")

        def torn(path: str) -> None:
            with store.writing(path) as stream:
                stream.write(b"half" * 1000)
                raise RuntimeError("on the way")

        for path in ("t.csv", "new.csv"):
            with pytest.raises(RuntimeError, match=r"on the way"):
                torn(path)
        assert store.read_bytes("t.csv") == b"old"
        assert [row.path for row in store.list_files()] == ["t.csv"]

    def test_a_reader_sees_the_old_table_or_the_new_one_never_half(self, store: Store) -> None:
        bodies = {b"%d" % n * 300_000 for n in range(10)}
        put(store, "t.csv", min(bodies))
        stop = threading.Event()
        seen: list[bytes] = []

        def reader() -> None:
            while not stop.is_set():
                seen.append(store.read_bytes("t.csv"))

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(reader) for _ in range(2)]
            for body in sorted(bodies):
                with store.writing("t.csv") as stream:
                    for start in range(0, len(body), 50_000):
                        stream.write(body[start : start + 50_000])
            stop.set()
            for future in readers:
                future.result()
        assert seen
        assert set(seen) <= bodies

    def test_a_missing_file_is_told_by_name(self, store: Store) -> None:
        put(store, "there", b"x")
        assert store.info("gone") is None
        store.remove("gone")
        with pytest.raises(FileNotFoundError, match=r"gone"):
            store.read_bytes("gone")
        with pytest.raises(FileNotFoundError, match=r"gone"):
            store.open_binary("gone")


class TestCreateOnce:
    def test_the_second_create_finds_the_first(self, store: Store) -> None:
        assert store.create_once("log/00000001.jsonl", b"mine")
        assert not store.create_once("log/00000001.jsonl", b"another's")
        assert store.read_bytes("log/00000001.jsonl") == b"mine"
        assert store.list_names("log") == ["00000001.jsonl"]

    def test_our_own_bytes_found_there_count_as_created(self, store: Store) -> None:
        assert store.create_once("log/1", b"mine, nonce 7")
        assert store.create_once("log/1", b"mine, nonce 7")

    def test_of_eight_racers_one_wins(self, store: Store) -> None:
        barrier = threading.Barrier(8)

        def race(n: int) -> bool:
            barrier.wait()
            return store.create_once("log/1", b"racer %d" % n)

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(race, range(8)))
        assert won.count(True) == 1
        assert store.read_bytes("log/1") == b"racer %d" % won.index(True)
        assert store.list_names("log") == ["1"]

    def test_an_empty_body_is_refused_before_it_is_sent(self, store: Store) -> None:
        assert store.create_once("log/1", b"mine")
        with pytest.raises(ValueError, match=r"needs data"):
            store.create_once("log/1", b"")
        assert store.read_bytes("log/1") == b"mine"

    def test_the_probe_passes_and_leaves_nothing(self, store: Store) -> None:
        put(store, "log/1", b"x")
        store.probe_create_once("log")
        store.probe_create_once("")
        assert [row.path for row in store.list_files()] == ["log/1"]


class TestReadPieces:
    def test_a_large_file_comes_in_pieces_and_whole(self, store: Store) -> None:
        body = bytes(range(256)) * ((SMALL_BYTES + PIECE_BYTES) // 256) + b"rest"
        put(store, "big", body)
        got = asyncio.run(pieces(store, listed(store, "big")))
        assert len(got) >= 4
        assert max(map(len, got)) <= PIECE_BYTES
        assert b"".join(got) == body

    @pytest.mark.parametrize("size", [5, SMALL_BYTES + 5], ids=["small", "large"])
    def test_a_file_replaced_after_the_listing_is_told(self, store: Store, size: int) -> None:
        put(store, "f", b"a" * size)
        before = listed(store, "f")
        if not before.etag:
            time.sleep(0.02)  # a moment that the store's clock can tell
        put(store, "f", b"b" * size)
        with pytest.raises(SourceChangedError, match=r"^f: "):
            read(store, before)
        put(store, "f", b"a" * (size - 1))
        with pytest.raises(SourceChangedError, match=r"^f: "):
            read(store, before)

    @pytest.mark.parametrize("size", [5, SMALL_BYTES + 5], ids=["small", "large"])
    def test_a_file_that_is_gone_is_told(self, store: Store, size: int) -> None:
        put(store, "kept", b"x")
        with pytest.raises(SourceMissingError, match=r"^f: "):
            read(store, ListedFile("f", size))

    def test_a_file_replaced_between_two_pieces_never_looks_whole(self, store: Store) -> None:
        size = SMALL_BYTES + 3 * PIECE_BYTES
        put(store, "f", b"a" * size)
        file = listed(store, "f")
        if not file.etag:
            time.sleep(0.02)

        async def read_slowly() -> bytes:
            got = b""
            async for piece in store.read_pieces(file):
                if not got:
                    await asyncio.to_thread(put, store, "f", b"b" * size)
                got += piece
            return got

        try:
            assert asyncio.run(read_slowly()) == b"a" * size  # an open file on disk stays itself
        except SourceChangedError:
            return

    def test_reading_does_not_hold_up_the_loop(self, store: Store) -> None:
        put(store, "f", b"x" * (SMALL_BYTES + PIECE_BYTES))
        file = listed(store, "f")

        async def ticks_while_reading() -> int:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            await pieces(store, file)
            ticking.cancel()
            return ticks

        assert asyncio.run(ticks_while_reading()) > 3

    def test_one_store_serves_several_event_loops(self, store: Store) -> None:
        put(store, "f", b"body")
        file = listed(store, "f")
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: read(store, file), range(8))) == {b"body"}


def test_a_table_can_be_read_from_any_place_within_it(store: Store) -> None:
    data = bytes(range(256)) * (PIECE_BYTES // 256 + 40)
    put(store, "table.csv", data)
    with store.open_binary("table.csv") as stream:
        for offset in (len(data) - 5, 0, PIECE_BYTES - 3, 17):
            stream.seek(offset)
            assert stream.read(9) == data[offset : offset + 9]


class TestReadAll:
    def test_small_files_come_whole_and_in_order(self, store: Store) -> None:
        bodies = {f"f{n}": b"%d" % n * n for n in (3, 1, 2)}
        for path, body in bodies.items():
            put(store, path, body)
        files = [listed(store, path) for path in bodies]
        assert asyncio.run(store.read_all(files)) == list(bodies.values())

    def test_the_first_that_cannot_be_read_is_the_last_entry(self, store: Store) -> None:
        put(store, "f", b"a")
        there, gone = listed(store, "f"), ListedFile("gone", 1)
        body, error = asyncio.run(store.read_all([there, gone, there]))
        assert body == b"a"
        assert isinstance(error, SourceMissingError)
        longer = ListedFile("f", 2, there.modified_at, there.etag)
        (changed,) = asyncio.run(store.read_all([longer, there]))
        assert isinstance(changed, SourceChangedError)

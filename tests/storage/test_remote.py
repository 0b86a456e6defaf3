"""Stores that have no room of their own: archives, chains, kinds we never heard of."""

from __future__ import annotations

import asyncio
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.files import SourceChangedError, Store
from qbo_attach.storage.place import SMALL_BYTES
from tests.conftest import S3Server
from tests.storage.test_store import listed, pieces, put, read

BIG = bytes(range(256)) * (SMALL_BYTES // 256 + 1)
FILES = {
    "Attach/C/Txn/801/a b#?.pdf": b"one",
    "Attach/C/Txn/802/é.pdf": b"",
    "Attach/C/List/9/big.bin": BIG,
}


def make_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in FILES.items():
            archive.writestr(name, body)


def check_source(store: Store) -> None:
    rows = {row.path: row for row in store.list_files()}
    assert {path: row.size_bytes for path, row in rows.items()} == {
        path.removeprefix("Attach/"): len(body) for path, body in FILES.items()
    }
    for path, row in rows.items():
        assert row.problem == ""
        assert read(store, row) == FILES[f"Attach/{path}"]
        with store.open_binary(path) as stream:
            assert stream.read() == FILES[f"Attach/{path}"]
    assert store.list_names("C/Txn/801") == ["a b#?.pdf"]
    with pytest.raises(SourceChangedError):
        read(store, ListedFile("C/Txn/801/a b#?.pdf", 4))


def test_an_archive_on_disk_is_a_source(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip")
    check_source(Store(f"zip://Attach::{tmp_path}/a.zip"))


def test_an_archive_on_s3_is_a_source(s3_moto: S3Server, tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip")
    url = s3_moto.new_bucket()
    put(Store(url, s3_moto.options), "a.zip", (tmp_path / "a.zip").read_bytes())
    check_source(Store(f"zip://Attach::{url}/a.zip", {"s3": s3_moto.options}))


def test_a_missing_archive_or_folder_in_it_is_told(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip")
    for url, sentence in {
        f"zip://Attach::{tmp_path}/none.zip": "no such file",
        f"zip://Other::{tmp_path}/a.zip": "no such folder",
        f"zip://Attach/C/List/9/big.bin::{tmp_path}/a.zip": "must be a folder",
    }.items():
        with pytest.raises(StorageError, match=sentence):
            list(Store(url).list_files())


def test_a_missing_memory_folder_is_an_error_not_an_empty_listing(memory_url: str) -> None:
    with pytest.raises(StorageError, match=r"no such folder"):
        list(Store(memory_url).list_files())
    fsspec.filesystem("memory").mkdir(memory_url)
    assert list(Store(memory_url).list_files()) == []


def test_an_unknown_scheme_is_told() -> None:
    with pytest.raises(StorageError, match=r"Protocol not known: nonsense"):
        list(Store("nonsense://x").list_files())


def test_an_archive_cannot_hold_the_run_log(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip")
    with pytest.raises(StorageError):
        Store(f"zip://log::{tmp_path}/a.zip").probe_create_once("")


class ForgetfulFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store that takes `mode="create"` and overwrites all the same."""

    protocol = "forgetful"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("forgetful://")))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: object) -> None:  # noqa: ARG002
        super().pipe_file(path, value)


class HangingFileSystem(ForgetfulFileSystem):
    """A store that never answers."""

    protocol = "hanging"
    release = threading.Event()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("hanging://")))

    def info(self, path: str, **kwargs: object) -> dict[str, object]:  # noqa: ARG002
        self.release.wait(10)
        raise FileNotFoundError(path)

    find = pipe_file = cat_file = exists = info  # type: ignore[assignment]


for kind in (ForgetfulFileSystem, HangingFileSystem):
    fsspec.register_implementation(kind.protocol, kind, clobber=True)


def test_a_store_that_lets_a_second_create_pass_is_refused() -> None:
    with pytest.raises(StorageError, match=r"second writer create a file .* put LOG_DIR on"):
        Store("forgetful://x").probe_create_once("log")
    assert ForgetfulFileSystem.store == {}


def test_a_store_that_never_answers_ends_at_the_deadline() -> None:
    store = Store("hanging://x", deadline_s=0.2)
    started = time.monotonic()
    for way in (
        lambda: list(store.list_files()),
        lambda: store.read_bytes("f"),
        lambda: put(store, "f", b"x"),
        lambda: store.create_once("f", b"x"),
        lambda: asyncio.run(pieces(store, ListedFile("f", 1))),
    ):
        with pytest.raises(StorageError, match=r"no answer within 0.2 s"):
            way()
    assert time.monotonic() - started < 5
    HangingFileSystem.release.set()


def test_readers_of_memory_do_not_share_a_position(memory_url: str) -> None:
    store = Store(memory_url)
    put(store, "f", b"abcdef")
    with store.open_binary("f") as one, store.open_binary("f") as other:
        assert one.read(3) == b"abc"
        assert other.read() == b"abcdef"
        assert one.read() == b"def"
    assert listed(store, "f").size_bytes == 6

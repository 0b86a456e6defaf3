"""What a power cut leaves of a folder, by what was synced until then."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qbo_attach.core.chain import Refused
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import StoredSegments, read_chain
from tests.storage.test_runlog import REALM, runlog


class Platter:
    """Keeps what is durable below a folder: bytes of files, names of folders, as last synced.

    A new name may become durable at any time, with or without its bytes: a file that gets its
    name before its bytes are synced is kept in `torn`.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = root
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self.torn: list[str] = []
        for folder, _, files in os.walk(root):
            self._note_folder(Path(folder))
            for name in files:
                self._note_file(Path(folder, name))
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._synced)
        monkeypatch.setattr(os, "link", self._naming(os.link))
        monkeypatch.setattr(os, "replace", self._naming(os.replace))

    def _synced(self, descriptor: int) -> None:
        self._fsync(descriptor)
        number = os.fstat(descriptor).st_ino
        for path in (self._root, *self._root.rglob("*")):
            if path.stat().st_ino == number:
                if path.is_dir():
                    self._note_folder(path)
                else:
                    self._note_file(path)

    def _note_file(self, path: Path) -> None:
        self._bytes[path.stat().st_ino] = path.read_bytes()

    def _note_folder(self, path: Path) -> None:
        names = {entry.name: entry.inode() for entry in os.scandir(path)}
        self._names[path.stat().st_ino] = names

    def _naming(self, real: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def named(source: str, target: str) -> None:
            durable = self._bytes.get(Path(source).stat().st_ino)
            if durable != Path(source).read_bytes():
                self.torn.append(target)
            real(source, target)

        return named

    def after_power_cut(self) -> dict[str, bytes]:
        """Files that are left, by path below the root, with what is left of their bytes."""
        left: dict[str, bytes] = {}
        folders = [("", self._root.stat().st_ino)]
        while folders:
            folder, number = folders.pop()
            for name, inner in self._names.get(number, {}).items():
                path = f"{folder}{name}"
                if inner in self._names or (self._root / path).is_dir():
                    folders.append((f"{path}/", inner))
                else:
                    left[path] = self._bytes.get(inner, b"")
        return {path: data for path, data in left.items() if "/." not in f"/{path}"}


def test_a_file_created_once_is_whole_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platter = Platter(tmp_path, monkeypatch)
    Store(str(tmp_path)).create_once("runlog/77/00000001.jsonl", b"intent")
    assert platter.after_power_cut() == {"runlog/77/00000001.jsonl": b"intent"}
    assert platter.torn == []


def test_each_next_file_is_whole_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").mkdir()
    platter = Platter(tmp_path, monkeypatch)
    store = Store(str(tmp_path))
    for number in range(3):
        store.create_once(f"log/{number}", b"%d" % number)
        assert len(platter.after_power_cut()) == number + 1
    assert platter.torn == []


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert store.create_once("1", b"first")
    assert not store.create_once("1", b"second")
    assert store.read_bytes("1") == b"first"


def test_a_table_is_the_old_one_or_the_new_one_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    with store.writing("plan.csv") as stream:
        stream.write(b"old")
    platter = Platter(tmp_path, monkeypatch)
    with store.writing("plan.csv") as stream:
        stream.write(b"new, and longer")
        assert platter.after_power_cut() == {"plan.csv": b"old"}
    assert platter.after_power_cut() == {"plan.csv": b"new, and longer"}
    assert platter.torn == []


async def test_the_chain_is_whole_and_up_to_date_after_a_power_cut_at_any_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_dir = tmp_path / "log"
    log_dir.mkdir()
    platter = Platter(log_dir, monkeypatch)
    log = runlog(StoredSegments(Store(str(log_dir)), REALM))
    await log.open()
    for number in range(4):
        await log.append([Refused(str(number), "6041 no", "run")])
        after = tmp_path / f"after {number}"
        for path, data in platter.after_power_cut().items():
            (after / path).parent.mkdir(parents=True, exist_ok=True)
            (after / path).write_bytes(data)
        refused = await _refused(Store(str(after)))
        assert refused == [str(one) for one in range(number + 1)]


async def _refused(store: Store) -> list[str]:
    chain = await asyncio.to_thread(read_chain, store, REALM)
    return list(chain.history.refused)

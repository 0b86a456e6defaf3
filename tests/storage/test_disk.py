"""What only a disk has: links, special files, permissions, names that are not UTF-8."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.files import SourceChangedError, Store
from qbo_attach.storage.place import SMALL_BYTES, own_temporary_name, utc_text


def rows(folder: Path) -> dict[str, ListedFile]:
    listing = list(Store(str(folder)).list_files())
    assert len({row.path for row in listing}) == len(listing)
    return {row.path: row for row in listing}


def first_piece(store: Store, file: ListedFile) -> bytes:
    async def first() -> bytes:
        return await anext(aiter(store.read_pieces(file)))

    return asyncio.run(first())


def test_a_missing_folder_is_an_error_not_an_empty_listing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no such folder"):
        list(Store(str(tmp_path / "none")).list_files())


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"must be a folder"):
        list(Store(str(tmp_path / "f")).list_files())


def test_an_existing_empty_folder_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "empty" / "folders").mkdir(parents=True)
    assert rows(tmp_path) == {}


def test_links_are_rows_that_say_where_they_point_and_nothing_doubles(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "real", outside):
        folder.mkdir(parents=True)
        (folder / "f.pdf").write_bytes(b"x")
    links = {
        "to file": "real/f.pdf",
        "to folder": "real",
        "loop": ".",
        "out of the tree": str(outside),
        "dangling": "nowhere",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    got = rows(root)
    assert set(got) == {"real/f.pdf", *links}
    assert got["real/f.pdf"].problem == ""
    for name, target in links.items():
        assert Store(str(root)).info(name) == got[name]
        assert got[name].problem.startswith(f"symbolic link, not followed: it points to {target};")


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    assert set(rows(tmp_path / "link")) == {"f"}


def test_special_files_are_rows_and_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        got = rows(tmp_path)
    assert got["fifo"].problem == "not a regular file: it is a fifo"
    assert got["socket"].problem == "not a regular file: it is a socket"


@pytest.mark.parametrize("size", [5, SMALL_BYTES + 5], ids=["small", "large"])
def test_a_file_that_became_a_fifo_or_a_link_is_changed_not_waited_for(
    tmp_path: Path, size: int
) -> None:
    store = Store(str(tmp_path), deadline_s=5)
    os.mkfifo(tmp_path / "f")
    with pytest.raises(SourceChangedError, match=r"no regular file any more"):
        first_piece(store, ListedFile("f", size))
    (tmp_path / "real").write_bytes(b"12345")
    (tmp_path / "l").symlink_to("real")
    with pytest.raises(SourceChangedError, match=r"no regular file any more"):
        first_piece(store, ListedFile("l", size))


def test_a_name_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.pdf"
    with open(raw, "wb") as stream:  # noqa: PTH123  # a Path cannot be bytes
        stream.write(b"latin")
    got = rows(tmp_path)
    assert set(got) == {"caf\udce9.pdf"}
    store = Store(str(tmp_path))
    assert store.read_bytes("caf\udce9.pdf") == b"latin"
    assert first_piece(store, got["caf\udce9.pdf"]) == b"latin"


UNREADABLE = """
import asyncio, concurrent.futures.thread, os, sys
from qbo_attach.storage.files import SourceMissingError, Store
folder = sys.argv[1]
for name, mode in (("denied.pdf", 0o000), ("group.pdf", 0o040), ("mine.pdf", 0o600), ("all.pdf", 0o444)):
    with open(f"{folder}/{name}", "wb") as stream:
        stream.write(b"x")
    os.chmod(f"{folder}/{name}", mode)
    if os.geteuid() == 0:
        os.chown(f"{folder}/{name}", 65534, 65534)
os.makedirs(f"{folder}/closed/inner")
os.chmod(f"{folder}/closed", 0)
store = Store(folder)
listed = [f.__class__(f.path, f.size_bytes) for f in store.list_files()]
if os.geteuid() == 0:
    os.seteuid(65534)
for row in store.list_files():
    print(row.path, row.size_bytes, row.problem, sep="|")
async def read(file):
    return b"".join([piece async for piece in store.read_pieces(file)])
try:
    asyncio.run(read([f for f in listed if f.path == "denied.pdf"][0]))
except SourceMissingError as error:
    print(type(error).__name__, error, sep="|")
os.chdir("/")
try:
    list(Store(f"{folder}/closed").list_files())
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other accounts may enter; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    (folder / "closed").chmod(0o700)
    shutil.rmtree(folder)


def test_unreadable_files_and_folders_are_rows(open_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(open_folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    denied = "may not be read by this account; give it read permission"
    assert sorted(done.stdout.splitlines()) == sorted(
        [
            f"denied.pdf|1|{denied}",
            f"group.pdf|1|{denied}",
            "mine.pdf|1|",
            "all.pdf|1|",
            "closed|0|folder cannot be listed: Permission denied",
            "SourceUnreadableError|denied.pdf: may not be read by this account",
            "StorageError",
        ]
    )


def test_a_folder_that_vanishes_during_the_listing_is_a_row(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(b"x")
    listing = Store(str(tmp_path)).list_files()
    first = next(listing)
    gone = "a" if first.path == "b/f" else "b"
    (tmp_path / gone / "f").unlink()
    (tmp_path / gone).rmdir()
    (rest,) = listing
    assert rest.path == gone
    assert rest.problem == "folder cannot be listed: No such file or directory"


def test_a_disk_without_hard_links_is_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: str, target: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StorageError, match=r"no hard links .*put LOG_DIR on another disk or on S3"):
        Store(str(tmp_path)).probe_create_once("log")
    assert list((tmp_path / "log").iterdir()) == []


def test_a_crash_before_the_link_leaves_no_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashError(BaseException):
        pass

    def crash(descriptor: int) -> None:
        raise CrashError

    store = Store(str(tmp_path))
    store.create_once("log/1", b"x")
    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(CrashError):
        store.create_once("log/2", b"y")
    assert store.list_names("log") == ["1"]


def test_file_and_folder_are_synced_before_create_once_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell what is synced")
    monkeypatch.setattr(os, "fsync", note)
    Store(str(tmp_path)).create_once("log/9/1", b"x")
    assert synced[:2] == [str(tmp_path), str(tmp_path / "log")]
    assert synced[2].startswith(str(tmp_path / "log" / "9" / ".qbo-attach-"))
    assert synced[3:] == [str(tmp_path / "log" / "9")]


def test_what_a_kill_left_goes_with_a_later_write_and_nothing_else_does(tmp_path: Path) -> None:
    days_ago = time.time() - 2 * 86_400
    left, written_now = own_temporary_name(), own_temporary_name()
    named_alike = [".qbo-attach-notes.tmp", f"{own_temporary_name()}.csv", "old.csv"]
    for name in (left, written_now, *named_alike):
        (tmp_path / name).write_bytes(b"x")
        if name != written_now:
            os.utime(tmp_path / name, (days_ago, days_ago))
    with Store(str(tmp_path)).writing("t.csv") as stream:
        stream.write(b"x")
    assert {path.name for path in tmp_path.iterdir()} == {written_now, *named_alike, "t.csv"}


def test_a_private_file_is_for_this_account_only(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with store.writing("token.json", private=True) as stream:
        stream.write(b"{}")
    assert (tmp_path / "token.json").stat().st_mode & 0o777 == 0o600


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"))
    for path in ("../x", "a/../../x", "a\0b"):
        with pytest.raises(StorageError, match=r"no path that a disk can hold"):
            store.read_bytes(path)


def test_a_disk_that_cannot_take_a_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    store = Store(str(tmp_path))
    with pytest.raises(StorageError, match=r"file/t.csv: cannot be used"):
        store.create_once("file/t.csv", b"x")
    with pytest.raises(StorageError, match=r"too long"):
        store.create_once("n" * 300, b"x")


def test_a_disk_that_hangs_ends_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    release = threading.Event()
    real = os.open

    def hang(path: str, flags: int, mode: int = 0o777) -> int:
        release.wait(10)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", hang)
    store = Store(str(tmp_path), deadline_s=0.2)

    async def read() -> float:
        started = time.monotonic()
        try:
            with pytest.raises(StorageError, match=r"no answer within 0.2 s"):
                await anext(aiter(store.read_pieces(ListedFile("f", 1))))
            return time.monotonic() - started
        finally:
            release.set()

    assert asyncio.run(read()) < 2


def test_a_disk_that_hangs_amid_several_files_ends_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")
    release = threading.Event()
    real = os.open

    def hang(path: str, flags: int, mode: int = 0o777) -> int:
        if path.endswith("/b"):
            release.wait(10)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", hang)
    store = Store(str(tmp_path), deadline_s=0.2)
    try:
        found = asyncio.run(store.read_all([ListedFile(name, 1) for name in "abc"]))
    finally:
        release.set()
    assert found[0] == b"x"
    assert isinstance(found[1], StorageError)
    assert "no answer within 0.2 s" in str(found[1])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("seconds", "micros", "text"),
    [
        (0, 0, "1970-01-01T00:00:00Z"),
        (-1, 5, "1969-12-31T23:59:59.000005Z"),
        (253402300799, 0, "9999-12-31T23:59:59Z"),
        (253402300800, 0, ""),
        (10**30, 0, ""),
    ],
)
def test_a_moment_is_told_in_utc_or_not_at_all(seconds: int, micros: int, text: str) -> None:
    assert utc_text(seconds, micros) == text

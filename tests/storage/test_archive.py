"""A zip archive as a source: what it holds has a row each, and what it may do is bounded."""

from __future__ import annotations

import asyncio
import io
import os
import re
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.files import SourceChangedError, SourceMissingError, Store
from qbo_attach.storage.place import SMALL_BYTES, SourceUnreadableError
from tests.storage.test_store import listed, pieces, put, read

Made = tuple[zipfile.ZipInfo | str, bytes]


def zipped(*members: Made, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return target.getvalue()


def member(name: str, **facts: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2024, 3, 31, 12, 30, 58))
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


def store_of(folder: Path, data: bytes) -> Store:
    path = folder / "Attach.zip"
    path.write_bytes(data)
    return Store(str(path))


def rows(store: Store) -> dict[str, ListedFile]:
    found = list(store.list_files())
    assert len({row.path for row in found}) == len(found)
    return {row.path: row for row in found}


def patched(data: bytes, name: str, **fields: int) -> bytes:
    """Overwrite what both headers of a member say of it."""
    offsets = {"flags": (6, 8, "<H"), "method": (8, 10, "<H"), "crc": (14, 16, "<L")}
    offsets |= {"size": (22, 24, "<L")}
    out = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        local = archive.getinfo(name).header_offset
    central = data.index(b"PK\1\2")
    while data[central + 46 :][: len(name)] != name.encode():
        central = data.index(b"PK\1\2", central + 1)
    for fact, value in fields.items():
        at_local, at_central, form = offsets[fact]
        struct.pack_into(form, out, local + at_local, value)
        struct.pack_into(form, out, central + at_central, value)
    return bytes(out)


def test_an_archive_is_listed_and_read_like_the_folder_that_it_was(tmp_path: Path) -> None:
    big = os.urandom(1 << 20) * (SMALL_BYTES // (1 << 20) + 1)
    bodies = {"Attach/C/Txn/801/a b#?.pdf": b"one" * 99, "é 日本.txt": b"", "big.bin": big}
    store = store_of(tmp_path, zipped(("Attach/", b""), *bodies.items()))
    found = rows(store)
    assert found.keys() == bodies.keys()
    for path, body in bodies.items():
        assert found[path].problem == ""
        assert found[path].etag == f"{zlib.crc32(body):08x}-{len(body)}"
        assert read(store, found[path]) == store.read_bytes(path) == body
        assert store.info(path) == found[path]
    parts = asyncio.run(pieces(store, found["big.bin"]))
    assert max(map(len, parts)) <= SMALL_BYTES
    assert store.info("Attach") is None
    assert store.list_names("Attach/C/Txn/801") == ["a b#?.pdf"]
    with pytest.raises(FileNotFoundError):
        store.read_bytes("none")


def test_a_zip_time_is_shown_as_if_it_were_utc(tmp_path: Path) -> None:
    data = zipped((member("a.pdf"), b"x"), (member("b.pdf"), b"x"))
    at = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1) + 12
    data = data[:at] + bytes(4) + data[at + 4 :]  # month 0, day 0: no time was set
    found = rows(store_of(tmp_path, data))
    assert found["a.pdf"].modified_at == "2024-03-31T12:30:58Z"
    assert found["b.pdf"].modified_at == ""


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        (member("../x.pdf"), "leads out"),
        (member("a/../../x.pdf"), "leads out"),
        (member("/etc/x.pdf"), "leads out"),
        (member("C:/x.pdf"), "leads out"),
        (member("..\\x.pdf", create_system=3), "leads out"),
        (member("\\\\host\\x.pdf", create_system=3), "leads out"),
        (member("link", create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16), "link"),
        (member("pipe", create_system=3, external_attr=(stat.S_IFIFO | 0o666) << 16), "regular"),
        (member("bz.pdf", compress_type=zipfile.ZIP_BZIP2), "method 12 (bzip2)"),
        (member("xz.pdf", compress_type=zipfile.ZIP_LZMA), "method 14 (lzma)"),
    ],
    ids=lambda value: value.filename if isinstance(value, zipfile.ZipInfo) else "",
)
def test_what_cannot_be_taken_has_a_row_and_its_neighbours_are_read(
    tmp_path: Path, info: zipfile.ZipInfo, problem: str
) -> None:
    store = store_of(tmp_path, zipped((info, b"evil"), ("Attach/ok.pdf", b"ok")))
    found = rows(store)
    assert read(store, found["Attach/ok.pdf"]) == b"ok"
    row = found[info.filename]
    assert problem in row.problem
    with pytest.raises(SourceUnreadableError, match=re.escape(problem)):
        read(store, ListedFile(row.path, row.size_bytes, row.modified_at, row.etag))
    with pytest.raises(StorageError, match=re.escape(problem)):
        store.read_bytes(row.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Attach.zip"]


def test_encrypted_and_unknown_methods_have_a_row(tmp_path: Path) -> None:
    data = zipped(("a.pdf", b"a"), ("b.pdf", b"b"))
    store = store_of(tmp_path, patched(patched(data, "a.pdf", flags=1), "b.pdf", method=9))
    found = rows(store)
    assert "encrypted" in found["a.pdf"].problem
    assert "method 9 (deflate64)" in found["b.pdf"].problem


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_that_stands_twice_is_one_row_and_is_read_only_if_its_contents_agree(
    tmp_path: Path,
) -> None:
    data = zipped(("same", b"x"), ("same", b"x"), ("other", b"x"), ("other", b"y"))
    store = store_of(tmp_path, data)
    found = rows(store)
    assert sorted(found) == ["other", "same"]
    assert read(store, found["same"]) == b"x"
    assert "more than once, with different contents" in found["other"].problem


def test_backslashes_that_windows_wrote_part_folders(tmp_path: Path) -> None:
    names = {
        member("A\\B\\c.pdf", create_system=0): "A/B/c.pdf",
        member("A\\b.pdf", create_system=3): "A\\b.pdf",
        member("./Attach/d.pdf"): "Attach/d.pdf",
    }
    data = zipped(*((info, b"x") for info in names))
    assert list(rows(store_of(tmp_path, data))) == list(names.values())


@pytest.mark.parametrize(("raw", "shown"), [(b"\x82.pdf", "é.pdf"), (b"\xc3\xa9.pdf", "é.pdf")])
def test_a_name_without_the_flag_of_utf_8(tmp_path: Path, raw: bytes, shown: str) -> None:
    plain = b"z" * (len(raw) - 4) + b".pdf"
    store = store_of(tmp_path, zipped((plain.decode(), b"x")).replace(plain, raw))
    found = rows(store)
    assert list(found) == [shown]
    assert read(store, found[shown]) == b"x"


def test_an_archive_of_more_members_than_zip_counted_at_first(tmp_path: Path) -> None:
    data = zipped(*((f"{n}", b"") for n in range(65_600)), ("last", b"x"), method=0)
    store = store_of(tmp_path, data)
    assert len(rows(store)) == 65_601
    assert store.read_bytes("last") == b"x"


def test_an_archive_in_an_archive_is_a_file_and_is_not_opened(tmp_path: Path) -> None:
    inner = zipped(("x.pdf", b"x"))
    store = store_of(tmp_path, zipped(("inner.zip", inner)))
    assert list(rows(store)) == ["inner.zip"]
    assert store.read_bytes("inner.zip") == inner
    with pytest.raises(StorageError, match="archive in an archive"):
        Store(f"zip://::zip://inner.zip::{tmp_path}/Attach.zip")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[:-40], "no whole zip archive"),
        (lambda data: data[: len(data) // 2], "no whole zip archive"),
        (lambda _: b"", "no whole zip archive"),
        (lambda _: b"%PDF-1.4 not a zip at all", "no whole zip archive"),
        (None, "no such file; what is named .zip must be one"),
    ],
)
def test_what_is_no_whole_archive_is_one_sentence(
    tmp_path: Path, damage: Callable[[bytes], bytes] | None, sentence: str
) -> None:
    path = tmp_path / "Attach.zip"
    if damage is None:
        path.mkdir()
    else:
        path.write_bytes(damage(zipped(("a.pdf", os.urandom(900)), ("b.pdf", b"b"))))
    with pytest.raises(StorageError, match=sentence) as told:
        list(Store(str(path)).list_files())
    assert "\n" not in str(told.value)


def test_a_damaged_member_is_unreadable_and_its_neighbours_are_read(tmp_path: Path) -> None:
    body = os.urandom(SMALL_BYTES + 9)
    whole = zipped(("big", body), ("small", b"s" * 900), ("ok", b"ok"), method=0)
    torn = whole.replace(b"ssss", b"sxss", 1)
    torn = torn[:5_000] + bytes([torn[5_000] ^ 1]) + torn[5_001:]
    store = store_of(tmp_path, torn)
    found = rows(store)
    for path in ("small", "big"):
        with pytest.raises(SourceUnreadableError, match="damaged in the archive"):
            read(store, found[path])
        with pytest.raises(StorageError, match="damaged in the archive"):
            store.read_bytes(path)
    assert read(store, found["ok"]) == b"ok"


def test_an_archive_without_its_beginning_gives_what_is_left(tmp_path: Path) -> None:
    store = store_of(tmp_path, zipped(("a.pdf", os.urandom(900)), ("b.pdf", b"b"))[500:])
    found = rows(store)
    assert "before the archive's beginning" in found["a.pdf"].problem
    assert read(store, found["b.pdf"]) == b"b"


async def taken(store: Store, file: ListedFile) -> int:
    total = 0
    async for piece in store.read_pieces(file):
        total += len(piece)
    return total


def test_a_zip_bomb_gives_no_more_than_its_entry_declares(tmp_path: Path) -> None:
    """The member is 64 MiB of zeros and says that it has 1,000 bytes."""
    data = patched(zipped(("bomb.pdf", bytes(64 << 20)), ("ok", b"ok")), "bomb.pdf", size=1_000)
    store = store_of(tmp_path, data)
    found = rows(store)
    assert found["bomb.pdf"].size_bytes == 1_000
    with pytest.raises(SourceUnreadableError, match="CRC"):
        asyncio.run(taken(store, found["bomb.pdf"]))
    assert read(store, found["ok"]) == b"ok"


def test_a_member_shorter_than_its_entry_declares_never_looks_whole(tmp_path: Path) -> None:
    body = b"x" * 1_000
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = patched(zipped(("a", body), ("b", b"b"), method=method), "a", size=2_000)
        store = store_of(tmp_path, data)
        with pytest.raises((SourceUnreadableError, SourceChangedError)):
            read(store, rows(store)["a"])


def test_what_would_grow_a_hundredfold_beyond_what_qbo_takes_is_not_unpacked(
    tmp_path: Path,
) -> None:
    store = store_of(tmp_path, zipped(("bomb.pdf", bytes(150 << 20))))
    assert rows(store)["bomb.pdf"].problem == ""  # its size alone refuses it
    with pytest.raises(StorageError, match=r"would grow 100-fold or more, to 157,286,400 bytes"):
        store.open_binary("bomb.pdf")


MEASURED = """
import asyncio, sys
from qbo_attach.storage.files import Store
import qbo_attach.storage.archive
from tests.peak import Peak
store = Store(sys.argv[1])
files = list(store.list_files())
async def read(file):
    return sum([len(piece) async for piece in store.read_pieces(file)])
asyncio.run(read(files[0]))
peak = Peak()
assert asyncio.run(read(files[1])) == files[1].size_bytes
print(peak.grown_bytes())
"""


def test_a_member_near_the_largest_size_is_read_in_little_memory(tmp_path: Path) -> None:
    noise = os.urandom(1 << 20)
    store_of(tmp_path, zipped(("a", b"a"), ("b.pdf", (noise + bytes(1 << 20)) * 45)))
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "Attach.zip")]
    grown = int(subprocess.check_output(command, cwd=Path(__file__).parents[2]))
    assert grown < 16 << 20


class TestReplaced:
    def test_another_content_under_a_path_is_not_read_as_the_listed_one(
        self, tmp_path: Path
    ) -> None:
        store = store_of(tmp_path, zipped(("a", b"old"), ("b", b"b")))
        file = listed(store, "a")
        store = store_of(tmp_path, zipped(("a", b"new"), ("b", b"b")))
        with pytest.raises(SourceChangedError, match="another etag"):
            read(store, file)
        assert listed(store, "a").etag != file.etag
        store = store_of(tmp_path, zipped(("b", b"b")))
        with pytest.raises(SourceMissingError):
            read(store, file)

    def test_an_archive_that_is_replaced_after_it_was_looked_at(self, tmp_path: Path) -> None:
        store = store_of(tmp_path, zipped(("a", b"old" * 50), ("b", b"b")))
        file = listed(store, "b")
        store_of(tmp_path, zipped(("a", b"other" * 999), ("b", b"c")))
        with pytest.raises(SourceChangedError, match="archive was replaced"):
            read(store, file)
        with pytest.raises(SourceChangedError, match="another etag"):
            read(store, file)

    def test_a_member_packed_anew_is_still_what_was_listed(self, tmp_path: Path) -> None:
        file = listed(store_of(tmp_path, zipped(("a", b"same"))), "a")
        again = store_of(tmp_path, zipped(("first", b"f"), (member("a"), b"same"), method=0))
        assert read(again, file) == b"same"

    def test_an_archive_that_is_gone_stops_the_run(self, tmp_path: Path) -> None:
        store = store_of(tmp_path, zipped(("a", b"a")))
        file = listed(store, "a")
        (tmp_path / "Attach.zip").unlink()
        with pytest.raises((StorageError, SourceChangedError)):
            read(store, file)
        with pytest.raises(StorageError, match="no such file"):
            store.info("a")


def test_many_threads_read_at_once_and_the_directory_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = {f"{n}": os.urandom(50_000) for n in range(64)}
    store_of(tmp_path, zipped(*bodies.items()))
    parsed = []
    parse = zipfile.ZipFile.infolist

    def counted(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        parsed.append(archive)
        return parse(archive)

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "infolist", counted)
        stores = [Store(f"{tmp_path}/Attach.zip") for _ in range(4)]

        async def all_of(store: Store) -> list[list[bytes]]:
            found = [ListedFile(path, len(body)) for path, body in bodies.items()]
            return await asyncio.gather(*(pieces(store, file) for file in found))

        for store in stores:
            assert [b"".join(p) for p in asyncio.run(all_of(store))] == list(bodies.values())
    assert len(parsed) == 1


def test_an_archive_is_only_read(tmp_path: Path) -> None:
    store = store_of(tmp_path, zipped(("a", b"a")))
    for change in (
        lambda: put(store, "b", b"b"),
        lambda: store.create_once("b", b"b"),
        lambda: store.remove("a"),
        lambda: store.probe_create_once(""),
    ):
        with pytest.raises(StorageError, match="lies in a zip archive, which is only read"):
            change()


def test_an_archive_behind_a_link_is_followed_as_a_folder_would_be(tmp_path: Path) -> None:
    store_of(tmp_path, zipped(("a", b"a")))
    (tmp_path / "link.zip").symlink_to(tmp_path / "Attach.zip")
    assert Store(f"{tmp_path}/link.zip").read_bytes("a") == b"a"

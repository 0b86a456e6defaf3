"""Tables: what is written is read back, and a change is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import StorageError, TableError
from qbo_attach.core.tables import MAPPING, MappingRow
from qbo_attach.storage.artifacts import existing, is_intact, read_table, read_table_at, write_table
from qbo_attach.storage.files import Store
from tests.conftest import S3Server
from tests.storage.test_store import put

ROWS = [
    MappingRow(f"{n:05}", "Bill", "Bill", f'quoted "{n}",\nand on' if n % 7 == 0 else "=1+1")
    for n in range(5000)
]


def test_a_table_is_read_back_with_its_digest_and_rows(store: Store) -> None:
    artifact = write_table(store, MAPPING, MappingRow._fields, ROWS)
    assert artifact.rows == len(ROWS)
    assert artifact.sha256 == hashlib.sha256(store.read_bytes(MAPPING)).hexdigest()
    assert artifact.url == store.child_url(MAPPING)
    assert list(read_table(store, MAPPING, MappingRow)) == ROWS
    assert existing(store, MAPPING) == artifact
    assert existing(store, "other.csv") is None


def test_the_same_rows_give_the_same_bytes_on_disk_and_on_s3(
    s3_moto: S3Server, tmp_path: Path
) -> None:
    places = [Store(str(tmp_path)), Store(s3_moto.new_bucket(), s3_moto.options)]
    one, other = (write_table(place, MAPPING, MappingRow._fields, ROWS) for place in places)
    assert one.sha256 == other.sha256
    assert is_intact(one)
    assert is_intact(other, s3_moto.options)
    assert list(read_table_at(other.url, MappingRow, s3_moto.options)) == ROWS


def test_a_changed_or_missing_table_is_not_intact(tmp_path: Path) -> None:
    place = Store(str(tmp_path))
    artifact = write_table(place, MAPPING, MappingRow._fields, ROWS)
    put(place, MAPPING, place.read_bytes(MAPPING) + b"1,Bill,Bill,2\n")
    assert not is_intact(artifact)
    place.remove(MAPPING)
    assert not is_intact(artifact)


def test_a_table_whose_rows_break_off_leaves_the_old_one(store: Store) -> None:
    artifact = write_table(store, MAPPING, MappingRow._fields, ROWS)

    def broken() -> Iterator[MappingRow]:
        yield from ROWS
        raise TableError("source.csv", "is broken", row=7)

    with pytest.raises(TableError, match=r"source.csv, row 7"):
        write_table(store, MAPPING, MappingRow._fields, broken())
    assert existing(store, MAPPING) == artifact
    assert store.list_names("") == [MAPPING]


def test_a_missing_table_is_told_by_its_whole_url(store: Store) -> None:
    with pytest.raises(StorageError) as caught:
        list(read_table(store, "none.csv", MappingRow))
    assert str(caught.value).startswith(store.url + "/none.csv: there is no such table")


def test_a_relative_path_is_read_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(Store(str(tmp_path / "d")), MAPPING, MappingRow._fields, ROWS[:3])
    monkeypatch.chdir(tmp_path)
    assert list(read_table_at(f"d/{MAPPING}", MappingRow)) == ROWS[:3]
    with pytest.raises(StorageError, match=r"d/none.csv: there is no such table"):
        list(read_table_at("d/none.csv", MappingRow))


def test_a_broken_table_is_told_by_row(tmp_path: Path) -> None:
    place = Store(str(tmp_path))
    put(place, MAPPING, b'a,b\n"open,1\n')
    with pytest.raises(TableError, match=r"row 2"):
        existing(place, MAPPING)
    put(place, MAPPING, b"")
    with pytest.raises(TableError, match=r"empty"):
        existing(place, MAPPING)

"""An awkward case is written whole, or left out whole with a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from qbo_attach.core.errors import StorageError
from qbo_attach.sample.company import BILL, Company
from qbo_attach.sample.formats import material
from qbo_attach.sample.planned import Case, Desk
from qbo_attach.sample.targets import DiskTarget, target, write_case

STUFF = material(1)


class CaseBlindDisk(DiskTarget):
    """A disk on which names differ by more than case, as on Windows and most Macs."""

    def _made(self, path: str) -> Path:
        folder, _, name = path.rpartition("/")
        return super()._made(f"{folder}/{name.lower()}")


class RefusingDisk(DiskTarget):
    """A disk that takes no name with a question mark."""

    def put(self, path: str, data: bytes, modified_s: int) -> None:
        if "?" in path:
            raise OSError(22, "Invalid argument", path)
        super().put(path, data, modified_s)


def _case(*names: str, odd: bool = True) -> Case:
    desk = Desk(Company(1, 2), 1, (1, 2))
    entity = desk.company.entity(BILL)
    folder = desk.folder(entity)
    return Case("case", tuple(desk.file(folder, name, entity, "case") for name in names), odd)


def test_names_that_a_disk_does_not_keep_apart_leave_nothing_behind(tmp_path: Path) -> None:
    rows, reason = write_case(CaseBlindDisk(tmp_path), _case("A.pdf", "a.pdf"), STUFF)
    assert rows == []
    assert reason == "the place does not keep these names, or not apart"
    assert [p for p in tmp_path.rglob("*") if p.name == "A.pdf"] == []


def test_a_name_that_a_disk_refuses_takes_its_whole_case_with_it(tmp_path: Path) -> None:
    rows, reason = write_case(RefusingDisk(tmp_path), _case("ok.pdf", "what?.pdf"), STUFF)
    assert (rows, reason) == ([], "Invalid argument")
    assert list(tmp_path.rglob("*.pdf")) == []


def test_a_case_that_any_place_holds_fails_loudly(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        write_case(RefusingDisk(tmp_path), _case("what?.pdf", odd=False), STUFF)


def test_a_sparse_file_has_its_size_and_digest(tmp_path: Path) -> None:
    digest = DiskTarget(tmp_path).put_sparse("a/b.pdf", 1 << 21, 1_400_000_000)
    file = tmp_path / "a" / "b.pdf"
    assert file.stat().st_size == 1 << 21
    assert file.stat().st_mtime == 1_400_000_000
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_store_refuses_a_name_that_is_not_utf8_in_one_sentence() -> None:
    with pytest.raises(StorageError, match="keys are UTF-8"):
        target("memory://targets-test").put("a/\udcfc.pdf", b"x", 0)

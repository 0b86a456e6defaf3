"""Where the sample's files are written: straight to a local disk, or through a store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

from qbo_attach.core.errors import StorageError
from qbo_attach.sample.expected import ExpectedRow
from qbo_attach.sample.formats import Material, make
from qbo_attach.sample.planned import Case, PlannedFile
from qbo_attach.storage import urls
from qbo_attach.storage.files import Store

T = TypeVar("T")

SPARSE_BYTES = 1 << 24
"""A planned file above this size is a hole with a head, and only a local disk holds it."""

_THREADS = 16
_BATCH = 512
_SPARSE_HEAD = b"%PDF-1.4\n"


class Target(Protocol):
    """A place below which files are written. Paths are relative to it, with `/`."""

    threads: int
    """How many files are worth writing at once."""

    def put(self, path: str, data: bytes, modified_s: int) -> None:
        """Write a file, with its time where the place lets us set it."""

    def put_sparse(self, path: str, size_bytes: int, modified_s: int) -> str:
        """Write a file that is all hole but for a head; returns its sha256."""

    def holds(self, path: str) -> bool:
        """Whether a listing shows exactly this path."""

    def remove(self, path: str) -> None:
        """Remove the file if it is there."""


def target(url: str) -> Target:
    """Give the quickest way to write below an absolute URL."""
    return StoreTarget(url) if urls.scheme_of(url) else DiskTarget(Path(url))


class DiskTarget:
    """A local folder. Written without the care of `Store`: a sample can be made again."""

    threads = 1

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = ""

    def put(self, path: str, data: bytes, modified_s: int) -> None:
        """Write a file with its time."""
        file = self._made(path)
        file.write_bytes(data)
        os.utime(file, (modified_s, modified_s))

    def put_sparse(self, path: str, size_bytes: int, modified_s: int) -> str:
        """Write a hole with a head."""
        file = self._made(path)
        with file.open("wb") as stream:
            stream.write(_SPARSE_HEAD)
            stream.truncate(size_bytes)
        os.utime(file, (modified_s, modified_s))
        with file.open("rb") as stream:
            digest = hashlib.sha256()
            while piece := stream.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def _made(self, path: str) -> Path:
        file = self._root / path
        folder = path.rpartition("/")[0]
        if folder != self._folder:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._folder = folder
        return file

    def holds(self, path: str) -> bool:
        """Whether each component of the path is listed exactly so."""
        place = self._root
        for name in path.split("/"):
            if name not in {entry.name for entry in place.iterdir()}:
                return False
            place /= name
        return True

    def remove(self, path: str) -> None:
        """Remove the file, and its folder if that leaves it empty."""
        file = self._root / path
        self._folder = ""
        with suppress(OSError, ValueError):
            file.unlink()
            file.parent.rmdir()


class StoreTarget:
    """Any other place, through `Store`."""

    threads = _THREADS

    def __init__(self, url: str) -> None:
        self._url = url
        self._store = Store(url)

    def put(self, path: str, data: bytes, modified_s: int) -> None:
        """Write a file; its time is the store's."""
        del modified_s
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = path.encode("utf-8", "backslashreplace").decode()
            raise StorageError(urls.join(self._url, shown), "keys are UTF-8 here") from None
        with self._store.writing(path) as stream:
            stream.write(data)

    def put_sparse(self, path: str, size_bytes: int, modified_s: int) -> str:
        """Refuse: it would be sent whole."""
        del size_bytes, modified_s
        raise StorageError(urls.join(self._url, path), "sparse files need a local disk")

    def holds(self, path: str) -> bool:
        """Whether a listing shows the name in its folder."""
        folder, _, name = path.rpartition("/")
        return name in self._store.list_names(folder)

    def remove(self, path: str) -> None:
        """Remove the file if it is there."""
        with suppress(OSError, ValueError, StorageError):
            self._store.remove(path)


def write_ordinary(
    place: Target, files: Iterable[PlannedFile], stuff: Material
) -> list[ExpectedRow]:
    """Write files, several at once where that pays; rows come in the files' order."""
    if place.threads == 1:
        return [write_file(place, file, stuff) for file in files]
    rows: list[ExpectedRow] = []
    left = iter(files)
    with ThreadPoolExecutor(place.threads) as pool:
        while batch := list(islice(left, _BATCH)):
            rows += pool.map(lambda file: write_file(place, file, stuff), batch)
    return rows


def write_case(place: Target, case: Case, stuff: Material) -> tuple[list[ExpectedRow], str]:
    """Write a case whole, or leave it out if it is odd and the place does not hold it.

    Returns:
        The rows of its files, and why it was left out ("" if it was not).

    Raises:
        StorageError, OSError: a case that any place holds could not be written.
    """
    if not case.odd:
        return [write_file(place, file, stuff) for file in case.files], ""
    try:
        rows = [write_file(place, file, stuff) for file in case.files]
        if all(place.holds(file.path) for file in case.files):
            return rows, ""
        reason = "the place does not keep these names, or not apart"
    except StorageError as error:
        reason = error.problem
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    for file in case.files:
        place.remove(file.path)
    return [], reason


def write_file(place: Target, file: PlannedFile, stuff: Material) -> ExpectedRow:
    """Write a file and say what is expected of it."""
    if file.size_bytes > SPARSE_BYTES:
        sha256 = place.put_sparse(file.path, file.size_bytes, file.modified_s)
    else:
        data = make(file.content, file.label, file.size_bytes, stuff)
        place.put(file.path, data, file.modified_s)
        sha256 = hashlib.sha256(data).hexdigest()
    entity = file.entity
    return ExpectedRow(
        file_path=file.path,
        status=file.status.value,
        outcome=file.outcome,
        qbo_entity_type=entity.kind.ref if entity else "",
        qbo_entity_id=entity.qbo_id if entity else "",
        sent_file_name=_by_digest(file.sent_file_name, sha256)
        if file.by_digest
        else file.sent_file_name,
        sha256=sha256,
        note=file.note,
    )


def _by_digest(file_name: str, sha256: str) -> str:
    """`scan.pdf` as `scan (3f2a9c1b).pdf` (docs/design.md, 5.1)."""
    stem, _, extension = file_name.rpartition(".")
    return f"{stem} ({sha256[:8]}).{extension}"

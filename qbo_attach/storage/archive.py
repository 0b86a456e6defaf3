"""A zip archive as a source: listed and read where it lies, without unpacking it first.

Python's zipfile reads it; no own parser. What an archive may do to whoever opens it is bounded:

- A member gives the bytes that its entry declares and no more, a piece at a time, and its CRC-32
  is checked before the last piece is handed out. Only stored and deflated members are opened:
  zipfile inflates a piece of bzip2 or LZMA whole, however large that gets.
- A member's path is looked up among those listed and never becomes a path of this machine. One
  that leads out of the tree, a link, an encrypted one, and a path that stands twice with different
  contents are rows with a problem.
- An archive within the archive is a file like any other, and is not opened.

A zip's times have no zone: they are shown as if they were UTC, which is the same on every machine.
Change is told by the etag, CRC-32 and size.
"""

from __future__ import annotations

import asyncio
import io
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, NoReturn, TypeVar

from qbo_attach.core.errors import StorageError
from qbo_attach.core.file_types import MAX_FILE_BYTES
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.archive_entries import Directory
from qbo_attach.storage.archive_stream import BROKEN, Member, damaged, open_container
from qbo_attach.storage.place import (
    SMALL_BYTES,
    Place,
    SourceChangedError,
    SourceMissingError,
    SourceUnreadableError,
    check_unchanged,
    in_own_thread,
    read_each,
)

T = TypeVar("T")

_PIECE_BYTES = 1 << 20
_EMPTY = b"PK\5\6" + bytes(18)
_HEADER_BYTES = 30 + 256
"""A member's own header, and room for what follows its name there."""
_BOMB_RATIO = 100
"""Documents and pictures shrink to a twentieth at most; deflate's bound is about 1,032."""


_LATEST: dict[str, Directory] = {}
"""The directory that this process read last, by URL: the stages of a run share it."""
_READING = threading.Lock()


class Archive:
    """`Place` on a zip archive, which is only read.

    Args:
        url: as people name it, for messages.
        folder: the folder within the archive that is the root; "" for all of it.
        container: where the archive lies.
        name: the archive's path there.
        deadline_s: seconds that a piece of a member may take.
    """

    def __init__(
        self, url: str, folder: str, container: Place, name: str, *, deadline_s: float
    ) -> None:
        self._url = url
        self._prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        self._container = container
        self._name = name
        self._deadline_s = deadline_s
        self._directory: Directory | None = None

    def list_files(self) -> Iterator[ListedFile]:
        """See `Store.list_files`."""
        directory = self._looked_at()
        empty = True
        for path in directory.entries:
            if path.startswith(self._prefix):
                empty = False
                yield directory.row(path, path[len(self._prefix) :])
        if empty and self._prefix:
            if self._prefix[:-1] in directory.entries:
                raise StorageError(self._url, "is a file, and must be a folder")
            raise StorageError(self._url, "there is no such folder in the archive; check the path")

    def list_names(self, folder: str) -> list[str]:
        """See `Store.list_names`."""
        prefix = self._prefix + (f"{folder}/" if folder else "")
        below = (p[len(prefix) :] for p in self._looked_at().entries if p.startswith(prefix))
        return [name for name in below if name and "/" not in name]

    def info(self, path: str) -> ListedFile | None:
        """See `Store.info`."""
        directory = self._looked_at()
        member = self._prefix + path
        return directory.row(member, path) if member in directory.entries else None

    def read_bytes(self, path: str) -> bytes:
        """See `Store.read_bytes`."""
        with self.open_binary(path) as stream:
            return stream.read()

    def open_binary(self, path: str) -> io.BufferedIOBase:
        """See `Store.open_binary`. What inflates as no document does is refused."""
        directory = self._looked_at()
        info = directory.entries.get(self._prefix + path)
        if info is None:
            raise FileNotFoundError(f"{self._url}/{path}")
        problem = directory.row(self._prefix + path, path).problem
        if not problem and MAX_FILE_BYTES < info.file_size > _BOMB_RATIO * info.compress_size:
            problem = (
                f"would grow {_BOMB_RATIO}-fold or more, to {info.file_size:,} bytes; not done"
            )
        if problem:
            raise StorageError(f"{self._url}/{path}", problem)
        return io.BufferedReader(self._member(path, info, directory), _PIECE_BYTES)

    async def read_pieces(self, file: ListedFile) -> AsyncIterator[bytes]:
        """See `Store.read_pieces`."""
        if file.size_bytes <= SMALL_BYTES:
            data = await self._in_thread(lambda: self._read_small(file))
            if data:
                yield data
            return
        stream = await self._in_thread(lambda: self._open_listed(file))
        try:
            left = file.size_bytes
            while left:
                piece = await self._in_thread(lambda n=left: self._read(file, stream, n))  # type: ignore[misc]  # n is an int
                left -= len(piece)
                yield piece
        finally:
            stream.close()

    async def read_all(self, files: Sequence[ListedFile]) -> list[bytes | Exception]:
        """See `Store.read_all`."""
        return await read_each(self.read_pieces, files)

    def _read_small(self, file: ListedFile) -> bytes:
        with self._open_listed(file) as stream:
            pieces, left = [], file.size_bytes
            while left:
                pieces.append(self._read(file, stream, left))
                left -= len(pieces[-1])
        return b"".join(pieces)

    def _open_listed(self, file: ListedFile) -> Member:
        directory = self._directory or self._looked_at()
        member = self._prefix + file.path
        info = directory.entries.get(member)
        if info is None:
            raise SourceMissingError(file.path, "is not in the archive any more")
        now = directory.row(member, file.path)
        if now.problem:
            raise SourceUnreadableError(file.path, now.problem)
        check_unchanged(file, now)
        try:
            return self._member(file.path, info, directory)
        except (StorageError, FileNotFoundError) as error:
            self._blame(file, directory, error)

    def _read(self, file: ListedFile, stream: Member, left: int) -> bytes:
        try:
            piece = stream.read(min(left, _PIECE_BYTES))
        except (StorageError, FileNotFoundError) as error:
            self._blame(file, stream.directory, error)
        if not piece:
            raise SourceChangedError(file.path, "is shorter in the archive than its entry says")
        return piece

    def _blame(self, file: ListedFile, directory: Directory, error: Exception) -> NoReturn:
        """Whether the archive is another now, or this member is damaged, or the place fails."""
        if self._container.info(self._name) != directory.facts:
            self._directory = None
            raise SourceChangedError(
                file.path, "its archive was replaced after it was listed; run inventory again"
            ) from error
        if isinstance(error.__cause__, BROKEN):
            raise SourceUnreadableError(file.path, damaged(error.__cause__)) from error
        raise error

    def _member(self, path: str, info: zipfile.ZipInfo, directory: Directory) -> Member:
        """A stream of a member: a container's stream of its own, so that none waits for another.

        A ZipFile of an empty archive opens it by the entry that was read before: reading the
        directory anew would take longer than reading the member.
        """
        opener = zipfile.ZipFile(io.BytesIO(_EMPTY))
        length = len(info.orig_filename) * 4 + _HEADER_BYTES + info.compress_size
        source = open_container(
            self._container, directory.facts, info.header_offset, info.header_offset + length
        )
        opener.fp = source
        try:
            return Member(f"{self._url}/{path}", opener.open(info), source, directory)
        except BROKEN as error:
            source.close()
            raise StorageError(f"{self._url}/{path}", damaged(error)) from error

    def _looked_at(self) -> Directory:
        """The directory of the archive as it is now; read once, unless the archive is replaced."""
        facts = self._container.info(self._name)
        if facts is None:
            raise StorageError(self._url, "there is no such file; what is named .zip must be one")
        if facts.problem:
            raise StorageError(self._url, facts.problem)
        with _READING:
            latest = _LATEST.get(self._url)
            if latest is None or latest.facts != facts:
                _LATEST.clear()
                latest = _LATEST[self._url] = self._parsed(facts)
        self._directory = latest
        return latest

    def _parsed(self, facts: ListedFile) -> Directory:
        try:
            with (
                open_container(self._container, facts, 0, facts.size_bytes) as source,
                zipfile.ZipFile(source) as archive,
            ):
                return Directory(archive.infolist(), facts)
        except BROKEN as error:
            raise StorageError(
                self._url, f"is no whole zip archive ({error}); copy it again"
            ) from error
        except OSError as error:
            raise StorageError(self._url, f"cannot be read: {error}") from error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(in_own_thread(work)), self._deadline_s
            )
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise StorageError(
                self._url, f"gave no answer within {self._deadline_s:g} s"
            ) from error

    def writing(self, path: str, *, private: bool) -> AbstractContextManager[BinaryIO]:
        """See `Store.writing`: refused."""
        del private
        raise self._only_read(path)

    def create_once(self, path: str, data: bytes) -> bool:
        """See `Store.create_once`: refused."""
        del data
        raise self._only_read(path)

    def remove(self, path: str) -> None:
        """See `Store.remove`: refused."""
        raise self._only_read(path)

    def _only_read(self, path: str) -> StorageError:
        return StorageError(f"{self._url}/{path}", "lies in a zip archive, which is only read")

"""A folder on a local (or mounted) disk."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.place import (
    SMALL_BYTES,
    SourceChangedError,
    SourceMissingError,
    SourceUnreadableError,
    check_unchanged,
    in_own_thread,
    is_own_temporary,
    own_temporary_name,
    utc_text,
)

T = TypeVar("T")

_PIECE_BYTES = 1 << 20
"""Two at a time for each file in flight are in memory, and threads keep room for some."""
_READABLE_BY_ALL = 0o444
_PLAIN = stat.S_IFREG | _READABLE_BY_ALL
_PLAIN_MASK = 0o170000 | _READABLE_BY_ALL
"""Modes that need no second look, those of nearly all files: regular, and readable by all."""
_HAS_JUNCTIONS = hasattr(os.DirEntry, "is_junction") and os.name == "nt"
_EFFECTIVE = os.access in os.supports_effective_ids
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_READ_LISTED = _READ | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""For a path that was a regular file when listed: not through a link, nor waiting on a fifo."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_LEFTOVER_AFTER_S = 86_400.0
"""Nobody writes a file for a day without a write."""
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK})
_KINDS = (
    (stat.S_ISFIFO, "a fifo"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)


class Disk:
    """`Place` on a local disk. Its root may be a symbolic link; nothing below it is followed."""

    def __init__(self, root: str, *, deadline_s: float) -> None:
        self._root = root
        self._base = root.rstrip("/") + "/"
        self._deadline_s = deadline_s

    def list_files(self) -> Iterator[ListedFile]:
        """See `Store.list_files`."""
        folders = [""]  # each ends in "/", but for the root
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(self._base + folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False) and not _is_junction(entry):
                            folders.append(f"{folder}{entry.name}/")
                        else:
                            yield _listed(entry, folder + entry.name)
            except OSError as error:
                if not folder:
                    raise self._cannot_list(error) from error
                problem = f"folder cannot be listed: {error.strerror}"
                yield ListedFile(folder[:-1], 0, problem=problem)

    def _cannot_list(self, error: OSError) -> StorageError:
        if isinstance(error, FileNotFoundError):
            return StorageError(self._root, "there is no such folder; check the path")
        if isinstance(error, NotADirectoryError):
            return StorageError(self._root, "is a file, and must be a folder")
        return self._failed("", error)

    def list_names(self, folder: str) -> list[str]:
        """See `Store.list_names`."""
        try:
            with os.scandir(self._path(folder)) as entries:
                return [e.name for e in entries if e.is_file() and not is_own_temporary(e.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._failed(folder, error) from error

    def info(self, path: str) -> ListedFile | None:
        """See `Store.info`."""
        full = self._path(path)
        try:
            status = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failed(path, error) from error
        return None if stat.S_ISDIR(status.st_mode) else _row(path, full, status)

    def read_bytes(self, path: str) -> bytes:
        """See `Store.read_bytes`."""
        with self.open_binary(path) as stream:
            return stream.read()

    def open_binary(self, path: str) -> io.BufferedIOBase:
        """See `Store.open_binary`."""
        try:
            return open(self._path(path), "rb")  # noqa: PTH123  # pathlib would tidy the name
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failed(path, error) from error

    async def read_pieces(self, file: ListedFile) -> AsyncIterator[bytes]:
        """See `Store.read_pieces`."""
        if file.size_bytes <= SMALL_BYTES:
            data = await self._in_thread(lambda: self._read_small(file))
            if data:
                yield data
            return
        stream = await self._in_thread(lambda: io.FileIO(self._open_listed(file), "rb"))
        try:
            left = file.size_bytes
            while left:
                piece = await self._in_thread(lambda n=left: stream.read(min(n, _PIECE_BYTES)))  # type: ignore[misc]  # n is an int
                left -= len(piece)
                if not left or not piece:
                    await self._in_thread(lambda: _check_open(file, stream.fileno()))
                if not piece:
                    raise SourceChangedError(file.path, "became shorter while it was read")
                yield piece
        finally:
            stream.close()

    async def read_all(self, files: Sequence[ListedFile]) -> list[bytes | Exception]:
        """See `Store.read_all`; each file has the deadline for itself."""
        found: list[bytes | Exception] = []

        def work() -> None:
            try:
                for file in files:
                    found.append(self._read_small(file))  # noqa: PERF401  # one by one, for the wait
            except Exception as error:  # noqa: BLE001  # told to whoever asked
                found.append(error)

        reading = asyncio.wrap_future(in_own_thread(work))
        while not reading.done():
            had = len(found)
            await asyncio.wait((reading,), timeout=self._deadline_s)
            if not reading.done() and len(found) == had:
                return [*found[:had], self._silent()]
        return found

    def _read_small(self, file: ListedFile) -> bytes:
        descriptor = self._open_listed(file)
        try:
            data = os.read(descriptor, file.size_bytes + 1)
            _check_open(file, descriptor)
        finally:
            os.close(descriptor)
        if len(data) != file.size_bytes:
            raise SourceChangedError(file.path, "changed its size while it was read")
        return data

    def _open_listed(self, file: ListedFile) -> int:
        """A descriptor of the file, which is the listed one."""
        try:
            descriptor = os.open(self._path(file.path), _READ_LISTED)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceMissingError(file.path, "is not there any more") from error
        except PermissionError as error:
            raise SourceUnreadableError(file.path, "may not be read by this account") from error
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                raise SourceChangedError(file.path, "is no regular file any more") from error
            raise self._failed(file.path, error) from error
        try:
            _check_open(file, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work beside the loop; a disk (a mounted share) that hangs ends the wait."""
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(in_own_thread(work)), self._deadline_s
            )
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise self._silent() from error

    def _silent(self) -> StorageError:
        return StorageError(self._root, f"the disk gave no answer within {self._deadline_s:g} s")

    @contextmanager
    def writing(self, path: str, *, private: bool) -> Iterator[BinaryIO]:
        """See `Store.writing`: sibling temporary file, fsync, replace, fsync of the folder."""
        target = self._path(path)
        temporary, stream = self._temporary(path, private=private)
        try:
            with stream:
                yield stream
                self._made_durable(path, stream)
            try:
                os.replace(temporary, target)  # noqa: PTH105  # pathlib would tidy the name
                _sync_folder(os.path.dirname(target))  # noqa: PTH120
            except OSError as error:
                raise self._failed(path, error) from error
            _remove_leftovers(os.path.dirname(target))  # noqa: PTH120
        finally:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108

    def create_once(self, path: str, data: bytes) -> bool:
        """See `Store.create_once`: temporary file, fsync, link (fails if the name exists).

        `O_EXCL` would create the name first and its bytes later, so that a crash leaves a torn
        file; a rename would replace. Where a disk has no hard links we therefore refuse.
        """
        target = self._path(path)
        temporary, stream = self._temporary(path, private=False)
        try:
            with stream:
                stream.write(data)
                self._made_durable(path, stream)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return self.read_bytes(path) == data
            _sync_folder(os.path.dirname(target))  # noqa: PTH120
        except OSError as error:
            raise self._failed(path, error, linking=True) from error
        finally:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
        return True

    def remove(self, path: str) -> None:
        """See `Store.remove`."""
        try:
            os.unlink(self._path(path))  # noqa: PTH108
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed(path, error) from error

    def _temporary(self, path: str, *, private: bool) -> tuple[str, BinaryIO]:
        """A new file beside `path`, in a folder that is made if need be."""
        folder = os.path.dirname(self._path(path))  # noqa: PTH120
        name = f"{folder}/{own_temporary_name()}"
        try:
            _make_folder(Path(folder))
            descriptor = os.open(name, _CREATE, 0o600 if private else 0o666)
            return name, io.BufferedWriter(_Output(descriptor, lambda e: self._failed(path, e)))
        except OSError as error:
            raise self._failed(path, error) from error

    def _made_durable(self, path: str, stream: BinaryIO) -> None:
        try:
            stream.flush()
            os.fsync(stream.fileno())
        except OSError as error:
            raise self._failed(path, error) from error

    def _path(self, path: str) -> str:
        if "\0" in path or ".." in path.split("/"):
            raise StorageError(self._base + path, "is no path that a disk can hold")
        return self._base + path if path else self._root

    def _failed(self, path: str, error: OSError, *, linking: bool = False) -> StorageError:
        where = self._base + path if path else self._root
        reason = error.strerror or str(error)
        if linking and error.errno in _NO_LINKS:
            return StorageError(
                where,
                f"this disk cannot create a file exactly once, since it has no hard links "
                f"({reason}); put LOG_DIR on another disk or on S3",
            )
        if isinstance(error, PermissionError):
            return StorageError(where, f"{reason}; give this account access to it")
        return StorageError(where, f"cannot be used: {reason}")


class _Output(io.FileIO):
    """A file being written; a full disk is told as such, whoever's write or close meets it."""

    def __init__(self, descriptor: int, explained: Callable[[OSError], StorageError]) -> None:
        super().__init__(descriptor, "wb")
        self._explained = explained

    def write(self, data: Any, /) -> int:  # noqa: ANN401  # a buffer, which has no name before 3.12
        try:
            return super().write(data)
        except OSError as error:
            raise self._explained(error) from error


def _listed(entry: os.DirEntry[str], path: str) -> ListedFile:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return ListedFile(path, 0, problem=f"cannot be looked at: {error.strerror}")
    if _is_junction(entry):
        return ListedFile(path, 0, problem=_link_problem(entry.path))
    return _row(path, entry.path, status)


def _row(path: str, full: str, status: os.stat_result) -> ListedFile:
    if status.st_mode & _PLAIN_MASK == _PLAIN:
        return ListedFile(path, status.st_size, _modified_at(status))
    if stat.S_ISLNK(status.st_mode):
        return ListedFile(path, 0, problem=_link_problem(full))
    listed = _as_listed(path, status)
    if listed.problem or _may_read(status.st_mode, full):
        return listed
    problem = "may not be read by this account; give it read permission"
    return ListedFile(path, listed.size_bytes, listed.modified_at, problem=problem)


def _as_listed(path: str, status: os.stat_result) -> ListedFile:
    modified_at = _modified_at(status)
    if stat.S_ISREG(status.st_mode):
        return ListedFile(path, status.st_size, modified_at)
    kind = next((name for test, name in _KINDS if test(status.st_mode)), "of an unknown kind")
    return ListedFile(path, 0, modified_at, problem=f"not a regular file: it is {kind}")


def _modified_at(status: os.stat_result) -> str:
    seconds, nanos = divmod(status.st_mtime_ns, 1_000_000_000)
    return utc_text(seconds, nanos // 1000)


def _link_problem(path: str) -> str:
    try:
        target = os.readlink(path)  # noqa: PTH115
    except OSError as error:
        target = f"(unknown: {error.strerror})"
    return f"symbolic link, not followed: it points to {target}; put the file itself here"


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a Windows junction, which Python can tell from 3.12 on."""
    return _HAS_JUNCTIONS and bool(entry.is_junction())  # type: ignore[attr-defined]  # as it says


def _may_read(mode: int, path: str) -> bool:
    """Asks the system only where the mode bits leave a doubt: a call less for most files."""
    if mode & _READABLE_BY_ALL == _READABLE_BY_ALL:
        return True
    return os.access(path, os.R_OK, effective_ids=_EFFECTIVE)


def _check_open(file: ListedFile, descriptor: int) -> None:
    now = _as_listed(file.path, os.fstat(descriptor))
    if now.problem:
        raise SourceChangedError(file.path, "is no regular file any more")
    check_unchanged(file, now)


def _make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, each durable in its own parent."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(str(folder.parent))


def _remove_leftovers(folder: str) -> None:
    """Remove what processes that were killed have left of the files they were writing."""
    before = time.time() - _LEFTOVER_AFTER_S
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):  # another process may have removed it
                if is_own_temporary(entry.name) and entry.stat().st_mtime < before:
                    os.unlink(entry.path)  # noqa: PTH108


def _sync_folder(folder: str) -> None:
    """Make a new name in a folder durable; Windows does so by itself and cannot be asked."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

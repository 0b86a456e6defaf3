"""Any fsspec store that has no room of its own: memory, archives, chains, other clouds."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, BinaryIO, TypeVar, cast

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.memory import MemoryFileSystem

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.place import (
    PIECE_BYTES,
    SMALL_BYTES,
    SourceChangedError,
    SourceMissingError,
    SourceUnreadableError,
    check_unchanged,
    in_own_thread,
    is_own_temporary,
    moment_text,
    read_each,
    utc_text,
)
from qbo_attach.storage.urls import scheme_of

T = TypeVar("T")

_FRESH: dict[str, object] = {"skip_instance_cache": True, "use_listings_cache": False}
"""A cached listing hides what others write, and a cached instance keeps stale credentials."""
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified")
_CREATING = threading.Lock()
"""fsspec's memory store looks for a name before it creates it, without a lock of its own."""
_MISSING = (FileNotFoundError, NotADirectoryError)
_FAILURES = (OSError, NotImplementedError, TypeError, ValueError)
"""What a store raises for a failure, or for what it cannot do at all."""


class Remote:
    """`Place` on any fsspec file system, by methods that do not expand `*`, `?` or `[`.

    Each call runs in a thread of its own, so that a silent server ends it at the deadline.
    """

    def __init__(self, url: str, options: Mapping[str, object], *, deadline_s: float) -> None:
        self._url = url
        self._options = dict(options)
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._opened: tuple[fsspec.AbstractFileSystem, str] | None = None

    def list_files(self) -> Iterator[ListedFile]:
        """See `Store.list_files`."""
        fs, root = self._open_fs()
        if root:
            try:
                kind = self._call("", lambda: fs.info(root))["type"]
            except _MISSING as error:
                raise StorageError(self._url, "there is no such folder; check the path") from error
            except _FAILURES as error:
                raise self._failed("", error) from error
            if kind == "file":
                raise StorageError(self._url, "is a file, and must be a folder")
        if _finds_at_once(fs):
            try:
                found = self._call("", lambda: fs.find(root, detail=True))
            except _FAILURES as error:
                raise self._failed("", error) from error
            for name, entry in found.items():
                yield _as_listed(_below(root, name), entry)
        else:
            yield from self._walk(fs, root)

    def _walk(self, fs: fsspec.AbstractFileSystem, root: str) -> Iterator[ListedFile]:
        folders, seen = [root], {root}
        while folders:
            folder = folders.pop()
            try:
                entries = self._call("", lambda: fs.ls(folder, detail=True))  # noqa: B023  # called at once
            except _FAILURES as error:
                if folder == root:
                    raise self._failed("", error) from error
                path = _below(root, folder)
                yield ListedFile(path, 0, problem=f"folder cannot be listed: {error}")
                continue
            for entry in entries:
                name = entry["name"].rstrip("/")
                if entry["type"] != "directory":
                    yield _as_listed(_below(root, entry["name"]), entry)
                elif name not in seen:
                    seen.add(name)
                    folders.append(name)

    def list_names(self, folder: str) -> list[str]:
        """See `Store.list_names`."""
        fs, root = self._open_fs()
        path = f"{root}/{folder}".rstrip("/") if folder else root
        try:
            entries = self._call(folder, lambda: fs.ls(path, detail=True))
        except _MISSING:
            return []
        except _FAILURES as error:
            raise self._failed(folder, error) from error
        names = [_below(path, e["name"]) for e in entries if e["type"] == "file"]
        return [name for name in names if not is_own_temporary(name)]

    def info(self, path: str) -> ListedFile | None:
        """See `Store.info`."""
        fs, name = self._at(path)
        try:
            entry = self._call(path, lambda: fs.info(name))
        except _MISSING:
            return None
        except _FAILURES as error:
            raise self._failed(path, error) from error
        return None if entry["type"] == "directory" else _as_listed(path, entry)

    def read_bytes(self, path: str) -> bytes:
        """See `Store.read_bytes`."""
        fs, name = self._at(path)
        try:
            return cast(bytes, self._call(path, lambda: fs.cat_file(name)))
        except _MISSING as error:
            raise FileNotFoundError(f"{self._url}/{path}") from error
        except _FAILURES as error:
            raise self._failed(path, error) from error

    def open_binary(self, path: str) -> io.BufferedIOBase:
        """See `Store.open_binary`."""
        try:
            return self._open_file(path)
        except _MISSING as error:
            raise FileNotFoundError(f"{self._url}/{path}") from error
        except _FAILURES as error:
            raise self._failed(path, error) from error

    def _open_file(self, path: str) -> io.BufferedIOBase:
        fs, name = self._at(path)
        if isinstance(fs, MemoryFileSystem):  # it hands every reader one shared stream
            return io.BytesIO(fs.cat_file(name))
        opened = self._call(path, lambda: fs.open(name, "rb", block_size=PIECE_BYTES))
        return cast(io.BufferedIOBase, opened)

    async def read_pieces(self, file: ListedFile) -> AsyncIterator[bytes]:
        """See `Store.read_pieces`. Without etags the file is looked at before and after."""
        if file.size_bytes <= SMALL_BYTES:
            data = await asyncio.to_thread(self._read_small, file)
            if data:
                yield data
            return
        stream = await asyncio.to_thread(self._open_listed, file)
        try:
            left = file.size_bytes
            while left:
                piece = await asyncio.to_thread(self._next_piece, file, stream, left)
                left -= len(piece)
                if not left:
                    await asyncio.to_thread(self._check_listed, file)
                yield piece
        finally:
            stream.close()

    async def read_all(self, files: Sequence[ListedFile]) -> list[bytes | Exception]:
        """See `Store.read_all`."""
        return await read_each(self.read_pieces, files)

    def _read_small(self, file: ListedFile) -> bytes:
        self._check_listed(file)
        with self._source(file):
            data = self.read_bytes(file.path)
        if len(data) != file.size_bytes:
            raise SourceChangedError(file.path, "changed its size while it was read")
        self._check_listed(file)
        return data

    def _open_listed(self, file: ListedFile) -> io.BufferedIOBase:
        self._check_listed(file)
        with self._source(file):
            return self.open_binary(file.path)

    def _next_piece(self, file: ListedFile, stream: io.BufferedIOBase, left: int) -> bytes:
        size = min(left, PIECE_BYTES)
        try:
            piece = self._call(file.path, lambda: stream.read(size))
        except _FAILURES as error:
            raise self._failed(file.path, error) from error
        if not piece:
            raise SourceChangedError(file.path, "became shorter while it was read")
        return piece

    def _check_listed(self, file: ListedFile) -> None:
        now = self.info(file.path)
        if now is None:
            raise SourceMissingError(file.path, "is not there any more")
        check_unchanged(file, now)

    @contextmanager
    def _source(self, file: ListedFile) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise SourceMissingError(file.path, "is not there any more") from error
        except StorageError as error:
            if isinstance(error.__cause__, PermissionError):
                raise SourceUnreadableError(file.path, "may not be read by this account") from error
            raise

    @contextmanager
    def writing(self, path: str, *, private: bool) -> Iterator[BinaryIO]:
        """See `Store.writing`: spooled to a temporary file, then put at once."""
        del private  # who may read is the store's own business
        fs, name = self._at(path)
        with tempfile.SpooledTemporaryFile(max_size=SMALL_BYTES) as spool:
            yield cast(BinaryIO, spool)
            spool.seek(0)
            data = spool.read()
        try:
            self._call(path, lambda: self._put(fs, name, data))
        except _FAILURES as error:
            raise self._failed(path, error) from error

    def create_once(self, path: str, data: bytes) -> bool:
        """See `Store.create_once`; only as good as the store, which a probe finds out."""
        fs, name = self._at(path)
        try:
            with _CREATING:
                self._call(path, lambda: self._put(fs, name, data, mode="create"))
        except FileExistsError as error:
            return self._is_ours(path, data, error)
        except (NotImplementedError, TypeError, ValueError) as error:
            raise StorageError(
                self._url,
                f"this kind of store ({scheme_of(self._url)}) cannot create a file exactly once; "
                "put LOG_DIR on a local disk or on S3",
            ) from error
        except _FAILURES as error:
            raise self._failed(path, error) from error
        except StorageError as error:  # no answer in time: it may have been created
            return self._is_ours(path, data, error)
        return True

    def _is_ours(self, path: str, data: bytes, error: Exception) -> bool:
        try:
            return self.read_bytes(path) == data
        except FileNotFoundError:
            if isinstance(error, StorageError):
                raise error from None
            raise self._failed(path, error) from error

    @staticmethod
    def _put(fs: fsspec.AbstractFileSystem, name: str, data: bytes, **mode: str) -> None:
        if not fs.exists(fs._parent(name)):  # noqa: SLF001  # as fsspec's own callers do
            fs.makedirs(fs._parent(name), exist_ok=True)  # noqa: SLF001
        fs.pipe_file(name, data, **mode)

    def remove(self, path: str) -> None:
        """See `Store.remove`."""
        fs, name = self._at(path)
        try:
            self._call(path, lambda: fs.rm_file(name))
        except _MISSING:
            return
        except _FAILURES as error:
            raise self._failed(path, error) from error

    def _at(self, path: str) -> tuple[fsspec.AbstractFileSystem, str]:
        fs, root = self._open_fs()
        return fs, f"{root}/{path}" if root else path

    def _open_fs(self) -> tuple[fsspec.AbstractFileSystem, str]:
        with self._lock:
            if self._opened is None:
                self._opened = self._connect()
            return self._opened

    def _connect(self) -> tuple[fsspec.AbstractFileSystem, str]:
        options: dict[str, Any] = {**_FRESH, **self._options}
        if "s3://" in self._url:
            options["s3"] = {**_FRESH, **options.get("s3", {})}
        try:
            fs, root = self._call("", lambda: url_to_fs(self._url, **options))
        except _MISSING as error:
            raise StorageError(self._url, f"there is no such file: {error}") from error
        except ImportError as error:
            raise StorageError(self._url, f"needs a package that is missing: {error}") from error
        except _FAILURES as error:
            raise self._failed("", error) from error
        return fs, root.rstrip("/")

    def _call(self, path: str, work: Callable[[], T]) -> T:
        """Do blocking work, for the deadline at most; a thread that hangs is left behind."""
        try:
            if scheme_of(self._url) == "memory":
                return work()
            return in_own_thread(work).result(self._deadline_s)
        except concurrent.futures.TimeoutError as error:
            raise StorageError(
                f"{self._url}/{path}", f"gave no answer within {self._deadline_s:g} s"
            ) from error
        except (*_FAILURES, StorageError):
            raise
        except Exception as error:  # each cloud's library has its own
            raise self._failed(path, error) from error

    def _failed(self, path: str, error: Exception) -> StorageError:
        where = f"{self._url}/{path}" if path else self._url
        if isinstance(error, PermissionError):
            return StorageError(where, f"access is denied ({error}); check the credentials")
        return StorageError(where, f"cannot be used: {type(error).__name__}: {error}")


def _finds_at_once(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether `find` is this store's own flat listing, and not fsspec's walk of every folder."""
    kind = type(fs)
    if isinstance(fs, AsyncFileSystem):
        return kind._find is not AsyncFileSystem._find  # noqa: SLF001
    return kind.find is not fsspec.AbstractFileSystem.find


def _below(root: str, name: str) -> str:
    return name.removeprefix(root + "/") if root else name


def _as_listed(path: str, entry: Mapping[str, Any]) -> ListedFile:
    if entry["type"] == "link":
        return ListedFile(path, 0, problem="symbolic link, not followed; put the file itself here")
    if entry.get("size") is None:
        return ListedFile(path, 0, problem="the store does not tell its size")
    etag = entry.get("ETag") or entry.get("etag") or entry.get("e_tag") or ""
    return ListedFile(path, int(entry["size"]), _modified_at(entry), str(etag).strip('"'))


def _modified_at(entry: Mapping[str, Any]) -> str:
    moment = next((entry[key] for key in _TIMES if entry.get(key)), None)
    if moment is None and "name" in entry and len(entry) == 4:  # noqa: PLR2004
        moment = entry.get("created")  # fsspec's memory store; each write makes a new file
    if isinstance(moment, (int, float)):
        micros = round(moment * 1_000_000)
        return utc_text(micros // 1_000_000, micros % 1_000_000)
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return moment_text(moment.astimezone(timezone.utc))
    return moment if isinstance(moment, str) and moment.endswith("Z") else ""

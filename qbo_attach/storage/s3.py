"""A bucket, or a prefix in one, on any S3 server.

Requests go through s3fs (its credentials, retries and error mapping), but by bucket and key
rather than by its paths: those cut a key at `?versionId=` and expand `*` and `[`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import fsspec
from aiobotocore.session import AioSession
from botocore.loaders import create_loader
from s3fs.core import S3_RETRYABLE_ERRORS, S3FileSystem

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.place import (
    PIECE_BYTES,
    SMALL_BYTES,
    SourceChangedError,
    check_unchanged,
    is_own_temporary,
    moment_text,
    read_each,
)
from qbo_attach.storage.s3_errors import (
    S3Failure,
    explained,
    for_source,
    is_missing_key,
    is_out_of_range,
    may_have_happened,
)
from qbo_attach.storage.s3_listing import (
    FAN_OUT,
    Page,
    as_listed,
    list_entries,
    plain_etag,
    read_page,
    take_entries,
)

T = TypeVar("T")

_PUT_BYTES = 16 << 20
"""Up to here a file is put in one request, above in parts."""
_READ_ATTEMPTS = 3
_SPOOL_NAME = "spool"
_MODELS = create_loader()
"""botocore's description of S3, read once a process: 60 ms of CPU less for each further store."""


class _Piece(NamedTuple):
    data: bytes
    size_bytes: int
    """Of the whole object."""
    modified_at: str
    etag: str


class Bucket:
    """`Place` on S3."""

    def __init__(self, url: str, options: Mapping[str, object], *, deadline_s: float) -> None:
        self._url = url
        self._options = dict(options)
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._opened: S3FileSystem | None = None
        self._bucket, key = S3FileSystem._find_bucket_key(None, url.removeprefix("s3://"))  # noqa: SLF001  # knows access points
        self._prefix = f"{key}/" if key else ""

    # Listing

    def list_files(self) -> Iterator[ListedFile]:
        """See `Store.list_files`."""
        empty = True
        try:
            for entry in list_entries(self._start_page, self._prefix):
                empty = False
                listed = as_listed(entry, self._prefix)
                if listed is not None:
                    yield listed
        except S3Failure as error:
            raise self._explained("", error) from error
        if empty and self._prefix:
            raise StorageError(
                self._url, "nothing in the bucket has this prefix; check the path (case matters)"
            )

    def list_names(self, folder: str) -> list[str]:
        """See `Store.list_names`."""
        prefix = self._prefix + (f"{folder}/" if folder else "")
        names: list[str] = []
        token = ""
        try:
            while True:
                page = self._start_page(prefix, "/", token).result()
                found = (as_listed(entry, prefix) for entry in page.entries)
                names += [f.path for f in found if f and not is_own_temporary(f.path)]
                token = page.token
                if not token:
                    return names
        except S3Failure as error:
            raise self._explained(folder, error) from error

    def _start_page(
        self, prefix: str, delimiter: str, token: str
    ) -> concurrent.futures.Future[Page]:
        more = {"ContinuationToken": token} if token else {}

        async def page() -> Page:
            answer = await self._request(
                "list_objects_v2", Prefix=prefix, Delimiter=delimiter, **more
            )
            return read_page(answer)

        return self._start(page())

    # Reading

    def info(self, path: str) -> ListedFile | None:
        """See `Store.info`."""
        try:
            head = self._run(self._request("head_object", Key=self._prefix + path))
        except S3Failure as error:
            if is_missing_key(error):
                return None
            raise self._explained(path, error) from error
        etag = plain_etag(head.get("ETag", ""))
        return ListedFile(path, head["ContentLength"], moment_text(head["LastModified"]), etag)

    def read_bytes(self, path: str) -> bytes:
        """See `Store.read_bytes`."""
        with self.open_binary(path) as stream:
            return stream.read()

    def open_binary(self, path: str) -> io.BufferedIOBase:
        """See `Store.open_binary`."""
        return io.BufferedReader(_Ranges(self, path), PIECE_BYTES)

    def read_range(self, path: str, start: int, etag: str, size: int = PIECE_BYTES) -> _Piece:
        """A piece of one version of an object, for `open_binary` and for archives.

        Raises:
            FileNotFoundError: it is not there.
            StorageError: it was replaced since its first piece was read, or cannot be read.
        """
        try:
            return self._run(self._get(path, start=start, etag=etag, size=size))
        except S3Failure as error:
            if is_missing_key(error):
                raise FileNotFoundError(f"{self._url}/{path}") from error
            if start == 0 and is_out_of_range(error):
                return _Piece(b"", 0, "", "")
            if isinstance(for_source(path, error), SourceChangedError):
                raise StorageError(
                    f"{self._url}/{path}", "was replaced while it was read; run again"
                ) from error
            raise self._explained(path, error) from error

    async def read_pieces(self, file: ListedFile) -> AsyncIterator[bytes]:
        """See `Store.read_pieces`."""
        if self._opened is None:
            await asyncio.to_thread(self._fs)  # importing and connecting would hold up the loop
        if file.size_bytes <= SMALL_BYTES:
            piece = await self._listed_piece(
                file, self._start(self._get(file.path, etag=file.etag))
            )
            if piece.data:
                yield piece.data
            return
        etag = file.etag
        ahead = self._start(self._get(file.path, start=0, etag=etag))
        try:
            for start in range(0, file.size_bytes, PIECE_BYTES):
                piece = await self._listed_piece(file, ahead, start)
                if etag and piece.etag != etag:
                    raise SourceChangedError(file.path, "was replaced while it was read")
                etag = piece.etag
                if start + PIECE_BYTES < file.size_bytes:
                    ahead = self._start(self._get(file.path, start=start + PIECE_BYTES, etag=etag))
                yield piece.data
        finally:
            ahead.cancel()

    async def read_all(self, files: Sequence[ListedFile]) -> list[bytes | Exception]:
        """See `Store.read_all`."""
        return await read_each(self.read_pieces, files)

    async def _listed_piece(
        self, file: ListedFile, asked: concurrent.futures.Future[_Piece], start: int = 0
    ) -> _Piece:
        """Wait for a piece and make sure that it is of the listed file, and whole."""
        try:
            piece = await asyncio.wrap_future(asked)
        except S3Failure as error:
            raise for_source(file.path, error) or self._explained(file.path, error) from error
        now = ListedFile(file.path, piece.size_bytes, piece.modified_at, piece.etag)
        check_unchanged(file, now)
        whole = file.size_bytes <= SMALL_BYTES
        expected = file.size_bytes if whole else min(PIECE_BYTES, file.size_bytes - start)
        if len(piece.data) != expected:
            raise SourceChangedError(file.path, "came with another length than it was listed with")
        return piece

    async def _get(
        self, path: str, *, start: int | None = None, etag: str = "", size: int = PIECE_BYTES
    ) -> _Piece:
        """Get an object, or a piece of it from `start` on; a cut answer is asked for again."""
        pins: dict[str, str] = {"IfMatch": f'"{etag}"'} if etag else {}
        if start is not None:
            pins["Range"] = f"bytes={start}-{start + size - 1}"
        for attempt in range(1, _READ_ATTEMPTS + 1):
            answer = await self._request("get_object", Key=self._prefix + path, **pins)
            body = answer["Body"]
            try:
                data: bytes = await body.read()
            except S3_RETRYABLE_ERRORS:
                if attempt == _READ_ATTEMPTS:
                    raise
                continue
            finally:
                body.close()
            total = answer.get("ContentRange", "").rpartition("/")[2]
            return _Piece(
                data,
                int(total) if total.isdigit() else answer["ContentLength"],
                moment_text(answer["LastModified"]),
                plain_etag(answer.get("ETag", "")),
            )
        raise AssertionError  # the loop returns or raises

    # Writing

    @contextmanager
    def writing(self, path: str, *, private: bool) -> Iterator[BinaryIO]:
        """See `Store.writing`: spooled to a local file, then put whole.

        (s3fs's own `open(..., "wb")` commits the half file when the block raises.)
        """
        del private  # who may read is the bucket's own business
        with tempfile.TemporaryDirectory(prefix="qbo-attach-") as folder:
            spool = Path(folder, _SPOOL_NAME)
            with spool.open("wb") as stream:
                yield stream
            size = spool.stat().st_size
            try:
                if size <= _PUT_BYTES:
                    self._run(self._put(path, spool.read_bytes()))
                else:
                    fs = self._fs()
                    target = f"{self._bucket}/{self._prefix}{path}"
                    self._run(
                        fs._put_file(str(spool), target, chunksize=_PUT_BYTES, max_concurrency=2),  # noqa: SLF001
                        self._deadline_s * (1 + size / _PUT_BYTES),
                    )
            except S3Failure as error:
                raise self._explained(path, error) from error

    def create_once(self, path: str, data: bytes) -> bool:
        """See `Store.create_once`: a put with If-None-Match, and what is there read back."""
        until = time.monotonic() + self._deadline_s
        while True:
            left_s = max(until - time.monotonic(), self._deadline_s / 4)
            try:
                self._run(self._put(path, data, IfNoneMatch="*"), left_s)
            except S3Failure as error:
                if not may_have_happened(error):
                    raise self._explained(path, error) from error
                failure = error
            else:
                return True
            try:
                return self.read_bytes(path) == data
            except FileNotFoundError:
                if time.monotonic() >= until:
                    raise self._explained(path, failure) from failure
                time.sleep(min(0.2, self._deadline_s / 10))

    def remove(self, path: str) -> None:
        """See `Store.remove`."""
        try:
            self._run(self._request("delete_object", Key=self._prefix + path))
        except S3Failure as error:
            if not is_missing_key(error):
                raise self._explained(path, error) from error

    async def _put(self, path: str, data: bytes, **condition: str) -> None:
        await self._request("put_object", Key=self._prefix + path, Body=data, **condition)

    # Calls

    async def _request(self, operation: str, **arguments: object) -> Any:  # noqa: ANN401  # botocore's answers
        return await self._fs()._call_s3(operation, Bucket=self._bucket, **arguments)  # noqa: SLF001

    def _start(
        self, work: Coroutine[Any, Any, T], deadline_s: float | None = None
    ) -> concurrent.futures.Future[T]:
        """Start a request on fsspec's own loop, from any thread or loop."""
        bounded = asyncio.wait_for(work, deadline_s or self._deadline_s)
        return asyncio.run_coroutine_threadsafe(bounded, self._fs().loop)

    def _run(self, work: Coroutine[Any, Any, T], deadline_s: float | None = None) -> T:
        return self._start(work, deadline_s).result()

    def _fs(self) -> S3FileSystem:
        with self._lock:
            if self._opened is None:
                self._opened = _connect(self._options, self._deadline_s)
            return self._opened

    def _explained(self, path: str, error: BaseException) -> StorageError:
        where = f"{self._url}/{path}" if path else self._url
        return explained(where, error, self._deadline_s)


def _connect(options: Mapping[str, object], deadline_s: float) -> S3FileSystem:
    """An instance of our own: fsspec's cached ones keep stale listings and credentials."""
    settings: dict[str, Any] = {**fsspec.config.conf.get("s3", {}), **options}
    for name in {"key", "secret", "token", "username", "password"} & settings.keys():
        settings[name] = str(settings[name])  # fsspec reads FSSPEC_S3_KEY=123 as a number
    config = {
        "connect_timeout": min(5.0, deadline_s / 2),
        "read_timeout": min(15.0, deadline_s / 2),
        "max_pool_connections": 2 * FAN_OUT,
        "retries": {"mode": "standard", "total_max_attempts": 3},
        **settings.pop("config_kwargs", {}),
    }
    profile = settings.pop("profile", None)
    session = AioSession(profile=profile)
    session.register_component("data_loader", _MODELS)
    # By the wildcard we come before botocore's own hook, which parses each body to see whether it
    # is whole: what is left of it then says so as well.
    session.register("before-parse.*.ListObjectsV2", take_entries)
    settings |= {"session": session, "config_kwargs": config}
    settings |= {"skip_instance_cache": True, "use_listings_cache": False}
    return S3FileSystem(**settings)


class _Ranges(io.RawIOBase):
    """One version of an object, read in order, a piece at a time."""

    def __init__(self, bucket: Bucket, path: str) -> None:
        super().__init__()
        self._bucket = bucket
        self._path = path
        self._first = bucket.read_range(path, 0, "")
        self._data = memoryview(self._first.data)
        self._next = len(self._data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._next - len(self._data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; what was fetched around it is kept."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._first.size_bytes}
        place = max(0, start[whence] + offset)
        ahead = place - self.tell()
        if 0 <= ahead <= len(self._data):
            self._data = self._data[ahead:]
        else:
            self._data, self._next = memoryview(b""), place
        return place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer
        if not self._data and self._next < self._first.size_bytes:
            piece = self._bucket.read_range(self._path, self._next, self._first.etag)
            self._data = memoryview(piece.data)
            self._next += len(piece.data)
        taken = self._data[: len(buffer)]
        buffer[: len(taken)] = taken
        self._data = self._data[len(taken) :]
        return len(taken)

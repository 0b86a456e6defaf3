"""Files at a place: list, read, put whole, create once. The only door to fsspec and the disk."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.disk import Disk
from qbo_attach.storage.place import (
    Place,
    SourceChangedError,
    SourceError,
    SourceMissingError,
    SourceUnreadableError,
    own_temporary_name,
)
from qbo_attach.storage.urls import absolute_url, archive_of, is_absolute, join, scheme_of, split

__all__ = [
    "SourceChangedError",
    "SourceError",
    "SourceMissingError",
    "SourceUnreadableError",
    "Store",
    "absolute_url",
    "archive_of",
    "is_absolute",
]


class Store:
    """A folder at an fsspec URL or a plain path; every path below is relative to it, with `/`.

    A zip archive, or a folder in one (`urls.archive_of`), is such a folder that is only read.

    Nothing is touched before the first call. A store may be shared by threads. Every call ends:
    a server (or a mounted disk, for `read_pieces`) that stays silent for `deadline_s` seconds
    gives a StorageError; a large file has that time for each piece.

    All methods raise StorageError, one sentence with a remedy, where the place itself is to
    blame: no such folder or bucket, access denied, no credentials, no answer.

    Args:
        url: the place, as people write it; see `urls.absolute_url`.
        options: fsspec options for this URL (S3: `key`, `endpoint_url`, `config_kwargs`, ...).
            Without them the usual `AWS_*` and `FSSPEC_*` variables hold.
        deadline_s: seconds that one request may take, its retries included.

    Attributes:
        url: absolute, without a slash at the end; a plain path for a local disk.
    """

    def __init__(
        self, url: str, options: Mapping[str, object] | None = None, *, deadline_s: float = 60
    ) -> None:
        self.url = absolute_url(url)
        self._place = _place(self.url, options or {}, deadline_s)

    def child_url(self, path: str) -> str:
        """The absolute URL of a path of this store."""
        return join(self.url, path)

    def list_files(self) -> Iterator[ListedFile]:
        """List every file below the folder, streamed, in no order.

        What cannot be read is a row all the same, with `problem`: a file or folder without
        permission, a special file, a name that vanished during the listing, an S3 object in an
        archive, an S3 "folder" key that holds bytes, a zip member that is encrypted or whose path
        leads out of the archive. Symbolic links are not followed, neither out of the tree, where
        they would leave what the user named, nor within, where they would double a file: each is
        a row with a problem that says where it points. The folder itself may be a link. Keys
        ending in `/` without bytes (how S3 tools mark folders) are no files and are passed over;
        so are empty folders.

        Raises:
            StorageError: the folder is not there (on S3: nothing has this prefix) or cannot be
                listed; never an empty listing instead. An existing empty folder gives no rows.
        """
        return self._place.list_files()

    def list_names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; [] where the folder does not exist.

        Leftovers of our own unfinished writes are passed over.
        """
        return sorted(self._place.list_names(folder))

    def info(self, path: str) -> ListedFile | None:
        """One file as the listing would show it, or None where there is none.

        S3 gives the same answer where even the bucket is missing.
        """
        return self._place.info(path)

    def read_bytes(self, path: str) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._place.read_bytes(path)

    def open_binary(self, path: str) -> io.BufferedIOBase:
        """Open for reading from the beginning; close it, or use it in a `with`. It can seek.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._place.open_binary(path)

    def read_pieces(self, file: ListedFile) -> AsyncIterator[bytes]:
        """Read exactly the file that was listed, in pieces of at most 8 MiB.

        Small files come in one request; larger ones in ranges of 4 MiB (1 MiB on a disk), on S3
        one ahead and pinned to one version. Works in any event loop and does not block it. Whoever
        stops early closes the iterator (`contextlib.aclosing`).

        Raises:
            SourceMissingError: it is gone; its subclass SourceUnreadableError: access denied.
            SourceChangedError: size, etag or modification time are not those of `file`; raised
                before the last byte is handed out, so that a mixed file never looks complete.
        """
        return self._place.read_pieces(file)

    async def read_all(self, files: Sequence[ListedFile]) -> list[bytes | Exception]:
        """Read a few small files, each exactly as it was listed; a disk gives them at one go.

        Returns:
            The bytes of each, in order. If one cannot be read, the last entry is the error that
            `read_pieces` raises for it, and the files after it are not read.
        """
        return await self._place.read_all(files)

    def writing(self, path: str, *, private: bool = False) -> AbstractContextManager[BinaryIO]:
        """Write a file that appears whole and durable when the block ends.

        On an exception within the block nothing has changed. Folders are made as needed.

        Args:
            path: the file; an older one is replaced.
            private: on a disk, readable by this account only.
        """
        return self._place.writing(path, private=private)

    def create_once(self, path: str, data: bytes) -> bool:
        """Create a file that must not exist, whole and durable, in one indivisible step.

        The answer to a request may be lost after it took effect; therefore an existing file is
        read back, and one with exactly our bytes counts as created by us. Callers that compete
        put a nonce of their own into the data.

        Returns:
            True: it is there now with our bytes. False: it is there with other bytes.

        Raises:
            ValueError: no data. An empty body is not guarded by every store.
            StorageError: anything else; the file may or may not have been created.
        """
        if not data:
            raise ValueError("create_once needs data: stores do not guard an empty file")
        return self._place.create_once(path, data)

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""
        self._place.remove(path)

    def probe_create_once(self, folder: str) -> None:
        """Find out whether this place really creates a file only once.

        Raises:
            StorageError: nothing can be written there, or a second create passed as well.
        """
        path = f"{folder}/{own_temporary_name()}" if folder else own_temporary_name()
        first, second = b"first\n", b"second\n"
        try:
            created = self.create_once(path, first)
            again = self.create_once(path, second)
            kept = self.read_bytes(path)
        except BaseException:
            with suppress(StorageError):  # what failed first is what the person must know
                self.remove(path)
            raise
        self.remove(path)
        if not created or again or kept != first:
            raise StorageError(
                self.url,
                "this store lets a second writer create a file that exists, so that two runs "
                "could not be told apart; put LOG_DIR on a local disk or on an S3 server with "
                "conditional writes (If-None-Match)",
            )


def _place(url: str, options: Mapping[str, object], deadline_s: float) -> Place:
    scheme = scheme_of(url)
    archive = archive_of(url)
    if archive is not None:
        return _archive(url, *archive, options, deadline_s)
    if not scheme:
        return Disk(url, deadline_s=deadline_s)
    if scheme == "s3" and "::" not in url:
        from qbo_attach.storage.s3 import Bucket

        return Bucket(url, options, deadline_s=deadline_s)
    from qbo_attach.storage.remote import Remote

    return Remote(url, options, deadline_s=deadline_s)


def _archive(
    url: str, outer: str, folder: str, options: Mapping[str, object], deadline_s: float
) -> Place:
    from qbo_attach.storage.archive import Archive

    scheme = scheme_of(outer)
    if not scheme:
        outer = absolute_url(os.path.realpath(outer))  # it may be a link, as a folder may
    nested = options.get(scheme, options)  # as fsspec has a chain's options: by link
    container, name = split(outer)
    place = _place(container, nested if isinstance(nested, Mapping) else options, deadline_s)
    return Archive(url, folder, place, name, deadline_s=deadline_s)

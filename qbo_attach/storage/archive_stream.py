"""Streams of a zip archive where it lies (on S3 by ranges that fit), and of a member of it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import IO, BinaryIO, Protocol, cast, runtime_checkable

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.archive_entries import Directory
from qbo_attach.storage.place import PIECE_BYTES, Place

_TAIL_BYTES = 1 << 16
"""An archive's end record and comment, and the directory of a small one."""

BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What zipfile raises for an archive, or a member, that is not what its format says."""


class _Piece(Protocol):
    """A piece of an object."""

    @property
    def data(self) -> bytes:
        """Its bytes; fewer than were asked for only at the object's end."""


@runtime_checkable
class _Ranged(Protocol):
    """A place that gives ranges of a file, each by a request."""

    def read_range(self, path: str, start: int, etag: str, size: int) -> _Piece:
        """See `s3.Bucket.read_range`."""


def open_container(container: Place, facts: ListedFile, start: int, end: int) -> BinaryIO:
    """Open an archive to read what lies between two offsets; more can be read as well.

    Args:
        container: where it lies.
        facts: the archive as it was looked at; another version is not read on S3.
        start: where the reader begins, unless `end` is the archive's own: that one begins there.
        end: about where it ends.

    Raises:
        FileNotFoundError: it is not there any more.
        StorageError: it cannot be read, or was replaced.
    """
    if isinstance(container, _Ranged):
        return cast(BinaryIO, _Ranges(container, facts, start, end))
    return cast(BinaryIO, container.open_binary(facts.path))


class _Ranges(io.RawIOBase):
    """One version of an object, read by ranges of which each ends where the reader will end."""

    def __init__(self, place: _Ranged, facts: ListedFile, start: int, end: int) -> None:
        super().__init__()
        self._place = place
        self._facts = facts
        self._end = min(end, facts.size_bytes)
        self._at = start
        self._held_at, self._held = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._facts.size_bytes}
        self._at = start[whence] + offset
        if self._at < 0:
            raise OSError("lies before the beginning of the archive")
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._facts.size_bytes - self._at)
        wanted = left if size < 0 else min(size, left)
        pieces = []
        while wanted:
            piece = self._piece(wanted)
            if not piece:
                break
            pieces.append(piece)
            self._at += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, wanted: int) -> bytes:
        """Some of what comes next, of the range that is held or of another one."""
        ahead = self._at - self._held_at
        if not 0 <= ahead < len(self._held):
            start = self._at
            if self._end == self._facts.size_bytes:  # its end is read first, backwards
                start = min(start, max(0, self._end - _TAIL_BYTES))
            size = min(PIECE_BYTES, max(wanted, self._end - start))
            self._held = b""  # not two at a time
            piece = self._place.read_range(self._facts.path, start, self._facts.etag, size)
            self._held_at, self._held = start, piece.data
            ahead = self._at - start
        return self._held[ahead : ahead + wanted]


class Member(io.RawIOBase):
    """A member's bytes. At its end the CRC-32 is compared.

    Raises:
        StorageError: on reading, with zipfile's own error as its cause.
    """

    def __init__(self, url: str, member: IO[bytes], source: BinaryIO, directory: Directory) -> None:
        super().__init__()
        self._url = url
        self._member = member
        self._source = source
        self.directory = directory

    def readable(self) -> bool:
        """See io."""
        return True

    def seekable(self) -> bool:
        """See io."""
        return True

    def tell(self) -> int:
        """See io."""
        return self._member.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io."""
        return self._member.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """See io."""
        try:
            return self._member.read(size)
        except BROKEN as error:
            raise StorageError(self._url, damaged(error)) from error
        except OSError as error:
            raise StorageError(self._url, f"cannot be read: {error}") from error

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: Buffer
        """See io."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """See io."""
        if not self.closed:
            self._member.close()
            self._source.close()
        super().close()


def damaged(error: BaseException) -> str:
    """A broken member, in words."""
    return (
        f"is damaged in the archive ({str(error) or type(error).__name__}); copy the archive again"
    )

"""Reading a file and taking its digest on the way."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager

from qbo_attach.storage.files import Store

_BLOCK_BYTES = 1 << 20


class DigestingReader(io.BufferedIOBase):
    """A stream that digests what is read of it."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        super().__init__()
        self._stream = stream
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """See io."""
        piece = self._stream.read(size)
        self._digest.update(piece)
        return piece

    def sha256(self) -> str:
        """Hex digest of the whole file; reads what nobody has read."""
        while self.read(_BLOCK_BYTES):
            pass
        return self._digest.hexdigest()


@contextmanager
def digesting(store: Store, name: str) -> Iterator[DigestingReader]:
    """Open a file of a store, to be read once.

    Raises:
        FileNotFoundError: it is not there.
        StorageError: it cannot be read.
    """
    with store.open_binary(name) as stream:
        yield DigestingReader(stream)

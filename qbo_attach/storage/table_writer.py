"""Writing a table row by row, several tables at once where one pass feeds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from qbo_attach.core.model import Artifact
from qbo_attach.core.tables import encode_rows
from qbo_attach.storage.files import Store

_CHUNK_ROWS = 250
"""So few that a piece is gone before Python's garbage collector has looked at its rows twice: with
2,000, a quarter of the time that a large table takes went there."""


class TableWriter:
    """A table being written; see `open_table`. `rows` counts data rows."""

    def __init__(self, stream: BinaryIO, columns: tuple[str, ...]) -> None:
        self.rows = 0
        self._stream = stream
        self._digest = hashlib.sha256()
        self._waiting: list[tuple[str, ...]] = [columns]
        self._bytes = 0

    @property
    def sha256(self) -> str:
        """Hex digest of what was flushed."""
        return self._digest.hexdigest()

    def add(self, row: tuple[str, ...]) -> None:
        """Take a row."""
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) >= _CHUNK_ROWS:
            self.flush()

    def add_encoded(self, piece: bytes, rows: int) -> None:
        """Take rows as `encode_rows` gave them."""
        if self._waiting:
            self.flush()
        self._write(piece)
        self.rows += rows

    def flush(self) -> int:
        """Write what waits; returns the bytes written so far, so that rows can be found again."""
        piece = encode_rows(self._waiting)
        self._waiting = []
        self._write(piece)
        return self._bytes

    def _write(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._stream.write(piece)
        self._bytes += len(piece)

    def artifact(self, store: Store, name: str) -> Artifact:
        """The table as it stands after the block."""
        return Artifact(name, store.child_url(name), self.sha256, self.rows)


class Both:
    """Writes rows that stand in two tables alike; they are encoded once.

    Whoever gives one of the tables a row of its own calls `flush` before.
    """

    def __init__(self, one: TableWriter, other: TableWriter) -> None:
        self._tables = (one, other)
        self._waiting: list[tuple[str, ...]] = []

    def add(self, row: tuple[str, ...]) -> None:
        """Take a row."""
        self._waiting.append(row)
        if len(self._waiting) >= _CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Hand over what waits."""
        if self._waiting:
            piece = encode_rows(self._waiting)
            for table in self._tables:
                table.add_encoded(piece, len(self._waiting))
            self._waiting = []


@contextmanager
def open_table(store: Store, name: str, columns: tuple[str, ...]) -> Iterator[TableWriter]:
    """Write a table atomically: it is there when the block ends, unchanged if the block raises.

    Raises:
        StorageError: it cannot be written.
    """
    with store.writing(name) as stream:
        writer = TableWriter(stream, columns)
        yield writer
        writer.flush()

"""Tables at a URL, with the digest and row count that tell whether they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from qbo_attach.core.errors import StorageError, TableError
from qbo_attach.core.model import Artifact
from qbo_attach.core.tables import Row, decode_table, encode_table, open_text, records
from qbo_attach.storage.files import Store
from qbo_attach.storage.urls import absolute_url, split

_BLOCK_BYTES = 1 << 20


def write_table(
    store: Store, name: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> Artifact:
    """Write a table, streamed; whoever reads meanwhile sees the old one or the new one, whole.

    Raises:
        StorageError: it cannot be written. What `rows` raises passes through; in both cases the
            old table stays.
    """
    digest = hashlib.sha256()
    count = 0

    def counted() -> Iterator[tuple[str, ...]]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    with store.writing(name) as stream:
        for piece in encode_table(columns, counted()):
            digest.update(piece)
            try:
                stream.write(piece)
            except OSError as error:  # a full disk
                raise StorageError(store.child_url(name), f"cannot be written: {error}") from error
    return Artifact(name, store.child_url(name), digest.hexdigest(), count)


def read_table(store: Store, name: str, row_type: type[Row]) -> Iterator[Row]:
    """Read a table of a store, streamed.

    Raises:
        StorageError: it is not there or cannot be read.
        TableError: it is not such a table; names row and column.
    """
    url = store.child_url(name)
    try:
        stream = store.open_binary(name)
    except FileNotFoundError as error:
        raise StorageError(url, "there is no such table; run the stage that writes it") from error
    with stream:
        yield from decode_table(row_type, stream, url)


def read_table_at(
    url: str, row_type: type[Row], options: Mapping[str, object] | None = None
) -> Iterator[Row]:
    """Read a table at any URL or path, as `read_table` does."""
    store, name = _at(url, options)
    return read_table(store, name, row_type)


def is_intact(artifact: Artifact, options: Mapping[str, object] | None = None) -> bool:
    """Whether a table is still there with the digest it was written with."""
    store, name = _at(artifact.url, options)
    try:
        return _digest(store, name) == artifact.sha256
    except FileNotFoundError:
        return False


def existing(store: Store, name: str) -> Artifact | None:
    """The artifact of a table that is there, by reading it once or twice; None where it is not.

    Raises:
        TableError: it is no table: empty, not text, or quotes that do not match.
    """
    try:
        digest = _digest(store, name)
    except FileNotFoundError:
        return None
    url = store.child_url(name)
    with store.open_binary(name) as stream:
        text = open_text(stream, url)
        lines = records(text, ",", url, first_line=1)
        if next(lines, None) is None:
            raise TableError(url, "the first line must name the columns", row=1)
        rows = sum(1 for _, cells in lines if cells)
    return Artifact(name, url, digest, rows)


def _digest(store: Store, name: str) -> str:
    digest = hashlib.sha256()
    with store.open_binary(name) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _at(url: str, options: Mapping[str, object] | None) -> tuple[Store, str]:
    folder, name = split(absolute_url(url))
    return Store(folder, options), name

"""FILES_DIR as the source of uploads: a planned file's bytes, state and digest."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.model import ListedFile
from qbo_attach.core.planning import CHANGED, MISSING, same_facts
from qbo_attach.core.tables import VerificationRow
from qbo_attach.engine.ports import SourceState
from qbo_attach.storage.files import Store, archive_of
from qbo_attach.storage.place import SourceChangedError, SourceMissingError

_DIGESTS_AT_ONCE = 8


class StoredSources:
    """The files of FILES_DIR, each read as the one that was listed or not at all."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pieces(self, file: GroupFile) -> AsyncIterator[bytes]:
        """See engine.ports.Sources."""
        return self._store.read_pieces(_listed(file))

    async def read_all(self, files: Sequence[GroupFile]) -> list[bytes | Exception]:
        """See engine.ports.Sources."""
        return await self._store.read_all([_listed(file) for file in files])

    async def state(self, file: GroupFile) -> SourceState:
        """See engine.ports.Sources."""
        now = await asyncio.to_thread(self._store.info, file.path)
        if now is None or now.problem:
            return SourceState.MISSING
        same = same_facts(
            (now.size_bytes, now.modified_at, now.etag),
            (file.size_bytes, file.modified_at, file.etag),
            etags_compare=True,
        )
        return SourceState.UNCHANGED if same else SourceState.CHANGED


def _listed(file: GroupFile) -> ListedFile:
    return ListedFile(file.path, file.size_bytes, file.modified_at, file.etag)


def read_digests(store: Store, rows: Iterable[VerificationRow]) -> dict[str, str]:
    """The sha256 of each row's file, or MISSING, or CHANGED, by path; some are read at once."""
    return asyncio.run(_digests(store, list(rows)))


async def _digests(store: Store, rows: list[VerificationRow]) -> dict[str, str]:
    digests: dict[str, str] = {}
    waiting = iter(rows)

    async def work() -> None:
        for row in waiting:
            digests[row.file_path] = await _digest(store, row)

    await asyncio.gather(*(work() for _ in range(_DIGESTS_AT_ONCE)))
    return digests


async def _digest(store: Store, row: VerificationRow) -> str:
    listed = ListedFile(row.file_path, int(row.size_bytes), row.modified_at, row.etag)
    digest = hashlib.sha256()
    try:
        async with aclosing(store.read_pieces(listed)) as pieces:  # type: ignore[type-var]  # a generator
            async for piece in pieces:
                digest.update(piece)
    except SourceMissingError:
        return MISSING
    except SourceChangedError:
        return CHANGED
    return digest.hexdigest()


def store_name(files_dir: str) -> str:
    """Names the store that a folder lies in: scheme and host or bucket; `disk` for a path.

    `zip` for an archive wherever it lies: its etags are CRC-32s, which compare among archives.
    """
    if archive_of(files_dir) is not None:
        return "zip"
    scheme, separator, rest = files_dir.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if separator else "disk"

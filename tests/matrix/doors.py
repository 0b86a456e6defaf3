"""What stands in for the outside of a run: time, files, tokens, threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.credentials import Tokens
from qbo_attach.core.naming import idempotency_key
from qbo_attach.engine.ports import SourceState
from qbo_attach.fake_qbo.options import REALM
from qbo_attach.storage.place import read_each
from tests.qbo.virtual_clock import LONGEST_S, VirtualClock

T = TypeVar("T")

AT = "2026-01-05T08:00:00Z"
_PIECE_BYTES = 256 * 1024


def content(number: int) -> bytes:
    """The bytes of the file of this number; no two are equal."""
    return f"attachment {number}".encode()


def file(number: int) -> GroupFile:
    """An attachment on a bill of its own."""
    name = f"scan {number}.pdf"
    return GroupFile(
        key=idempotency_key(REALM, "Bill", str(number), name),
        path=f"Attach/Txn/{number}/{name}",
        sent_file_name=name,
        content_type="application/pdf",
        size_bytes=len(content(number)),
        modified_at=AT,
        etag="",
        qbo_entity_type="Bill",
        qbo_entity_id=str(number),
        file_name=name,
    )


class Sources:
    """Implements engine.ports.Sources.

    By path: `states` (else UNCHANGED), `contents` (else `content`), which may be an error to raise.
    """

    def __init__(self) -> None:
        self.states: dict[str, SourceState] = {}
        self.contents: dict[str, bytes | Exception] = {}

    async def pieces(self, file: GroupFile) -> AsyncIterator[bytes]:
        found = self.contents.get(file.path, content(int(file.qbo_entity_id)))
        if isinstance(found, Exception):
            raise found
        for start in range(0, len(found), _PIECE_BYTES):
            yield found[start : start + _PIECE_BYTES]

    async def read_all(self, files: Sequence[GroupFile]) -> list[bytes | Exception]:
        return await read_each(self.pieces, files)

    async def state(self, file: GroupFile) -> SourceState:
        return self.states.get(file.path, SourceState.UNCHANGED)


class TokenShelf:
    """Implements core.ports.TokenStore in memory."""

    def __init__(self) -> None:
        self.tokens: Tokens | None = None

    def load(self, realm_id: str) -> Tokens | None:  # noqa: ARG002 - one realm
        return self.tokens

    def save(self, realm_id: str, tokens: Tokens) -> None:  # noqa: ARG002 - one realm
        self.tokens = tokens

    def try_lease(self) -> bool:
        return True

    def release(self) -> None:
        return None


class QuickClock(VirtualClock):
    """Jumps as soon as the event loop has nothing ready, instead of after many turns."""

    async def _drive(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        give_up_at = self.now + LONGEST_S
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # of all in asyncio
        while not task.done():
            await asyncio.sleep(0)
            if ready or task.done():
                continue
            self._jump(task, give_up_at)
        return await task


class AtOnce(ThreadPoolExecutor):
    """Runs what is handed in before it returns: the virtual clock cannot see a thread at work."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed to who waits
            future.set_exception(error)
        return future

"""What every kind of place (disk, S3, other fsspec stores) does for `Store`, and its errors."""

from __future__ import annotations

import concurrent.futures
import io
import os
import queue
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import BinaryIO, Protocol, TypeVar

from qbo_attach.core.model import ListedFile

F = TypeVar("F")
T = TypeVar("T")

SMALL_BYTES = 8 << 20
"""Up to here a file is read whole, in one request."""
PIECE_BYTES = 4 << 20
"""A larger file is read in pieces of this size."""

_KEPT_THREADS = 16
_IDLE: list[queue.SimpleQueue[Callable[[], None]]] = []
"""Where each thread that has nothing to do waits for work, the one used last at the end."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDLE.clear)  # a fork has none of the threads

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MINUTES_A_DAY = 24 * 60
_CLOCK = tuple(f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(_MINUTES_A_DAY))
_OWN = re.compile(r"\.qbo-attach-[0-9a-f]{32}\.tmp")


class SourceError(Exception):
    """A listed file cannot be read as it was listed; the others can.

    Args:
        path: the file, relative to its store.
        problem: what is wrong, and the remedy.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class SourceMissingError(SourceError):
    """The file is not there any more, or may not be read."""


class SourceUnreadableError(SourceMissingError):
    """The file is there, but this account may not read it."""


class SourceChangedError(SourceError):
    """The file is not the one that was listed: its size, time or etag differ."""


def in_own_thread(work: Callable[[], T]) -> concurrent.futures.Future[T]:
    """Do blocking work in a thread of its own, which a process does not wait for at its end.

    A pool's threads are waited for, so that a disk or server that hangs would hold up the exit.
    Nor does work wait here for other work: a thread is used again only when it has nothing to do,
    which takes less than half the CPU time of a new one.
    """
    answer: concurrent.futures.Future[T] = concurrent.futures.Future()
    answer.set_running_or_notify_cancel()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001  # told to whoever waits
            answer.set_exception(error)

    try:
        idle = _IDLE.pop()
    except IndexError:
        threading.Thread(target=_work, args=(run,), daemon=True).start()
    else:
        idle.put(run)
    return answer


def _work(run: Callable[[], None]) -> None:
    mine: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    while True:
        run()
        del run  # it holds what was read
        if len(_IDLE) >= _KEPT_THREADS:
            return
        _IDLE.append(mine)
        run = mine.get()


async def read_each(
    pieces: Callable[[F], AsyncIterator[bytes]], files: Sequence[F]
) -> list[bytes | Exception]:
    """`Place.read_all` by way of `read_pieces`, one file after another."""
    found: list[bytes | Exception] = []
    try:
        for file in files:
            async with aclosing(pieces(file)) as stream:  # type: ignore[type-var]  # a generator
                found.append(b"".join([piece async for piece in stream]))
    except Exception as error:  # noqa: BLE001  # told to whoever asked
        found.append(error)
    return found


class Place(Protocol):
    """One kind of place. Paths and meanings are those of `Store`, which documents them."""

    def list_files(self) -> Iterator[ListedFile]:
        """Every file below the root."""

    def list_names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, unsorted."""

    def info(self, path: str) -> ListedFile | None:
        """One file as a listing would show it."""

    def read_bytes(self, path: str) -> bytes:
        """The whole file."""

    def open_binary(self, path: str) -> io.BufferedIOBase:
        """The file, to be read from its beginning."""

    def read_pieces(self, file: ListedFile) -> AsyncIterator[bytes]:
        """The file's bytes, or an error where it is not the listed one."""

    async def read_all(self, files: Sequence[ListedFile]) -> list[bytes | Exception]:
        """Small files whole, up to the first that cannot be read."""

    def writing(self, path: str, *, private: bool) -> AbstractContextManager[BinaryIO]:
        """A file that appears whole at the end."""

    def create_once(self, path: str, data: bytes) -> bool:
        """Create the file unless it exists."""

    def remove(self, path: str) -> None:
        """Remove the file, if it is there."""


def own_temporary_name() -> str:
    """A name for a file of ours that is to vanish again; short, so that any folder takes it."""
    return f".qbo-attach-{secrets.token_hex(16)}.tmp"


def is_own_temporary(name: str) -> bool:
    """Whether a file is a leftover of `own_temporary_name` after a crash."""
    return _OWN.fullmatch(name) is not None


def utc_text(seconds: int, micros: int = 0) -> str:
    """A moment since 1970 as ISO 8601 UTC; six digits of fraction, or none where it is zero.

    "" for a moment that no calendar has.
    """
    minutes, second = divmod(seconds, 60)
    days, minute = divmod(minutes, _MINUTES_A_DAY)
    try:
        text = f"{_day_text(days)}{_CLOCK[minute]}{second:02d}"
    except OverflowError:
        return ""
    return f"{text}.{micros:06d}Z" if micros else f"{text}Z"


@lru_cache(maxsize=4096)  # the files of a tree are of few days; a third of the time
def _day_text(days: int) -> str:
    return (_EPOCH + timedelta(days=days)).isoformat()[:11]


def moment_text(moment: datetime) -> str:
    """An aware moment as `utc_text` writes it."""
    since = moment - _EPOCH
    return utc_text(since.days * 86_400 + since.seconds, since.microseconds)


def same_moment(one: str, other: str) -> bool:
    """Whether two texts of `utc_text` agree, in whole seconds if either has no finer."""
    if "." in one and "." in other:
        return one == other
    return one[:19] == other[:19]


def check_unchanged(listed: ListedFile, now: ListedFile) -> None:
    """Compare a file with what the inventory said of it.

    Raises:
        SourceChangedError: size, etag or modification time differ (the time only where no etag
            can tell).
    """
    if now.size_bytes != listed.size_bytes:
        problem = f"had {listed.size_bytes} bytes when listed and has {now.size_bytes} now"
    elif listed.etag and now.etag:
        if listed.etag == now.etag:
            return
        problem = "has another etag than when it was listed"
    elif listed.modified_at and now.modified_at:
        if same_moment(listed.modified_at, now.modified_at):
            return
        problem = f"was modified at {now.modified_at}, after it was listed"
    else:
        return
    raise SourceChangedError(listed.path, f"{problem}; run inventory again")

"""What a fake company remembers over restarts: one JSON record a line, in the order of events."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from qbo_attach.fake_qbo.values import JSON


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a state folder to one company. The system lets go of the lock if the process dies.

    Raises:
        ValueError: another company uses it; says which process.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read(20).strip() or "another process"
                raise ValueError(
                    f"{folder}: is in use by another fake company (process {holder}); "
                    "end it, or choose another state folder"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


class Journal(Protocol):
    """An append-only list of records."""

    def records(self) -> Iterator[JSON]:
        """Those of earlier runs, oldest first."""

    def append(self, record: JSON) -> None:
        """Add one; it is kept when this returns, should the process be killed."""

    def close(self) -> None:
        """Let go of files."""


class NoJournal:
    """Remembers nothing."""

    def records(self) -> Iterator[JSON]:
        """None."""
        return iter(())

    def append(self, record: JSON) -> None:
        """Forget it."""

    def close(self) -> None:
        """Nothing to let go of."""


class FileJournal:
    """Records in a file. A last line that a crash cut short is dropped."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._drop_torn_line()
        self._file = path.open("ab", buffering=0)

    def _drop_torn_line(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("r+b") as file:
            end = file.seek(0, 2)
            tail = b""
            while end and b"\n" not in tail:
                start = max(end - 65536, 0)
                file.seek(start)
                tail = file.read(end - start) + tail
                end = start
            file.truncate(end + tail.rfind(b"\n") + 1)

    def records(self) -> Iterator[JSON]:
        """Those in the file."""
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield self._record(number, line)

    def _record(self, number: int, line: bytes) -> JSON:
        try:
            found: JSON = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{self._path}, line {number}: is not a record ({error}); "
                "choose another state folder"
            ) from error
        return found

    def append(self, record: JSON) -> None:
        """Write one line."""
        self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

"""Where bytes are kept: collected while they arrive, then kept by their digest."""

from __future__ import annotations

import binascii
import hashlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

IN_MEMORY_BYTES = 256 * 1024
"""A part beyond this goes to disk while it arrives."""
REQUEST_IN_MEMORY_BYTES = 4 * 2**20
"""When a request has so much in memory, every part of it beyond `_SMALL_BYTES` goes to disk."""
_SMALL_BYTES = 8 * 1024
_READ_BYTES = 256 * 1024
_WHITE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that arrived: in `data`, in the file `path`, or kept in a vault under `sha256`."""

    size: int
    sha256: str
    data: bytes | None = None
    path: Path | None = None

    def load(self) -> bytes:
        """All bytes of a content that has just arrived; for small ones."""
        if self.data is not None:
            return self.data
        return self.path.read_bytes() if self.path is not None else b""


class Vault(Protocol):
    """A store of bytes by digest."""

    def open_spool(self) -> tuple[IO[bytes], Path] | None:
        """A new file for a big part; None where all stays in memory."""

    def keep(self, content: Content) -> None:
        """Take arrived bytes over; a digest that is there already is kept once."""

    def read(self, sha256: str) -> Iterator[bytes]:
        """Kept bytes in pieces. KeyError if there are none."""

    def close(self) -> None:
        """Let go of files."""


class Budget:
    """How many bytes of one request lie in memory."""

    def __init__(self) -> None:
        self.in_memory = 0


class Sink:
    """Collects the bytes of one part, digests them once, and moves them to disk when many."""

    def __init__(self, vault: Vault, budget: Budget) -> None:
        self._vault = vault
        self._budget = budget
        self._pieces: list[bytes] = []
        self._size = 0
        self._sha = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._path: Path | None = None
        self._stays = False

    def write(self, piece: bytes) -> None:
        """Add bytes."""
        self._size += len(piece)
        self._sha.update(piece)
        if self._file is not None:
            self._file.write(piece)
            return
        self._pieces.append(piece)
        self._budget.in_memory += len(piece)
        crowded = self._budget.in_memory > REQUEST_IN_MEMORY_BYTES
        if not self._stays and self._size > (_SMALL_BYTES if crowded else IN_MEMORY_BYTES):
            self._spill()

    def _spill(self) -> None:
        spool = self._vault.open_spool()
        if spool is None:
            self._stays = True
            return
        self._file, self._path = spool
        self._file.writelines(self._pieces)
        self._budget.in_memory -= self._size
        self._pieces.clear()

    def finish(self) -> Content:
        """What was collected."""
        if self._file is not None:
            self._file.close()
            return Content(self._size, self._sha.hexdigest(), path=self._path)
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        return Content(self._size, self._sha.hexdigest(), data=data)

    def discard(self) -> None:
        """Forget what was collected."""
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._pieces.clear()


_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


class Base64Sink(Sink):
    """A sink whose bytes arrive as base64, line ends and missing padding allowed.

    `broken` says that something else arrived; the rest is then dropped.
    """

    def __init__(self, vault: Vault, budget: Budget) -> None:
        super().__init__(vault, budget)
        self.broken = False
        self._rest = b""
        self._ended = False

    def write(self, piece: bytes) -> None:
        """Add base64 text."""
        text = self._rest + piece.translate(None, _WHITE)
        whole = len(text) & ~3
        self._rest = text[whole:]
        self._decode(text[:whole])

    def finish(self) -> Content:
        """What was decoded."""
        if self._rest:
            self._decode(self._rest + b"=" * (-len(self._rest) % 4))
        return super().finish()

    def _decode(self, quads: bytes) -> None:
        if self.broken or not quads:
            return
        if self._ended or not _BASE64.fullmatch(quads):
            self.broken = True
            return
        self._ended = quads.endswith(b"=")
        try:
            super().write(binascii.a2b_base64(quads))
        except binascii.Error:
            self.broken = True


class MemoryVault:
    """Keeps bytes in memory; for tests and simulation. Does no I/O."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def open_spool(self) -> None:
        """No files."""
        return

    def keep(self, content: Content) -> None:
        """Keep the bytes."""
        if content.data is not None:
            self._kept[content.sha256] = content.data

    def read(self, sha256: str) -> Iterator[bytes]:
        """The kept bytes."""
        return iter((self._kept[sha256],))

    def close(self) -> None:
        """Nothing to let go of."""


class DiskVault:
    """Keeps bytes in a folder: small contents one after another in `pack`, big ones in files.

    `pack.index` has a line a small content: digest, offset, length. A line that a crash cut short
    is passed over; its bytes are then without a name and cost only their room.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._places: dict[str, tuple[int, int]] = {}
        self._pack = (folder / "pack").open("ab", buffering=0)
        self._reader = (folder / "pack").open("rb")
        self._index = (folder / "pack.index").open("a+b")
        self._end = self._pack.seek(0, 2)
        self._load()

    def _load(self) -> None:
        self._index.seek(0)
        for line in self._index:
            cells = line.split()
            if line.endswith(b"\n") and len(cells) == 3:  # noqa: PLR2004  # digest, offset, length
                self._places[cells[0].decode("ascii")] = int(cells[1]), int(cells[2])
        for spool in self._folder.glob("spool-*"):
            spool.unlink()

    def open_spool(self) -> tuple[IO[bytes], Path]:
        """A new file in this folder."""
        spool = tempfile.NamedTemporaryFile(  # noqa: SIM115  # the sink closes it
            dir=self._folder, prefix="spool-", delete=False
        )
        return spool, Path(spool.name)

    def keep(self, content: Content) -> None:
        """Append a small content, move a big one's file to its name."""
        if content.path is not None:
            if content.path.exists():
                content.path.replace(self._folder / content.sha256)
            return
        if content.data is None or content.sha256 in self._places:
            return
        self._pack.write(content.data)
        self._places[content.sha256] = self._end, content.size
        self._index.write(f"{content.sha256} {self._end} {content.size}\n".encode())
        self._index.flush()
        self._end += content.size

    def read(self, sha256: str) -> Iterator[bytes]:
        """Kept bytes in pieces."""
        place = self._places.get(sha256)
        if place is not None:
            self._reader.seek(place[0])
            return iter((self._reader.read(place[1]),))
        big = self._folder / sha256
        if not sha256 or not big.exists():
            raise KeyError(sha256)
        return _pieces(big)

    def close(self) -> None:
        """Close the pack and its index."""
        for file in (self._pack, self._reader, self._index):
            file.close()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            yield piece

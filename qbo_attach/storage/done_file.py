"""Done rows in a temporary file, so that a million of them need no memory to speak of."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator

from qbo_attach.core.chain import Done
from qbo_attach.core.segments import DONE_LINE, decode_done, encode_done
from qbo_attach.storage.hash_index import HashIndex

_BUFFER_BYTES = 1 << 20
_KEY = slice(len(DONE_LINE), len(DONE_LINE) + 64)
_PATH = b'","path":"'
_PATH_AT = _KEY.stop + len(_PATH)
_PATH_END = b'","sent_file_name":"'


class DoneFile:
    """See core.done.DoneRows.

    The file has no name and goes with the process. A row that was replaced stays in it, unindexed.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as this
        self._written = 0
        self._buffer = bytearray()
        self._keys = HashIndex()
        self._paths = HashIndex()
        self._last: tuple[int, Done] = (-1, _NO_ROW)

    def keys(self) -> int:
        """See DoneRows."""
        return len(self._keys)

    def paths(self) -> int:
        """See DoneRows."""
        return len(self._paths)

    def at_path(self, path: str) -> Done | None:
        """See DoneRows."""
        slot = self._path_slot(path)
        return None if slot < 0 else self._row(self._paths.number(slot))

    def at_key(self, key: str) -> Done | None:
        """See DoneRows."""
        slot = self._key_slot(key)
        return None if slot < 0 else self._row(self._keys.number(slot))

    def keep(self, done: Done) -> None:
        """See DoneRows."""
        self._index(done.key, done.path, self._append(encode_done(done)))

    def keep_line(self, line: bytes) -> None:
        """Take a row as a segment has it, its line.

        Raises:
            ValueError, TypeError, KeyError: it is no such line.
        """
        path_end = line.find(_PATH_END, _PATH_AT)
        if line[_KEY.stop : _PATH_AT] != _PATH or path_end < 0 or not line.endswith(b"}"):
            self.keep(decode_done(line))
            return
        path = line[_PATH_AT:path_end]
        text = json.loads(b'"%b"' % path) if b"\\" in path else path.decode("ascii")
        self._index(line[_KEY].decode("ascii"), text, self._append(line))

    def forget_key(self, key: str) -> None:
        """See DoneRows."""
        slot = self._key_slot(key)
        if slot >= 0:
            self._keys.remove(slot)

    def forget_path(self, path: str) -> None:
        """See DoneRows."""
        slot = self._path_slot(path)
        if slot >= 0:
            self._paths.remove(slot)

    def rows(self) -> Iterator[Done]:
        """See DoneRows."""
        for line in self.lines():
            yield decode_done(line)

    def lines(self) -> Iterator[bytes]:
        """See DoneRows: in the order in which they were taken."""
        for number, line in self._all_lines():
            key = line[_KEY].decode("ascii")
            hashed = hash(key)
            slot = self._keys.slot(hashed)
            while slot >= 0 and self._keys.number(slot) != number:
                slot = self._keys.slot(hashed, slot)
            if slot >= 0:
                yield line

    def _index(self, key: str, path: str, number: int) -> None:
        slot = self._key_slot(key)
        if slot < 0:
            self._keys.add(hash(key), number)
        else:
            self._keys.put(slot, number)
        slot = self._path_slot(path)
        if slot < 0:
            self._paths.add(hash(path), number)
        else:
            self._paths.put(slot, number)

    def _key_slot(self, key: str) -> int:
        hashed = hash(key)
        slot = self._keys.slot(hashed)
        while slot >= 0 and self._row(self._keys.number(slot)).key != key:
            slot = self._keys.slot(hashed, slot)
        return slot

    def _path_slot(self, path: str) -> int:
        hashed = hash(path)
        slot = self._paths.slot(hashed)
        while slot >= 0 and self._row(self._paths.number(slot)).path != path:
            slot = self._paths.slot(hashed, slot)
        return slot

    # -- the file: a row's number is the offset of its line, from 1 -------------------------------

    def _append(self, line: bytes) -> int:
        number = self._written + len(self._buffer) + 1
        self._buffer += line
        self._buffer += b"\n"
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()
        return number

    def _flush(self) -> None:
        self._file.seek(0, os.SEEK_END)
        while self._buffer:
            written = self._file.write(self._buffer)
            self._written += written
            del self._buffer[:written]

    def _row(self, number: int) -> Done:
        if self._last[0] == number:
            return self._last[1]
        offset = number - 1
        if offset >= self._written:
            end = self._buffer.index(b"\n", offset - self._written)
            line = bytes(self._buffer[offset - self._written : end])
        else:
            line = self._read_line(offset)
        done = decode_done(line)
        self._last = (number, done)
        return done

    def _read_line(self, offset: int) -> bytes:
        size = 1024
        while True:
            data = os.pread(self._file.fileno(), size, offset)
            end = data.find(b"\n")
            if end >= 0:
                return data[:end]
            if len(data) < size:
                raise OSError(f"the temporary file of the run log's rows ends at {offset}")
            size *= 4

    def _all_lines(self) -> Iterator[tuple[int, bytes]]:
        self._flush()
        with os.fdopen(os.dup(self._file.fileno()), "rb") as stream:
            stream.seek(0)
            number = 1
            until = self._written
            for line in stream:
                if number > until:
                    return
                yield number, line[:-1]
                number += len(line)


_NO_ROW = Done("", "", "", "", "", 0, "", "", "", "", "", "", "")

"""Done rows in a temporary file, so that a million of them need no memory to speak of."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

from qbo_attach.core.chain import Done
from qbo_attach.core.done import Sent, State
from qbo_attach.core.segments import (
    DONE_LINE,
    attachable_id_of,
    decode_done,
    encode_done,
    state_in_line,
)
from qbo_attach.storage.hash_index import HashIndex

_BUFFER_BYTES = 1 << 20
_LINE_BYTES = 1 << 10
_AHEAD_BYTES = 1 << 16
_NEAR_BYTES = 1 << 13
"""Rows this far behind what was read last are mostly followed by their neighbours."""
_NOWHERE = sys.maxsize
_KEY = slice(len(DONE_LINE), len(DONE_LINE) + 64)
_PATH = b'","path":"'
_PATH_AT = _KEY.stop + len(_PATH)
_PATH_END = b'","sent_file_name":"'
_SHA256 = b'"sha256":"'


class DoneFile:
    """See core.done.DoneRows.

    The file has no name and goes with the process. A row that was replaced stays in it, unindexed.
    What is asked for is indexed when it is asked for: who never asks by key spends nothing on it.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as this
        self._written = 0
        self._buffer = bytearray()
        self._keys = _Index(_key_of)
        self._paths = _Index(_path_of)
        self._ahead, self._ahead_at = b"", 0
        self._last: tuple[int, Done] = (-1, _NO_ROW)

    def keys(self) -> int:
        """See DoneRows."""
        return self._keys.count(self)

    def paths(self) -> int:
        """See DoneRows."""
        return self._paths.count(self)

    def at_path(self, path: str) -> Done | None:
        """See DoneRows."""
        return self._row(*self._paths.find(self, path))

    def at_key(self, key: str) -> Done | None:
        """See DoneRows."""
        return self._row(*self._keys.find(self, key))

    def is_exactly(self, path: str, state: State) -> bool:
        """See DoneRows."""
        line = self._paths.find(self, path)[1]
        text = state_in_line(*state)
        return line.startswith(text, _state_at(line)) or text in line

    def sent_exactly(self, path: str, state: State) -> Sent | None:
        """See DoneRows."""
        line = self._paths.find(self, path)[1]
        text = state_in_line(*state)
        at = _state_at(line)
        if line.startswith(text + _SHA256, at):
            name = line[line.find(_PATH_END, _PATH_AT) + len(_PATH_END) : at - 2]
            begin = at + len(text) + len(_SHA256)
            digest = line[begin : line.find(b'"', begin)]
            if not (b"\\" in name or b"\\" in digest):
                sent = name.decode("ascii"), _key_of(line), digest.decode("ascii")
                return (*sent, attachable_id_of(line))
        if text not in line:
            return None
        done = decode_done(line)
        return done.sent_file_name, done.key, done.sha256, done.attachable_id

    def attachable_id(self, key: str) -> str:
        """See DoneRows."""
        line = self._keys.find(self, key)[1]
        return attachable_id_of(line) if line else ""

    def keep(self, done: Done) -> None:
        """See DoneRows."""
        self._append(encode_done(done))

    def keep_line(self, line: bytes) -> None:
        """Take a row as a segment has it, its line.

        Raises:
            ValueError, TypeError, KeyError: it is no such line.
        """
        path_end = line.find(_PATH_END, _PATH_AT)
        if line[_KEY.stop : _PATH_AT] != _PATH or path_end < 0 or not line.endswith(b"}"):
            self.keep(decode_done(line))
        else:
            self._append(line)

    def forget_key(self, key: str) -> None:
        """See DoneRows."""
        self._keys.forget(self, key)

    def forget_path(self, path: str) -> None:
        """See DoneRows."""
        self._paths.forget(self, path)

    def rows(self) -> Iterator[Done]:
        """See DoneRows."""
        for line in self.lines():
            yield decode_done(line)

    def lines(self) -> Iterator[bytes]:
        """See DoneRows: in the order in which they were taken."""
        for number, line in self.numbered(1, self.end):
            if self._keys.find(self, _key_of(line))[0] == number:
                yield line

    def _row(self, number: int, line: bytes) -> Done | None:
        if number < 0:
            return None
        if self._last[0] != number:
            self._last = (number, decode_done(line))
        return self._last[1]

    # -- the file: a row's number is the offset of its line, from 1 -------------------------------

    @property
    def end(self) -> int:
        """The number that the next row gets."""
        return self._written + len(self._buffer) + 1

    def _append(self, line: bytes) -> None:
        self._buffer += line
        self._buffer += b"\n"
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._file.seek(0, os.SEEK_END)
        while self._buffer:
            written = self._file.write(self._buffer)
            self._written += written
            del self._buffer[:written]

    def line(self, number: int) -> bytes:
        """The line of a row."""
        offset = number - 1
        if offset >= self._written:
            end = self._buffer.index(b"\n", offset - self._written)
            return bytes(self._buffer[offset - self._written : end])
        begin = offset - self._ahead_at
        if 0 <= begin < len(self._ahead):
            end = self._ahead.find(b"\n", begin)
            if end >= 0:
                return self._ahead[begin:end]
        # Who reads on where it was reads more at once: rows are mostly asked for in their order.
        near = 0 <= begin < len(self._ahead) + _NEAR_BYTES
        size = _AHEAD_BYTES if near else _LINE_BYTES
        while True:
            data = os.pread(self._file.fileno(), size, offset)
            end = data.find(b"\n")
            if end >= 0:
                self._ahead, self._ahead_at = data, offset
                return data[:end]
            if len(data) < size:
                raise OSError(f"the temporary file of the run log's rows ends at {offset}")
            size *= 4

    def numbered(self, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        """The lines from one row up to another, with their numbers; replaced ones too."""
        number = begin
        while number < end:
            offset = number - 1
            if offset < self._written:
                size = min(_AHEAD_BYTES, end - number)
                data = os.pread(self._file.fileno(), size, offset)
                lines = data.split(b"\n")
                if len(lines) == 1:
                    lines = [self.line(number), b""]  # it is longer than that
            else:
                data = bytes(self._buffer[offset - self._written : end - 1 - self._written])
                lines = data.split(b"\n")
            for line in lines[:-1]:
                yield number, line
                number += len(line) + 1


class _Index:
    """Rows by one of their two names; the last one of a name counts.

    It does not hold the file, so that both are gone as soon as nobody holds the file.
    """

    def __init__(self, name_of: Callable[[bytes], str]) -> None:
        self._name_of = name_of
        self._index = HashIndex()
        self._known_to = 1
        self._all_count = True
        """Whether no row was replaced or forgotten."""
        self._next = 1
        """Behind the row found last: rows are mostly asked for in their order. Else no row's."""

    def count(self, file: DoneFile) -> int:
        """How many names there are."""
        self._catch_up(file)
        return len(self._index)

    def find(self, file: DoneFile, name: str) -> tuple[int, bytes]:
        """The number and the line of this name's row; -1 and none: it has no row."""
        if self._known_to < file.end:
            self._catch_up(file)
        if self._all_count and self._next < self._known_to:
            number = self._next
            line = file.line(number)
            if self._name_of(line) == name:
                self._next = number + len(line) + 1
                return number, line
        slot, line = self._find(file, name, hash(name))
        if slot < 0:
            self._next = _NOWHERE
            return -1, b""
        number = self._index.number(slot)
        self._next = number + len(line) + 1
        return number, line

    def forget(self, file: DoneFile, name: str) -> None:
        """Nothing has this name any more."""
        self._catch_up(file)
        slot, _ = self._find(file, name, hash(name))
        if slot >= 0:
            self._index.remove(slot)
            self._all_count = False

    def _find(self, file: DoneFile, name: str, hashed: int) -> tuple[int, bytes]:
        index = self._index
        slot = index.slot(hashed)
        while slot >= 0:
            line = file.line(index.number(slot))
            if self._name_of(line) == name:
                return slot, line
            slot = index.slot(hashed, slot)
        return -1, b""

    def _catch_up(self, file: DoneFile) -> None:
        """Take the rows that came since."""
        name_of, index, end = self._name_of, self._index, file.end
        for number, line in file.numbered(self._known_to, end):
            name = name_of(line)
            hashed = hash(name)
            if not index.add_first(hashed, number):
                slot, _ = self._find(file, name, hashed)
                if slot < 0:
                    index.add(hashed, number)
                else:
                    index.put(slot, number)
                    self._all_count = False
        self._known_to = end


def _key_of(line: bytes) -> str:
    return line[_KEY].decode("ascii")


def _state_at(line: bytes) -> int:
    """Where the state begins (see segments.state_in_line) if the name before it is a plain one."""
    name_at = line.find(_PATH_END, _PATH_AT) + len(_PATH_END)
    return line.find(b'"', name_at) + 2


def _path_of(line: bytes) -> str:
    path = line[_PATH_AT : line.find(_PATH_END, _PATH_AT)]
    if b"\\" in path:
        text: str = json.loads(b'"%b"' % path)
        return text
    return path.decode("ascii")


_NO_ROW = Done("", "", "", "", "", 0, "", "", "", "", "", "", "")

"""Content-Encoding of request bodies, undone as the bytes arrive.

Intuit's Java SDK compresses every body with gzip unless told otherwise (intuit-default-config.xml),
several uploads in one request as gzip members one after another
(HTTPBatchClientConnectionInterceptor.java); its .NET SDK does so too where its configuration file
says nothing (JsonFileConfigurationProvider.cs), and its `deflate` has no zlib header, Java's has.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

_PIECE_BYTES = 64 * 1024
_ANY_HEADER = 32 + zlib.MAX_WBITS
"""zlib's own header or gzip's."""
_HEADER_BYTES = 2


class EncodingError(Exception):
    """The body is not encoded as its Content-Encoding says; says why."""


class Inflater:
    """Takes an encoded body in pieces of any size; gives it decoded in pieces of at most 64 KiB.

    Args:
        coding: gzip, x-gzip or deflate.

    Raises:
        EncodingError: another one.
    """

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise EncodingError(f"Content-Encoding {coding[:40]} is not supported")
        self._coding = coding
        self._start = b""
        self._stream: Any = None  # typeshed gives zlib's objects no public name
        self._ended = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Decode a piece.

        Raises:
            EncodingError: it is not what the header said.
        """
        data = self._start + data
        self._start = b""
        while data:
            if self._stream is None:
                if len(data) < _HEADER_BYTES:
                    self._start = data
                    return
                if self._ended and data[:2] != b"\x1f\x8b":
                    return  # padding behind the last member
                self._stream = zlib.decompressobj(self._window(data))
            try:
                piece = self._stream.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise EncodingError(f"the body is not {self._coding}: {error}") from error
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data, self._stream, self._ended = self._stream.unused_data, None, True
            if piece:
                yield piece
            elif not data:
                return

    def finish(self) -> None:
        """The body is complete.

        Raises:
            EncodingError: it was cut short.
        """
        if self._stream is not None or not self._ended:
            raise EncodingError(f"the body ends within its {self._coding}")

    def _window(self, data: bytes) -> int:
        if self._coding != "deflate":
            return _ANY_HEADER
        wrapped = data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS

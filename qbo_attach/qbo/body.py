"""A request's body on its way from storage to the socket: exact in length, bounded in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from qbo_attach.core.errors import QboAttachError
from qbo_attach.qbo.multipart import UploadLayout

BodySource = Callable[[], AsyncIterator[bytes]]

JOINED_BYTES = 2 * 1024 * 1024
"""A body up to this size is read before its slot and sent as one buffer: much cheaper than many
small pieces, and its slot's moment is its sending's. A larger one streams."""
PIECE_BYTES = 256 * 1024
"""A streamed body is handed on in pieces of at most this size, so that copies on the way (HTTP,
TLS, socket) stay small whatever size the storage reads in."""


class BodyFailedError(QboAttachError):
    """A file could not be read to its end while it was sent; `__cause__` says why.

    Args:
        cause: what the body's iterator raised, or its wrong length.
        index: which file of the group.
        begun: whether any byte of the body may have left. If so, the request was cut by us short
            of its Content-Length, so that QBO cannot have had it whole.
    """

    def __init__(self, cause: Exception, *, index: int, begun: bool) -> None:
        self.cause = cause
        self.index = index
        self.begun = begun
        super().__init__(f"file {index + 1} of the request could not be read: {cause}")
        self.__cause__ = cause


class BodyLengthError(QboAttachError):
    """A file gave more or fewer bytes than its size said."""


class HeldError(Exception):
    """Carries what the caller's own check raised through httpx, apart from httpx's errors."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


class Body:
    """A request's bytes on their way: what stands around the files, and the files.

    Args:
        layout: what stands around the files, with the files' sizes.
        sources: one a file, each opens the file's bytes.
        before_first_byte: called when the connection stands; what it raises ends the request
            before any byte of the body has left.
    """

    def __init__(
        self,
        layout: UploadLayout,
        sources: Sequence[BodySource],
        before_first_byte: Callable[[], None],
    ) -> None:
        self._layout = layout
        self._sources = sources
        self._check = before_first_byte
        self._joined: bytes | None = None
        self._running: AsyncGenerator[bytes, None] | None = None
        self.begun = False
        """Whether any byte of the body may have left."""

    async def read_ahead(self) -> None:
        """Read a small body whole, so that nothing waits for storage while it is sent."""
        if self._layout.content_length <= JOINED_BYTES:
            self._joined = b"".join([piece async for piece in self._pieces()])

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, in pieces."""
        self._running = self._run()
        return self._running

    async def aclose(self) -> None:
        """Close what is open of the files, wherever the sending ended."""
        if self._running is not None:
            await self._running.aclose()

    async def _run(self) -> AsyncGenerator[bytes, None]:
        try:
            self._check()
        except Exception as error:
            raise HeldError(error) from error
        if self._joined is not None:
            self.begun = True
            yield self._joined
            return
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                self.begun = True
                yield piece

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        for index, head in enumerate(self._layout.heads):
            yield head
            async with aclosing(self._file(index)) as pieces:
                async for piece in pieces:
                    yield piece
        yield self._layout.tail

    async def _file(self, index: int) -> AsyncGenerator[bytes, None]:
        """A file's bytes, exactly as many as its size says: one more is never handed on."""
        left = self._layout.sizes_bytes[index]
        chunks: AsyncIterator[bytes] | None = None
        try:
            chunks = self._sources[index]()
            async for chunk in chunks:
                left = _left(left, chunk)
                for start in range(0, len(chunk), PIECE_BYTES):
                    yield chunk[start : start + PIECE_BYTES]
                del chunk  # not kept while the next one is read
            _require_end(left)
        except Exception as error:
            raise BodyFailedError(error, index=index, begun=self.begun) from error
        finally:
            if (aclose := getattr(chunks, "aclose", None)) is not None:
                await aclose()


def _left(left: int, chunk: bytes) -> int:
    left -= len(chunk)
    if left < 0:
        raise BodyLengthError(f"the file has {-left} bytes more than its size said")
    return left


def _require_end(left: int) -> None:
    if left:
        raise BodyLengthError(f"the file ended {left} bytes short of its size")

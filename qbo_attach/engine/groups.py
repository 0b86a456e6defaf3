"""A request group on its way, and what is sent of it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from qbo_attach.core.chain import GroupFile, Intent
from qbo_attach.core.history import SETTLED_LOOKS
from qbo_attach.engine.ports import Sources
from qbo_attach.qbo.body import JOINED_BYTES, BodyFailedError, BodySource
from qbo_attach.qbo.multipart import UploadPart
from qbo_attach.storage.place import SourceChangedError


@dataclass(slots=True)
class Group:
    """Files that travel in one request.

    `attempt` counts the sendings, from 1. `send_by` is the clock's monotonic second after which
    no first byte leaves. `clean`: no sending of these files may have had an effect so far; else
    `looks` settled looks found nothing of them since.
    `may_have_left`: a byte of the attempt under way may have left. `digests` are those of the
    bytes that were read for sending, by key.
    """

    request_id: str
    boundary: str
    files: tuple[GroupFile, ...]
    attempt: int = 1
    clean: bool = True
    looks: int = 0
    send_by: float = 0.0
    may_have_left: bool = False
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def may_come_late(self) -> bool:
        """Whether an earlier sending may still have its effect, whatever this one is answered."""
        return not self.clean and self.looks < SETTLED_LOOKS

    def intent(self, written_at: str, send_by: str, marker: str, clock_offset_s: float) -> Intent:
        """What must be durable before the group's first byte leaves."""
        return Intent(
            self.request_id,
            self.boundary,
            self.attempt,
            written_at,
            send_by,
            marker,
            self.files,
            clock_offset_s=clock_offset_s,
        )

    def parts(self) -> list[UploadPart]:
        """The files as the wire wants them."""
        return [
            UploadPart(file.sent_file_name, file.content_type, file.size_bytes, file.refs, file.key)
            for file in self.files
        ]

    async def bodies(self, sources: Sources) -> list[BodySource]:
        """For each file, a door that opens its bytes, once, and notes their digest.

        What the client sends as one buffer is read here, all files at one go.

        Raises:
            BodyFailedError: a file of a small group could not be read.
        """
        if self.size_bytes > JOINED_BYTES:
            return [self._streamed(sources, file) for file in self.files]
        found = await sources.read_all(self.files)
        return [self._read(index, found) for index in range(len(self.files))]

    def _read(self, index: int, found: list[bytes | Exception]) -> BodySource:
        """A file that was read; its bytes are let go when they are handed on."""
        content = found[index]
        if isinstance(content, Exception):
            raise BodyFailedError(content, index=index, begun=False)
        try:
            self._note_digest(self.files[index], hashlib.sha256(content).hexdigest())
        except SourceChangedError as error:
            raise BodyFailedError(error, index=index, begun=False) from error
        held = [content]

        async def once() -> AsyncIterator[bytes]:
            yield held.pop()

        return once

    def _streamed(self, sources: Sources, file: GroupFile) -> BodySource:
        async def pieces() -> AsyncIterator[bytes]:
            digest = hashlib.sha256()
            held = b""
            async with aclosing(sources.pieces(file)) as stream:  # type: ignore[type-var]  # a generator
                async for piece in stream:
                    digest.update(piece)
                    if held:
                        yield held
                    held = piece
            # The last piece is still here: if it raises, the request cannot have been whole.
            self._note_digest(file, digest.hexdigest())
            if held:
                yield held

        return pieces

    def _note_digest(self, file: GroupFile, found: str) -> None:
        if file.sha256 and found != file.sha256:
            raise SourceChangedError(file.path, "its content is not what the plan read")
        self.digests[file.key] = found

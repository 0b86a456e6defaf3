"""A slow line on this machine, for HTTP/1.1 without pipelining.

proxy.py PORT TO_PORT MBIT_S: all that goes up shares so many million bits a second. What comes down
is not held back. Connections are kept, as between real hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

PIECE_BYTES = 16_384


class Line:
    """What all connections share: the moment up to which the line upwards is taken."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    async def take(self, size_bytes: int) -> None:
        """Wait until so many bytes have gone up."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + size_bytes / self._bytes_per_s
        await asyncio.sleep(self._free_at - now)

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from client to server."""
        while data := await reader.read(PIECE_BYTES):
            await self.take(len(data))
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from server to client."""
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()


async def main() -> None:
    """Serve until the process is ended."""
    port, to_port = int(sys.argv[1]), int(sys.argv[2])
    line = Line(float(sys.argv[3]) * 1_000_000 / 8)

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_connection("127.0.0.1", to_port)
        try:
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(line.up(reader, below), line.down(above, writer))
        finally:
            below.close()
            writer.close()

    server = await asyncio.start_server(through, "127.0.0.1", port, limit=PIECE_BYTES)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

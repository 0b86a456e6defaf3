"""httpx's transport over a fake company in this process, in virtual time: no socket, no wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx

from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.exchange import Exchange
from qbo_attach.fake_qbo.values import NEVER, Head, Reply
from tests.qbo.virtual_clock import VirtualClock

_PIECES = 20
"""A body that comes slowly comes in so many pieces."""


class Wire(httpx.AsyncBaseTransport):
    """Carries requests to a company and replies back, with what a reply does to its connection.

    Cuts come out as the errors that httpx raises on a socket; a read timeout that the caller set
    counts by the clock.
    """

    def __init__(self, company: FakeCompany, clock: VirtualClock) -> None:
        self._company = company
        self._clock = clock
        self.before: Callable[[Head], None] = lambda _: None
        """Told of each request as its head arrives."""
        self.after: Callable[[Head], None] = lambda _: None
        """Told of each request when its effect is there and its answer is not yet out."""
        self.cut = 0
        """How many requests were cut in their body."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        head = _head(request)
        self.before(head)
        with self._company.open(head) as exchange:
            if not await _feed(exchange, request):
                self.cut += 1
                raise httpx.WriteError("the connection was reset while the request was sent")
            reply = exchange.answer()
            self.after(head)
            await self._wait(reply, request)
            if reply.cut == "answer":
                raise httpx.RemoteProtocolError("the server disconnected without an answer")
            body = reply.body
            if reply.content is not None:
                body = b"".join(self._company.state.vault.read(reply.content.sha256))
        headers = {**reply.headers, "content-length": str(len(body))}
        stream = _Body(body, reply, self._clock)
        return httpx.Response(reply.status, headers=headers, stream=stream, request=request)

    async def _wait(self, reply: Reply, request: httpx.Request) -> None:
        limit = (request.extensions.get("timeout") or {}).get("read")
        if limit is not None and reply.delay_s > limit:
            await self._clock.sleep(limit)
            raise httpx.ReadTimeout("no answer in time")
        if reply.delay_s == NEVER:
            await asyncio.Event().wait()  # until the caller gives up
        if reply.delay_s:
            await self._clock.sleep(reply.delay_s)


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes, reply: Reply, clock: VirtualClock) -> None:
        self._body, self._reply, self._clock = body, reply, clock

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._reply.cut == "body":
            yield self._body[: len(self._body) // 2]
            raise httpx.RemoteProtocolError("the server disconnected amid its answer")
        if not self._reply.spread_s:
            yield self._body
            return
        size = len(self._body) // _PIECES + 1
        for start in range(0, len(self._body), size):
            yield self._body[start : start + size]
            await self._clock.sleep(self._reply.spread_s / _PIECES)


def _head(request: httpx.Request) -> Head:
    url = request.url
    headers = {name.lower(): value for name, value in request.headers.items()}
    base = f"{url.scheme}://{url.netloc.decode()}"
    return Head(request.method, url.path, url.query.decode(), headers, base)


async def _feed(exchange: Exchange, request: httpx.Request) -> bool:
    """Hand the body on, piece by piece; false: the company cuts the connection."""
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise TypeError("an async client sends an async stream")
    async for piece in request.stream:
        if not exchange.feed(piece):
            return False
    return True

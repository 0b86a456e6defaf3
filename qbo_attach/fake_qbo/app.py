"""The fake company as an ASGI app: bytes of a connection to an exchange, its reply back."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any
from urllib.parse import quote

from qbo_attach.fake_qbo.answers import encode, server_error
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.exchange import Exchange
from qbo_attach.fake_qbo.values import NEVER, Head, Reply

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SLOW_PIECES = 20


class App:
    """ASGI app over a company.

    A cut is made on the transport that the server puts into the scope's state under `transport`;
    in a server without one the app raises ConnectionResetError instead.
    """

    def __init__(self, company: FakeCompany, *, verbose: bool = False) -> None:
        self.company = company
        self._verbose = verbose

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        head = _head(scope)
        started = time.monotonic()
        status = "cut"
        with self.company.open(head) as exchange:
            whole = await _read(exchange, receive)
            if whole is None:
                status = "gone"
            elif not whole:
                await _cut(scope)
            else:
                reply = self._answered(exchange)
                status = f"{reply.status} {reply.fault} {reply.cut}".strip()
                await self._deliver(reply, scope, receive, send)
        if self._verbose:
            took = (time.monotonic() - started) * 1000
            # Beyond the API a query holds codes and signatures: these are not for logs.
            query = f"?{head.query}" if head.query and head.path.startswith("/v3/") else ""
            line = f"{head.method} {head.path}{query} {status} {took:.0f} ms"
            print(line, file=sys.stderr, flush=True)  # noqa: T201  # asked for by --verbose

    def _answered(self, exchange: Exchange) -> Reply:
        try:
            return exchange.answer()
        except Exception:  # noqa: BLE001  # a bug of the fake is shown and answered, not hidden
            traceback.print_exc()
            state = self.company.state
            return encode(server_error(500, state.now()), exchange.head, state.trace(), state.now())

    async def _deliver(self, reply: Reply, scope: Message, receive: Receive, send: Send) -> None:
        if reply.delay_s and not await _waited(reply.delay_s, receive):
            return
        if reply.cut == "answer":
            await _cut(scope)
            return
        length = len(reply.body) if reply.content is None else reply.content.size - reply.start
        headers = [
            (k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in reply.headers.items()
        ]
        headers.append((b"content-length", str(length).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if reply.cut == "body":
            for piece in _beginning(self._pieces(reply), length // 2):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await _cut(scope, flush=True)
            return
        if reply.content is None and not reply.spread_s:
            await send({"type": "http.response.body", "body": reply.body, "more_body": False})
            return
        for piece in self._pieces(reply):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if reply.spread_s:
                await asyncio.sleep(reply.spread_s / _SLOW_PIECES)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _pieces(self, reply: Reply) -> Iterator[bytes]:
        if reply.content is not None:
            return _behind(self.company.state.vault.read(reply.content.sha256), reply.start)
        size = len(reply.body) // _SLOW_PIECES + 1
        return (reply.body[at : at + size] for at in range(0, len(reply.body), size))


def _behind(pieces: Iterator[bytes], start: int) -> Iterator[bytes]:
    """What comes behind the first bytes."""
    for piece in pieces:
        if start < len(piece):
            yield piece[start:] if start else piece
        start = max(0, start - len(piece))


def _beginning(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """The first bytes alone."""
    for piece in pieces:
        if length <= 0:
            return
        yield piece[:length]
        length -= len(piece)


def _head(scope: Message) -> Head:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers[name.decode("latin-1").lower()] = value.decode("latin-1")
    safe = quote(_host(headers.get("host", ""), scope), safe=":[]")
    query = scope["query_string"].decode("latin-1")
    base_url = f"{scope.get('scheme', 'http')}://{safe}"
    return Head(scope["method"], scope["path"], query, headers, base_url)


def _host(told: str, scope: Message) -> str:
    """Where the client reached us. The PHP SDK's Host has no port (SyncRestHandler.php)."""
    name, port = scope.get("server") or ("127.0.0.1", 80)
    if not told:
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    bare = told.strip("[]")
    return f"{told}:{port}" if bare in (name, "localhost") and port else told


async def _read(exchange: Exchange, receive: Receive) -> bool | None:
    """Feed the body. True: it is whole; False: cut the connection; None: the client is gone."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body = message.get("body", b"")
        if not exchange.feed(body):
            return False
        if not message.get("more_body", False):
            return True


async def _waited(seconds: float, receive: Receive) -> bool:
    """Wait; False if the client went away meanwhile."""
    gone = asyncio.ensure_future(_disconnect(receive))
    done, _ = await asyncio.wait({gone}, timeout=None if seconds == NEVER else seconds)
    if not done:
        gone.cancel()
    return not done


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(scope: Message, *, flush: bool = False) -> None:
    """Close the connection under the server's feet."""
    transport = scope.get("state", {}).get("transport")
    if transport is None:
        raise ConnectionResetError("the fault plan cuts this connection")
    if flush:
        transport.close()
    else:
        transport.abort()
    # The server must have seen the loss before this app returns without an answer.
    for _ in range(3):
        await asyncio.sleep(0)

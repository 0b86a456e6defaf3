"""One request and its reply through httpx, within one deadline. Nothing is tried twice here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlencode

import anyio
import httpx

from qbo_attach.core.model import Fault
from qbo_attach.core.ports import Clock
from qbo_attach.qbo.body import Body, BodyFailedError, HeldError
from qbo_attach.qbo.envelopes import masked
from qbo_attach.qbo.faults import CUT, NO_CONNECTION, TLS, UNREADABLE, QboError, error_for
from qbo_attach.qbo.privacy import mask_logs, require_private
from qbo_attach.qbo.wire import Reply, Request

REPLY_BYTES = 64 * 1024 * 1024
"""The longest reply that is taken: a page of 1,000 attachables has about 2 MiB."""
CONNECT_S = 20.0
_DOWNLOAD_TIMEOUT = httpx.Timeout(60.0, connect=CONNECT_S)
"""A download of any length is good as long as it moves."""
_KEEP_ALIVE_S = 20.0
"""Less than a server's usual minute: a connection closed under our request leaves it in doubt."""

T = TypeVar("T")


class _DeadlineError(Exception):
    """The reply did not come in time."""


class _TooLongError(Exception):
    """The reply is longer than any that is meant."""


class Exchange:
    """Sends requests to one base address, each within a deadline.

    Args:
        base_url: https, or http to this machine alone.
        clock: measures the deadline.
        transport: httpx's transport, or None for the network.
        deadline_s: seconds from sending to the reply's last byte.
        verify: whether the server's certificate is checked.

    Raises:
        SettingError: plain http to another machine.
    """

    def __init__(
        self,
        base_url: str,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        deadline_s: float = 120.0,
        verify: bool = True,
    ) -> None:
        local = require_private(base_url, "QBO_BASE_URL")
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._deadline_s = deadline_s
        mask_logs()
        self._transport = transport
        # A proxy set for the outside must not get what is meant for this machine.
        self._trust_env = not local
        # Reading the certificates takes longer than a request; without TLS they are not read.
        tls = verify and transport is None and base_url.startswith("https:")
        self._tls = httpx.create_ssl_context(verify=tls, trust_env=self._trust_env)
        self._lanes: list[httpx.AsyncClient] = []
        self._idle: list[httpx.AsyncClient] = []

    async def send(self, request: Request, token: str, body: Body | None = None) -> Reply:
        """Send once and read the whole reply, whatever its status.

        Raises:
            NotDoneError: no connection, or no byte of the body had left.
            InDoubtError: no reply in time, a cut, or a reply that is too long.
            StopError: the server's certificate is not to be trusted.
            BodyFailedError: a file could not be read.
        """
        with self._lane() as lane:
            outgoing = lane.build_request(
                request.method,
                self._url(request),
                headers=[*request.headers, ("Authorization", f"Bearer {token}")],
                content=request.body if body is None else body,
            )
            try:
                return await self._guarded(_reply(lane, outgoing), body)
            finally:
                if body is not None:
                    await body.aclose()

    async def download(self, url: str, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes behind a presigned address from one on, in pieces, without our token.

        Raises:
            SettingError: the address is not private.
            InDoubtError: the transfer was cut, or stood still for a minute.
            QboError: the address does not give the bytes.
        """
        require_private(url, "download address")
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with self._lane() as lane:
            try:
                async with lane.stream(
                    "GET", url, headers=headers, timeout=_DOWNLOAD_TIMEOUT
                ) as response:
                    skip = _to_skip(response, start)
                    async for piece in response.aiter_raw():
                        if skip < len(piece):
                            yield piece[skip:] if skip else piece
                        skip = max(0, skip - len(piece))
            except (httpx.HTTPError, OSError) as error:
                raise _transport_error(error, begun=True) from None

    async def aclose(self) -> None:
        """Close all connections."""
        for lane in self._lanes:
            await lane.aclose()

    def _url(self, request: Request) -> str:
        """Whole: httpx would parse the address once more for each part that it adds itself."""
        query = f"?{urlencode(request.query)}" if request.query else ""
        return f"{self._base_url}{request.path}{query}"

    @contextmanager
    def _lane(self) -> Iterator[httpx.AsyncClient]:
        """A connection of our own, the one used last first, so that the others may close.

        httpx's pool looks at all its connections, for each of them, at each request: with ten in
        flight that was a fifth of the whole CPU time.
        """
        lane = self._idle.pop() if self._idle else self._new_lane()
        try:
            yield lane
        finally:
            self._idle.append(lane)

    def _new_lane(self) -> httpx.AsyncClient:
        lane = httpx.AsyncClient(
            transport=self._transport,
            verify=self._tls,
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            limits=httpx.Limits(
                max_connections=2, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE_S
            ),
            headers={"User-Agent": "qbo-attach"},
            trust_env=self._trust_env,
        )
        self._lanes.append(lane)
        return lane

    async def _guarded(self, work: Coroutine[Any, Any, Reply], body: Body | None) -> Reply:
        """Within the deadline, with the library's errors told as ours."""
        try:
            return await within(self._clock, self._deadline_s, work)
        except HeldError as held:
            raise held.error from None
        except BodyFailedError as failed:
            raise failed from failed.cause  # httpcore takes the cause away
        except (
            httpx.HTTPError,
            httpx.StreamError,
            OSError,
            anyio.BrokenResourceError,
            anyio.ClosedResourceError,
            _DeadlineError,
            _TooLongError,
        ) as error:
            raise _transport_error(error, begun=body is None or body.begun) from error


def _to_skip(response: httpx.Response, start: int) -> int:
    """How many bytes of a download's answer were had before: none where it keeps to the Range."""
    status = response.status_code
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    if status == httpx.codes.OK:
        return start
    if status == httpx.codes.PARTIAL_CONTENT and start and begins:
        return 0
    said = "the download address does not give the file"
    raise error_for(Fault(str(status), said, status=status))


async def _reply(lane: httpx.AsyncClient, outgoing: httpx.Request) -> Reply:
    response = await lane.send(outgoing, stream=True)
    try:
        length, pieces = 0, []
        async for piece in response.aiter_bytes():
            length += len(piece)
            if length > REPLY_BYTES:
                raise _TooLongError
            pieces.append(piece)
    finally:
        await response.aclose()
    return Reply(response.status_code, dict(response.headers), b"".join(pieces))


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Await work, but end it after some seconds of a clock; it is over when this returns.

    Raises:
        _DeadlineError: the time is up.
    """
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        timer.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    if not task.cancelled() and task.exception() is None:
        return task.result()
    raise _DeadlineError(f"no answer within {seconds:g} s")


def _transport_error(error: Exception, *, begun: bool) -> QboError:
    """What the network did, as an error by recovery."""
    said = masked(str(error)) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return error_for(Fault(TLS, "the server's certificate is not to be trusted"))
    if isinstance(error, _TooLongError):
        return error_for(Fault(UNREADABLE, "its answer is too long"))
    never = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
    if isinstance(error, never) or not begun:
        return error_for(Fault(NO_CONNECTION, "no connection", detail=said))
    return error_for(Fault(CUT, "no whole answer", detail=said))

"""One realm: every request to it takes its turn, its token and its part in the waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

from qbo_attach.core.model import Fault
from qbo_attach.core.ports import Clock
from qbo_attach.qbo.body import Body
from qbo_attach.qbo.exchange import Exchange
from qbo_attach.qbo.faults import (
    INVALID_TOKEN,
    QUOTA,
    InDoubtError,
    NotDoneError,
    QboError,
    RefusedError,
    StopError,
    is_throttle,
)
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.qbo.wire import Reply, Request, read_download_answer, server_time

BATCH = "batch"
"""The kind of request that has a pace of its own beside that of all requests."""

THROTTLE_WAIT_S = 60.0
"""Intuit's advice after a 429 without Retry-After."""
_THROTTLE_JITTER_S = 5.0
_THROTTLE_WAITS = 3
"""As many waits in a row without a success between are taken for the monthly quota."""
_LONGEST_WAIT_S = 3_600.0
"""Told to wait longer than this, a run had better end."""
_LOCKED_WAIT_S = 30.0
"""Company locked or in maintenance (130 to 150)."""
_READ_TRIES = 6
_DOWNLOAD_TRIES = 4
_UNAUTHORIZED = 401
_REFUSED_TOKENS = 3
"""As many different tokens refused without a success between end the run."""

T = TypeVar("T")


def _may_heal(error: QboError) -> bool:
    """Whether what may be asked twice is worth asking again."""
    cut = isinstance(error, RefusedError) and error.is_cut
    return cut or isinstance(error, (NotDoneError, InDoubtError))


def _is_not_done(error: QboError) -> bool:
    return isinstance(error, NotDoneError)


class TokenSource(Protocol):
    """Where bearer tokens come from."""

    async def token(self) -> str:
        """A token that is good for at least the next minutes."""

    async def refreshed(self, stale: str) -> str:
        """Another token than the one that was just refused; raises StopError if there is none."""


class Realm:
    """Asks one realm, one request at a time's turn, and heeds what it says about waiting.

    Args:
        exchange: sends a request and reads its reply.
        tokens: bearer tokens.
        pacer: shared by all that talks to this realm.
        clock: time, for waits.
        chance: numbers in [0, 1) for jitter.
    """

    def __init__(
        self,
        exchange: Exchange,
        tokens: TokenSource,
        pacer: Pacer,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self.exchange = exchange
        self._tokens = tokens
        self._pacer = pacer
        self._clock = clock
        self._chance = chance
        self._throttle_waits = 0
        self._refused_tokens = 0
        self._refused_token = ""
        self.requests_sent: Counter[str] = Counter()
        self.clock_offset_s = 0.0
        self.wait_reason = ""
        """Why the realm was last paused: QBO's own words."""

    async def read(self, kind: str, request: Request, read: Callable[[Reply], T]) -> T:
        """Ask what may be asked twice without harm: again after what a wait may heal."""
        return await self._until_answered(kind, request, read, _may_heal)

    async def batch(
        self, request: Request, read: Callable[[Reply], T], last_check: Callable[[], None]
    ) -> T:
        """Ask with a batch: again after what was surely without effect, and after no doubt.

        Who sent the batch has a better way to settle its items than a second one.
        """
        return await self._until_answered(BATCH, request, read, _is_not_done, last_check)

    async def download(self, request: Request) -> AsyncIterator[bytes]:
        """The bytes behind the address that an answer tells, in pieces.

        A transfer that is cut goes on where it was, a few times, each with a fresh address: a
        metered read that waits for its slot like any other.
        """
        had = tries = 0
        while True:
            url = await self.read("read", request, read_download_answer)
            try:
                async with aclosing(self.exchange.download(url, had)) as pieces:
                    async for piece in pieces:
                        yield piece
                        had += len(piece)
            except (InDoubtError, NotDoneError):
                tries += 1
                if tries == _DOWNLOAD_TRIES:
                    raise
            else:
                return
            await self.pause_before_retry(tries)

    async def _until_answered(
        self,
        kind: str,
        request: Request,
        read: Callable[[Reply], T],
        again_after: Callable[[QboError], bool],
        last_check: Callable[[], None] = lambda: None,
    ) -> T:
        tries = 0
        while True:
            try:
                return await self.ask(kind, request, read, last_check=last_check)
            except QboError as error:
                if not again_after(error):
                    raise
                failed = error
            if is_throttle(failed.fault):
                continue  # the pacer waits, and the quota ends it
            tries += 1
            if tries == _READ_TRIES:
                raise failed
            if failed.retry_after_s is None:
                await self.pause_before_retry(tries)
            else:
                await self._clock.sleep(failed.retry_after_s)

    async def pause_before_retry(self, tries: int) -> None:
        """Wait after that many tries: about 1 s after the first, twice as long after each more."""
        await self._clock.sleep(2.0 ** (tries - 1) * (0.5 + self._chance()))

    async def ask(
        self,
        kind: str,
        request: Request,
        read: Callable[[Reply], T],
        body: Body | None = None,
        last_check: Callable[[], None] = lambda: None,
    ) -> T:
        """One slot, one request, one reply."""
        await self._tokens.token()  # a refresh must not use up a slot's moment
        async with self._pacer.batch_slot() if kind == BATCH else self._pacer.slot():
            token = await self._tokens.token()
            last_check()
            self.requests_sent[kind] += 1
            slot = self._clock.monotonic()
            reply = await self.exchange.send(request, token, body)
            self._note_time(reply)
            try:
                answer = read(reply)
            except QboError as error:
                failed = error
                if isinstance(error, NotDoneError):
                    self._wait_as_told(error, slot)
            else:
                self._throttle_waits = self._refused_tokens = 0
                return answer
        if reply.status == _UNAUTHORIZED and isinstance(failed, NotDoneError):
            await self._refresh(token, failed)
        raise failed

    def _wait_as_told(self, error: NotDoneError, slot: float) -> None:
        """Pause the realm where QBO asks for it.

        Raises:
            StopError: the throttle is not one that waiting heals.
        """
        fault = error.fault
        if fault.status == _UNAUTHORIZED:
            return
        if not is_throttle(fault):
            error.retry_after_s = error.retry_after_s or _LOCKED_WAIT_S
            self.wait_reason = str(fault)
            self._pacer.pause(error.retry_after_s)
            return
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = THROTTLE_WAIT_S + _THROTTLE_JITTER_S * self._chance()
        if slot >= self._pacer.paused_until:  # else it left before the last wait began
            self._throttle_waits += 1
        if self._throttle_waits > _THROTTLE_WAITS or wait_s > _LONGEST_WAIT_S:
            said = f"throttled again after {self._throttle_waits - 1} waits"
            if wait_s > _LONGEST_WAIT_S:
                said = f"told to wait {wait_s:.0f} s"
            raise StopError(
                Fault(QUOTA, said, str(fault), status=fault.status, intuit_tid=fault.intuit_tid)
            )
        error.retry_after_s = wait_s
        self.wait_reason = str(fault)
        self._pacer.pause(wait_s)

    async def _refresh(self, token: str, error: NotDoneError) -> None:
        """Get another token after a 401; several refused one after another end the run."""
        if token != self._refused_token:
            self._refused_token = token
            self._refused_tokens += 1
        if self._refused_tokens > _REFUSED_TOKENS:
            raise StopError(
                Fault(
                    INVALID_TOKEN,
                    "QBO refuses even fresh tokens",
                    str(error.fault),
                    status=_UNAUTHORIZED,
                    intuit_tid=error.fault.intuit_tid,
                )
            )
        await self._tokens.refreshed(token)
        error.retry_after_s = 0.0

    def _note_time(self, reply: Reply) -> None:
        server = server_time(reply.header("Date"))
        if server is not None:
            # The header's second began up to a second ago.
            self.clock_offset_s = (server - self._clock.utcnow()).total_seconds() + 0.5

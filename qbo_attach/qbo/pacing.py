"""Pace of all requests of one realm: evenly spaced, within Intuit's exact limits.

Limits: 500 requests in a minute per realm, 10 in a second and (2016 wording) 10 at one time; 40
batches in a minute.
https://developer.intuit.com/app/developer/qbo/docs/learn/limits-and-throttles
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timezone

from qbo_attach.core.ports import Clock

_WINDOW_S = 60.0

_CREDIT_S = 1.0
"""A slot that was granted late (a busy event loop, nobody asking) may be made up for within this
long, so that lateness does not add up to unused requests."""

_BATCH_CREDIT_S = 20.0
"""The same for batches. They are asked for in bouts, with waits for answers and looks between."""

_BATCHES, _FOR_REQUESTS = 39, 490
"""As many batches in a minute to as many requests: of 40 and 500 allowed, a little less."""

_SECOND_S = 1.1
"""`per_second` is kept in any window of this length: what leaves well apart may arrive closer."""

_GRAIN_S = 1e-6
"""Not worth a wait; a sum of floats may fall short of the sleep it came from by as little."""

_RESERVE = 49
"""The hard bound of a window lies this many parts above the spacing: 500 for 490."""


class SystemClock:
    """The machine's clock. Counts time in which the machine slept, where the system can tell."""

    def __init__(self) -> None:
        self._id: int | None = getattr(time, "CLOCK_BOOTTIME", None)

    def monotonic(self) -> float:
        """Seconds since start-up (Linux: suspended time included)."""
        return time.monotonic() if self._id is None else time.clock_gettime(self._id)

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(max(0.0, seconds))

    def utcnow(self) -> datetime:
        """Now, aware, UTC."""
        return datetime.now(timezone.utc)


class _Beat:
    """Moments that lie evenly apart, never more than `most` of them in any 60 s.

    Args:
        start: the first moment.
        interval_s: from one to the next.
        most: in any 60 s.
        credit_s: a moment taken late is made up for within this.
    """

    def __init__(self, start: float, interval_s: float, most: int, credit_s: float) -> None:
        self.due = start
        self.interval_s = interval_s
        self._credit_s = credit_s
        self._minute: deque[float] = deque(maxlen=most)

    def next(self) -> float:
        """The earliest moment that may be taken next."""
        if len(self._minute) < (self._minute.maxlen or 0):
            return self.due
        # Sent at t and at t + 60 exactly may be counted into one window.
        return max(self.due, self._minute[0] + _WINDOW_S + 0.001)

    def take(self, now: float) -> None:
        """Take a moment; it must not be earlier than `next` says."""
        self._minute.append(now)
        self.due = max(self.due + self.interval_s, now - self._credit_s)


class Pacer:
    """Slots for requests, in the order in which they were asked for.

    Slots lie evenly `60 / requests_per_min` seconds apart. At no time do more than
    `requests_per_min * 50 / 49` fall into any 60 s (500 for 490), more than `per_second` into any
    1 s, or are more than `in_flight` held. Of these slots, batches take 39 a minute at most for
    490 requests, and accordingly of more or fewer. Belongs to one event loop.

    Args:
        clock: tells the time.
        requests_per_min: slots in a minute.
        per_second: never more slots than this in any second.
        in_flight: never more slots held at one time.
    """

    def __init__(
        self,
        clock: Clock,
        requests_per_min: int = 490,
        per_second: int = 10,
        in_flight: int = 10,
    ) -> None:
        if min(requests_per_min, per_second, in_flight) < 1:
            raise ValueError("a pace needs at least one request a minute, a second and in flight")
        self._clock = clock
        self._in_flight = in_flight
        now = clock.monotonic()
        interval_s = max(_WINDOW_S / requests_per_min, _SECOND_S / per_second)
        most = requests_per_min + requests_per_min // _RESERVE
        self._requests = _Beat(now, interval_s, most, _CREDIT_S)
        batches = max(1, requests_per_min * _BATCHES // _FOR_REQUESTS)
        self._batches = _Beat(now, _WINDOW_S / batches, batches, _BATCH_CREDIT_S)
        self._second: deque[float] = deque(maxlen=per_second)
        self._turn = asyncio.Lock()
        self._batch_turn = asyncio.Lock()
        self._landed = asyncio.Event()
        self.flying = 0
        """Slots held now."""
        self.sent = 0
        """Slots granted so far."""
        self.paused_until = now
        """No slot before this (the clock's monotonic seconds)."""

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for the next slot and a place in flight; the place is given back at the end."""
        async with self._turn:
            while self.flying >= self._in_flight:
                self._landed.clear()
                await self._landed.wait()
            await self._until(self._next)
            self._grant()
        try:
            yield
        finally:
            self.flying -= 1
            self._landed.set()

    @asynccontextmanager
    async def batch_slot(self) -> AsyncIterator[None]:
        """Wait for a slot that is also a batch's turn; both are taken at one moment."""
        async with AsyncExitStack() as held:
            async with self._batch_turn:
                await self._until(self._batches.next)
                await held.enter_async_context(self.slot())
                self._batches.take(self._clock.monotonic())
            yield

    def pause(self, seconds: float) -> None:
        """Grant no slot for that long from now (a 429); a longer pause already set stands."""
        self.paused_until = max(self.paused_until, self._clock.monotonic() + seconds)
        for beat in (self._requests, self._batches):
            beat.due = max(beat.due, self.paused_until)

    def slots_within(self, seconds: float) -> int:
        """How many slots fall into the next seconds, those included that others wait for now."""
        now = self._clock.monotonic()
        first = max(now, self._next())
        if first > now + seconds:
            return 0
        return int((now + seconds - first) / self._requests.interval_s) + 1

    async def _until(self, moment: Callable[[], float]) -> None:
        while (wait_s := moment() - self._clock.monotonic()) > _GRAIN_S:
            await self._clock.sleep(wait_s)

    def _next(self) -> float:
        """The earliest moment at which the next slot may be granted."""
        earliest = max(self._requests.next(), self.paused_until)
        if len(self._second) == self._second.maxlen:
            earliest = max(earliest, self._second[0] + _SECOND_S)
        return earliest

    def _grant(self) -> None:
        now = self._clock.monotonic()
        self._requests.take(now)
        self._second.append(now)
        self.flying += 1
        self.sent += 1

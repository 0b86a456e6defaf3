"""A clock that jumps: time passes only when nothing else can happen."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Coroutine
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

T = TypeVar("T")

_START = datetime(2026, 11, 24, 4, 0, tzinfo=timezone.utc)
_QUIET_TURNS = 30
"""Turns of the event loop after which nothing more will happen by itself (no I/O in play)."""
LONGEST_S = 24 * 3600.0
"""The longest work here ends within a quarter of an hour; what beats on after a day never ends."""


class VirtualClock:
    """Implements `core.ports.Clock`."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._start = self.now = now
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def utcnow(self) -> datetime:
        return _START + timedelta(seconds=self.now - self._start)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), future))
        await future

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end, jumping from timer to timer.

        Raises:
            AssertionError: the work never ends: nothing is left that could wake it, or it goes on
                for a day of this clock.
        """
        return asyncio.run(self._drive(work))

    async def _drive(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        give_up_at = self.now + LONGEST_S
        while not task.done():
            for _ in range(_QUIET_TURNS):
                await asyncio.sleep(0)
            if task.done():
                break
            self._jump(task, give_up_at)
        return await task

    def _jump(self, task: asyncio.Future[Any], give_up_at: float) -> None:
        """Let the next timer go off, or give `task` up."""
        if not self._timers:
            task.cancel()
            raise AssertionError("everything waits, and no timer is set")
        if self.now > give_up_at:
            task.cancel()
            raise AssertionError("the work goes on for a day, and does not end")
        moment, _, future = heapq.heappop(self._timers)
        if not future.done():
            self.now = max(self.now, moment)
            future.set_result(None)

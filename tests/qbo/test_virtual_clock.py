"""Work in virtual time ends, or the test that waits for it does."""

from __future__ import annotations

import asyncio

import pytest

from tests.matrix.doors import QuickClock
from tests.qbo.virtual_clock import VirtualClock


def test_time_passes_only_by_its_timers() -> None:
    clock = VirtualClock()

    async def work() -> float:
        await asyncio.gather(clock.sleep(3), clock.sleep(5))
        return clock.now

    assert clock.run(work()) == clock.now == 1_005


@pytest.mark.parametrize("kind", [VirtualClock, QuickClock])
def test_work_that_nothing_wakes_is_told(kind: type[VirtualClock]) -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="everything waits"):
        kind().run(work())


@pytest.mark.parametrize("kind", [VirtualClock, QuickClock])
def test_work_that_only_its_heartbeat_keeps_alive_is_told(kind: type[VirtualClock]) -> None:
    clock = kind()

    async def beat() -> None:
        while True:
            await clock.sleep(60)

    async def work() -> None:
        beating = asyncio.ensure_future(beat())
        await asyncio.Event().wait()
        beating.cancel()

    with pytest.raises(AssertionError, match="does not end"):
        clock.run(work())

"""A holder that was taken over from without proof, as the runs after the taker know it."""

from __future__ import annotations

import pytest

from qbo_attach.storage.holder import Life
from qbo_attach.storage.runlog import UNPROVEN_S
from tests.qbo.virtual_clock import VirtualClock
from tests.storage.test_runlog import MemorySegments, left_without_release, refused, runlog


@pytest.mark.parametrize(("ends", "waits"), [("released", True), ("killed", True), ("late", False)])
def test_a_holder_not_proven_gone_is_known_to_the_runs_after_the_one_that_took_over(
    ends: str, waits: bool
) -> None:
    clock = VirtualClock()
    segments = MemorySegments()

    async def work() -> None:
        await left_without_release(segments)
        start = clock.now
        taker = runlog(segments, clock)
        await taker.open()
        if ends == "killed":
            await taker.append([refused("b")])
        else:
            await taker.append([refused("b")])
            await taker.append_snapshot()
        if ends == "late":
            await clock.sleep(UNPROVEN_S)
        for _ in range(2):
            await clock.sleep(1.0)
            next_one = runlog(segments, clock, life=Life.GONE)
            await next_one.open()
            assert next_one.predecessor_unproven_since == (pytest.approx(start) if waits else None)
            await next_one.append([refused("c")], release=True)

    clock.run(work())

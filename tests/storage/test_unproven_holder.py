"""A holder that was taken over from without proof, as the runs after the taker know it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qbo_attach.core.chain import Holder, SegmentHeader
from qbo_attach.core.segments import encode_segment, segment_name
from qbo_attach.storage.holder import Life
from qbo_attach.storage.runlog import UNPROVEN_S, utc_text
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


@pytest.mark.parametrize("behind_s", [-3_600.0, 0.0, 200.0, 3_600.0])
def test_another_machines_clock_makes_no_unproven_holder_older(behind_s: float) -> None:
    clock = VirtualClock()
    segments = MemorySegments()

    async def work() -> None:
        theirs = clock.utcnow() - timedelta(seconds=behind_s)
        since = utc_text(theirs - timedelta(seconds=65))
        third = Holder("third-host", 7, "boot", "ns", "99")
        header = SegmentHeader(1, "b", third, utc_text(theirs), "", "n", unproven_since=since)
        segments.held[segment_name(1)] = encode_segment(header, [refused("b")])
        log = runlog(segments, clock)
        await log.open()
        assert log.predecessor_unproven_since == pytest.approx(clock.now - 65)
        await log.append([refused("c")], release=True)
        clock.now += 100.0
        after = runlog(segments, clock)
        await after.open()
        assert after.predecessor_unproven_since == pytest.approx(clock.now - 165, abs=0.1)

    clock.run(work())

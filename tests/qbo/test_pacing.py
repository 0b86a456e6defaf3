"""Pace: exact windows, evenly used, in order, whatever is cancelled."""

from __future__ import annotations

import asyncio
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.qbo.pacing import Pacer, SystemClock
from tests.qbo.virtual_clock import VirtualClock


def most_in_window(moments: list[float], window_s: float) -> int:
    """The largest number of moments in any half-open window of that length."""
    return max(
        (bisect_left(moments, start + window_s) - i for i, start in enumerate(moments)), default=0
    )


async def hold(pacer: Pacer, clock: VirtualClock, seconds: float, sent: list[float]) -> None:
    async with pacer.slot():
        sent.append(clock.now)
        await clock.sleep(seconds)


def test_steady_state_uses_the_pace_and_keeps_both_windows() -> None:
    clock, sent = VirtualClock(), list[float]()

    async def work() -> None:
        pacer = Pacer(clock)
        await asyncio.gather(*(hold(pacer, clock, 0.2, sent) for _ in range(1_500)))

    clock.run(work())
    minute = [t for t in sent if sent[0] + 60 <= t < sent[0] + 120]
    assert len(minute) >= 0.97 * 500
    assert most_in_window(sent, 60) <= 491
    assert most_in_window(sent, 1) <= 10


@settings(max_examples=40, deadline=None)
@given(
    stalls=st.lists(
        st.tuples(st.floats(0, 3), st.floats(0, 15), st.booleans()), min_size=5, max_size=30
    )
)
def test_bursts_and_stalls_never_exceed_a_window(stalls: list[tuple[float, float, bool]]) -> None:
    """Requests come in bursts, hold their place long or short, and the loop stalls between."""
    clock, sent, flying = VirtualClock(), list[float](), [0]
    most = [0]

    async def one(pacer: Pacer, seconds: float) -> None:
        async with pacer.slot():
            sent.append(clock.now)
            flying[0] += 1
            most[0] = max(most[0], flying[0])
            try:
                await clock.sleep(seconds)
            finally:
                flying[0] -= 1

    async def work() -> None:
        pacer, tasks = Pacer(clock), list[asyncio.Task[None]]()
        for hold_s, pause_s, cancels in stalls:
            new = [asyncio.create_task(one(pacer, hold_s)) for _ in range(25)]
            await clock.sleep(pause_s)
            clock.now += pause_s / 7  # the loop was busy: timers come late
            if cancels:
                new[3].cancel()
                new[-1].cancel()
            tasks += new
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pacer.flying == 0

    clock.run(work())
    assert most_in_window(sent, 60) <= 500
    assert most_in_window(sent, 1) <= 10
    assert most[0] <= 10


def test_a_late_wake_up_does_not_add_up_to_lost_slots() -> None:
    class Late(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds + 0.03 if seconds > 0 else seconds)

    clock, sent = Late(), list[float]()

    async def work() -> None:
        pacer = Pacer(clock)
        await asyncio.gather(*(hold(pacer, clock, 0.05, sent) for _ in range(1_000)))

    clock.run(work())
    assert (len(sent) - 1) / (sent[-1] - sent[0]) * 60 >= 0.97 * 500


def test_slots_are_granted_in_the_order_of_asking() -> None:
    clock, order = VirtualClock(), list[int]()

    async def one(pacer: Pacer, number: int) -> None:
        async with pacer.slot():
            order.append(number)
            await clock.sleep((number * 7) % 5)

    async def work() -> None:
        pacer = Pacer(clock, in_flight=3)
        await asyncio.gather(*(one(pacer, n) for n in range(40)))

    clock.run(work())
    assert order == list(range(40))


def test_a_cancelled_waiter_gives_its_turn_to_the_next() -> None:
    clock, sent = VirtualClock(), list[float]()

    async def work() -> None:
        pacer = Pacer(clock, in_flight=1)
        first = asyncio.create_task(hold(pacer, clock, 5, sent))
        await clock.sleep(1)
        waiter = asyncio.create_task(hold(pacer, clock, 5, sent))
        last = asyncio.create_task(hold(pacer, clock, 0, sent))
        await clock.sleep(1)
        waiter.cancel()
        await asyncio.gather(first, waiter, last, return_exceptions=True)
        assert (pacer.flying, pacer.sent) == (0, 2)

    clock.run(work())
    assert len(sent) == 2


def test_a_pause_holds_every_slot_even_those_waited_for() -> None:
    clock, sent = VirtualClock(), list[float]()

    async def work() -> None:
        pacer = Pacer(clock)
        tasks = [asyncio.create_task(hold(pacer, clock, 0, sent)) for _ in range(20)]
        await clock.sleep(0.5)
        pacer.pause(60)
        pacer.pause(5)  # a shorter one does not end the longer
        assert pacer.slots_within(59) == 0
        assert pacer.slots_within(61) == 9
        await asyncio.gather(*tasks)

    clock.run(work())
    start = sent[0]
    assert len([t for t in sent if t < start + 60.5]) == 5
    assert most_in_window(sent, 1) <= 10


def test_slots_within_tells_what_the_next_seconds_hold() -> None:
    clock = VirtualClock()

    async def work() -> None:
        pacer = Pacer(clock)
        assert pacer.slots_within(10) == 82
        foretold, sent = pacer.slots_within(5), list[float]()
        until = clock.now + 5
        await asyncio.gather(*(hold(pacer, clock, 0, sent) for _ in range(100)))
        assert len([t for t in sent if t <= until]) == foretold

    clock.run(work())


def test_a_slower_pace_keeps_its_own_window() -> None:
    clock, sent = VirtualClock(), list[float]()

    async def work() -> None:
        pacer = Pacer(clock, requests_per_min=60)
        await asyncio.gather(*(hold(pacer, clock, 0, sent) for _ in range(150)))

    clock.run(work())
    assert most_in_window(sent, 60) <= 61


async def batch(pacer: Pacer, clock: VirtualClock, seconds: float, sent: list[float]) -> None:
    async with pacer.batch_slot():
        sent.append(clock.now)
        await clock.sleep(seconds)


def test_batches_have_a_pace_of_their_own_and_leave_the_other_slots_to_the_others() -> None:
    clock, batches, others = VirtualClock(), list[float](), list[float]()

    async def work() -> None:
        pacer = Pacer(clock)

        async def other() -> None:
            while len(batches) < 120:
                await hold(pacer, clock, 0.2, others)

        await asyncio.gather(
            *(batch(pacer, clock, 0.2, batches) for _ in range(120)), *(other() for _ in range(6))
        )

    clock.run(work())
    assert most_in_window(batches, 60) == 39
    assert (len(batches) - 1) / (batches[-1] - batches[0]) * 60 >= 38
    assert most_in_window(sorted(batches + others), 60) <= 500
    assert most_in_window(sorted(batches + others), 1) <= 10
    minute = [t for t in others if others[0] + 60 <= t < others[0] + 120]
    assert len(minute) >= 0.97 * 490 - 39


@settings(max_examples=40, deadline=None)
@given(
    stalls=st.lists(
        st.tuples(st.floats(0, 8), st.floats(0, 90), st.booleans()), min_size=4, max_size=12
    )
)
def test_bouts_of_batches_never_exceed_a_window(stalls: list[tuple[float, float, bool]]) -> None:
    """Bouts after waits long and short, some given up, some amid a pause of the realm."""
    clock, sent = VirtualClock(), list[float]()

    async def work() -> None:
        pacer, tasks = Pacer(clock), list[asyncio.Task[None]]()
        for hold_s, wait_s, disturbs in stalls:
            new = [asyncio.create_task(batch(pacer, clock, hold_s, sent)) for _ in range(20)]
            new += [asyncio.create_task(hold(pacer, clock, hold_s, [])) for _ in range(5)]
            await clock.sleep(wait_s)
            if disturbs:
                new[3].cancel()
                new[19].cancel()
                pacer.pause(wait_s / 3)
            tasks += new
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pacer.flying == 0

    clock.run(work())
    assert most_in_window(sent, 60) <= 39


def test_a_batch_that_waited_through_a_pause_counts_when_it_leaves() -> None:
    clock, sent = VirtualClock(), list[float]()

    async def work() -> None:
        pacer = Pacer(clock)
        pacer.pause(60)
        start = clock.now
        await asyncio.gather(*(batch(pacer, clock, 0, sent) for _ in range(80)))
        assert sent[0] >= start + 60

    clock.run(work())
    assert most_in_window(sent, 60) == 39
    assert sent[1] - sent[0] >= 1.5  # no bout after a throttle


def test_a_wait_between_bouts_of_batches_is_made_up_for() -> None:
    clock, sent = VirtualClock(), list[float]()

    async def work() -> None:
        pacer = Pacer(clock)
        for _ in range(40):
            await asyncio.gather(*(batch(pacer, clock, 1, sent) for _ in range(4)))
            await clock.sleep(4)

    clock.run(work())
    assert (len(sent) - 1) / (sent[-1] - sent[0]) * 60 >= 37


@pytest.mark.parametrize(("requests_per_min", "most"), [(500, 39), (245, 19), (10, 1)])
def test_batches_keep_to_the_share_of_a_pace_that_was_set(requests_per_min: int, most: int) -> None:
    clock, sent = VirtualClock(), list[float]()

    async def work() -> None:
        pacer = Pacer(clock, requests_per_min)
        await asyncio.gather(*(batch(pacer, clock, 0, sent) for _ in range(3 * most)))

    clock.run(work())
    assert most_in_window(sent, 60) == most


@pytest.mark.parametrize("name", ["requests_per_min", "per_second", "in_flight"])
def test_a_pace_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Pacer(VirtualClock(), **{name: 0})


async def test_the_system_clock_goes_on_and_sleeps() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.01)
    await clock.sleep(-1)
    assert clock.monotonic() - before >= 0.009
    assert clock.utcnow().tzinfo is not None

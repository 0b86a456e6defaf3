"""How many requests a minute leave, and how many segments they cost, in virtual time."""

from __future__ import annotations

import asyncio

from qbo_attach.core.chain import GroupFile
from qbo_attach.engine.session import UploadSession
from tests.engine.test_session import World, file, outcomes

FILES, GROUP, BATCH = 6_000, 10, 500
PER_MINUTE = 490


async def _batches(session: UploadSession, files: list[GroupFile]) -> None:
    """Two batches at a time, as the stages hand them in."""
    waiting = iter([files[at : at + BATCH] for at in range(0, len(files), BATCH)])

    async def hand_in() -> None:
        for batch in waiting:
            await session.submit(batch)

    await asyncio.gather(hand_in(), hand_in())


def test_the_rate_does_not_sag_at_a_batchs_end_and_segments_stay_few() -> None:
    world = World()
    files = [file(number) for number in range(FILES)]
    took: list[float] = []

    async def all_sent() -> UploadSession:
        session = await world.session(GROUP)
        began = world.clock.now
        await _batches(session, files)
        took.append(world.clock.now - began)
        await session.finish(lambda: dict(outcomes(session)))
        return session

    session = world.clock.run(all_sent())
    requests = FILES // GROUP
    assert outcomes(session) == {"success": FILES}
    assert world.company.requests_sent == {"upload": requests}
    # At least 97 of 100 requests that the pace allows.
    assert requests / (took[0] / 60) >= 0.97 * PER_MINUTE
    # 17,000 requests are to make at most 1,000 segments.
    assert len(world.segments.held) <= requests / 17 + 5

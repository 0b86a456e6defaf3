"""The order of intent, first byte, answer, look and resend, seen from the wire and the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from qbo_attach.core.chain import Intent, Looked, Recorded
from qbo_attach.core.segments import decode_segment
from qbo_attach.engine.ports import SourceState
from qbo_attach.engine.session import UploadSession, interrupted
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.values import Head
from qbo_attach.storage.holder import Life
from tests.matrix.world import World

SETTLE_S = 120.0


def upload(kind: str, *numbers: int, **more: object) -> Rule:
    return Rule(kind, "upload", numbers=numbers, **more)  # type: ignore[arg-type]  # by name


def records(world: World) -> list[object]:
    return [
        record
        for name in sorted(world.segments.held)
        for record in decode_segment(world.segments.held[name], name)[1]
    ]


def durable_intents(world: World) -> dict[str, Intent]:
    """The newest durable intent of each requestid."""
    return {one.request_id: one for one in records(world) if isinstance(one, Intent)}


def requestid(head: Head) -> str:
    return head.parameters().get("requestid", "")


def looks(world: World) -> list[Looked]:
    return [one for one in records(world) if isinstance(one, Looked)]


class Watched:
    """Keeps, of each upload that reaches the wire, when it came and the intent it had by then."""

    def __init__(self, world: World) -> None:
        self.seen: list[tuple[datetime, str, Intent | None]] = []
        self._world = world
        world.wire.before = self._told

    def _told(self, head: Head) -> None:
        if head.path.endswith("/upload"):
            one = requestid(head)
            now = self._world.clock.utcnow()
            self.seen.append((now, one, durable_intents(self._world).get(one)))

    @property
    def requestids(self) -> list[str]:
        return [one for _, one, _ in self.seen]


def slowly(world: World, seconds: float) -> None:
    """Let each segment take its time until it is durable."""
    create_once = world.segments.create_once

    async def later(name: str, data: bytes) -> bool:
        await world.clock.sleep(seconds)
        return await create_once(name, data)

    world.segments.create_once = later  # type: ignore[method-assign]  # a slower store


def test_no_request_leaves_before_its_intent_is_durable_however_slow_the_store_is() -> None:
    world = World(6)
    slowly(world, 3.0)
    watched = Watched(world)
    assert world.run(2).counts == {"success": 6}
    assert len(watched.seen) == 3
    assert all(intent is not None for _, _, intent in watched.seen)


def test_a_group_that_must_wait_gets_a_renewed_intent_before_its_first_byte() -> None:
    """After a 429 the wait is longer than what an intent may be old at the first byte."""
    world = World(4, [upload("429", 1, retry_after="90")])
    watched = Watched(world)
    assert world.run(1).counts == {"success": 4}
    for moment, _, intent in watched.seen:
        assert intent is not None
        assert moment <= datetime.fromisoformat(intent.send_by.replace("Z", "+00:00"))


def test_a_renewed_intent_keeps_its_requestid() -> None:
    world = World(1, [upload("429", 1, retry_after="90")])
    watched = Watched(world)
    world.run(1)
    assert len(watched.seen) == 2
    assert len(set(watched.requestids)) == 1


def test_a_burst_of_throttles_is_waited_out_however_many_requests_were_in_flight() -> None:
    """Ten were on their way when the first 429 came: one wait, and no failures in a row."""
    world = World(20, [upload("429", *range(1, 10))], switches={"latency_ms": 5_000.0})
    result = world.run(1)
    assert result.stopped is None
    assert result.counts == {"success": 20}


@pytest.mark.parametrize("per_request", [1, 3])
def test_an_upload_that_comes_after_the_resend_is_not_doubled_where_requestids_are_honoured(
    per_request: int,
) -> None:
    """The first request takes effect only after a settled look found nothing."""
    late = upload("late_commit", 1, seconds=SETTLE_S + 60)
    world = World(per_request, [late])
    watched = Watched(world)
    world.run(per_request)
    world.clock.now += SETTLE_S
    world.heal()
    world.run(per_request)
    assert len(set(watched.requestids)) == 1
    assert (world.lost, world.doubled) == (0, 0)


@pytest.mark.parametrize("kind", ["cut_after", "late_commit"])
def test_nothing_is_sent_again_within_the_settle_time_and_without_a_look(kind: str) -> None:
    """The company does not know the requestid any more, so that only the look protects."""
    rule = upload(kind, 1, seconds=SETTLE_S - 20)
    world = World(1, [rule], switches={"replay": "off"})
    watched = Watched(world)
    assert world.run(1).counts == {"adopted": 1}
    assert len(watched.seen) == 1
    assert world.doubled == 0


def test_a_new_requestid_is_taken_only_after_three_settled_looks() -> None:
    world = World(1, [upload("cut_before", *range(1, 4))])
    watched = Watched(world)
    assert world.run(1).counts == {"success": 1}
    assert len(watched.seen) == 4
    assert len(set(watched.requestids[:3])) == 1
    assert watched.requestids[3] != watched.requestids[0]
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(watched.seen)]
    assert all(gap >= timedelta(seconds=SETTLE_S) for gap in gaps)


def test_a_source_that_changed_is_looked_for_and_never_sent_again() -> None:
    world = World(1, [upload("cut_before", 1)])
    world.sources.states[world.files[0].path] = SourceState.CHANGED
    watched = Watched(world)
    result = world.run(1)
    assert result.counts == {"source_changed": 1}
    assert len(watched.seen) == 1
    assert [look.settled for look in looks(world)] == [True] * 3
    moments = [datetime.fromisoformat(look.at.replace("Z", "+00:00")) for look in looks(world)]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert all(gap >= timedelta(seconds=SETTLE_S) for gap in gaps)


def test_an_item_that_the_answer_leaves_out_is_looked_for_not_taken_for_done() -> None:
    """It was never made: the answer has two items for three files."""
    world = World(3, [upload("item_fault", 1, item=2, code="600")])
    result = world.run(3)
    assert result.requests["query"] >= 1
    assert result.counts == {"success": 3}
    assert world.lost == 0


def test_what_is_left_of_a_group_in_part_at_qbo_goes_under_a_new_requestid() -> None:
    world = World(4, [upload("cut_during", 1, item=1)])
    watched = Watched(world)
    assert world.run(4).counts == {"adopted": 1, "success": 3}
    assert len(set(watched.requestids)) == 2
    assert (world.lost, world.doubled) == (0, 0)


@pytest.mark.parametrize("kind", ["fault_200", "403"])
def test_a_resend_that_is_stopped_stays_in_doubt(kind: str) -> None:
    """Its first sending may still have its effect: it must not be taken for not sent."""
    rules = [
        upload("late_commit", 1, seconds=SETTLE_S + 30),
        upload(kind, 2),
    ]
    world = World(1, rules, switches={"replay": "off"})
    first = world.run(1)
    assert first.counts == {"in_doubt": 1}
    world.heal()
    world.clock.now += 60
    assert world.run(1).counts == {"adopted": 1}
    assert world.doubled == 0


@pytest.mark.parametrize("at_s", [0.0, 20.0], ids=["at_once", "when_some_are_done"])
def test_attachments_handed_in_twice_are_sent_once(at_s: float) -> None:
    world = World(3, [upload("429", 3, retry_after="30")])

    async def again(session: UploadSession) -> None:
        await world.clock.sleep(at_s)
        await session.submit(world.files)

    world.run(1, again)
    assert (world.lost, world.doubled) == (0, 0)
    assert world.company.ledger()["requests"]["upload"] == 4


class Interrupting:
    """Stops the session at a moment."""

    def __init__(self, world: World, at_s: float) -> None:
        self._world, self._at_s = world, at_s

    async def __call__(self, session: UploadSession) -> None:
        await self._world.clock.sleep(self._at_s)
        session.stop(interrupted("SIGTERM"))


def test_a_request_that_hangs_when_the_run_is_stopped_stays_in_doubt() -> None:
    """It had its effect, and the drain ends before its deadline."""
    world = World(2, [upload("hang", 1)])
    first = world.run(1, Interrupting(world, 5.0))
    assert first.counts == {"in_doubt": 1, "success": 1}
    world.heal()
    assert world.run(1).counts == {"adopted": 1, "skipped_already_uploaded": 1}
    assert (world.lost, world.doubled) == (0, 0)


def test_groups_that_wait_for_their_slot_when_the_run_is_stopped_are_not_in_doubt() -> None:
    """A throttle pauses the realm for longer than the drain: nothing of them has left."""
    world = World(4, [upload("429", 2, retry_after="300")])
    first = world.run(1, Interrupting(world, 100.0))
    assert first.counts.get("in_doubt", 0) == 0
    assert {o.outcome for o in records(world) if isinstance(o, Recorded)} == {"success", "not_sent"}
    world.heal()
    second = world.run(1)
    assert "query" not in second.requests
    assert (world.lost, world.doubled) == (0, 0)


def no_more(name: str) -> None:
    """A process that has ended writes nothing."""
    raise OSError(name)


def test_a_taken_over_group_is_not_sent_before_its_sender_must_have_ended() -> None:
    """The process before is not proven dead: its request may have its effect until `send_by`
    plus the deadline, and be shown until a settle time later."""
    world = World(1, [upload("hang_before", 1)])

    async def crash(session: UploadSession) -> None:
        await world.clock.sleep(1.0)
        world.segments.before_create = no_more
        session.stop(interrupted("a crash"))

    world.run(1, crash)
    world.segments.before_create = lambda _: None
    world.heal()
    world.predecessor = Life.UNKNOWN
    watched = Watched(world)
    taken_at = world.clock.utcnow()
    assert world.run(1).counts == {"success": 1}
    (moment, _, _), *_ = watched.seen
    assert moment - taken_at >= timedelta(seconds=60 + 120 + SETTLE_S)

"""The upload session against a company in memory, in virtual time: faults, late commits, crashes."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.core.chain import GroupFile, RunStarted
from qbo_attach.core.errors import LeaseLostError
from qbo_attach.core.model import Attachable, Fault
from qbo_attach.engine.ports import SourceState
from qbo_attach.engine.session import SessionOptions, UploadSession, interrupted
from qbo_attach.qbo.body import BodySource
from qbo_attach.qbo.faults import InDoubtError, NotDoneError, RefusedError, StopError
from qbo_attach.qbo.multipart import UploadPart
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.qbo.wire import ItemAnswer, UploadAnswer
from qbo_attach.storage.holder import Life
from qbo_attach.storage.place import read_each
from tests.qbo.virtual_clock import VirtualClock
from tests.storage.test_runlog import MemorySegments, runlog

SETTLE_S = 120.0
AT = "2026-01-05T08:00:00Z"
STARTED = RunStarted("run", AT, "77", "sandbox", "Company", "files", "disk", "1")
FAULT = Fault("999", "as the test wants it", status=400)
_IDS = itertools.count()


class CrashError(Exception):
    """The process ends here."""


def file(number: int) -> GroupFile:
    return GroupFile(
        f"key{number}",
        f"x/{number}.pdf",
        f"{number}.pdf",
        "application/pdf",
        3,
        AT,
        "",
        "Bill",
        str(number),
    )


@dataclass
class Company:
    """Implements engine.ports.Company. `fates`: what becomes of each upload; then all go well.

    `lost`: done, no answer. `late`: done after a while, no answer. `never`: not done, no answer.
    """

    clock: VirtualClock
    fates: deque[str] = field(default_factory=deque)
    held: list[tuple[float, Attachable]] = field(default_factory=list)
    answered: dict[str, UploadAnswer] = field(default_factory=dict)
    requests_sent: dict[str, int] = field(default_factory=Counter)
    request_ids: Counter[str] = field(default_factory=Counter)
    clock_offset_s: float = 0.0
    before_upload: Callable[[str], None] = lambda _: None
    crashed: bool = False

    async def upload(
        self,
        parts: Sequence[UploadPart],
        bodies: Sequence[BodySource],
        *,
        request_id: str,
        boundary: str,  # noqa: ARG002 - the protocol's
        before_first_byte: Callable[[], None],
    ) -> UploadAnswer:
        await self.clock.sleep(0.1)
        before_first_byte()
        self.before_upload(request_id)
        self.requests_sent["upload"] += 1
        self.request_ids[request_id] += 1
        for body in bodies:
            async for _ in body():
                pass
        await self.clock.sleep(0.2)
        fate = self.fates.popleft() if self.fates else "done"
        if fate in ("never", "not_done", "refused", "stop"):
            raise {
                "never": InDoubtError,
                "not_done": NotDoneError,
                "refused": RefusedError,
                "stop": StopError,
            }[fate](FAULT)
        if fate == "crash_before":
            self._crash()
        answer = self.answered.get(request_id) or self._commit(
            parts, request_id, late=fate == "late"
        )
        if fate == "crash":
            self._crash()
        if fate in ("lost", "late"):
            raise InDoubtError(FAULT)
        return answer

    def _crash(self) -> NoReturn:
        self.crashed = True
        raise CrashError

    def _commit(self, parts: Sequence[UploadPart], request_id: str, *, late: bool) -> UploadAnswer:
        shown_at = self.clock.now + (SETTLE_S - 1 if late else 0)
        made = [
            Attachable(
                str(next(_IDS)),
                part.file_name,
                part.size_bytes,
                part.refs,
                part.marker,
                created_at=AT,
            )
            for part in parts
        ]
        self.held += [(shown_at, one) for one in made]
        self.answered[request_id] = UploadAnswer(
            tuple(ItemAnswer(one) for one in made), 200, "t", ""
        )
        return self.answered[request_id]

    async def attachables_by_marker(self, markers: Sequence[str]) -> list[Attachable]:
        self.requests_sent["query"] += 1
        return [one for one in self.shown() if one.tag in markers]

    async def attachables_of(self, entity_type: str, ids: Sequence[str]) -> list[Attachable]:
        return [
            one
            for one in self.shown()
            if any(ref.type == entity_type and ref.id in ids for ref in one.refs)
        ]

    def shown(self) -> list[Attachable]:
        return [one for at, one in self.held if at <= self.clock.now]

    async def aclose(self) -> None:
        return None


class Sources:
    """Files of three bytes, all unchanged."""

    async def pieces(self, file: GroupFile) -> AsyncIterator[bytes]:  # noqa: ARG002 - the protocol's
        yield b"abc"

    async def read_all(self, files: Sequence[GroupFile]) -> list[bytes | Exception]:
        return await read_each(self.pieces, files)

    async def state(self, file: GroupFile) -> SourceState:  # noqa: ARG002 - the protocol's
        return SourceState.UNCHANGED


class World:
    """A clock, a run log and a company that outlive the runs."""

    def __init__(self, *fates: str) -> None:
        self.clock = VirtualClock()
        self.segments = MemorySegments()
        self.company = Company(self.clock, deque(fates))
        self.files = [file(n) for n in range(7)]
        self.sources = Sources()
        self.marker = "tag"
        self.unproven_for_s = 0.0
        """How long ago a holder was first seen that is not proven gone; 0: there is none."""
        self.segments.before_create = self._unless_crashed

    def _unless_crashed(self, _: str) -> None:
        """A process that ended writes nothing more."""
        if self.company.crashed:
            raise OSError("the process has ended")

    async def session(self, per_request: int = 3) -> UploadSession:
        self.company.crashed = False
        log = runlog(self.segments, self.clock, life=Life.GONE)
        await log.open()
        if self.unproven_for_s:
            log.predecessor_unproven_since = self.clock.monotonic() - self.unproven_for_s
        session = UploadSession(
            clock=self.clock,
            log=log,
            company=self.company,
            sources=self.sources,
            pacer=Pacer(self.clock, 490),
            options=SessionOptions("run", per_request, marker=self.marker, settle_s=SETTLE_S),
            new_id=lambda: f"id{next(_IDS)}",
        )
        await session.start([STARTED])
        return session

    async def _run(self) -> UploadSession:
        session = await self.session()
        left = [f for f in self.files if not session.log.history.holds(f.key)]
        try:
            await self._work(session, left)
        except OSError:
            if not self.company.crashed:
                raise
        return session

    async def _work(self, session: UploadSession, left: list[GroupFile]) -> None:
        try:
            await session.submit(left)
        except Exception as error:
            if error is not session.stopped:
                raise
        await session.finish(lambda: dict(outcomes(session)))

    def run(self) -> UploadSession:
        return self.clock.run(self._run())

    def request_ids(self) -> Counter[str]:
        """How often each requestid went out, in the order of their first time."""
        return self.company.request_ids

    def held(self) -> Counter[str]:
        return Counter(one.tag for _, one in self.company.held)

    @property
    def once(self) -> Counter[str]:
        return Counter(one.key for one in self.files)


def outcomes(session: UploadSession) -> Counter[str]:
    return Counter(session.ended.values())


def test_all_files_are_sent_once_in_full_groups_and_the_lease_is_released() -> None:
    world = World()
    session = world.run()
    assert outcomes(session) == {"success": 7}
    assert world.company.requests_sent == {"upload": 3}
    assert world.held() == world.once
    assert b'"lease_until":""' in world.segments.held[max(world.segments.held)]


def test_a_second_run_sends_nothing() -> None:
    world = World()
    world.run()
    world.run()
    assert world.company.requests_sent == {"upload": 3}


def test_the_intent_is_durable_before_the_first_byte() -> None:
    world = World()
    seen: list[bool] = []
    world.company.before_upload = lambda request_id: seen.append(
        any(
            f'"intent","request_id":"{request_id}"'.encode() in data
            for data in world.segments.held.values()
        )
    )
    world.run()
    assert seen == [True, True, True]


@pytest.mark.parametrize("fate", ["lost", "late"])
def test_a_group_whose_answer_got_lost_is_adopted_and_not_sent_again(fate: str) -> None:
    world = World(fate)
    session = world.run()
    assert outcomes(session) == {"adopted": 3, "success": 4}
    assert world.company.requests_sent["upload"] == 3
    assert world.held() == world.once


def test_a_group_that_never_arrived_is_sent_again_only_after_a_settled_look() -> None:
    world = World("never")
    start = world.clock.now
    session = world.run()
    assert outcomes(session) == {"success": 7}
    assert world.clock.now - start >= SETTLE_S
    assert world.held() == world.once


def test_a_group_that_never_arrives_goes_anew_after_three_looks_and_is_left_in_doubt_at_last() -> (
    None
):
    world = World(*["done"] * 2, *["never"] * 30)
    session = world.run()
    assert outcomes(session)["success"] == 6
    assert len(session.log.history.doubts) == 1
    world.company.fates.clear()
    world.run()
    assert world.held() == world.once


def test_a_refused_group_goes_in_halves_until_the_bad_file_is_alone() -> None:
    world = World("refused", "done", "done", "refused", "refused")
    session = world.run()
    assert outcomes(session)["error"] == 1
    assert outcomes(session)["success"] == 6
    assert sum(world.held().values()) == 6


def test_what_was_not_done_is_sent_again_without_a_look() -> None:
    world = World("not_done")
    session = world.run()
    assert outcomes(session) == {"success": 7}
    assert world.company.requests_sent == {"upload": 4}


def test_connections_that_fail_again_and_again_end_the_run_and_the_next_goes_on() -> None:
    world = World(*["not_done"] * 40)
    session = world.run()
    assert "in a row" in str(session.stopped)
    assert session.log.history.doubts == {}
    world.company.fates.clear()
    assert outcomes(world.run()) == {"success": 7}


def test_a_fault_that_needs_a_person_stops_the_run_and_nothing_is_lost() -> None:
    world = World("done", "stop")
    session = world.run()
    assert isinstance(session.stopped, StopError)
    world.run()
    assert world.held() == world.once


def test_an_interrupted_run_sends_nothing_more_and_the_next_goes_on() -> None:
    world = World()

    async def work() -> UploadSession:
        session = await world.session(1)
        world.company.before_upload = lambda _: session.stop(interrupted("SIGTERM"))
        with pytest.raises(Exception, match="SIGTERM"):
            await session.submit(world.files)
        await session.finish(dict)
        return session

    session = world.clock.run(work())
    assert world.company.requests_sent == {"upload": 1}
    assert session.log.history.doubts == {}
    world.company.before_upload = lambda _: None
    world.run()
    assert world.held() == world.once


def test_a_run_that_lost_its_lease_sends_nothing_more() -> None:
    world = World()

    async def work() -> UploadSession:
        session = await world.session()
        world.segments.held["00000002.jsonl"] = b"of another run"
        with pytest.raises(LeaseLostError):
            await session.submit(world.files)
        await session.finish(dict)
        return session

    session = world.clock.run(work())
    assert isinstance(session.stopped, LeaseLostError)
    assert world.company.requests_sent == {}
    assert sorted(world.segments.held) == ["00000001.jsonl", "00000002.jsonl"]


FATES = st.sampled_from(
    ["done", "lost", "late", "never", "not_done", "refused", "stop", "crash", "crash_before"]
)


@given(st.lists(FATES, max_size=12))
@settings(max_examples=150, deadline=None)
def test_no_file_is_doubled_and_none_lost_whatever_happens_on_the_way(fates: list[str]) -> None:
    world = World(*fates)
    for _ in range(len(fates) + 2):
        session = world.run()
        history = session.log.history
        if session.stopped is None and not history.doubts and not history.refused:
            break
    assert world.held() == world.once

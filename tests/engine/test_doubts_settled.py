"""Groups in doubt, looked at under another QBO_MARKER than they were sent with, or side by side."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.model import Attachable, Fault
from qbo_attach.engine.ports import SourceState
from qbo_attach.engine.session import UploadSession
from qbo_attach.qbo.faults import RefusedError
from tests.engine.test_session import AT, SETTLE_S, Company, Sources, World, file, outcomes


@dataclass
class MarkingCompany(Company):
    """Keeps the marker in the field that is set, and is asked by that one, as QboClient does."""

    field_name: str = "tag"

    async def attachables_by_marker(self, markers: Sequence[str]) -> list[Attachable]:
        self.requests_sent["query"] += 1
        if self.field_name == "none":
            return []
        return [one for one in self.shown() if getattr(one, self.field_name) in markers]

    def mark_in(self, field_name: str) -> None:
        """From now on; what is there carries the marker where it was set before."""
        if self.field_name == "note":
            self.held = [(at, replace(one, tag="", note=one.tag)) for at, one in self.held]
        self.field_name = field_name


class MarkingWorld(World):
    def __init__(self, marker: str, *fates: str) -> None:
        super().__init__(*fates)
        self.marker = marker
        self.company: MarkingCompany = MarkingCompany(
            self.clock, self.company.fates, field_name=marker
        )

    def change_marker(self, marker: str) -> None:
        self.company.mark_in(marker)
        self.marker = marker


@pytest.mark.parametrize(("before", "after"), [("tag", "none"), ("tag", "note"), ("note", "tag")])
def test_what_arrived_is_adopted_whatever_the_marker_is_since(before: str, after: str) -> None:
    world = MarkingWorld(before, "crash")
    world.run()
    world.change_marker(after)
    session = world.run()
    assert outcomes(session)["adopted"] >= 3
    assert not session.log.history.doubts
    assert len(world.company.held) == 7
    assert set(world.request_ids().values()) == {1}


@pytest.mark.parametrize("after", ["none", "note"])
def test_what_never_arrived_goes_anew_after_three_looks_when_the_marker_is_another(
    after: str,
) -> None:
    world = MarkingWorld("tag", "crash_before")
    world.run()
    world.change_marker(after)
    began = world.clock.now
    session = world.run()
    assert not session.log.history.doubts
    assert len(world.company.held) == 7
    assert world.clock.now - began >= 3 * SETTLE_S
    assert set(world.request_ids().values()) == {1}, "with another body it is another request"


class ForgetfulCompany(Company):
    """Takes markers, and finds nothing by them: it shows them only (or not even that)."""

    shows: bool = True
    made_at: str = "2026-11-24T04:00:01Z"

    async def attachables_by_marker(self, markers: Sequence[str]) -> list[Attachable]:
        await super().attachables_by_marker(markers)
        return []

    def shown(self) -> list[Attachable]:
        made = (replace(one, created_at=self.made_at) for one in super().shown())
        return [one if self.shows else replace(one, tag="") for one in made]


@pytest.mark.parametrize("shows", [True, False])
def test_what_the_marker_does_not_find_is_looked_for_at_its_entity_before_it_goes_anew(
    shows: bool,
) -> None:
    fates = ["lost", *["done"] * 2, "never", "never"]
    world = World()
    world.company = ForgetfulCompany(world.clock, deque(fates))
    world.company.shows = shows
    session = world.run()
    told = "adopted" if shows else "already_in_qbo"  # without its marker it may be a person's
    assert outcomes(session) == {"success": 4, told: 3}
    assert world.held() == world.once
    rows = [session.log.history.rows.at_key(f"key{n}") for n in range(3)]
    assert [bool(row and row.sha256) for row in rows] == [shows] * 3, "nobody has read it"


class NoQueryByEntity(Company):
    """Answers queries by marker alone."""

    refuses: bool = True

    async def attachables_of(self, entity_type: str, ids: Sequence[str]) -> list[Attachable]:
        if self.refuses:
            raise RefusedError(Fault("4001", "no such query", status=400))
        return await super().attachables_of(entity_type, ids)


def test_where_the_entities_cannot_be_asked_nothing_goes_anew_and_the_rest_is_adopted() -> None:
    world = World()
    fates = ["never", "lost", "done", *["never"] * 2]
    world.company = company = NoQueryByEntity(world.clock, deque(fates))
    session = world.run()
    assert isinstance(session.stopped, RefusedError)
    assert outcomes(session) == {"success": 1, "adopted": 3}
    assert len(session.log.history.doubt_of_key) == 3
    company.refuses = False
    assert outcomes(world.run()) == {"success": 3}
    assert world.held() == world.once


def test_what_is_in_doubt_in_its_thousands_holds_up_no_look() -> None:
    world = World()
    world.files = [
        replace(file(n), sent_file_name="scan.pdf", qbo_entity_id=str(n % 200)) for n in range(600)
    ]
    world.company = ForgetfulCompany(world.clock, deque(["lost"] * 1_200))
    world.company.shows = False
    began = time.process_time()
    world.run()
    assert time.process_time() - began < 30
    assert world.company.held


def test_an_unmarked_attachable_from_before_the_intent_is_not_what_it_made() -> None:
    world = World()
    world.company = company = ForgetfulCompany(world.clock, deque(["never", "done", "done"]))
    company.fates += ["never", "never"]
    company.shows, company.made_at = False, "2026-11-24T03:59:00Z"
    company.held = [(0.0, replace(shown_as(one), id="theirs")) for one in world.files[:1]]
    session = world.run()
    assert outcomes(session) == {"success": 7}
    assert world.held()["key0"] == 1


def shown_as(file: GroupFile) -> Attachable:
    return Attachable("1", file.sent_file_name, file.size_bytes, file.refs, "", created_at=AT)


class SlowSources(Sources):
    """Looking at a file takes longer than the run log takes to be written."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock

    async def state(self, file: GroupFile) -> SourceState:
        await self._clock.sleep(1.0)
        return await super().state(file)


def test_each_of_several_groups_is_looked_at_three_times_before_it_goes_anew() -> None:
    world = World(*["never"] * 30)
    world.sources = SlowSources(world)
    session = world.run()
    assert isinstance(session, UploadSession)
    first = list(world.request_ids())[:3]
    assert [world.request_ids()[request_id] for request_id in first] == [3, 3, 3]


def test_requestids_of_a_run_that_goes_well_are_used_once() -> None:
    world = World()
    world.run()
    assert world.request_ids() == Counter(dict.fromkeys(world.request_ids(), 1))


@pytest.mark.parametrize("unproven_for_s", [0.0, 100.0, 400.0])
def test_what_the_last_holder_left_is_settled_no_sooner_for_an_older_one_that_was_not_proven_gone(
    unproven_for_s: float,
) -> None:
    world = World("crash_before")
    world.run()
    world.unproven_for_s = unproven_for_s
    began = world.clock.now
    times: list[float] = []
    world.company.before_upload = lambda _: times.append(world.clock.now)
    world.run()
    assert world.held() == world.once
    assert min(times) - began >= SETTLE_S + max(0.0, 180.0 - (unproven_for_s or 180.0))

"""Groups in doubt, looked at under another QBO_MARKER than they were sent with, or side by side."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.model import Attachable, Fault
from qbo_attach.engine.ports import SourceState
from qbo_attach.engine.session import UploadSession
from qbo_attach.qbo.faults import NotDoneError, QboError, RefusedError, StopError
from qbo_attach.qbo.wire import ItemAnswer, UploadAnswer
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


@dataclass
class OneMadeAllFaults(Company):
    """Makes so many files of the first group, and answers all of that group with these faults."""

    said: tuple[Fault, ...] = ()
    told: bool = False
    makes: int = 1

    async def upload(self, *given: Any, **named: Any) -> UploadAnswer:
        answer = await super().upload(*given, **named)
        if self.told:
            return answer
        self.told = True
        made = [one.attachable for one in answer.items]
        self.held = [(at, one) for at, one in self.held if one not in made[self.makes :]]
        self.answered.clear()
        return UploadAnswer(tuple(ItemAnswer(fault=fault) for fault in self.said), 200, "t", "")


LATE = Fault("10000", "Unknown error", type="SystemFault", status=200)


def test_a_fault_that_may_come_after_the_effect_is_any_files_where_none_is_named() -> None:
    world = World()
    bad = Fault("6041", "Invalid file", status=200)
    world.company = OneMadeAllFaults(world.clock, said=(bad, LATE, bad))
    session = world.run()
    assert not session.log.history.doubts
    assert outcomes(session)["adopted"] == 1
    assert world.held() == world.once


@pytest.mark.parametrize("second", ["130", "6000", "6190"])
def test_faults_that_fit_two_files_put_both_in_doubt_whatever_they_mention(second: str) -> None:
    world = World()
    world.files = [replace(file, qbo_entity_id="12") for file in world.files[:2]]
    other = Fault(second, "Business Validation Error", "Bill 12 is locked", status=200)
    world.company = OneMadeAllFaults(world.clock, said=(LATE, other))
    session = world.run()
    if second == "6190":
        assert isinstance(session.stopped, StopError)
        assert len(session.log.history.doubt_of_key) == 2
        session = world.run()
    assert outcomes(session)["adopted"] == 1
    assert world.held() == world.once


@dataclass
class FaultsByFile(Company):
    """Refuses the second file, and is busy once for the first: with texts that fit neither."""

    codes: tuple[str, ...] = ("130", "6041")
    told: int = 0

    async def upload(self, *given: Any, **named: Any) -> UploadAnswer:
        refused = [part.file_name == "1.pdf" for part in given[0]]
        if not any(refused):
            return await super().upload(*given, **named)
        self.requests_sent["upload"] += 1
        faults = [Fault(self.codes[bad], "No", status=200) for bad in refused]
        return UploadAnswer(tuple(ItemAnswer(fault=fault) for fault in faults[::-1]), 200, "t", "")


def test_a_number_in_a_text_is_no_proof_where_another_fault_may_come_late() -> None:
    world = World()
    world.files = world.files[:2]
    row = Fault("2040", "Invalid character in row 1 of the request", status=200)
    world.company = OneMadeAllFaults(world.clock, said=(LATE, row))
    assert outcomes(world.run()) == {"adopted": 1, "success": 1}
    assert world.held() == world.once


@dataclass
class AlwaysLater(Company):
    """Answers every item of each group with a fault that asks to come again."""

    codes: tuple[str, ...] = ("3001",)

    async def upload(self, *given: Any, **named: Any) -> UploadAnswer:
        named["before_first_byte"]()
        self.requests_sent["upload"] += 1
        assert self.requests_sent["upload"] < 100
        faults = [
            Fault(self.codes[n % len(self.codes)], "later", status=200)
            for n in range(len(given[0]))
        ]
        return UploadAnswer(tuple(ItemAnswer(fault=fault) for fault in faults), 200, "t", "")


@pytest.mark.parametrize("codes", [("3001",), ("140", "3200")])
def test_items_that_ask_to_come_again_and_again_end_the_run_after_longer_and_longer_waits(
    codes: tuple[str, ...],
) -> None:
    world = World()
    world.company = AlwaysLater(world.clock, codes=codes)
    session = world.run()
    assert "times in a row" in str(session.stopped)
    assert not session.log.history.doubts
    assert session.pacer.slots_within(20.0) == 0, "the realm is held back"


@dataclass
class OneLater(Company):
    """Takes every file but one, whose item always asks to come again."""

    async def upload(self, *given: Any, **named: Any) -> UploadAnswer:
        parts = given[0]
        if "5.pdf" not in [part.file_name for part in parts]:
            return await super().upload(*given, **named)
        named["before_first_byte"]()
        self.requests_sent["upload"] += 1
        answer = self._commit([p for p in parts if p.file_name != "5.pdf"], "none", late=False)
        later = ItemAnswer(fault=Fault("140", "5.pdf is locked", status=200))
        return UploadAnswer((*answer.items, later), 200, "t", "")


def test_one_file_that_always_asks_to_come_again_waits_for_the_next_run_and_holds_up_none() -> None:
    world = World()
    world.company = OneLater(world.clock, deque(["lost"]))
    session = world.run()
    assert session.stopped is None
    assert outcomes(session) == {"adopted": 3, "success": 3}
    assert not session.log.history.doubts
    assert sum(world.held().values()) == 6
    world.company = Company(world.clock, held=world.company.held)
    world.run()
    assert world.held() == world.once


class RefusesAll(Company):
    """Refuses every file, in turn for one reason and another, with texts that fit no file."""

    async def upload(self, *given: Any, **named: Any) -> UploadAnswer:
        named["before_first_byte"]()
        codes = itertools.cycle(["6041", "2010"])
        faults = (Fault(code, "No", status=200) for code, _ in zip(codes, given[0], strict=False))
        return UploadAnswer(tuple(ItemAnswer(fault=fault) for fault in faults), 200, "t", "")


def test_refusals_that_are_told_apart_end_no_run() -> None:
    world = World()
    world.files = [file(n) for n in range(40)]
    world.company = RefusesAll(world.clock)
    session = world.run()
    assert session.stopped is None
    assert outcomes(session) == {"error": 40}


@pytest.mark.parametrize("codes", [("2040", "140"), ("140", "2040")])
def test_a_number_in_a_text_convicts_no_file_where_another_fault_differs(
    codes: tuple[str, str],
) -> None:
    world = World()
    world.files = world.files[:2]
    said = tuple(
        Fault(code, "in row 1 of the request" if code == "2040" else "locked", status=200)
        for code in codes
    )
    world.company = company = OneMadeAllFaults(world.clock, said=said)
    company.makes = 0
    assert outcomes(world.run()) == {"success": 2}


def test_different_faults_that_fit_no_file_are_told_apart_by_sending_each_alone() -> None:
    world = World()
    world.files = world.files[:2]
    world.company = FaultsByFile(world.clock)
    session = world.run()
    assert {path: session.ended[hash(path)] for path in (f.path for f in world.files)} == {
        "x/0.pdf": "success",
        "x/1.pdf": "error",
    }
    assert session.log.history.refused["x/1.pdf"].error.startswith("6041")


@dataclass
class RefusedInAGoodAnswer(Company):
    """Answers the first group's requests with a whole fault and 200, after `makes` of its files."""

    makes: int = 0
    refused: str = ""
    error: type[QboError] = RefusedError
    code: str = "6000"
    times: int = 1_000
    from_the: int = 1

    async def upload(self, *given: Any, **named: Any) -> UploadAnswer:
        parts = given[0]
        self.refused = self.refused or parts[0].marker
        self.from_the -= 1
        begun = self.from_the <= 0
        if not (begun and self.times) or self.refused not in [part.marker for part in parts]:
            return await super().upload(*given, **named)
        self.times -= 1
        answer = await super().upload(*given, **named)
        made = [one.attachable for one in answer.items]
        self.held = [(at, one) for at, one in self.held if one not in made[self.makes :]]
        self.answered.clear()
        raise self.error(Fault(self.code, "A business validation error", status=200))


def test_what_a_refusal_within_a_good_answer_has_made_is_adopted() -> None:
    world = World()
    world.company = RefusedInAGoodAnswer(world.clock, makes=3)
    session = world.run()
    assert outcomes(session) == {"adopted": 3, "success": 4}
    assert world.held() == world.once


@pytest.mark.parametrize("per_request", [1, 3])
def test_what_went_anew_and_is_refused_in_a_good_answer_is_looked_for_as_well(
    per_request: int,
) -> None:
    """Its looks so far were for what was sent before it."""
    world = World()
    world.files = world.files[:per_request]
    fates = deque(["never"] * 3)
    world.company = RefusedInAGoodAnswer(world.clock, fates, makes=per_request, from_the=4, times=1)
    assert outcomes(world.run()) == {"adopted": per_request}
    assert world.held() == world.once


def test_a_refusal_within_a_good_answer_is_an_error_after_three_looks() -> None:
    world = World()
    world.company = RefusedInAGoodAnswer(world.clock)
    session = world.run()
    assert not session.log.history.doubts
    assert outcomes(session) == {"error": 1, "success": 6}
    assert set(world.held().values()) == {1}


@pytest.mark.parametrize(("error", "code"), [(StopError, "6190"), (NotDoneError, "130")])
def test_what_any_fault_within_a_good_answer_has_made_is_adopted(
    error: type[QboError], code: str
) -> None:
    world = World()
    world.company = RefusedInAGoodAnswer(world.clock, makes=2, error=error, code=code, times=1)
    session = world.run()
    if error is StopError:
        assert isinstance(session.stopped, StopError)
        session = world.run()
    assert outcomes(session)["adopted"] == 2
    assert world.held() == world.once


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

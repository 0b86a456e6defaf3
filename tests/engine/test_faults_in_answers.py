"""Faults within good answers: whose each is, what it may have made, and when it ends a run."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import pytest

from qbo_attach.core.model import Fault
from qbo_attach.qbo.faults import NotDoneError, QboError, RefusedError, StopError
from qbo_attach.qbo.wire import ItemAnswer, UploadAnswer
from tests.engine.test_session import Company, World, file, outcomes


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

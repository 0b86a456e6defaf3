"""Batches of deletes: what an answer settles, what a client does with its faults, and the pace."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.core.model import Attachable
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.options import REALM, Behaviour
from qbo_attach.fake_qbo.values import Head
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.delete_batches import (
    MAX_ITEMS,
    DeleteBatchAnswer,
    batch_delete_request,
    read_batch_delete_answer,
)
from qbo_attach.qbo.faults import InDoubtError, RefusedError, StopError
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.qbo.wire import Reply
from tests.matrix.wire import Wire
from tests.qbo.test_pacing import most_in_window
from tests.qbo.test_waits import Tokens
from tests.qbo.virtual_clock import VirtualClock

SENT = [Attachable(str(100 + n), f"{n}.pdf", 1, sync_token="0") for n in range(1, MAX_ITEMS + 1)]
IDS = frozenset(one.id for one in SENT)


def deleted(mark: object, one_id: str) -> dict[str, Any]:
    return {"bId": mark, "Attachable": {"domain": "QBO", "status": "Deleted", "Id": one_id}}


def faulty(mark: object, code: str) -> dict[str, Any]:
    error = {"Message": "m", "Detail": "d", "code": code, "element": ""}
    return {"bId": mark, "Fault": {"Error": [error], "type": "ValidationFault"}}


def read(items: object, sent: list[Attachable] = SENT) -> DeleteBatchAnswer:
    body = json.dumps({"BatchItemResponse": items, "time": "2026-11-24T04:00:00Z"}).encode()
    return read_batch_delete_answer(Reply(200, body=body), sent)


# -- the request ----------------------------------------------------------------------------------


def test_a_batch_names_each_attachable_with_its_token_under_a_mark_and_has_no_requestid() -> None:
    request = batch_delete_request("7", [Attachable("9", "a", 1, sync_token="3"), SENT[0]])
    assert (request.method, request.path) == ("POST", "/v3/company/7/batch")
    assert request.query == (("minorversion", "75"),)
    assert json.loads(request.body) == {
        "BatchItemRequest": [
            {"bId": "1", "operation": "delete", "Attachable": {"Id": "9", "SyncToken": "3"}},
            {"bId": "2", "operation": "delete", "Attachable": {"Id": "101", "SyncToken": "0"}},
        ]
    }


@pytest.mark.parametrize("count", [0, MAX_ITEMS + 1])
def test_a_batch_of_none_or_too_many_is_not_built(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 30"):
        batch_delete_request("7", [SENT[0]] * count)


# -- the answer -----------------------------------------------------------------------------------


def test_deleted_is_gone_and_stale_is_changed() -> None:
    answer = read([deleted("1", "101"), faulty("2", "5010")])
    assert answer == DeleteBatchAnswer(frozenset({"101"}), frozenset({"102"}))


def test_a_mark_may_come_back_as_a_number() -> None:
    assert read([deleted(1, "101")]).gone == {"101"}


@pytest.mark.parametrize("code", ["610", "6000", "6210", "500", "3001", "10000", "5020", ""])
def test_any_other_fault_settles_nothing(code: str) -> None:
    assert read([faulty("1", code), deleted("2", "102")]) == DeleteBatchAnswer(frozenset({"102"}))


@pytest.mark.parametrize(
    "item",
    [
        deleted("1", "102"),
        deleted("1", "999"),
        deleted("31", "101"),
        deleted("", "101"),
        {"bId": "1"},
        {"bId": "1", "Attachable": {"Id": "101", "SyncToken": "0"}},
        {"bId": "1", "Attachable": {"status": "Deleted"}},
        {"bId": "1", "Attachable": []},
        {"bId": [], "Attachable": {"Id": "101", "status": "Deleted"}},
        {"Attachable": {"Id": "101", "status": "Deleted"}},
        None,
        [],
        "1",
    ],
)
def test_an_item_without_the_right_mark_id_and_state_settles_nothing(item: object) -> None:
    assert read([item]) == DeleteBatchAnswer()


def test_where_marks_and_ids_are_at_odds_no_fault_is_believed() -> None:
    crossed = [deleted("1", "102"), faulty("2", "5010"), faulty("3", "610"), deleted("4", "104")]
    assert read(crossed) == DeleteBatchAnswer(frozenset({"104"}))
    foreign = [faulty("77", "610"), faulty("2", "5010"), deleted("4", "104")]
    assert read(foreign) == DeleteBatchAnswer(frozenset({"104"}))
    twice = [faulty("1", "610"), faulty("1", "610"), faulty("2", "610"), deleted("4", "104")]
    assert read(twice) == DeleteBatchAnswer(frozenset({"104"}))


@pytest.mark.parametrize("items", [None, {}, "x", 3, []])
def test_an_answer_without_items_settles_nothing(items: object) -> None:
    assert read(items) == DeleteBatchAnswer()


def test_an_answer_that_cannot_be_read_is_in_doubt() -> None:
    for body in (b"", b"<html>", b"[]", b"\xff"):
        with pytest.raises(InDoubtError):
            read_batch_delete_answer(Reply(200, body=body), SENT)


STATES = ("deleted", "gone", "stale", "refused", "unwell")
CODES = {"gone": "610", "stale": "5010", "refused": "6000", "unwell": "10000"}


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[list[str], list[Any]]:
    """What became of each item in truth, and an answer out of order, with gaps and strangers."""
    size = draw(st.integers(1, MAX_ITEMS))
    truth = draw(st.lists(st.sampled_from(STATES), min_size=size, max_size=size))
    items = [
        deleted(str(n), SENT[n - 1].id) if state == "deleted" else faulty(str(n), CODES[state])
        for n, state in enumerate(truth, 1)
    ]
    missing = draw(st.sets(st.integers(0, size - 1)))
    items = [item for n, item in enumerate(items) if n not in missing]
    if items:
        items += draw(st.lists(st.sampled_from(items), max_size=3))
    stranger = st.builds(deleted, st.sampled_from(["0", "31", "x", ""]), st.just("101"))
    items += draw(st.lists(stranger, max_size=2))
    return truth, draw(st.permutations(items))


@settings(max_examples=300, deadline=None)
@given(spoilt())
def test_whatever_is_settled_is_true_and_each_sound_answer_settles(
    drawn: tuple[list[str], list[Any]],
) -> None:
    truth, items = drawn
    sent = SENT[: len(truth)]
    answer = read(items, sent)
    state_of = {one.id: state for one, state in zip(sent, truth, strict=True)}
    assert answer.gone <= {i for i, state in state_of.items() if state == "deleted"}
    assert answer.changed <= {i for i, state in state_of.items() if state == "stale"}
    marks = [str(item["bId"]) for item in items]
    once = {sent[int(m) - 1].id for m in marks if m.isdigit() and 0 < int(m) <= len(sent)
            and marks.count(m) == 1}  # fmt: skip
    assert {i for i in once if state_of[i] == "deleted"} <= answer.gone
    if len(once) == len(items):  # no stranger, nothing twice
        assert {i for i in once if state_of[i] == "stale"} == answer.changed


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(MAX_ITEMS)), st.integers(2, MAX_ITEMS))
def test_marks_that_are_mixed_up_settle_nothing_but_what_agrees(order: list[int], n: int) -> None:
    """The answers of a batch under one another's marks: no fault is laid at the wrong door."""
    sent = SENT[:n]
    targets = [m for m in order if m < n]
    items = [
        deleted(str(at + 1), sent[m].id) if m % 3 else faulty(str(at + 1), "5010")
        for at, m in enumerate(targets)
    ]
    answer = read(items, sent)
    agreed = {sent[m].id for at, m in enumerate(targets) if at == m and m % 3}
    assert answer.gone == agreed
    if any(at != m for at, m in enumerate(targets) if m % 3):
        assert answer.changed == frozenset()


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["bId", "Attachable", "Id", "status", "Fault", "Error", "code"]),
                inner,
            )
        ),
        max_leaves=25,
    )
)
def test_any_json_whatever_is_read_without_an_error_of_pythons(items: object) -> None:
    answer = read(items)
    assert answer.gone | answer.changed <= IDS


# -- on the wire ----------------------------------------------------------------------------------


class Rig:
    """A company with its exact limits, a client of it, and a clock that jumps."""

    def __init__(self, *rules: Rule, **switches: object) -> None:
        self.clock = VirtualClock()
        self.company = FakeCompany(
            clock=lambda: self.clock.utcnow().timestamp(),
            behaviour=Behaviour().changed({"latency_ms": 200.0, "limits": "exact", **switches}),
            rules=rules,
        )
        self.wire = Wire(self.company, self.clock)
        self.moments: list[float] = []
        """When each batch arrived."""
        self.wire.before = self._note
        self.tokens = Tokens()
        self.client = QboClient(
            base_url="https://qbo.example",
            realm_id=REALM,
            tokens=self.tokens,
            pacer=Pacer(self.clock),
            clock=self.clock,
            transport=self.wire,
            chance=lambda: 0.5,
        )

    def _note(self, head: Head) -> None:
        if head.path.endswith("/batch"):
            self.moments.append(self.clock.now)

    def stored(self, count: int = 5) -> list[Attachable]:
        """Attachables of the company, as a read of them gives them."""
        seeded = [
            self.company.control.seed({"FileName": f"{n}.pdf", "content_base64": "eA=="}, REALM)
            for n in range(count)
        ]
        return [Attachable(str(one["Id"]), f"{n}.pdf", 1) for n, one in enumerate(seeded)]

    def held(self) -> list[str]:
        return [str(row["Id"]) for row in self.company.ledger()["attachables"]]

    def delete(self, ones: list[Attachable]) -> DeleteBatchAnswer:
        return self.clock.run(self.client.delete_unchanged_batch(ones))


def test_a_batch_deletes_all_in_one_request() -> None:
    rig = Rig()
    ones = rig.stored()
    answer = rig.delete(ones)
    assert answer == DeleteBatchAnswer(frozenset(one.id for one in ones))
    assert rig.held() == []
    assert rig.delete(ones) == DeleteBatchAnswer()  # "not found" alone settles nothing
    assert rig.client.requests_sent == {"batch": 2}


def test_what_was_changed_stays() -> None:
    rig = Rig()
    ones = rig.stored()
    stale = replace(ones[2], sync_token="4")
    answer = rig.delete([*ones[:2], stale, *ones[3:]])
    assert answer == DeleteBatchAnswer(
        frozenset(one.id for one in ones if one is not ones[2]), frozenset({stale.id})
    )
    assert rig.held() == [stale.id]


LOST = (
    "500_before", "500_after", "502_before", "503_after", "504_after", "cut_request", "cut_before",
    "cut_during", "cut_after", "cut_answer", "garbage_200", "garbage_200_before", "empty_200",
    "truncated_200", "fault_200_after", "late_commit", "hang", "hang_before",
)  # fmt: skip


@pytest.mark.parametrize("kind", LOST)
def test_a_lost_answer_is_in_doubt_and_the_batch_is_not_sent_again(kind: str) -> None:
    rig = Rig(Rule(kind, endpoint="batch", seconds=600.0 if kind == "late_commit" else 0.0))
    with pytest.raises(InDoubtError):
        rig.delete(rig.stored())
    assert rig.client.requests_sent == {"batch": 1}


REFUSALS = [
    ("403", "", StopError),
    ("fault_200", "6190", StopError),
    ("refused", "1040", RefusedError),
    ("refused", "500", RefusedError),
]


@pytest.mark.parametrize(("kind", "code", "error"), REFUSALS)
def test_a_refusal_of_the_whole_leaves_all_there(
    kind: str, code: str, error: type[Exception]
) -> None:
    rig = Rig(Rule(kind, endpoint="batch", code=code))
    ones = rig.stored()
    with pytest.raises(error):
        rig.delete(ones)
    assert rig.client.requests_sent == {"batch": 1}
    assert rig.held() == [one.id for one in ones]


@pytest.mark.parametrize(
    ("kind", "retry_after", "wait_s"),
    [("401", "", 0), ("429", "7", 7), ("429", "", 62.5), ("429_under_403", "", 62.5)],
)
def test_what_was_surely_not_done_is_asked_again_after_the_wait_that_was_told(
    kind: str, retry_after: str, wait_s: float
) -> None:
    rig = Rig(Rule(kind, endpoint="batch", times=1, retry_after=retry_after))
    assert len(rig.delete(rig.stored()).gone) == 5
    first, second = rig.moments
    assert wait_s <= second - first <= wait_s + 2
    assert rig.tokens.number == (kind == "401")
    assert rig.held() == []


def test_throttles_without_an_end_are_taken_for_the_monthly_quota() -> None:
    rig = Rig(Rule("429", endpoint="batch"))
    ones = rig.stored()
    with pytest.raises(StopError, match="monthly allowance"):
        rig.delete(ones)
    assert len(rig.held()) == 5


def test_what_the_last_check_raises_comes_out_and_nothing_is_sent() -> None:
    class TooLateError(Exception):
        pass

    def too_late() -> None:
        raise TooLateError

    rig = Rig()
    ones = rig.stored()
    with pytest.raises(TooLateError):
        rig.clock.run(rig.client.delete_unchanged_batch(ones, too_late))
    assert rig.client.requests_sent == {}
    assert len(rig.held()) == 5


@pytest.mark.parametrize(("latency_s", "at_least"), [(0.2, 38), (4.0, 37)])
def test_batches_keep_to_their_own_limit_and_use_it_beside_other_requests(
    latency_s: float, at_least: int
) -> None:
    """Bouts of four and a look between, as an undo asks; others ask as fast as they may."""
    rig = Rig(latency_ms=latency_s * 1_000)
    ones = rig.stored(30 * 4 * 40)
    ended = [False]

    async def undo() -> None:
        for start in range(0, len(ones), 120):
            await rig.clock.sleep(0.7)
            await asyncio.gather(
                *(
                    rig.client.delete_unchanged_batch(ones[at : at + 30])
                    for at in range(start, start + 120, 30)
                )
            )
        ended[0] = True

    async def others() -> None:
        while not ended[0]:
            await rig.client.company_name()

    async def work() -> None:
        await asyncio.gather(undo(), *(others() for _ in range(4)))

    rig.clock.run(work())
    assert rig.held() == []
    assert rig.client.wait_reason == ""  # the company's exact limits refused nothing
    assert len(rig.moments) == 160
    assert most_in_window(rig.moments, 60) <= 39
    a_minute = (len(rig.moments) - 1) / (rig.moments[-1] - rig.moments[0]) * 60
    assert a_minute > at_least

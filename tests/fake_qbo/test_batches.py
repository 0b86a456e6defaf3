"""Batches of deletes: each item by its mark, within the limits, and under every fault."""

from __future__ import annotations

from typing import Any

import pytest

from qbo_attach.fake_qbo.faults import KINDS, Rule
from tests.fake_qbo.asking import Asking, code, items, ref, said


def stored(asking: Asking, count: int) -> list[str]:
    """Ids of as many attachables, uploaded one by one."""
    return [
        items(asking.upload((f"{n}.pdf", b"x", ref("Bill", "1"))))[0]["Attachable"]["Id"]
        for n in range(count)
    ]


def deletes(ids: list[str], token: str = "0") -> dict[str, Any]:
    return {
        "BatchItemRequest": [
            {"bId": f"b{n}", "operation": "delete", "Attachable": {"Id": one, "SyncToken": token}}
            for n, one in enumerate(ids)
        ]
    }


def answers(reply: Any) -> dict[str, Any]:
    return {item["bId"]: item for item in said(reply)["BatchItemResponse"]}


def fault_of(item: dict[str, Any]) -> str:
    return str(item["Fault"]["Error"][0]["code"]) if "Fault" in item else ""


def held(asking: Asking) -> list[str]:
    return [row["Id"] for row in asking.ledger()]


def test_each_delete_of_a_batch_is_answered_and_some_may_fail() -> None:
    asking = Asking()
    ids = stored(asking, 4)
    asking.post("attachable", {"Id": ids[1], "SyncToken": "0", "Note": "edited"})
    asking.post("attachable", {"Id": ids[2]}, operation="delete")
    told = answers(asking.post("batch", deletes([*ids, "x"])))
    assert told["b0"]["Attachable"] == {"domain": "QBO", "status": "Deleted", "Id": ids[0]}
    assert [fault_of(told[f"b{n}"]) for n in range(5)] == ["", "5010", "610", "", "2030"]
    assert held(asking) == [ids[1]]


def test_thirty_items_are_taken_and_one_more_is_refused_without_effect() -> None:
    asking = Asking()
    ids = stored(asking, 31)
    assert code(asking.post("batch", deletes(ids))) == "1040"
    assert held(asking) == ids
    assert len(answers(asking.post("batch", deletes(ids[:30])))) == 30
    assert held(asking) == ids[30:]


def test_forty_batches_a_minute_are_served_and_they_count_as_requests() -> None:
    asking = Asking(limits="exact")
    statuses = []
    for _ in range(41):
        statuses.append(asking.post("batch", deletes(["9"])).status)
        asking.clock.now += 1
    assert statuses == [200] * 40 + [429]
    assert asking.call("GET", "companyinfo/1").status == 200
    asking.clock.now += 20
    assert asking.post("batch", deletes(["9"])).status == 200
    quick = Asking(limits="exact")
    assert [quick.post("batch", deletes(["9"])).status for _ in range(11)] == [200] * 10 + [429]


@pytest.mark.parametrize("kind", [kind for kind, moment in KINDS.items() if moment == "before"])
def test_a_fault_before_the_effect_deletes_none(kind: str) -> None:
    asking = Asking(rules=[Rule(kind, endpoint="batch")])
    ids = stored(asking, 3)
    asking.post("batch", deletes(ids))
    assert held(asking) == ids


@pytest.mark.parametrize("kind", [kind for kind, moment in KINDS.items() if moment == "after"])
def test_a_fault_after_the_effect_deletes_all(kind: str) -> None:
    asking = Asking(rules=[Rule(kind, endpoint="batch")])
    asking.post("batch", deletes(stored(asking, 3)))
    assert held(asking) == []


def test_one_item_can_be_refused_and_answers_can_be_shuffled_or_missing() -> None:
    def asked(kind: str, **more: Any) -> tuple[list[str], int]:
        asking = Asking(rules=[Rule(kind, endpoint="batch", **more)])
        told = answers(asking.post("batch", deletes(stored(asking, 3))))
        return [mark + fault_of(item) for mark, item in told.items()], len(held(asking))

    assert asked("item_fault", item=2, code="6000") == (["b0", "b16000", "b2"], 1)
    assert asked("shuffled_items") == (["b2", "b1", "b0"], 0)
    assert asked("missing_items", item=1) == (["b1", "b2"], 0)
    assert asked("missing_items") == (["b0", "b1"], 0)


def test_answers_come_in_any_order_where_that_is_switched_on() -> None:
    asking = Asking(items_order="shuffled")
    told = answers(asking.post("batch", deletes(stored(asking, 20))))
    assert list(told) != sorted(told, key=lambda mark: int(mark[1:]))
    assert len(told) == 20
    assert held(asking) == []


def test_a_cut_during_the_effect_deletes_a_part_that_no_requestid_remembers() -> None:
    asking = Asking(rules=[Rule("cut_during", endpoint="batch", item=2, times=1)])
    ids = stored(asking, 3)
    assert asking.post("batch", deletes(ids), requestid="r").cut == "answer"
    assert held(asking) == ids[2:]
    told = answers(asking.post("batch", deletes(ids), requestid="r"))
    assert [fault_of(item) for item in told.values()] == ["610", "610", ""]
    assert held(asking) == []


def test_an_answered_requestid_is_answered_again() -> None:
    asking = Asking()
    ids = stored(asking, 2)
    first = answers(asking.post("batch", deletes(ids), requestid="r"))
    assert answers(asking.post("batch", deletes(ids), requestid="r")) == first


def test_a_late_batch_deletes_when_it_is_due_what_is_still_there() -> None:
    asking = Asking(rules=[Rule("late_commit", endpoint="batch", seconds=30.0)])
    ids = stored(asking, 3)
    asking.post("batch", deletes(ids))
    assert held(asking) == ids
    asking.post("attachable", {"Id": ids[0]}, operation="delete")
    asking.clock.now += 31
    assert held(asking) == []
    assert [row["Id"] for row in asking.company.ledger()["deleted"]] == ids

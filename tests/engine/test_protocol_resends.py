"""What a resend is answered: it says little of the first sending, which may still have its effect."""

from __future__ import annotations

import pytest

from qbo_attach.core.chain import Intent, Looked
from qbo_attach.fake_qbo.faults import Rule
from tests.engine.test_protocol import SETTLE_S, Watched, records, upload
from tests.matrix.world import World

ANSWERS = {
    "refused": upload("refused", 2),
    "throttled": upload("429", 2),
    "refused item": upload("item_fault", 2, item=1),
    "locked company": upload("item_fault", 2, item=1, code="150"),
    "company ended": upload("fault_200", 2),
    "app removed": upload("403", 2),
    "unauthorized": upload("401", 2),
}


def settled_looks_before_each_requestid(world: World) -> dict[str, int]:
    """By requestid, how many settled looks stand in the chain before its first intent."""
    looks = 0
    before: dict[str, int] = {}
    for record in records(world):
        if isinstance(record, Intent):
            before.setdefault(record.request_id, looks)
        looks += isinstance(record, Looked)
    return before


@pytest.mark.parametrize("per_request", [1, 3])
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_upload_that_comes_while_its_resend_is_answered_otherwise_is_not_doubled(
    answer: str, per_request: int
) -> None:
    """It comes after the first settled look and before the third, as the guarantee allows."""
    late = upload("late_commit", 1, seconds=SETTLE_S + 30)
    world = World(per_request, [late, ANSWERS[answer]])
    world.run(per_request)
    world.heal()
    world.clock.now += SETTLE_S
    world.run(per_request)
    assert (world.lost, world.doubled) == (0, 0)


@pytest.mark.parametrize("per_request", [1, 3])
@pytest.mark.parametrize("answer", ["refused", "throttled", "locked company", "company ended"])
def test_no_answer_to_a_resend_leads_to_a_new_requestid_before_three_settled_looks(
    answer: str, per_request: int
) -> None:
    world = World(per_request, [upload("cut_before", 1), ANSWERS[answer]])
    world.run(per_request)
    world.heal()
    assert world.run(per_request).exit_status == 0
    later = list(settled_looks_before_each_requestid(world).values())[1:]
    assert all(looks >= 3 for looks in later)
    assert (world.lost, world.doubled) == (0, 0)


@pytest.mark.parametrize("per_request", [1, 3])
def test_a_file_that_is_always_refused_is_an_error_also_when_its_first_answer_was_lost(
    per_request: int,
) -> None:
    world = World(per_request, [upload("cut_before", 1), Rule("refused", "upload")])
    watched = Watched(world)
    result = world.run(per_request)
    assert result.counts == {"error": per_request}
    assert result.exit_status == 1
    assert len(watched.seen) < 20

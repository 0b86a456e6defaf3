"""How fast an undo goes within the company's exact limits, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from qbo_attach.core.chain import Done, GroupFile, RunStarted
from qbo_attach.core.model import Outcome
from qbo_attach.engine.undoing import Undoing, UndoOptions
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.options import REALM
from qbo_attach.fake_qbo.values import Head
from qbo_attach.qbo.pacing import Pacer
from tests.matrix.doors import AT, AtOnce
from tests.matrix.world import World
from tests.qbo.test_pacing import most_in_window
from tests.storage.test_runlog import runlog

FILES = 2_400


async def nothing_more(_: Sequence[Done]) -> dict[str, GroupFile]:
    return {}


class Undone:
    """A run of as many files was made and undone; `moments` of its batches, `took_s` in all."""

    def __init__(self, latency_s: float, *rules: Rule) -> None:
        self.world = World(FILES)
        assert self.world.run(10).counts == {Outcome.SUCCESS.value: FILES}
        self.moments: list[float] = []
        self.world.wire.before = self._note
        company = self.world.company
        company.state.behaviour = company.state.behaviour.changed(
            {"limits": "exact", "latency_ms": latency_s * 1_000}
        )
        company.plan.add(rules)
        self.took_s = self.world.clock.run(self._undo())

    def _note(self, head: Head) -> None:
        if head.path.endswith("/batch"):
            self.moments.append(self.world.clock.now)

    async def _undo(self) -> float:
        clock = self.world.clock
        asyncio.get_running_loop().set_default_executor(AtOnce())
        log = runlog(self.world.segments, clock, life=self.world.predecessor)
        await log.open()
        self.client = self.world._client(Pacer(clock))
        undoing = Undoing(clock, log, self.client, UndoOptions(), lambda *_: None, nothing_more)
        started = clock.now
        await undoing.run(
            RunStarted("undo", AT, REALM, "other", "Company", "", "", "1", undoes="run"),
            [done.key for done in log.history.rows.rows()],
        )
        await self.client.aclose()
        assert undoing.stopped is None
        assert undoing.counts == {Outcome.DELETED.value: FILES}
        assert self.world.company.ledger()["attachables"] == []
        return clock.now - started


@pytest.mark.parametrize(("latency_s", "of_batches_s"), [(0.2, 0.0), (1.0, 0.0), (0.5, 3.0)])
def test_an_undo_uses_what_is_allowed_to_batches_and_never_more(
    latency_s: float, of_batches_s: float
) -> None:
    """Though a batch takes longer than anything else, as thirty deletes may."""
    done = Undone(latency_s, Rule("latency", "batch", seconds=of_batches_s))
    assert done.client.requests_sent == {"query": FILES // 40, "batch": FILES // 30}
    assert done.client.wait_reason == ""  # nothing was throttled
    assert most_in_window(done.moments, 60) <= 39
    assert FILES / done.took_s * 60 > 1_050


@pytest.mark.proof
def test_an_undo_without_batches_is_as_fast_as_single_deletes_are_allowed_to_be() -> None:
    done = Undone(0.2, Rule("refused", "batch", code="500"))
    assert done.client.requests_sent["delete"] == FILES
    assert done.client.requests_sent["batch"] == 1
    assert FILES / done.took_s * 60 > 400


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["504_before", "504_after"])
def test_an_undo_whose_batches_are_all_lost_gives_them_up(kind: str) -> None:
    done = Undone(0.2, Rule(kind, "batch"))
    assert done.client.requests_sent["batch"] == 12
    assert FILES / done.took_s * 60 > 400


@pytest.mark.proof
def test_batches_that_are_lost_now_and_then_are_not_given_up() -> None:
    done = Undone(0.2, *(Rule("504_after", "batch", numbers=(n,)) for n in range(1, 80, 2)))
    assert done.client.requests_sent["batch"] == FILES // 30


def test_throttled_batches_wait_and_go_on() -> None:
    throttles = [Rule("429", "batch", numbers=(n,)) for n in (9, 40)]
    done = Undone(0.2, *throttles)
    assert done.client.requests_sent == {"query": FILES // 40, "batch": FILES // 30 + 2}
    assert "3001" in done.client.wait_reason

"""docs/crash-table.md, row by row: the process dies at a place, the next run goes on from there."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from qbo_attach.core.errors import StorageError
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.values import Head
from qbo_attach.storage.holder import Life
from tests.matrix.world import World
from tests.storage.test_runlog import runlog

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "crash-table.md"
FILES = 2

BEFORE, AFTER, ANSWERED = "before", "after", "answered"


@dataclass(frozen=True)
class Place:
    """Where the process dies: at the nth thing of a kind, before or after it.

    Kinds: `segment`, `upload`, `query`. `answered`: it dies when the answer is in, so that nothing
    that follows from it is written. What is then on disk: files in doubt and done; and at QBO:
    attachables. `rules` strike the run that dies, and the next one where they `stay`. Both runs
    together use so many `requestids`.
    """

    name: str
    kind: str
    nth: int
    when: str
    in_doubt: int
    done: int
    at_qbo: int
    rules: tuple[Rule, ...] = ()
    stay: bool = False
    outcomes: dict[str, int] = field(default_factory=dict)
    requestids: int = 1


def lost(*numbers: int) -> Rule:
    return Rule("cut_before", "upload", numbers=numbers)


PARTLY = Rule("cut_during", "upload", numbers=(1,), item=1)
REFUSED = Rule("item_fault", "upload", numbers=(1, 2, 3), item=1)
THROTTLED = Rule("429", "upload", numbers=(1,))
CUT = Rule("cut_after", "upload", numbers=(1,))
SENT = {"success": 2}
KEPT = {"skipped_already_uploaded": 2}
ADOPTED = {"adopted": 2}

PLACES = (
    Place("before-start", "segment", 1, BEFORE, 0, 0, 0, outcomes=SENT),
    Place("after-start", "segment", 1, AFTER, 0, 0, 0, outcomes=SENT),
    Place("before-intent", "segment", 2, BEFORE, 0, 0, 0, outcomes=SENT),
    Place("after-intent", "segment", 2, AFTER, 2, 0, 0, outcomes=SENT),
    Place("before-first-byte", "upload", 1, BEFORE, 2, 0, 0, outcomes=SENT),
    Place("while-bytes-leave", "upload", 1, AFTER, 2, 0, 0, (lost(1),), outcomes=SENT),
    Place(
        "amid-the-effect", "upload", 1, AFTER, 2, 0, 1, (PARTLY,),
        outcomes={"adopted": 1, "success": 1}, requestids=2,
    ),
    Place("after-the-effect", "upload", 1, AFTER, 2, 0, 2, outcomes=ADOPTED),
    Place("after-the-answer", "upload", 1, ANSWERED, 2, 0, 2, outcomes=ADOPTED),
    Place(
        "after-a-refusal", "upload", 1, ANSWERED, 2, 0, 1, (REFUSED,), stay=True,
        outcomes={"adopted": 1, "error": 1}, requestids=2,
    ),
    Place("waiting-after-a-429", "upload", 1, ANSWERED, 2, 0, 0, (THROTTLED,), outcomes=SENT),
    Place("before-a-renewed-intent", "segment", 3, BEFORE, 2, 0, 0, (THROTTLED,), outcomes=SENT),
    Place("after-a-renewed-intent", "segment", 3, AFTER, 2, 0, 0, (THROTTLED,), outcomes=SENT),
    Place("before-a-look", "query", 1, BEFORE, 2, 0, 0, (lost(1),), outcomes=SENT),
    Place("after-a-settled-look", "query", 2, ANSWERED, 2, 0, 0, (lost(1),), outcomes=SENT),
    Place("after-a-resend-left", "upload", 2, AFTER, 2, 0, 2, (lost(1),), outcomes=ADOPTED),
    Place(
        "after-a-third-look", "query", 4, ANSWERED, 2, 0, 0, (lost(1, 2, 3),),
        outcomes=SENT, requestids=2,
    ),
    Place(
        "after-a-new-requestids-intent", "upload", 4, BEFORE, 2, 0, 0, (lost(1, 2, 3),),
        outcomes=SENT, requestids=2,
    ),
    Place("before-an-adoption-is-written", "query", 1, ANSWERED, 2, 0, 2, (CUT,), outcomes=ADOPTED),
    Place("after-outcomes", "segment", 3, AFTER, 0, 2, 2, outcomes=KEPT),
    Place("before-the-end", "segment", 4, BEFORE, 0, 2, 2, outcomes=KEPT),
    Place("before-the-snapshot", "segment", 5, BEFORE, 0, 2, 2, outcomes=KEPT),
    Place("after-the-snapshot", "segment", 5, AFTER, 0, 2, 2, outcomes=KEPT),
)  # fmt: skip


class Death:
    """Lets a world's process die at a place: from then on nothing of it reaches disk or QBO."""

    def __init__(self, world: World, place: Place) -> None:
        self._world, self._place = world, place
        self._passed = 0
        self.dead = False
        self.requestids: set[str] = set()
        self._create_once = world.segments.create_once
        world.segments.create_once = self._written  # type: ignore[method-assign]  # dies there
        world.wire.before = self._wire(BEFORE)
        world.wire.after = self._wire(AFTER)

    def undo(self) -> None:
        """The next process lives."""
        self._world.segments.create_once = self._create_once  # type: ignore[method-assign]
        self._world.wire.before = self._note
        self._world.wire.after = lambda _: None

    def _note(self, head: Head) -> None:
        if head.path.endswith("/upload"):
            self.requestids.add(head.parameters()["requestid"])

    async def _written(self, name: str, data: bytes) -> bool:
        here = self._place.kind == "segment" and self._is_nth(BEFORE, BEFORE)
        if self.dead or (here and self._dies(BEFORE)):
            raise StorageError(name, "the process has ended")
        created = await self._create_once(name, data)
        if here and self._dies(AFTER):
            raise StorageError(name, "the process has ended")
        return created

    def _wire(self, when: str) -> Callable[[Head], None]:
        def told(head: Head) -> None:
            if self.dead:
                raise httpx.ConnectError("the process has ended")
            self._note(head)
            if not head.path.endswith(f"/{self._place.kind}") or not self._is_nth(when, BEFORE):
                return
            if self._dies(when):
                raise httpx.ReadError("the process has ended")
            if when == AFTER and self._place.when == ANSWERED:
                self.dead = True

        return told

    def _is_nth(self, when: str, counted: str) -> bool:
        self._passed += when == counted
        return self._passed == self._place.nth

    def _dies(self, when: str) -> bool:
        self.dead = self.dead or self._place.when == when
        return self.dead


def rows() -> dict[str, list[str]]:
    """The cells of each row of the page's first table, by the row's name."""
    lines = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: cells.split(" | ") for name, cells in lines}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_next_run_goes_on_as_the_table_says(place: Place) -> None:
    world = World(FILES, place.rules)
    death = Death(world, place)
    with suppress(StorageError):
        world.run(FILES)
    assert death.dead, "this place was not reached"
    death.undo()
    left = world.clock.run(runlog(world.segments, world.clock, life=Life.GONE).open())
    assert (len(left.doubt_of_key), len(left.done)) == (place.in_doubt, place.done)
    assert sum(world.ledger().values()) == place.at_qbo
    if not place.stay:
        world.heal()
    result = world.run(FILES)
    assert result.counts == place.outcomes
    sent = f"{result.requests.get('upload', 0)} + {result.requests.get('query', 0)}"
    assert rows()[place.name][-1] == sent
    assert len(death.requestids) == place.requestids
    world.heal()
    world.run(FILES)
    assert (world.lost, world.doubled) == (0, 0)


def test_the_table_has_these_places_in_this_order() -> None:
    assert list(rows()) == [place.name for place in PLACES]


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text("utf-8"))
    assert named
    missing = [f"{path}::{name}" for path, name in named if name not in _tests_in(path)]
    assert missing == []


def _tests_in(path: str) -> set[str]:
    """The names of its functions, and "" for the file itself; nothing where it is not."""
    if not (ROOT / path).is_file():
        return set()
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {"", *(node.name for node in ast.walk(tree) if isinstance(node, functions))}

"""The cells of the fault matrix: which fault strikes where, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from qbo_attach.core.model import Outcome
from qbo_attach.fake_qbo.faults import ITEMS, KINDS, Rule
from qbo_attach.qbo.faults import QboError, StopError
from qbo_attach.qbo.multipart import MarkerField
from tests.matrix.world import RunResult, World

REQUESTS = 5
POSITIONS = {"first": 1, "middle": 3, "last": REQUESTS}
GROUPS = (1, 3, 10)
LOOKS: dict[str, tuple[str, tuple[int, ...]]] = {
    "arrived, first": ("cut_after", (1,)),
    "arrived, every": ("cut_after", ()),
    "lost, first": ("cut_before", (1,)),
    "lost, second": ("cut_before", (2,)),
    "lost, every": ("cut_before", ()),
}
"""What became of the upload that is looked for, and the looks that the fault strikes (): all."""
REFRESHES: dict[str, tuple[int, ...]] = {"first": (1,), "every": ()}
READINGS: dict[str, tuple[int, ...]] = {"count": (1,), "page": (2,), "again": (3,), "every": ()}
"""The queries of a run with EXISTING=check, by what they ask."""
_UPLOADS_ALONE = frozenset(
    {kind for kind, moment in KINDS.items() if moment == ITEMS}
    | {"shuffled_items", "missing_items"}
)
READ_KINDS = tuple(kind for kind in KINDS if kind not in _UPLOADS_ALONE)
"""Kinds that can strike a request other than an upload."""

COMPLETE, CLASSIFIED, STOPPED, BROKEN = "complete", "classified row", "clean stop", "BROKEN"
REFUSED = "not started"


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault at one place.

    `token_s`: the first token's life, where it matters. `there`: so many files are in QBO already
    and the run log is lost, so that a run asks first what QBO holds.
    """

    table: str
    kind: str
    place: str
    per_request: int
    rules: tuple[Rule, ...]
    files: int
    token_s: float | None = None
    there: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a cell ended: the run with the fault, and the one after it without.

    `met`: whether the fault struck; one that cuts a request's body cannot strike one without.
    `lost`, `doubled`: files, counted in the company's ledger after both; `wrong`: all that must
    not be, in words.
    """

    end: str
    seen: str
    code: str
    first: RunResult
    second: RunResult
    met: bool
    lost: int
    doubled: int
    wrong: tuple[str, ...] = field(default=())


def cells() -> Iterator[Cell]:
    """All of them, in the order of the page."""
    for kind in KINDS:
        for per_request in GROUPS:
            for place, nth in POSITIONS.items():
                rules = upload_rules(kind, nth, per_request)
                files = REQUESTS * per_request
                yield Cell("uploads", kind, place, per_request, rules, files)
    for kind in READ_KINDS:
        for place, (before, numbers) in LOOKS.items():
            lost = Rule(before, endpoint="upload", numbers=(1,))
            yield Cell("looks", kind, place, 3, (lost, _rule(kind, "query", numbers)), 6)
    for kind in READ_KINDS:
        for place, numbers in REFRESHES.items():
            # Tokens are renewed 300 s before their end: half a second after the start.
            yield Cell("refreshes", kind, place, 1, (_rule(kind, "token", numbers),), 10, 300.5)
    for kind in READ_KINDS:
        for place, numbers in READINGS.items():
            yield Cell("readings", kind, place, 3, (_rule(kind, "query", numbers),), 6, there=3)


def upload_rules(kind: str, nth: int, per_request: int) -> tuple[Rule, ...]:
    """The rules that let a kind strike the nth upload; what lasts in life lasts here."""
    lasting = tuple(range(nth, 10_000))
    no_login = Rule("invalid_grant", endpoint="token")
    if kind == "quota":
        return (_rule(kind, "upload", lasting),)
    if kind == "revoked_token":
        return (_rule(kind, "upload", lasting), no_login)
    if kind == "invalid_grant":
        return (_rule("expired_token", "upload", (nth,)), no_login)
    if kind == "item_fault":
        return (Rule(kind, endpoint="upload", numbers=(nth,), item=(per_request + 1) // 2),)
    return (_rule(kind, "upload", (nth,)),)


_SECONDS = {"latency": 5.0, "slow_body": 30.0, "late_commit": 60.0}


def _rule(kind: str, endpoint: str, numbers: tuple[int, ...]) -> Rule:
    return Rule(kind, endpoint, numbers=numbers, seconds=_SECONDS.get(kind, 0.0))


def judge(
    cell: Cell,
    *,
    marker: MarkerField = "tag",
    switches: Mapping[str, object] | None = None,
) -> Verdict:
    """Run a cell: once with its fault, once without; then count.

    Args:
        cell: which.
        marker: where the idempotency key rides.
        switches: of the company, see `Behaviour`.
    """
    token_s = {} if cell.token_s is None else {"token_s": cell.token_s}
    world = World(cell.files, cell.rules, marker=marker, switches=switches, **token_s)
    if cell.there:
        _fill(world, cell.there)
    first = world.run(cell.per_request, check=bool(cell.there))
    wrong = [f"{world.doubled} doubled"] if world.doubled else []
    if count := world.claimed_in_vain(first):
        wrong.append(f"{count} called done that QBO does not have")
    world.heal()
    if isinstance(first.stopped or first.refused, StopError):
        world.log_in()
    second = world.run(cell.per_request, check=bool(cell.there))
    lost, doubled = world.lost, world.doubled
    if lost or doubled:
        wrong.append(f"{lost} lost, {doubled} doubled at last")
    if second.exit_status:
        wrong.append(f"the next run ended with {second.exit_status}")
    # The fake counts this one when the request begins; without a body nothing is cut.
    struck = world.company.plan.counts.get(cell.kind)
    met = bool(world.wire.cut if cell.kind == "cut_request" else struck)
    if not met and cell.table == "uploads":
        wrong.append("the fault did not strike")
    end = _end(first)
    if end == BROKEN:
        wrong.append(f"exit {first.exit_status} without a reason")
    seen, code = _seen(first), _code(first)
    return Verdict(end, seen, code, first, second, met, lost, doubled, tuple(wrong))


def _fill(world: World, count: int) -> None:
    """Let a run put the first files into QBO, and lose its log."""
    files, world.files = world.files, world.files[:count]
    world.run(count)
    world.files = files
    world.lose_log()


def _end(run: RunResult) -> str:
    """Complete, or rows with a reason, or a stop with one; anything else is broken."""
    if run.refused is not None:
        return REFUSED if str(run.refused) and not run.requests.get("upload") else BROKEN
    if run.exit_status == 0:
        return COMPLETE
    if run.exit_status == 1:
        bad = [p for p, outcome in run.outcomes.items() if outcome == Outcome.ERROR]
        return CLASSIFIED if bad and all(run.reasons.get(path) for path in bad) else BROKEN
    left_in_doubt = Outcome.IN_DOUBT in run.outcomes.values()
    return STOPPED if str(run.stopped or "") or left_in_doubt else BROKEN


def _seen(run: RunResult) -> str:
    """What the client made of the fault: recoveries with their codes, as it raised them."""
    told = dict.fromkeys(f"{error.recovery} ({error.fault.code})" for error in run.met)
    if told:
        return ", ".join(told)
    if Outcome.ERROR in run.outcomes.values() or Outcome.NOT_SENT in run.outcomes.values():
        return f"an item refused ({_code(run)})"
    if run.requests.get("query"):
        return "an item unanswered: in_doubt"
    return "an answer"


def _code(run: RunResult) -> str:
    """The code that a stop or a refused row names, "" for neither."""
    ended = run.stopped or run.refused
    if isinstance(ended, QboError):
        return ended.fault.code
    if run.stopped is not None:
        return f"{run.met[-1].fault.code}, again and again" if run.met else "stopped"
    bad = (path for path, outcome in run.outcomes.items() if outcome == Outcome.ERROR)
    return next((run.reasons[path].split()[0] for path in bad if path in run.reasons), "")

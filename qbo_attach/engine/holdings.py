"""Reading what QBO holds, before anything is sent (EXISTING=check).

Either every attachable is paged through, at 1,000 a read, or those of the entities that matter are
asked for, at 40 ids a read: whichever takes fewer reads.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import Protocol, TypeVar

from qbo_attach.core.chain import Done, entity_refs
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.existing import UNKNOWN, Existing
from qbo_attach.core.history import History
from qbo_attach.core.model import Attachable
from qbo_attach.core.ports import Clock
from qbo_attach.engine.ports import Holdings
from qbo_attach.qbo.faults import RefusedError
from qbo_attach.qbo.paging import RowsMovedError
from qbo_attach.qbo.wire import IDS_PER_QUERY, PAGE_ROWS

VANISHED_SHARE = 0.01
"""More of the done attachments gone from QBO than this share, and a run asks before it goes on."""

_READINGS = 3
_AT_ONCE = 4
_CLOCKS_DIFFER = timedelta(seconds=120)

Entities = dict[str, set[str]]


class Takes(Protocol):
    """What takes attachables one by one; one that was taken before counts for nothing."""

    @property
    def shown(self) -> int:
        """How many it has taken."""

    def add(self, attachable: Attachable) -> None:
        """Take one."""


class Learner(Protocol):
    """What is told the digests of attachables."""

    def learn(self, attachable_id: str, sha256: str) -> None:
        """Take the digest of an attachable's bytes, or UNKNOWN."""


Taker = TypeVar("Taker", bound=Takes)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading showed.

    `asked_at`: QBO's time when it began, less two minutes. `held`: attachables in the company.
    `whole`: all of them were read, not only those of some entities. `vanished`: attachments that
    the run log has as done and QBO did not show, of the `looked_for` that were to be seen.
    """

    existing: Existing
    asked_at: str
    held: int
    whole: bool
    vanished: tuple[Done, ...]
    looked_for: int

    @property
    def too_many_vanished(self) -> bool:
        """Whether a person must say what happened before anything is sent."""
        return len(self.vanished) > VANISHED_SHARE * self.looked_for


async def read_holdings(
    company: Holdings,
    clock: Clock,
    realm_id: str,
    history: History,
    entities: Entities,
    *,
    whole: bool = False,
) -> Reading:
    """Read what QBO holds at these entities.

    Args:
        company: QBO.
        clock: the time.
        realm_id: the company's id.
        history: the run log.
        entities: by type the ids of what something may be sent to.
        whole: page through all attachables in any case.

    Raises:
        QboError: QBO cannot be read.
        NotStartedError: attachables are deleted while they are read, again and again.
    """
    held = await company.attachable_count()
    now = clock.utcnow() + timedelta(seconds=company.clock_offset_s) - _CLOCKS_DIFFER
    asked_at = now.astimezone(timezone.utc).isoformat(timespec="seconds")
    reads = sum(-(-len(ids) // IDS_PER_QUERY) for ids in entities.values())
    if held == 0 or whole or held // PAGE_ROWS + 1 <= reads:
        existing = await read_all(company, held, lambda: Existing(realm_id, history, entities))
        vanished, looked_for = existing.account(lambda _: True)
        whole = True
    else:
        existing = Existing(realm_id, history, entities)
        for entity_type, ids in sorted(entities.items()):
            for attachable in await company.attachables_of(entity_type, sorted(ids)):
                existing.add(attachable)
        vanished, looked_for = existing.account(lambda done: _is_at(done, entities))
    reading = Reading(existing, asked_at, held, whole, tuple(vanished), looked_for)
    if reading.too_many_vanished and not whole:
        # Of a few entities a few may well be gone: only the whole tells whether it is many.
        return await read_holdings(company, clock, realm_id, history, entities, whole=True)
    return reading


def _is_at(done: Done, entities: Entities) -> bool:
    return any(
        ref.id in entities.get(ref.type, ())
        for ref in entity_refs(done.qbo_entity_type, done.qbo_entity_id)
    )


async def read_all(company: Holdings, held: int, begin: Callable[[], Taker]) -> Taker:
    """All attachables; again where they are fewer than QBO says that it has.

    Args:
        company: QBO.
        held: how many attachables it says it has.
        begin: makes what takes them; called for each reading.

    Raises:
        QboError: QBO cannot be read.
        NotStartedError: attachables are deleted while they are read, again and again.
    """
    for _ in range(_READINGS):
        taker = begin()
        try:
            if held:
                async for attachable in company.all_attachables():
                    taker.add(attachable)
            if taker.shown >= held:
                return taker
        except RowsMovedError:
            pass
        held = await company.attachable_count()
    raise NotStartedError(
        f"QBO says that it has {held:,} attachables, and does not show as many: some are being "
        "deleted while they are read; run again when nobody does"
    )


async def learn_digests(company: Holdings, learner: Learner, ids: Iterable[str]) -> None:
    """Download these attachables, and tell `learner` what their bytes are.

    Raises:
        QboError: QBO cannot be read. One that has no bytes to give is no error.
    """
    waiting = iter(dict.fromkeys(ids))

    async def work() -> None:
        for attachable_id in waiting:
            learner.learn(attachable_id, await _digest(company, attachable_id))

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def _digest(company: Holdings, attachable_id: str) -> str:
    digest = hashlib.sha256()
    try:
        async with aclosing(company.download(attachable_id)) as pieces:  # type: ignore[type-var]  # a generator
            async for piece in pieces:
                digest.update(piece)
    except RefusedError:
        return UNKNOWN
    return digest.hexdigest()


async def surely_gone(company: Holdings, vanished: Iterable[Done]) -> list[Done]:
    """Those of the vanished that QBO does not have by their ids either.

    Raises:
        QboError: QBO cannot be read.
    """
    return [done for done in vanished if await company.read_attachable(done.attachable_id) is None]

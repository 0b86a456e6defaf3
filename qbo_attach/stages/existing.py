"""EXISTING=check: what QBO holds already, read before a plan and once more before sending."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from qbo_attach.core.chain import Done, Recorded, entity_refs
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.existing import Existing
from qbo_attach.core.history import History
from qbo_attach.core.model import Action, Outcome, Status
from qbo_attach.core.naming import folded
from qbo_attach.core.planning import Planner
from qbo_attach.core.ports import Clock
from qbo_attach.core.tables import PlanRow, VerificationRow
from qbo_attach.engine.holdings import Entities, Reading, learn_digests, read_holdings, surely_gone
from qbo_attach.engine.ports import Holdings
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QboError
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import make_client, make_pacer
from qbo_attach.storage.files import Store

BASIS_FILE = "upload_plan.json"
"""In LOG_DIR: what the plan was made from, see Basis."""

T = TypeVar("T")
Verified = Callable[[], Iterable[VerificationRow]]


@dataclass(frozen=True, slots=True)
class Checked:
    """A planner that knows what QBO holds. `asked_at` is "" where nothing was to be asked."""

    planner: Planner
    asked_at: str = ""
    notes: tuple[str, ...] = ()


def check_existing(
    settings: Settings,
    planner: Planner,
    entities: Entities,
    verified: Verified,
    missing: Collection[str] | None = None,
) -> Checked:
    """Read what QBO holds at the entities to which something is to be sent.

    Args:
        settings: all of them.
        planner: knows the run log.
        entities: to which something is to be sent.
        verified: gives the rows of the verification log.
        missing: paths of the only attachments that are sent again if they have vanished, whatever
            VANISHED says; None: as it says.

    Raises:
        NotStartedError: QBO cannot be read, or has lost so much that a person must say why.
    """
    again = bool(missing) or (missing is None and settings.vanished == "send")
    if not entities and not (again and planner.history.done):
        return Checked(planner)

    reading, gone = _asked(
        settings,
        lambda client, clock: read_for_plan(
            client, clock, planner, entities, verified, again=again
        ),
    )
    if settings.vanished == "stop" and missing is None and reading.too_many_vanished:
        raise NotStartedError(_question(reading))
    planner = replace(planner, existing=reading.existing)
    if gone:
        if missing is not None:
            gone = [done for done in gone if done.path in missing]
        planner = _opened_again(planner, gone, verified())
    return Checked(planner, reading.asked_at, tuple(_notes(reading, planner.gone)))


async def read_for_plan(
    company: Holdings,
    clock: Clock,
    planner: Planner,
    entities: Entities,
    verified: Verified,
    *,
    again: bool,
) -> tuple[Reading, list[Done]]:
    """What QBO holds; and with `again`, which of the done attachments are surely gone from it.

    Raises:
        QboError: QBO cannot be read.
        NotStartedError: attachables are deleted while they are read, again and again.
    """
    realm_id, history = planner.realm_id, planner.history
    reading = await read_holdings(company, clock, realm_id, history, entities, whole=again)
    gone = await surely_gone(company, reading.vanished) if again else []
    paths = {done.path for done in gone}
    widened = {entity_type: set(ids) for entity_type, ids in entities.items()}
    for row in verified() if paths else ():
        if row.file_path in paths:
            for ref in entity_refs(row.qbo_entity_type, row.qbo_entity_id):
                widened.setdefault(ref.type, set()).add(ref.id)
    if widened != entities:
        # What is sent again may go to an entity that nothing was to be sent to before.
        wider = await read_holdings(company, clock, realm_id, history, widened)
        reading = replace(reading, existing=wider.existing)
    return reading, gone


def learn_unclear(settings: Settings, existing: Existing, ids: list[str]) -> None:
    """Download the attachables whose content decides.

    Raises:
        NotStartedError: QBO cannot be read.
    """
    if ids:
        _asked(settings, lambda client, _clock: learn_digests(client, existing, ids))


def _asked(settings: Settings, ask: Callable[[QboClient, SystemClock], Awaitable[T]]) -> T:
    async def asking() -> T:
        clock = SystemClock()
        client = make_client(settings, make_pacer(settings, clock), clock)
        try:
            return await ask(client, clock)
        except QboError as error:
            raise NotStartedError(
                f"what QBO holds already could not be read: {error} Nothing was sent."
            ) from error
        finally:
            await client.aclose()

    return asyncio.run(asking())


def _question(reading: Reading) -> str:
    few = ", ".join(done.attachable_id for done in reading.vanished[:3])
    return (
        f"QBO does not show {len(reading.vanished):,} of the {reading.looked_for:,} attachables "
        f"that the run log has as done (ids {few}, ...). Was the company converted again, or is "
        "it another one? Then use a new LOG_DIR. If somebody deleted them, set VANISHED=keep to "
        "leave them so, or VANISHED=send to send them again. If they were sent a moment ago, QBO "
        "may not show them yet: run again in a minute. Nothing was sent."
    )


def _notes(reading: Reading, gone: Mapping[str, str]) -> Iterable[str]:
    where = "" if reading.whole else "; those of the entities at hand were read"
    yield f"QBO holds {reading.held:,} attachables{where}."
    if reading.vanished and not gone:
        paths = ", ".join(done.path for done in reading.vanished[:3])
        yield (
            f"{len(reading.vanished):,} attachments are done and gone from QBO ({paths}); they "
            "are not sent again unless VANISHED=send is set."
        )


def _opened_again(planner: Planner, gone: list[Done], rows: Iterable[VerificationRow]) -> Planner:
    """Forget those of the vanished that are still in the tree: their names are free again."""
    present = {row.file_path for row in rows if row.status == Status.OK}
    history = planner.history
    again = {}
    for done in gone:
        if done.path in present and history.done.get(done.path) == done:
            again[done.path] = done.attachable_id
            history.apply(deleted(done, ""))
    return replace(planner, gone=again)


def deleted(done: Done, at: str) -> Recorded:
    """The record that an attachment is in QBO no more."""
    return Recorded(
        at=at,
        outcome=Outcome.DELETED.value,
        key=done.key,
        path=done.path,
        attachable_id=done.attachable_id,
        error="QBO has it no more",
    )


# -- from the plan to the upload ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan was made from: the run log up to segment `segments`, QBO as of `asked_at`.

    `asked_at` is "" where QBO was not asked what it holds. `settled_rows`: of a plan of which
    nothing is to be done, since the run log has every attachment as it is, how many rows it has;
    else None.
    """

    plan_sha256: str
    segments: int
    asked_at: str = ""
    settled_rows: int | None = None

    def check(self, segments: int, *, asked: bool) -> None:
        """See that the plan may still be carried out; the run log has so many segments now.

        Raises:
            NotStartedError: another run has worked since, or QBO should have been asked and was
                not.
        """
        if self.segments != segments:
            # What was sent meanwhile, perhaps under another path or name, the plan cannot know.
            raise NotStartedError(
                "another run has worked on this company since the plan was made. Nothing was "
                "sent: run qbo-attach plan again, then upload"
            )
        if asked and not self.asked_at:
            raise NotStartedError(
                "the plan was made without asking what QBO holds already: run qbo-attach plan "
                "again, then upload (or set EXISTING=off for a company that surely holds nothing "
                "of this tree)"
            )


def note_basis(log: Store, basis: Basis) -> None:
    """Leave it beside the plan."""
    with log.writing(BASIS_FILE) as stream:
        stream.write(f"{json.dumps(asdict(basis), sort_keys=True)}\n".encode())


def read_basis(log: Store, plan_sha256: str) -> Basis:
    """What this plan was made from.

    Raises:
        NotStartedError: it is not known.
    """
    basis = _noted_basis(log)
    if basis.plan_sha256 != plan_sha256:
        raise NotStartedError(
            f"{log.child_url(BASIS_FILE)} does not tell what the plan was made from: run "
            "qbo-attach plan again, then upload"
        )
    return basis


def is_taken_back(plan: Iterable[PlanRow], history: History) -> bool:
    """Whether an undo has deleted something that the plan takes for done."""
    done = (Action.SKIP, Action.CHANGED)
    keys = (row.idempotency_key for row in plan if row.action in done)
    return any(key and history.rows.at_key(key) is None for key in keys)


def settled_plan(log: Store, segments: int) -> tuple[str, int]:
    """Digest and rows of a plan of which nothing is to be done.

    "" and 0: there is none, or the run log, which has so many segments now, has grown since.
    """
    basis = _noted_basis(log)
    if basis.segments != segments or not basis.settled_rows:
        return "", 0
    return basis.plan_sha256, basis.settled_rows


def _noted_basis(log: Store) -> Basis:
    try:
        return Basis(**json.loads(log.read_bytes(BASIS_FILE)))
    except (FileNotFoundError, ValueError, TypeError):
        return Basis("", 0)


async def refuse_if_changed(
    client: QboClient,
    history: History,
    asked_at: str,
    rows: Callable[[], Iterable[PlanRow]],
) -> None:
    """See that nobody else has put there, since the plan, what is about to be sent.

    Raises:
        NotStartedError: somebody has.
        QboError: QBO cannot be read.
    """
    # What an intent in doubt may have put there is left to its look.
    doubted = {
        (ref, folded(file.sent_file_name))
        for doubt in history.doubts.values()
        for file in doubt.open.values()
        for ref in file.refs
    }
    new = {
        (ref, folded(attachable.file_name)): attachable.id
        for attachable in await client.attachables_since(asked_at)
        for ref in attachable.refs
        if (ref, folded(attachable.file_name)) not in doubted
    }
    if not new:
        return
    for row in rows():
        if row.action != Action.SEND or history.holds(row.idempotency_key):
            continue
        for ref in entity_refs(row.qbo_entity_type, row.qbo_entity_id):
            stranger = new.get((ref, folded(row.sent_file_name)))
            if stranger is not None and not _is_done(history, stranger):
                raise NotStartedError(
                    f"{row.file_path}: since the plan was made {ref} got an attachable of this "
                    f"name in QBO (id {stranger}). Nothing was sent: run qbo-attach plan again, "
                    "then upload"
                )


def _is_done(history: History, attachable_id: str) -> bool:
    """Whether a run made it, or found it: at two entities, and sent to one of them, say."""
    return any(done.attachable_id == attachable_id for done in history.done_by_key.values())

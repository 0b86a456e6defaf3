"""The canary: a few attachments of a plan are sent first, read back, and shown to a person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from qbo_attach.core import tables
from qbo_attach.core.canary import choose_canary
from qbo_attach.core.chain import Done
from qbo_attach.core.errors import NotStartedError, StoppedError
from qbo_attach.core.links import entity_link
from qbo_attach.core.model import Action
from qbo_attach.core.tables import PlanRow
from qbo_attach.engine.holdings import learn_digests
from qbo_attach.qbo.faults import QboError
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import environment_name, make_client, make_pacer
from qbo_attach.stages.inputs import log_store
from qbo_attach.stages.upload import UploadRun
from qbo_attach.stages.whole import RunSummary, sum_up
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.runlog import read_chain

_SENDERS = 32
EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class CanaryFile:
    """One attachment of a canary.

    `state`: EQUAL, `differs`, or, where it is not in QBO, `not_sent`; `reason` tells more. `link`:
    where a person sees it in QBO, "" for a type whose page has no address.
    """

    path: str
    entity: str
    sent_file_name: str
    size_bytes: int
    state: str
    reason: str = ""
    attachable_id: str = ""
    link: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether it is in QBO, byte by byte as it was sent."""
        return self.state == EQUAL


@dataclass(frozen=True, slots=True)
class Canary:
    """What a canary came to; `rest`: how many attachments are still to be sent."""

    summary: RunSummary
    files: tuple[CanaryFile, ...]
    rest: int

    @property
    def passed(self) -> bool:
        """Whether each is in QBO, byte by byte as it was sent."""
        return all(file.is_equal for file in self.files)

    def as_json(self) -> dict[str, object]:
        """The same as an object."""
        return {
            "run_id": self.summary.run_id,
            "passed": self.passed,
            "rest": self.rest,
            "files": [asdict(file) for file in self.files],
        }


def run_canary(
    settings: Settings,
    count: int,
    stoppable: Callable[[Callable[[Exception], None]], None] = lambda _: None,
    watched: Callable[[UploadRun], None] = lambda _: None,
    ask: Callable[[str], bool] | None = None,
) -> Canary | None:
    """Send so many attachments of the plan that is there, and download them again.

    Args:
        settings: all of them.
        count: how many, from 1.
        stoppable: called with what stops the upload, before it starts.
        watched: called with the upload, before it starts.
        ask: shows a person a question, True for a yes; None: nobody is there to ask.

    Returns:
        What it came to; None where nothing is to be sent.

    Raises:
        QboAttachError: what kept the upload from starting or ended it.
    """
    if count < 1:
        raise NotStartedError(f"a canary of {count} attachments: must be a whole number from 1")
    log = log_store(settings)
    chosen = choose_canary(read_table(log, tables.PLAN, PlanRow), count)
    if not chosen:
        return None
    sending = (r for r in read_table(log, tables.PLAN, PlanRow) if r.action == Action.SEND)
    wanted = set(chosen)
    rows = [row for number, row in enumerate(sending) if number in wanted]
    # Batches of one attachment each: so just the chosen ones can be handed in.
    run = UploadRun(settings.model_copy(update={"batch_size": 1}), ask=ask)
    stoppable(run.stop)
    watched(run)
    with run, ThreadPoolExecutor(_SENDERS) as pool:
        list(pool.map(run.send, [run.batches[number] for number in chosen]))
    rest = len(run.batches) - len(chosen)
    summary = sum_up(settings, run)
    return Canary(summary, tuple(_read_back(settings, rows)), rest)


class _Digests:
    """By attachable id the digest of its bytes in QBO."""

    def __init__(self) -> None:
        self.by_id: dict[str, str] = {}

    def learn(self, attachable_id: str, sha256: str) -> None:
        self.by_id[attachable_id] = sha256


def _read_back(settings: Settings, rows: list[PlanRow]) -> list[CanaryFile]:
    history = read_chain(log_store(settings), settings.realm_id).history
    dones = {row.file_path: history.rows.at_path(row.file_path) for row in rows}
    digests = asyncio.run(_digests(settings, [done for done in dones.values() if done]))
    sandbox = environment_name(settings) != "production"
    files = []
    for row in rows:
        done = dones[row.file_path]
        refused = history.refused.get(row.file_path)
        state, reason = "not_sent", refused.error if refused is not None else "it is not in QBO yet"
        link = attachable_id = ""
        if done is not None:
            attachable_id = done.attachable_id
            same = digests.get(attachable_id) == done.sha256
            state, reason = (EQUAL, "") if same else ("differs", "QBO gives back other bytes")
            kind, first = done.qbo_entity_type.split(";")[0], done.qbo_entity_id.split(";")[0]
            link = entity_link(kind, first, sandbox=sandbox)
        files.append(
            CanaryFile(
                row.file_path,
                f"{row.qbo_entity_type}:{row.qbo_entity_id}",
                row.sent_file_name,
                int(row.size_bytes),
                state,
                reason,
                attachable_id,
                link,
            )
        )
    return files


async def _digests(settings: Settings, dones: list[Done]) -> dict[str, str]:
    clock = SystemClock()
    client = make_client(settings, make_pacer(settings, clock), clock)
    learner = _Digests()
    try:
        await learn_digests(client, learner, [done.attachable_id for done in dones])
    except QboError as error:
        raise StoppedError(
            f"the canary was sent, but could not be read back: {error}; run it again"
        ) from error
    finally:
        await client.aclose()
    return learner.by_id

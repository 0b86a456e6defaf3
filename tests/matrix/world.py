"""A company, a run log and a clock that outlive the runs; each run is the engine as it is.

The session, the client, the tokens and the run log are the product's own. What stands in for the
outside: the clock jumps, the wire has no socket (wire.py), segments and tokens lie in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from qbo_attach.core.chain import Recorded, RunStarted
from qbo_attach.core.credentials import Tokens
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.history import History
from qbo_attach.core.model import DONE_OUTCOMES, Action, Outcome
from qbo_attach.core.naming import idempotency_key
from qbo_attach.core.planned import group_file, known_outcomes
from qbo_attach.core.reporting import exit_status
from qbo_attach.core.segments import decode_segment
from qbo_attach.core.tables import PlanRow
from qbo_attach.engine.session import SessionOptions, UploadSession
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.options import REALM, Behaviour
from qbo_attach.qbo.auth import StoredTokens
from qbo_attach.qbo.body import BodySource
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QboError
from qbo_attach.qbo.multipart import MarkerField, UploadPart
from qbo_attach.qbo.oauth import TokenEndpoint
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.qbo.wire import UploadAnswer
from qbo_attach.storage.holder import Life
from tests.matrix.doors import AT, AtOnce, QuickClock, Sources, TokenShelf, content, file
from tests.matrix.planned import plan
from tests.matrix.wire import Wire
from tests.storage.test_runlog import MemorySegments, runlog

ADDRESS = "https://qbo.example"
LATENCY_MS = 200.0
_LONG_S = 864_000
"""Longer than any run here."""


class Client(QboClient):
    """The client, with an ear at its uploads: `met` tells the errors it raised, in order."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.met: list[QboError] = []

    async def upload(
        self,
        parts: Sequence[UploadPart],
        bodies: Sequence[BodySource],
        *,
        request_id: str,
        boundary: str,
        before_first_byte: Callable[[], None],
    ) -> UploadAnswer:
        try:
            return await super().upload(
                parts,
                bodies,
                request_id=request_id,
                boundary=boundary,
                before_first_byte=before_first_byte,
            )
        except QboError as error:
            self.met.append(error)
            raise


Meanwhile = Callable[[UploadSession], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one run came to.

    `outcomes`: one a file, by path. `reasons`: what the log says of those that have no attachable.
    `requests`: those that left, by kind. `met`: errors of uploads, in order. `refused`: why it did
    not begin.
    """

    outcomes: dict[str, str]
    reasons: dict[str, str]
    requests: dict[str, int]
    stopped: Exception | None
    met: tuple[QboError, ...]
    took_s: float
    refused: Exception | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Outcomes, counted."""
        return dict(Counter(self.outcomes.values()))

    @property
    def exit_status(self) -> int:
        """The exit status of a run that ended so."""
        if self.refused is not None:
            return 2
        return exit_status(self.counts, {}, stopped=self.stopped is not None)


class World:
    """Outlives its runs.

    Args:
        files: how many attachments there are.
        rules: the fault plan; `heal` takes it away.
        token_s: how long the first access token is good.
        marker: where the idempotency key rides.
        switches: of the company, see `Behaviour`.
    """

    def __init__(
        self,
        files: int,
        rules: Iterable[Rule] = (),
        *,
        token_s: float = _LONG_S,
        marker: MarkerField = "tag",
        switches: Mapping[str, object] | None = None,
    ) -> None:
        self.clock = QuickClock()
        behaviour = Behaviour(latency_ms=LATENCY_MS, access_token_s=_LONG_S)
        behaviour = behaviour.changed(switches or {})
        self.company = FakeCompany(
            clock=lambda: self.clock.utcnow().timestamp(), behaviour=behaviour, rules=rules
        )
        self.files = [file(number) for number in range(1, files + 1)]
        self.segments = MemorySegments()
        self.sources = Sources()
        self.predecessor = Life.GONE
        """What a run finds of the process before it."""
        self.wire = Wire(self.company, self.clock)
        self._shelf = TokenShelf()
        self._ids = itertools.count(1)
        self._marker: MarkerField = marker
        self.log_in(token_s)

    def log_in(self, token_s: float = _LONG_S) -> None:
        """A person connects the app to the company."""
        access = self.company.oauth.issue("access", REALM, token_s)
        refresh = self.company.oauth.issue("refresh", REALM, 8_640_000)
        ends = self.clock.utcnow() + timedelta(seconds=token_s)
        self._shelf.tokens = Tokens(access.value, refresh.value, ends)

    def heal(self) -> None:
        """No more faults."""
        self.company.plan.clear()

    def run(
        self, per_request: int, meanwhile: Meanwhile | None = None, *, check: bool = False
    ) -> RunResult:
        """One run to its end.

        Args:
            per_request: files in a group.
            meanwhile: goes on beside it, from the session's start on.
            check: ask first what QBO holds already.
        """
        return self.clock.run(self._run(per_request, meanwhile, check=check))

    def lose_log(self) -> None:
        """The run log is gone; what is in QBO is not."""
        self.segments.held.clear()

    async def _run(
        self, per_request: int, meanwhile: Meanwhile | None, *, check: bool
    ) -> RunResult:
        asyncio.get_running_loop().set_default_executor(AtOnce())
        started = self.clock.now
        log = runlog(self.segments, self.clock, life=self.predecessor)
        await log.open()
        pacer = Pacer(self.clock, 490)
        client = self._client(pacer)
        known = log.history.done_by_key
        left = [one for one in self.files if one.key not in known]
        rows: list[PlanRow] = []
        if check:
            try:
                rows = await self._planned(client, log.history)
            except (QboError, NotStartedError) as error:
                return self._refused(client, error, started)
            left = [group_file(row) for row in rows if row.action == Action.SEND]
        session = UploadSession(
            clock=self.clock,
            log=log,
            company=client,
            sources=self.sources,
            pacer=pacer,
            options=SessionOptions("run", per_request, marker=self._marker),
            new_id=lambda: f"id{next(self._ids):030}",
        )
        await session.start(
            [RunStarted("run", AT, REALM, "other", "Company", "files", "disk", "1")]
        )
        for row in rows:
            for record in known_outcomes(row, log.history, AT, {}):
                session.record(record)
        beside = asyncio.ensure_future(meanwhile(session)) if meanwhile is not None else None
        before = len(self.segments.held)
        try:
            await session.submit(left)
        except Exception as error:
            if error is not session.stopped:
                raise
        await session.finish(lambda: dict(Counter(self._outcomes(session).values())))
        await client.aclose()
        if beside is not None:
            await beside
        return RunResult(
            self._outcomes(session),
            self._reasons(before),
            client.requests_sent,
            session.stopped,
            tuple(client.met),
            self.clock.now - started,
        )

    async def _planned(self, client: Client, history: History) -> list[PlanRow]:
        contents = [content(int(one.qbo_entity_id)) for one in self.files]
        return await plan(self.files, contents, client, self.clock, history)

    def _refused(self, client: Client, error: Exception, started: float) -> RunResult:
        outcomes = {one.path: Outcome.NOT_SENT.value for one in self.files}
        took_s = self.clock.now - started
        return RunResult(outcomes, {}, client.requests_sent, None, (), took_s, error)

    def _client(self, pacer: Pacer) -> Client:
        token_url = f"{ADDRESS}/oauth2/v1/tokens/bearer"
        endpoint = TokenEndpoint(token_url, "id", "secret", self.clock, transport=self.wire)
        return Client(
            base_url=ADDRESS,
            realm_id=REALM,
            tokens=StoredTokens(self._shelf, REALM, endpoint, self.clock),
            pacer=pacer,
            clock=self.clock,
            transport=self.wire,
            marker_field=self._marker,
            chance=lambda: 0.5,
        )

    def _outcomes(self, session: UploadSession) -> dict[str, str]:
        history = session.log.history
        outcomes: dict[str, str] = {}
        for one in self.files:
            outcome = session.ended.get(hash(one.path))
            if outcome is None and one.path in history.doubt_of_path:
                outcome = Outcome.IN_DOUBT.value
            elif outcome is None and one.key in history.done_by_key:
                outcome = Outcome.SKIPPED_ALREADY_UPLOADED.value
            outcomes[one.path] = outcome or Outcome.NOT_SENT.value
        return outcomes

    def _reasons(self, after: int) -> dict[str, str]:
        """By path, the reason that the segments written since give for an outcome."""
        reasons: dict[str, str] = {}
        for name in sorted(self.segments.held)[after:]:
            for record in decode_segment(self.segments.held[name], name)[1]:
                if isinstance(record, Recorded) and record.error:
                    reasons[record.path] = record.error
        return reasons

    # -- what QBO has -------------------------------------------------------------------------

    def ledger(self) -> Counter[str]:
        """How often each key is in the company, told by entity and name."""
        return Counter(_key(row) for row in self.company.ledger(REALM)["attachables"])

    @property
    def lost(self) -> int:
        """Files that the company does not have, or with other bytes than the file's."""
        digests = {_key(row): row["sha256"] for row in self.company.ledger(REALM)["attachables"]}
        return sum(
            digests.get(one.key) != hashlib.sha256(content(int(one.qbo_entity_id))).hexdigest()
            for one in self.files
        )

    @property
    def doubled(self) -> int:
        """Attachables in the company beyond the first of each key."""
        return sum(count - 1 for count in self.ledger().values())

    def claimed_in_vain(self, result: RunResult) -> int:
        """Files that a run calls done although the company does not have them."""
        there = self.ledger()
        done = {*DONE_OUTCOMES, Outcome.SKIPPED_ALREADY_UPLOADED}
        return sum(result.outcomes[one.path] in done and not there[one.key] for one in self.files)


def _key(row: Mapping[str, Any]) -> str:
    (ref,) = row["refs"]
    return idempotency_key(REALM, ref["type"], ref["value"], row["FileName"])

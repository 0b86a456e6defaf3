"""Every kind of fault the fake company knows, switched on in turn: the client's word on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import NamedTuple
from uuid import uuid4

import pytest

from qbo_attach.core.credentials import Tokens
from qbo_attach.core.model import EntityRef, Recovery
from qbo_attach.fake_qbo import running
from qbo_attach.fake_qbo.faults import KINDS, Rule
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.qbo.auth import StoredTokens
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QUOTA, QboError, StopError, recovery
from qbo_attach.qbo.multipart import UploadPart
from qbo_attach.qbo.oauth import TokenEndpoint
from qbo_attach.qbo.pacing import Pacer, SystemClock
from qbo_attach.qbo.wire import UploadAnswer
from tests.qbo.contract import source


class Met(NamedTuple):
    """What the client makes of a kind: a recovery, or how many items it got answers for.

    `effect`: whether the files are in the company then; None: in part, or later.
    """

    outcome: Recovery | int
    effect: bool | None
    code: str = ""


_STOP, _NOT_DONE = Recovery.STOP, Recovery.NOT_DONE
_IN_DOUBT, _REFUSED = Recovery.IN_DOUBT, Recovery.REFUSED

UPLOAD: dict[str, Met] = {
    "401": Met(_NOT_DONE, effect=False, code="3200"),
    "expired_token": Met(_NOT_DONE, effect=False, code="3200"),
    "revoked_token": Met(_NOT_DONE, effect=False, code="3200"),
    "403": Met(_STOP, effect=False, code="3100"),
    "429": Met(_NOT_DONE, effect=False, code="3001"),
    "429_under_403": Met(_NOT_DONE, effect=False, code="3001"),
    "quota": Met(_NOT_DONE, effect=False, code="3001"),
    "500_before": Met(_IN_DOUBT, effect=False, code="10000"),
    "500_after": Met(_IN_DOUBT, effect=True, code="10000"),
    "502_before": Met(_IN_DOUBT, effect=False, code="502"),
    "502_after": Met(_IN_DOUBT, effect=True, code="502"),
    "503_before": Met(_IN_DOUBT, effect=False, code="503"),
    "503_after": Met(_IN_DOUBT, effect=True, code="503"),
    "504_before": Met(_IN_DOUBT, effect=False, code="504"),
    "504_after": Met(_IN_DOUBT, effect=True, code="504"),
    "refused": Met(_REFUSED, effect=False, code="2010"),
    "fault_200": Met(_STOP, effect=False, code="6190"),
    "fault_200_after": Met(_IN_DOUBT, effect=True, code="10000"),
    "invalid_grant": Met(_REFUSED, effect=False, code="400"),  # at the token endpoint it stops
    "cut_request": Met(_IN_DOUBT, effect=False, code="cut"),
    "cut_before": Met(_IN_DOUBT, effect=False, code="cut"),
    "cut_during": Met(_IN_DOUBT, effect=None, code="cut"),
    "cut_after": Met(_IN_DOUBT, effect=True, code="cut"),
    "cut_answer": Met(_IN_DOUBT, effect=True, code="cut"),
    "hang_before": Met(_IN_DOUBT, effect=False, code="cut"),
    "hang": Met(_IN_DOUBT, effect=True, code="cut"),
    "slow_body": Met(2, effect=True),
    "late_commit": Met(_IN_DOUBT, effect=None, code="cut"),
    "garbage_200": Met(_IN_DOUBT, effect=True, code="unreadable"),
    "garbage_200_before": Met(_IN_DOUBT, effect=False, code="unreadable"),
    "empty_200": Met(_IN_DOUBT, effect=True, code="unreadable"),
    "empty_200_before": Met(_IN_DOUBT, effect=False, code="unreadable"),
    "truncated_200": Met(_IN_DOUBT, effect=True, code="unreadable"),
    "item_fault": Met(2, effect=None),
    "shuffled_items": Met(2, effect=True),
    "missing_items": Met(1, effect=True),
    "latency": Met(2, effect=True),
}


DEADLINE_S = 1.2
"""Of a request; a busy machine may stand still for a while."""


class Impatient(SystemClock):
    """Does not wait long, but for the end of a request."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds if seconds == DEADLINE_S else min(seconds, 0.01))


class Renewing:
    """Tokens t1, t2, ... each good until it is refused."""

    def __init__(self) -> None:
        self.number = 1

    async def token(self) -> str:
        return f"t{self.number}"

    async def refreshed(self, stale: str) -> str:
        self.number += stale == f"t{self.number}"
        return await self.token()


class Kept:
    """A store that holds tokens which are at their end."""

    def __init__(self, clock: SystemClock) -> None:
        self.tokens = Tokens("old", "refresh", clock.utcnow() - timedelta(seconds=1))

    def load(self, _realm_id: str) -> Tokens:
        return self.tokens

    def save(self, _realm_id: str, tokens: Tokens) -> None:
        self.tokens = tokens

    def try_lease(self) -> bool:
        return True

    def release(self) -> None:
        pass


@pytest.fixture(scope="module")
def served() -> Iterator[RunningFake]:
    with running() as fake:
        yield fake


@pytest.fixture
def fake(served: RunningFake) -> Iterator[RunningFake]:
    yield served
    served.company.plan.clear()
    served.company.state.settle(everything=True)  # no late commit comes into the next test


@pytest.fixture
async def client(fake: RunningFake) -> AsyncIterator[QboClient]:
    clock = Impatient()
    client = QboClient(
        base_url=fake.base_url,
        realm_id=fake.realm,
        tokens=Renewing(),
        pacer=Pacer(clock, 100_000, 10_000),
        clock=clock,
        deadline_s=DEADLINE_S,
    )
    yield client
    await client.aclose()


async def upload(client: QboClient) -> UploadAnswer:
    parts = [
        UploadPart(f"{n} {uuid4().hex}.pdf", "application/pdf", 3, (EntityRef("Bill", "7"),), "k")
        for n in (1, 2)
    ]
    return await client.upload(
        parts,
        [source(b"one"), source(b"two")],
        request_id=uuid4().hex,
        boundary=uuid4().hex,
        before_first_byte=lambda: None,
    )


async def outcome_of(client: QboClient) -> tuple[Recovery | int, str]:
    """The recovery and code of an upload's error, or how many items were answered and ""."""
    try:
        return len((await upload(client)).items), ""
    except QboError as error:
        # The error's class is the recovery that the table of codes names.
        told = recovery(error.fault)
        return told if told is error.recovery else -1, error.fault.code


def strike(fake: RunningFake, kind: str, endpoint: str, times: int = 1) -> None:
    seconds = {"slow_body": 0.1, "latency": 0.05}.get(kind, 0.0)
    rule = Rule(kind, endpoint=endpoint, times=times, seconds=seconds, retry_after="0", item=1)
    fake.company.plan.add([rule])


def test_the_table_names_every_kind() -> None:
    assert set(UPLOAD) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_each_fault_of_the_company_is_told_by_its_recovery(
    client: QboClient, fake: RunningFake, kind: str
) -> None:
    """And nothing that has its effect is told to be without."""
    met = UPLOAD[kind]
    strike(fake, kind, "upload")
    before = len(fake.ledger()["attachables"])
    told, code = await outcome_of(client)
    assert (told, code) == (met.outcome, met.code)
    await asyncio.sleep(0.02)
    made = len(fake.ledger()["attachables"]) - before
    if met.effect is not None:
        assert made == (2 if met.effect else 0)
    assert not (made and told in {_NOT_DONE, _REFUSED})
    assert fake.company.plan.counts[kind] >= 1


WAITS_A_MINUTE = {"429_under_403"}
"""Without Retry-After: test_waits.py, in virtual time."""


@pytest.mark.parametrize("kind", sorted(set(KINDS) - WAITS_A_MINUTE))
async def test_a_read_that_meets_a_fault_once_is_asked_again_unless_it_is_a_stop_or_a_refusal(
    client: QboClient, fake: RunningFake, kind: str
) -> None:
    made = str(fake.company.control.seed({"FileName": "r.pdf", "text": "x"}, fake.realm)["Id"])
    strike(fake, kind, "query")
    statement = f"SELECT * FROM Attachable WHERE Id = '{made}'"
    outcome = UPLOAD[kind].outcome
    if outcome in (_STOP, _REFUSED):
        with pytest.raises(QboError) as raised:
            await client.query(statement)
        assert raised.value.recovery == outcome
        return
    assert [row["Id"] for row in await client.query(statement)] == [made]


async def test_the_quota_is_told_after_three_waits_without_a_success(
    client: QboClient, fake: RunningFake
) -> None:
    strike(fake, "quota", "upload", times=0)
    for _ in range(3):
        with pytest.raises(QboError) as raised:
            await upload(client)
        assert raised.value.recovery is _NOT_DONE
    with pytest.raises(StopError, match="monthly allowance") as stopped:
        await upload(client)
    assert stopped.value.fault.code == QUOTA


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("invalid_grant", _STOP), ("500_before", _NOT_DONE), ("cut_before", _NOT_DONE)],
)
async def test_a_fault_of_the_token_endpoint_is_told_before_anything_is_sent(
    fake: RunningFake, kind: str, outcome: Recovery
) -> None:
    clock = Impatient()
    endpoint = TokenEndpoint(f"{fake.base_url}/oauth2/v1/tokens/bearer", "id", "secret", clock)
    client = QboClient(
        base_url=fake.base_url,
        realm_id=fake.realm,
        tokens=StoredTokens(Kept(clock), fake.realm, endpoint, clock),
        pacer=Pacer(clock, 100_000, 10_000),
        clock=clock,
    )
    strike(fake, kind, "token", times=0)
    with pytest.raises(QboError) as raised:
        await upload(client)
    assert raised.value.recovery is outcome
    if outcome is _STOP:
        assert "Log in again with qbo-attach login" in str(raised.value)
    assert client.requests_sent == {}
    await client.aclose()

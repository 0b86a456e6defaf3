"""How the client waits, in virtual time: throttles, the quota, locked companies, hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest

from qbo_attach.core.model import EntityRef
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import InDoubtError, NotDoneError, QboError, StopError
from qbo_attach.qbo.multipart import UploadPart
from qbo_attach.qbo.pacing import Pacer
from tests.qbo.contract import source
from tests.qbo.virtual_clock import VirtualClock

OK = httpx.Response(
    200,
    json={"AttachableResponse": [{"Attachable": {"Id": "1"}}]},
    headers={"Date": "Tue, 24 Nov 2026 04:10:00 GMT"},
)


class Tokens:
    """t0, t1, ... each good until it is refused."""

    def __init__(self) -> None:
        self.number = 0

    async def token(self) -> str:
        return f"t{self.number}"

    async def refreshed(self, stale: str) -> str:
        self.number += stale == f"t{self.number}"
        return await self.token()


class Rig:
    """A client on a virtual clock whose company answers from a list, or by a function."""

    def __init__(self, answers: Iterator[httpx.Response] | Callable[[], httpx.Response]) -> None:
        self.clock = VirtualClock()
        self.moments: list[float] = []

        async def answer(_: httpx.Request) -> httpx.Response:
            self.moments.append(self.clock.now)
            return next(answers) if isinstance(answers, Iterator) else answers()

        self._transport = httpx.MockTransport(answer)

    def open(self) -> QboClient:
        self.pacer = Pacer(self.clock)
        return QboClient(
            base_url="https://qbo.example",
            realm_id="1",
            tokens=Tokens(),
            pacer=self.pacer,
            clock=self.clock,
            transport=self._transport,
            chance=lambda: 0.5,
        )


async def upload(client: QboClient) -> str:
    """One upload's outcome in a word."""
    try:
        await client.upload(
            [UploadPart("a.pdf", "application/pdf", 1, (EntityRef("Bill", "1"),))],
            [source(b"x")],
            request_id="r",
            boundary="b",
            before_first_byte=lambda: None,
        )
    except QboError as error:
        return f"{error.recovery} {error.retry_after_s}"
    return "done"


def throttled(retry_after: str = "") -> httpx.Response:
    return httpx.Response(429, headers={"Retry-After": retry_after} if retry_after else {})


def test_a_429_pauses_the_realm_as_told_or_a_minute_with_jitter() -> None:
    rig = Rig(iter([throttled("7"), OK, throttled(), OK]))

    async def work() -> list[str]:
        client = rig.open()
        return [await upload(client) for _ in range(4)]

    assert rig.clock.run(work()) == ["not_done 7.0", "done", "not_done 62.5", "done"]
    told, default = rig.moments[1] - rig.moments[0], rig.moments[3] - rig.moments[2]
    assert 7 <= told < 8
    assert 62.5 <= default < 63.5


def test_three_waits_without_a_success_are_taken_for_the_monthly_quota() -> None:
    rig = Rig(throttled)

    async def work() -> list[str]:
        client = rig.open()
        outcomes = [await upload(client) for _ in range(4)]
        with pytest.raises(StopError, match="monthly allowance"):
            await client.company_name()
        return outcomes

    outcomes = rig.clock.run(work())
    assert outcomes == ["not_done 62.5"] * 3 + ["stop None"]


def test_throttles_of_one_burst_count_as_one_wait() -> None:
    rig = Rig(throttled)

    async def work() -> list[str]:
        client = rig.open()
        held = asyncio.Event()

        async def slow(_: httpx.Request) -> httpx.Response:
            await held.wait()
            return throttled()

        client._realm.exchange._transport = httpx.MockTransport(slow)
        burst = [asyncio.create_task(upload(client)) for _ in range(10)]
        await rig.clock.sleep(5)
        held.set()
        return list(await asyncio.gather(*burst))

    assert rig.clock.run(work()) == ["not_done 62.5"] * 10


def test_a_success_between_starts_the_count_again() -> None:
    rig = Rig(iter([throttled("1"), throttled("1"), throttled("1"), OK] * 3))

    async def work() -> list[str]:
        client = rig.open()
        return [await upload(client) for _ in range(12)]

    assert rig.clock.run(work()).count("done") == 3


def test_told_to_wait_for_hours_ends_the_run() -> None:
    rig = Rig(iter([throttled("86400")]))

    async def work() -> str:
        return await upload(rig.open())

    assert rig.clock.run(work()) == "stop None"


def test_a_locked_company_pauses_the_realm_and_is_asked_again() -> None:
    locked = {"Fault": {"Error": [{"Message": "locked", "code": "140"}]}}
    name = {"CompanyInfo": {"CompanyName": "Acme"}}
    rig = Rig(iter([httpx.Response(400, json=locked), httpx.Response(200, json=name)]))

    async def work() -> str:
        return await rig.open().company_name()

    assert rig.clock.run(work()) == "Acme"
    assert rig.moments[1] - rig.moments[0] >= 30


def test_fresh_tokens_refused_one_after_another_end_the_run() -> None:
    rig = Rig(lambda: httpx.Response(401))

    async def work() -> list[str]:
        client = rig.open()
        return [await upload(client) for _ in range(4)]

    assert rig.clock.run(work()) == ["not_done 0.0"] * 3 + ["stop None"]


def test_ten_refusals_of_one_stale_token_renew_it_once() -> None:
    rig = Rig(lambda: httpx.Response(401))
    tokens = Tokens()

    async def work() -> list[str]:
        client = rig.open()
        client._realm._tokens = tokens
        held = asyncio.Event()

        async def slow(_: httpx.Request) -> httpx.Response:
            await held.wait()
            return httpx.Response(401)

        client._realm.exchange._transport = httpx.MockTransport(slow)
        burst = [asyncio.create_task(upload(client)) for _ in range(10)]
        await rig.clock.sleep(5)
        held.set()
        return list(await asyncio.gather(*burst))

    assert rig.clock.run(work()) == ["not_done 0.0"] * 10
    assert tokens.number == 1


def test_reads_give_up_after_some_tries() -> None:
    rig = Rig(lambda: httpx.Response(503))

    async def work() -> None:
        with pytest.raises(InDoubtError):
            await rig.open().company_name()

    rig.clock.run(work())
    assert len(rig.moments) == 6


def test_a_request_ends_at_its_deadline_by_the_given_clock() -> None:
    rig = Rig(lambda: OK)

    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> str:
        client = rig.open()
        client._realm.exchange._transport = httpx.MockTransport(never)
        started = rig.clock.now
        outcome = await upload(client)
        assert 120 <= rig.clock.now - started < 121
        return outcome

    assert rig.clock.run(work()) == "in_doubt None"


def test_a_certificate_that_is_not_to_be_trusted_ends_the_run() -> None:
    def refuse() -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")

    rig = Rig(refuse)

    async def work() -> str:
        return await upload(rig.open())

    assert rig.clock.run(work()) == "stop None"


def test_a_cut_before_the_first_byte_of_the_body_is_not_done() -> None:
    rig = Rig(lambda: OK)

    class Refusing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
            raise httpx.ReadError("closed")

    async def work() -> str:
        client = rig.open()
        client._realm.exchange._transport = Refusing()
        return await upload(client)

    assert rig.clock.run(work()) == "not_done None"


def test_qbos_clock_is_measured_by_its_date_header() -> None:
    rig = Rig(lambda: OK)

    async def work() -> float:
        client = rig.open()
        await upload(client)
        return client.clock_offset_s

    assert rig.clock.run(work()) == pytest.approx(600.5)


def test_an_error_of_a_read_is_raised_as_it_came() -> None:
    rig = Rig(lambda: httpx.Response(403, json={"fault": {"error": [{"code": "3100"}]}}))

    async def work() -> None:
        with pytest.raises(StopError, match="3100"):
            await rig.open().company_name()

    rig.clock.run(work())
    assert not isinstance(StopError, NotDoneError)

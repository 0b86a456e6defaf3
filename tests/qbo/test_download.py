"""Downloads: whole though they are cut, in few reads, and never the wrong bytes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import httpx
import pytest

from qbo_attach.core.ports import Clock
from qbo_attach.fake_qbo import running
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.qbo.auth import StaticToken
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import InDoubtError, NotDoneError, QboError, RefusedError
from qbo_attach.qbo.pacing import Pacer, SystemClock
from tests.qbo.virtual_clock import VirtualClock

DATA = random.Random(1).randbytes(2_000_003)


def client_of(
    base_url: str,
    clock: Clock,
    transport: httpx.AsyncBaseTransport | None = None,
    realm: str = "1",
) -> QboClient:
    return QboClient(
        base_url=base_url,
        realm_id=realm,
        tokens=StaticToken("t"),
        pacer=Pacer(clock, 100_000, 10_000),
        clock=clock,
        transport=transport,
        chance=lambda: 0.5,
    )


@dataclass(frozen=True)
class Answer:
    """What a store answers; `cut`: its connection breaks behind the body."""

    status: int
    body: bytes = b""
    content_range: str = ""
    cut: bool = False

    def response(self) -> httpx.Response:
        headers = {"Content-Range": self.content_range} if self.content_range else {}
        return httpx.Response(self.status, headers=headers, content=self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self.body
        if self.cut:
            raise httpx.RemoteProtocolError("peer closed connection")


Says = Callable[[int], Answer]
"""From the first byte asked for to the answer."""


class Store:
    """Gives addresses and, behind them, what a list of answers says; notes what it was asked."""

    def __init__(self, *answers: Says) -> None:
        self.ranges: list[str] = []
        self.addresses = 0
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if "/v3/company" in request.url.path:
            self.addresses += 1
            address = f"https://store.example/{self.addresses}?X-Amz-Signature=s"
            return httpx.Response(200, text=address)
        assert "Authorization" not in request.headers
        assert request.headers["Accept-Encoding"] == "identity"
        asked = request.headers.get("Range", "")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer(start).response()


def keeps(start: int) -> Answer:
    """The rest of the file, as asked."""
    if not start:
        return Answer(200, DATA)
    return Answer(206, DATA[start:], f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")


def ignores(_: int) -> Answer:
    """All of it, whatever was asked."""
    return Answer(200, DATA)


def cut_after(count: int, answer: Says = keeps) -> Says:
    """So many bytes of an answer."""

    def cut(start: int) -> Answer:
        whole = answer(start)
        return replace(whole, body=whole.body[:count], cut=True)

    return cut


def download(store: Store) -> tuple[bytes | QboError, float]:
    """What came, or the error; and how long it took."""
    clock = VirtualClock()

    async def work() -> bytes | QboError:
        client = client_of("https://qbo.example", clock, httpx.MockTransport(store))
        try:
            return b"".join([piece async for piece in client.download("7")])
        except QboError as error:
            return error
        finally:
            await client.aclose()

    return clock.run(work()), clock.now


@pytest.mark.parametrize("answer", [keeps, ignores])
@pytest.mark.parametrize("cuts", [[0], [1], [700_000, 300_000], [700_000, 0, 5]])
def test_a_download_that_is_cut_goes_on_where_it_was_with_a_fresh_address(
    cuts: list[int], answer: Says
) -> None:
    done = [sum(cuts[:n]) for n in range(len(cuts) + 1)]
    # A store that ignores what is asked for sends what was had before once more.
    counts = cuts if answer is keeps else done[1:]
    store = Store(*(cut_after(count, answer) for count in counts), answer)
    came, _ = download(store)
    assert came == DATA
    assert store.addresses == len(cuts) + 1
    assert store.ranges == [f"bytes={n}-" if n else "" for n in done]


def test_tries_are_few_and_ever_further_apart() -> None:
    store = Store(cut_after(1))
    came, took = download(store)
    assert isinstance(came, InDoubtError)
    assert store.addresses == 4
    assert took - 1000 == pytest.approx(1 + 2 + 4, abs=1)


def test_a_store_that_is_not_well_is_asked_again() -> None:
    store = Store(lambda _: Answer(503), keeps)
    assert download(store)[0] == DATA


def test_a_store_that_refuses_is_not() -> None:
    store = Store(lambda _: Answer(404))
    came, _ = download(store)
    assert isinstance(came, RefusedError)
    assert store.addresses == 1


def test_a_part_that_begins_elsewhere_is_not_taken() -> None:
    def wrong(_: int) -> Answer:
        return Answer(206, b"1234567", "bytes 3-9/10")

    came, _ = download(Store(cut_after(10), wrong))
    assert isinstance(came, QboError)


def test_nobody_at_the_address_is_asked_again_and_told() -> None:
    def nobody(_: int) -> Answer:
        raise httpx.ConnectError("nobody")

    came, _ = download(Store(nobody))
    assert isinstance(came, InDoubtError | NotDoneError)


async def test_a_download_cut_by_the_fake_company_arrives_whole() -> None:
    with running() as fake:
        made = seeded(fake)
        fake.company.plan.add([Rule("cut_answer", endpoint="file", times=2)])
        client = client_of(fake.base_url, Impatient(), realm=fake.realm)
        came = b"".join([piece async for piece in client.download(made)])
        await client.aclose()
        assert came == DATA
        # The cuts take connections along, so that an address may have to be asked for twice.
        assert set(client.requests_sent) == {"read"}
        assert 3 <= client.requests_sent["read"] <= 5
        assert fake.ledger()["faults"] == {"cut_answer": 2}


class Impatient(SystemClock):
    """Does not wait long."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


def seeded(fake: RunningFake) -> str:
    import base64

    text = base64.b64encode(DATA).decode()
    record = {"FileName": "a.pdf", "content_base64": text}
    return str(fake.company.control.seed(record, fake.realm)["Id"])

"""The way to the fake company and back: what of a request arrives, and what is heard of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlencode, urlsplit

from qbo_attach.core.model import Fault
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.values import Head
from qbo_attach.fake_qbo.values import Reply as FakeReply
from qbo_attach.fake_qbo.values import Request as FakeRequest
from qbo_attach.qbo.body import Body, HeldError
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.exchange import Exchange
from qbo_attach.qbo.faults import CUT, NO_CONNECTION, error_for
from qbo_attach.qbo.multipart import MarkerField
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.qbo.realm import Realm
from qbo_attach.qbo.wire import MINOR_VERSION, Reply, Request
from tests.simulation.faults import draw_fault, draw_rule, is_of_the_wire
from tests.simulation.scenario import REALM, Scenario
from tests.simulation.world import Process, World

DEADLINE_S = 120.0
_SLOW_S = 90.0
_SERVER_WAITS_S = 30.0
"""A server cuts a request that stops arriving (its sender was suspended)."""


class CutError(Exception):
    """The connection broke. `begun`: after it stood."""

    def __init__(self, *, begun: bool) -> None:
        self.begun = begun
        super().__init__("the connection broke" if begun else "there is no connection")


@dataclass(slots=True)
class Sending:
    """An upload on its way to the company: when its client saw its end, None if it died before."""

    process: Process
    requestid: str
    kind: str
    deadline: float
    seen_over: float | None = None

    @property
    def over(self) -> float:
        """When the attempt was over for certain."""
        if self.seen_over is not None:
            return min(self.seen_over, self.deadline)
        return min(self.process.died_at, self.deadline) if self.process.dead else self.deadline


class Network:
    """Between all processes and the one company; draws each request's fault.

    Attributes:
        calm: no more faults.
        sendings: uploads that arrived, by the company's number of the request.
        met: how often each fault was met.
    """

    def __init__(self, world: World, company: FakeCompany, scenario: Scenario) -> None:
        self.world = world
        self.company = company
        self.scenario = scenario
        self.calm = False
        self.sendings: dict[int, Sending] = {}
        self.met: Counter[str] = Counter()

    def fault_for(self, *, upload: bool) -> str:
        """The fault of the next request, "" for none."""
        kind = "" if self.calm else draw_fault(self.world.random, self.scenario, upload=upload)
        if kind:
            self.met[kind] += 1
        return kind

    def arrive(
        self, request: FakeRequest, sending: Sending, answer: Callable[[FakeReply], None]
    ) -> None:
        """The company gets a whole request; `answer` is told what it says, once it is done."""
        plan = self.company.plan
        plan.rules = []
        if sending.kind and not is_of_the_wire(sending.kind):
            plan.rules = [draw_rule(self.world.random, self.scenario, sending.kind)]
            plan.struck.clear()
        reply = self.company.handle(request)
        self.sendings[self.company.state.number] = sending
        answer(reply)

    async def travel(
        self,
        process: Process,
        head: Head,
        read: Callable[[], Awaitable[bytes]],
        *,
        upload: bool,
    ) -> FakeReply:
        """One request of a process to the company and back.

        Raises:
            CutError: the connection was not made, or broke, or nothing came in DEADLINE_S.
        """
        world = self.world
        sending = Sending(process, "", self.fault_for(upload=upload), world.now + DEADLINE_S)
        if upload:
            await process.at("before the connection")
        await process.sleep(0.001 + 0.02 * world.chance())
        if sending.kind == "no_connection":
            raise CutError(begun=False)
        data = await read()
        if upload:
            await self._send(sending)
        waiting = self._set_out(FakeRequest(head, data), sending, upload=upload)
        try:
            reply = await waiting
        finally:
            # Its end is seen also where the run gives it up; a dead process sees nothing.
            if not process.dead:
                sending.seen_over = world.now
        if reply is None or reply.cut or sending.kind == "answer_lost":
            raise CutError(begun=True)
        if upload:
            await process.at("answered, not yet noted")
        return reply

    async def _send(self, sending: Sending) -> None:
        """The bytes leave one after another."""
        process, begun = sending.process, self.world.now
        await process.at("amid the sending")
        await process.sleep(0.001 + 0.05 * self.world.chance())
        if sending.kind == "cut_sending" or self.world.now > begun + _SERVER_WAITS_S:
            raise CutError(begun=True)
        await process.at("sent, not yet arrived")

    def _set_out(
        self, request: FakeRequest, sending: Sending, *, upload: bool
    ) -> asyncio.Future[FakeReply | None]:
        """All bytes are away: whatever becomes of the process, they arrive."""
        process, world = sending.process, self.world
        waiting: asyncio.Future[FakeReply | None] = process.create_future()
        if upload:
            sending.requestid = request.head.parameters().get("requestid", "")
            world.say(
                f"process {process.holder.pid} sends {sending.requestid[:6]}, "
                f"fault: {sending.kind or 'none'}"
            )

        def answer(reply: FakeReply) -> None:
            if upload and process.reach("done at QBO, not answered"):
                return
            if sending.kind == "answer_never" or reply.delay_s > DEADLINE_S:
                return
            down_s = 0.001 + reply.delay_s + 0.1 * world.chance()
            world.later(down_s, lambda: _resolve(waiting, reply))

        up_s = 0.001 + 0.1 * world.chance()
        if sending.kind == "slow":
            up_s = _SLOW_S * world.chance()
        if sending.kind != "never_arrives":
            world.later(up_s, lambda: self.arrive(request, sending, answer))
        world.wake(waiting, sending.deadline - world.now)
        return waiting


def _resolve(waiting: asyncio.Future[FakeReply | None], reply: FakeReply) -> None:
    if not waiting.done() and not waiting.get_loop().is_closed():
        waiting.set_result(reply)


class SimExchange(Exchange):
    """Stands in for qbo.exchange.Exchange: one request and its reply, for one process."""

    def __init__(self, process: Process, network: Network) -> None:
        self._process = process
        self._network = network

    async def send(self, request: Request, token: str, body: Body | None = None) -> Reply:
        """See qbo.exchange.Exchange."""
        headers = {name.lower(): value for name, value in request.headers}
        headers["authorization"] = f"Bearer {token}"
        head = Head(request.method, request.path, urlencode(request.query), headers)

        async def read() -> bytes:
            return request.body if body is None else await _read(body)

        try:
            reply = await self._network.travel(self._process, head, read, upload=body is not None)
        except CutError as cut:
            code = CUT if cut.begun else NO_CONNECTION
            raise error_for(Fault(code, str(cut))) from None
        return Reply(reply.status, reply.headers, reply.body)

    async def download(self, url: str, start: int = 0) -> AsyncGenerator[bytes, None]:
        """See qbo.exchange.Exchange; presigned addresses meet no faults here."""
        await self._process.sleep(0.02)
        parts = urlsplit(url)
        reply = self._network.company.handle(
            FakeRequest(Head("GET", unquote(parts.path), parts.query))
        )
        if reply.content is None:
            raise error_for(Fault(str(reply.status), "no file", status=reply.status))
        yield b"".join(self._network.company.state.vault.read(reply.content.sha256))[start:]

    async def aclose(self) -> None:
        return None


async def _read(body: Body) -> bytes:
    try:
        return b"".join([piece async for piece in body])
    except HeldError as held:
        raise held.error from None
    finally:
        await body.aclose()


class SimTokens:
    """Tokens without end."""

    def __init__(self) -> None:
        self._count = 0

    async def token(self) -> str:
        return f"token-{self._count}"

    async def refreshed(self, stale: str) -> str:
        self._count += self._count == int(stale.removeprefix("token-"))
        return await self.token()


class SimClient(QboClient):
    """The real client on a simulated exchange."""

    def __init__(
        self, process: Process, network: Network, pacer: Pacer, marker: MarkerField
    ) -> None:
        self._realm = Realm(
            SimExchange(process, network), SimTokens(), pacer, process, process.world.chance
        )
        self.realm_id = REALM
        self._minor_version = MINOR_VERSION
        self._marker_field = marker

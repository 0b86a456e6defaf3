"""The same trials through the real HTTP client and a real store.

The product's `QboClient` talks httpx to the fake as an ASGI app; the run log lies on `memory://`.
Time and faults stay simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx

from qbo_attach.core.chain import Holder
from qbo_attach.fake_qbo.app import App
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.values import Head
from qbo_attach.fake_qbo.values import Reply as FakeReply
from qbo_attach.fake_qbo.values import Request as FakeRequest
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.multipart import MarkerField
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import runlog_folder
from tests.simulation.faults import draw_rule, is_of_the_wire
from tests.simulation.network import CutError, Network, Sending, SimTokens
from tests.simulation.scenario import REALM, Scenario
from tests.simulation.storage import LogFolder
from tests.simulation.trial import Result, Setting, run_trial
from tests.simulation.world import Process, World

BASE_URL = "https://quickbooks.example"


class AppNetwork(Network):
    """The company is an ASGI app in a process of its own, which never dies."""

    def __init__(self, world: World, company: FakeCompany, scenario: Scenario) -> None:
        super().__init__(world, company, scenario)
        self.server = Process(world, Holder("qbo", 1))  # type: ignore[abstract]
        self.server.serves = True
        world.processes.append(self.server)
        self._app = httpx.ASGITransport(App(company))

    def arrive(
        self, request: FakeRequest, sending: Sending, answer: Callable[[FakeReply], None]
    ) -> None:
        """See Network."""
        self.world.begin(self.server, self._serve(request, sending, answer))

    async def _serve(
        self, request: FakeRequest, sending: Sending, answer: Callable[[FakeReply], None]
    ) -> None:
        number = self.company.state.number + 1
        self.sendings[number] = sending
        if sending.kind and not is_of_the_wire(sending.kind):
            # Others may be asked before this one is answered: the rule is for this one alone.
            rule = draw_rule(self.world.random, self.scenario, sending.kind)
            self.company.plan.add([replace(rule, numbers=(number,))])
        try:
            response = await self._app.handle_async_request(_as_httpx(request))
            body = await response.aread()
        except ConnectionResetError:
            answer(FakeReply(cut="answer"))
        else:
            answer(FakeReply(response.status_code, dict(response.headers), body=body))


def _as_httpx(request: FakeRequest) -> httpx.Request:
    head = request.head
    url = httpx.URL(BASE_URL, path=head.path, query=head.query.encode())
    return httpx.Request(head.method, url, headers=dict(head.headers), content=request.body)


def run_http_trial(seed: int, trace: Callable[[str], None] | None = None) -> Result:
    """One trial, with the real client and store."""
    return run_trial(seed, trace, Setting(AppNetwork, http_client, StoredFolder, " --http"))


class SimTransport(httpx.AsyncBaseTransport):
    """httpx's end of the simulated way, for one process."""

    def __init__(self, process: Process, network: Network) -> None:
        self._process = process
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.AsyncBaseTransport."""
        url = request.url
        head = Head(
            request.method,
            url.path,
            url.query.decode(),
            {name.lower(): value for name, value in request.headers.items()},
            BASE_URL,
        )
        if url.path.startswith("/v3/"):
            upload = url.path.endswith("/upload")
            reply = await self._travel(head, request, upload=upload)
        else:
            reply = self._network.company.handle(FakeRequest(head))
        body = reply.body
        if reply.content is not None:
            body = b"".join(self._network.company.state.vault.read(reply.content.sha256))
        return httpx.Response(reply.status, headers=reply.headers, stream=httpx.ByteStream(body))

    async def _travel(self, head: Head, request: httpx.Request, *, upload: bool) -> FakeReply:
        try:
            return await self._network.travel(self._process, head, request.aread, upload=upload)
        except CutError as cut:
            kind = httpx.ReadError if cut.begun else httpx.ConnectError
            raise kind(str(cut), request=request) from None


def http_client(process: Process, network: Network, pacer: Pacer, marker: MarkerField) -> QboClient:
    """The client as the product makes it."""
    return QboClient(
        base_url=BASE_URL,
        realm_id=REALM,
        tokens=SimTokens(),
        pacer=pacer,
        clock=process,
        transport=SimTransport(process, network),
        marker_field=marker,
        chance=process.world.chance,
    )


class StoredFolder(LogFolder):
    """The run log's folder on a store of the product."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._store = Store(f"memory://simulation/{seed}")
        self._folder = runlog_folder(REALM)

    def put(self, name: str, data: bytes) -> bool:
        return self._store.create_once(f"{self._folder}/{name}", data)

    def names(self) -> list[str]:
        return [*self._store.list_names(self._folder), *self.leftovers]

    def read(self, name: str) -> bytes:
        return self._store.read_bytes(f"{self._folder}/{name}")

    def clear(self) -> None:
        """Remove the segments; memory:// would keep them."""
        for name in self._store.list_names(self._folder):
            self._store.remove(f"{self._folder}/{name}")

"""The contract, kept by the fake in process and over a socket, and by a sandbox when there is one."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from qbo_attach.core.model import EntityRef
from qbo_attach.fake_qbo import running
from qbo_attach.fake_qbo.app import App
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.options import REALM
from qbo_attach.qbo.auth import StaticToken
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.oauth import ENVIRONMENTS
from qbo_attach.qbo.pacing import Pacer, SystemClock
from tests.qbo.contract import Company, QboContract


def client_of(
    base_url: str, realm: str, token: str, transport: httpx.AsyncBaseTransport | None = None
) -> QboClient:
    clock = SystemClock()
    fast = base_url.startswith("http:")
    pacer = Pacer(clock, 100_000, 10_000) if fast else Pacer(clock)
    return QboClient(
        base_url=base_url,
        realm_id=realm,
        tokens=StaticToken(token),
        pacer=pacer,
        clock=clock,
        transport=transport,
    )


class TestFakeInProcess(QboContract):
    @pytest.fixture
    async def company(self) -> AsyncIterator[Company]:
        fake = FakeCompany(clock=time.time)
        client = client_of("http://localhost", REALM, "t", httpx.ASGITransport(App(fake)))
        yield Company(client, EntityRef("Customer", "1"))
        await client.aclose()
        fake.close()


class TestFakeOnASocket(QboContract):
    @pytest.fixture
    async def company(self) -> AsyncIterator[Company]:
        with running() as fake:
            client = client_of(fake.base_url, fake.realm, "t")
            yield Company(client, EntityRef("Customer", "1"))
            await client.aclose()


@pytest.mark.sandbox
@pytest.mark.enable_socket
@pytest.mark.skipif(
    "QBO_SANDBOX_TOKEN" not in os.environ or "QBO_SANDBOX_REALM_ID" not in os.environ,
    reason="needs a sandbox company: QBO_SANDBOX_REALM_ID and QBO_SANDBOX_TOKEN",
)
@pytest.mark.timeout(600)
class TestSandbox(QboContract):
    """Needs QBO_SANDBOX_TOKEN, QBO_SANDBOX_REALM_ID and at least one customer in that company."""

    @pytest.fixture
    async def company(self) -> AsyncIterator[Company]:
        realm, token = os.environ["QBO_SANDBOX_REALM_ID"], os.environ["QBO_SANDBOX_TOKEN"]
        client = client_of(ENVIRONMENTS["sandbox"].api, realm, token)
        (customer,) = await client.query("SELECT * FROM Customer STARTPOSITION 1 MAXRESULTS 1")
        yield Company(client, EntityRef("Customer", str(customer["Id"])), patience_s=60)
        await client.aclose()

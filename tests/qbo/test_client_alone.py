"""What the client refuses whatever company there is."""

from __future__ import annotations

import httpx
import pytest

from qbo_attach.core.errors import SettingError
from qbo_attach.qbo.auth import StaticToken
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import InDoubtError
from qbo_attach.qbo.pacing import Pacer, SystemClock


@pytest.mark.parametrize(
    "url",
    ["http://quickbooks.api.intuit.com", "ftp://localhost", "http://10.0.0.1", "", "http://["],
)
def test_plain_http_is_for_this_machine_alone(url: str) -> None:
    clock = SystemClock()
    with pytest.raises(SettingError, match="QBO_BASE_URL"):
        QboClient(
            base_url=url, realm_id="1", tokens=StaticToken("t"), pacer=Pacer(clock), clock=clock
        )


async def test_another_attachable_than_the_one_asked_for_is_no_answer() -> None:
    def other(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"Attachable": {"Id": "8", "FileName": "a.pdf"}})

    clock = SystemClock()
    client = QboClient(
        base_url="https://qbo.example",
        realm_id="1",
        tokens=StaticToken("t"),
        pacer=Pacer(clock),
        clock=clock,
        transport=httpx.MockTransport(other),
    )
    with pytest.raises(InDoubtError, match="asked for 7, it showed 8"):
        await client.read_attachable("7")
    await client.aclose()

"""Logging in: the state is checked, the code is not shown, the redirect is received."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from qbo_attach.fake_qbo import Behaviour, FakeOptions, running
from qbo_attach.qbo.login import (
    Grant,
    LoginError,
    RedirectReceiver,
    authorization_url,
    new_state,
    read_redirect,
)
from qbo_attach.qbo.oauth import SCOPE, TokenEndpoint, addresses
from qbo_attach.qbo.pacing import SystemClock


def test_the_address_asks_for_a_code_in_the_one_scope() -> None:
    url = authorization_url("https://a.example/oauth2", "me", "https://b.example/cb?x=1", "s")
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert query == {
        "client_id": "me",
        "response_type": "code",
        "scope": SCOPE,
        "redirect_uri": "https://b.example/cb?x=1",
        "state": "s",
    }
    assert new_state() != new_state()


def test_a_pasted_redirect_is_read() -> None:
    grant = read_redirect(" https://b.example/cb?code=XAB&state=s&realmId=123 \n", "s")
    assert grant == Grant("123", "XAB")
    assert "XAB" not in repr(grant)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://b.example/cb?code=SECRET&state=other&realmId=1", "does not belong"),
        ("https://b.example/cb?code=SECRET&realmId=1", "does not belong"),
        ("", "does not belong"),
        ("https://b.example/cb?state=s&error=access_denied", "access_denied"),
        ("https://b.example/cb?state=s&realmId=1", "no code"),
        ("https://b.example/cb?state=s&code=SECRET&realmId=x", "no company"),
        ("https://b.example/cb?state=s&code=SECRET", "no company"),
    ],
)
def test_another_redirect_is_refused_without_showing_its_code(url: str, said: str) -> None:
    with pytest.raises(LoginError, match=said) as raised:
        read_redirect(url, "s")
    assert "SECRET" not in str(raised.value)


async def test_a_login_through_the_consent_page_ends_with_tokens() -> None:
    with running(FakeOptions(behaviour=Behaviour(auto_consent=True))) as fake:
        places = addresses("sandbox", fake.base_url)
        state = new_state()
        async with RedirectReceiver(state) as receiver:
            url = authorization_url(places.authorize, "me", receiver.redirect_uri, state)
            async with httpx.AsyncClient(follow_redirects=True) as browser:
                page = await browser.get(url)
            grant = await receiver.grant(5)
            again = await browser_get(receiver.redirect_uri + f"?state={state}&code=x&realmId=1")
        assert "logged in" in page.text
        assert "done already" in again.text
        endpoint = TokenEndpoint(places.token, "me", "secret", SystemClock())
        tokens = await endpoint.by_code(grant.code, receiver_uri(url))
        assert grant.realm_id == fake.realm
        assert tokens.hard_expires_at is not None
        renewed = await endpoint.by_refresh_token(tokens.refresh_token)
        assert renewed.access_token != tokens.access_token


async def browser_get(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as browser:
        return await browser.get(url)


def receiver_uri(url: str) -> str:
    return parse_qs(urlsplit(url).query)["redirect_uri"][0]


async def test_strangers_do_not_end_the_wait_and_a_refusal_does() -> None:
    async with RedirectReceiver("s") as receiver:
        uri = receiver.redirect_uri
        assert (await browser_get(uri.replace("/callback", "/other"))).status_code == 404
        assert (await browser_get(uri + "?state=wrong&code=x&realmId=1")).status_code == 400
        _, writer = await asyncio.open_connection("127.0.0.1", int(uri.split(":")[2][:-9]))
        writer.write(b"\x16\x03\x01 not HTTP\r\n")
        writer.close()
        with pytest.raises(LoginError, match="no redirect came"):
            await receiver.grant(0.05)
        await browser_get(uri + "?state=s&error=access_denied")
        with pytest.raises(LoginError, match="access_denied"):
            await receiver.grant(1)


async def test_a_taken_port_is_named() -> None:
    async with RedirectReceiver("s") as first:
        port = int(first.redirect_uri.split(":")[2].split("/")[0])
        with pytest.raises(LoginError, match=f"port {port}"):
            async with RedirectReceiver("s", port):
                pass

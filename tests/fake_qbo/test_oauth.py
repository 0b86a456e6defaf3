"""OAuth: consent, tokens, their ends, and what the gateway says to a wrong one."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from qbo_attach.fake_qbo.values import Head, Reply, Request
from tests.fake_qbo.asking import Asking, code, said

BASIC = {"authorization": "Basic aWQ6c2VjcmV0", "content-type": "application/x-www-form-urlencoded"}
ASK = {
    "client_id": "app",
    "response_type": "code",
    "scope": "com.intuit.quickbooks.accounting",
    "redirect_uri": "http://localhost:9/cb",
    "state": "s&1",
}


def token(asking: Asking, **form: str) -> Reply:
    return asking.call("POST", "/oauth2/v1/tokens/bearer", urlencode(form).encode(), headers=BASIC)


def refresh(asking: Asking, value: str) -> Reply:
    return token(asking, grant_type="refresh_token", refresh_token=value)


def bearer(asking: Asking, value: str) -> Reply:
    return asking.call("GET", "companyinfo/1", headers={"authorization": f"Bearer {value}"})


def authorize(asking: Asking, **asked: str) -> Reply:
    return asking.company.handle(
        Request(Head("GET", "/connect/oauth2", urlencode({**ASK, **asked})))
    )


def logged_in(asking: Asking) -> dict[str, object]:
    reply = authorize(asking, answer="connect")
    words = parse_qs(urlsplit(reply.headers["Location"]).query)
    assert (reply.status, words["state"], words["realmId"]) == (302, ["s&1"], ["1234567890"])
    got = token(
        asking,
        grant_type="authorization_code",
        code=words["code"][0],
        redirect_uri=ASK["redirect_uri"],
    )
    assert got.status == 200
    again = token(
        asking,
        grant_type="authorization_code",
        code=words["code"][0],
        redirect_uri=ASK["redirect_uri"],
    )
    assert said(again)["error"] == "invalid_grant"
    answer: dict[str, object] = said(got)
    return answer


def test_a_person_consents_on_a_page_and_the_code_becomes_tokens() -> None:
    asking = Asking()
    page = authorize(asking, client_id="<b>")
    assert page.status == 200
    assert b"Connect" in page.body
    assert b"<b><b>" not in page.body
    tokens = logged_in(asking)
    assert tokens["expires_in"] == 3600
    assert tokens["x_refresh_token_expires_in"] == 8640000
    assert bearer(asking, str(tokens["access_token"])).status == 200


def test_consent_can_be_refused_given_at_once_or_asked_for_wrongly() -> None:
    denied = authorize(Asking(), answer="deny")
    assert "error=access_denied" in denied.headers["Location"]
    assert authorize(Asking(auto_consent=True)).status == 302
    for wrong in (
        {"response_type": "token"},
        {"redirect_uri": "http://x/\r\nSet-Cookie: a"},
        {"client_id": ""},
        {"realm": "5"},
    ):
        assert authorize(Asking(auto_consent=True), **wrong).status == 400


def test_an_access_token_ends_by_the_clock_and_another_realm_is_forbidden() -> None:
    asking = Asking(realms=("1234567890", "2"))
    access = str(logged_in(asking)["access_token"])
    other = asking.call(
        "GET", "companyinfo/1", realm="2", headers={"authorization": f"Bearer {access}"}
    )
    assert (other.status, code(other)) == (403, "3100")
    asking.clock.now += 3601
    reply = bearer(asking, access)
    assert (reply.status, code(reply)) == (401, "3200")
    assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
    assert b"Token expired" in reply.body


@pytest.mark.parametrize(
    "header", [{"authorization": ""}, {"authorization": "Bearer "}, {"authorization": "Basic x"}]
)
def test_a_request_without_a_bearer_is_refused(header: dict[str, str]) -> None:
    assert Asking().call("GET", "companyinfo/1", headers=header).status == 401


def test_any_token_is_taken_until_one_is_demanded() -> None:
    lax, strict = Asking(), Asking(token="secret")
    assert [bearer(a, "other").status for a in (lax, strict)] == [200, 401]
    assert bearer(strict, "secret").status == 200
    assert [refresh(a, "made-up").status for a in (lax, strict)] == [200, 400]
    issued = said(refresh(strict, "secret"))
    assert bearer(strict, issued["access_token"]).status == 200
    assert token(strict, grant_type="authorization_code", code="made-up").status == 400
    assert token(lax, grant_type="authorization_code", code="made-up").status == 200


@pytest.mark.parametrize(
    ("rotation", "at_once", "next_day"),
    [("always", False, False), ("daily", True, False), ("never", True, True)],
)
def test_refresh_tokens_rotate_and_the_old_one_is_then_no_good(
    rotation: str, at_once: bool, next_day: bool
) -> None:
    asking = Asking(rotation=rotation)
    old = str(logged_in(asking)["refresh_token"])
    first = said(refresh(asking, old))
    assert (first["refresh_token"] == old) is at_once
    assert (refresh(asking, old).status == 200) is at_once
    asking.clock.now += 86_401
    reply = refresh(asking, first["refresh_token"])
    assert (said(reply)["refresh_token"] == first["refresh_token"]) is next_day
    assert (refresh(asking, first["refresh_token"]).status == 200) is next_day


def test_wrong_token_requests_get_the_recorded_errors() -> None:
    asking = Asking()
    nobody = asking.call(
        "POST",
        "/oauth2/v1/tokens/bearer",
        b"grant_type=refresh_token",
        headers={"authorization": ""},
    )
    assert (nobody.status, said(nobody)) == (401, {"error": "invalid_client"})
    assert said(refresh(asking, ""))["error"] == "invalid_grant"
    assert token(asking, grant_type="password").status == 400
    by_body = token(
        asking, grant_type="refresh_token", refresh_token="x", client_id="a", client_secret="b"
    )
    assert by_body.status == 200


def test_the_hard_expiry_is_told_to_who_asks() -> None:
    asking = Asking()
    headers = {**BASIC, "x-include-refresh-token-hard-expires-in": "true"}
    reply = asking.call(
        "POST",
        "/oauth2/v1/tokens/bearer",
        b"grant_type=refresh_token&refresh_token=x",
        headers=headers,
    )
    assert said(reply)["x_refresh_token_hard_expires_in"] == 5 * 365 * 86_400


def test_revoked_and_expired_tokens_are_refused() -> None:
    asking = Asking()
    tokens = logged_in(asking)
    reply = asking.post("/v2/oauth2/tokens/revoke", {"token": tokens["refresh_token"]})
    assert reply.status == 200
    assert b"Token revoked" in bearer(asking, str(tokens["access_token"])).body
    assert refresh(asking, str(tokens["refresh_token"])).status == 400
    asking.post("/v2/oauth2/tokens/revoke", {"token": "made-up"})
    assert bearer(asking, "made-up").status == 401
    fresh = logged_in(asking)
    assert said(asking.post("/_fake/tokens", {"expire": "access"})) == {"ended": 1}
    assert bearer(asking, str(fresh["access_token"])).status == 401
    assert refresh(asking, str(fresh["refresh_token"])).status == 200
    assert said(asking.post("/_fake/tokens", {"revoke": "refresh"}))["ended"] > 0
    assert refresh(asking, str(fresh["refresh_token"])).status == 400


@pytest.mark.parametrize("name", ["openid_configuration", "openid_sandbox_configuration"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_both_discovery_documents_lead_to_this_server(name: str, slash: str) -> None:
    asking = Asking()
    found = said(asking.call("GET", f"/.well-known/{name}{slash}"))
    assert found["token_endpoint"] == "http://fake/oauth2/v1/tokens/bearer"
    assert found["authorization_endpoint"] == "http://fake/connect/oauth2"
    assert found["revocation_endpoint"] == "http://fake/v2/oauth2/tokens/revoke"

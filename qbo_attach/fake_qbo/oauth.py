"""Intuit's OAuth 2.0: consent page, token, refresh and revoke endpoints, discovery documents."""

from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from qbo_attach.fake_qbo.state import State
from qbo_attach.fake_qbo.values import JSON, Head, Reply, form_pairs

_DAY_S = 86_400
_HARD_EXPIRY_S = 5 * 365 * _DAY_S
_CODE_VALID_S = 600


@dataclass(slots=True)
class Token:
    """An issued code, access or refresh token. Times are Unix seconds by the company's clock."""

    kind: str
    value: str
    realm: str
    made_at: float
    expires_at: float
    ended: bool = False
    redirect_uri: str = ""


class OAuth:
    """Tokens of one fake company.

    Args:
        demanded: the one token taken besides those issued here; "" takes any that was not issued
            and has ended here.
    """

    def __init__(self, state: State, demanded: str = "") -> None:
        self._state = state
        self._demanded = demanded
        self._tokens: dict[str, Token] = {}

    def restore(self, record: JSON) -> None:
        """Take a token out of a journal record."""
        token = Token(**{k: v for k, v in record.items() if k != "event"})
        self._tokens[token.value] = token

    def bearer_problem(self, head: Head, realm: str) -> str:
        """Why the bearer token of a request is refused; "" if it is taken."""
        word, _, value = head.headers.get("authorization", "").partition(" ")
        value = value.strip()
        if word.lower() != "bearer" or not value:
            return "Missing or malformed bearer token"
        token = self._tokens.get(value)
        if token is None:
            if self._demanded and value != self._demanded:
                return f"Token is not known: {value[:6]}..."
            return ""
        if token.ended:
            return f"Token revoked: {value[:6]}..."
        if self._state.now() >= token.expires_at:
            return f"Token expired: {value[:6]}..."
        if token.kind != "access":
            return "Malformed bearer token: not an access token"
        if token.realm and token.realm != realm:
            return "realm"
        return ""

    def end(self, kind: str = "", *, revoke: bool = False) -> int:
        """Let the issued tokens of a kind expire (or be revoked); says how many."""
        count = 0
        for token in self._tokens.values():
            if kind in ("", token.kind) and not token.ended:
                token.expires_at = min(token.expires_at, self._state.now())
                token.ended = revoke
                self._save(token)
                count += 1
        return count

    def issue(self, kind: str, realm: str, valid_s: float, redirect_uri: str = "") -> Token:
        """A new token of a kind."""
        now = self._state.now()
        marks = {"access": "eyJmYWtl", "refresh": "AB1", "code": "XAB1"}
        value = f"{marks[kind]}{self._state.random.getrandbits(320):080x}"
        token = Token(kind, value, realm, now, now + valid_s, redirect_uri=redirect_uri)
        self._save(token)
        return token

    def _save(self, token: Token) -> None:
        self._tokens[token.value] = token
        self._state.journal.append({"event": "token", **asdict(token)})

    # Endpoints.

    def token(self, head: Head, body: bytes) -> Reply:
        """POST /oauth2/v1/tokens/bearer."""
        sent = form_pairs(body)
        basic = head.headers.get("authorization", "").lower().startswith("basic ")
        if head.method != "POST" or not (basic or sent.get("client_id")):
            return _json(401, {"error": "invalid_client"})
        if sent.get("grant_type") == "authorization_code":
            return self._exchange(head, sent)
        if sent.get("grant_type") == "refresh_token":
            return self._refresh(head, sent.get("refresh_token", ""))
        return _json(400, {"error": "unsupported_grant_type"})

    def _exchange(self, head: Head, sent: dict[str, str]) -> Reply:
        code = self._tokens.get(sent.get("code", ""))
        if code is None:
            if self._demanded or not sent.get("code"):
                return invalid_grant()
            return self._pair(head, "")
        wrong_place = code.redirect_uri and sent.get("redirect_uri", "") != code.redirect_uri
        if code.kind != "code" or code.ended or wrong_place:
            return invalid_grant()
        if self._state.now() >= code.expires_at:
            return invalid_grant()
        code.ended = True
        self._save(code)
        return self._pair(head, code.realm)

    def _refresh(self, head: Head, value: str) -> Reply:
        old = self._tokens.get(value)
        if old is None:
            if not value or (self._demanded and value != self._demanded):
                return invalid_grant("Incorrect or invalid refresh token")
            return self._pair(head, "")
        now = self._state.now()
        behaviour = self._state.behaviour
        if old.kind != "refresh" or old.ended or now >= old.expires_at:
            if behaviour.reused_refresh == "revoke":
                self._end_with(old)
            return invalid_grant("Incorrect or invalid refresh token")
        rotation = behaviour.rotation
        if rotation == "never" or (rotation == "daily" and now - old.made_at < _DAY_S):
            return self._pair(head, old.realm, old)
        old.ended = True
        self._save(old)
        return self._pair(head, old.realm)

    def _pair(self, head: Head, realm: str, refresh: Token | None = None) -> Reply:
        behaviour = self._state.behaviour
        access = self.issue("access", realm, behaviour.access_token_s)
        refresh = refresh or self.issue("refresh", realm, behaviour.refresh_token_s)
        answer: JSON = {
            "token_type": "bearer",
            "expires_in": behaviour.access_token_s,
            "refresh_token": refresh.value,
            "x_refresh_token_expires_in": int(refresh.expires_at - self._state.now()),
            "access_token": access.value,
        }
        if head.headers.get("x-include-refresh-token-hard-expires-in", "").lower() == "true":
            answer["x_refresh_token_hard_expires_in"] = _HARD_EXPIRY_S
        return _json(200, answer)

    def revoke(self, body: bytes) -> Reply:
        """POST /v2/oauth2/tokens/revoke: ends a token; a refresh token takes its realm's along."""
        try:
            sent = json.loads(body)
            value = str(sent.get("token", ""))
        except (ValueError, AttributeError):
            value = form_pairs(body).get("token", "")
        token = self._tokens.get(value)
        if not value or (token is None and self._demanded and value != self._demanded):
            return _json(400, {"error": "invalid_request"})
        if token is None:
            token = Token("revoked", value, "", self._state.now(), self._state.now())
            self._save(token)
        self._end_with(token)
        return Reply(200)

    def _end_with(self, token: Token) -> None:
        """End a token and those of its company."""
        for other in list(self._tokens.values()):
            together = token.realm and other.realm == token.realm and other.kind != "code"
            if other is token or together:
                other.ended = True
                self._save(other)

    def authorize(self, head: Head) -> Reply:
        """GET /connect/oauth2: the consent page, or what its buttons lead to."""
        asked = head.parameters()
        redirect_uri = asked.get("redirect_uri", "")
        unsafe = any(c <= " " or c == "\x7f" for c in redirect_uri)
        wanting = not asked.get("client_id") or not redirect_uri
        if wanting or unsafe or asked.get("response_type") != "code":
            needed = "client_id, redirect_uri and response_type=code"
            return _page(400, f"<p>The request needs {needed}.</p>")
        if asked.get("answer") == "deny":
            return _redirect(redirect_uri, {"error": "access_denied", "state": asked.get("state")})
        realm = asked.get("realm") or self._state.realms[0]
        if realm not in self._state.realms:
            return _page(400, "<p>There is no such company.</p>")
        if asked.get("answer") == "connect" or self._state.behaviour.auto_consent:
            code = self.issue("code", realm, _CODE_VALID_S, redirect_uri)
            words = {"code": code.value, "state": asked.get("state"), "realmId": realm}
            return _redirect(redirect_uri, words)
        return _page(200, _consent(asked, self._state.realms))

    def discovery(self, head: Head) -> Reply:
        """The discovery document; every address is on this server."""
        base = head.base_url
        return _json(
            200,
            {
                "issuer": f"{base}/op/v1",
                "authorization_endpoint": f"{base}/connect/oauth2",
                "token_endpoint": f"{base}/oauth2/v1/tokens/bearer",
                "userinfo_endpoint": f"{base}/v1/openid_connect/userinfo",
                "revocation_endpoint": f"{base}/v2/oauth2/tokens/revoke",
                "jwks_uri": f"{base}/op/v1/jwks",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "com.intuit.quickbooks.accounting"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "client_secret_basic",
                ],
                "claims_supported": ["aud", "exp", "iat", "iss", "realmid", "sub"],
            },
        )


def invalid_grant(description: str = "") -> Reply:
    """HTTP 400 invalid_grant, in its short or its long form."""
    answer = {"error": "invalid_grant"}
    if description:
        answer = {"error_description": description, **answer}
    return _json(400, answer)


def _json(status: int, answer: JSON) -> Reply:
    headers = {"Content-Type": "application/json;charset=utf-8"}
    return Reply(status, headers, body=json.dumps(answer, separators=(",", ":")).encode())


def _redirect(uri: str, words: dict[str, str | None]) -> Reply:
    query = urlencode({k: v for k, v in words.items() if v is not None})
    return Reply(302, {"Location": f"{uri}{'&' if '?' in uri else '?'}{query}"})


def _page(status: int, inner: str) -> Reply:
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Fake QuickBooks Online</title>'
        f"<body><h1>Fake QuickBooks Online</h1>{inner}</body></html>"
    )
    return Reply(status, {"Content-Type": "text/html;charset=utf-8"}, body=text.encode())


def _consent(asked: dict[str, str], realms: tuple[str, ...]) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">'
        for k, v in asked.items()
    )
    choices = "".join(f"<option>{html.escape(realm)}</option>" for realm in realms)
    return (
        f"<p>The app <b>{html.escape(asked['client_id'])}</b> asks for the accounting data of a "
        f'company.</p><form method="get" action="/connect/oauth2">{hidden}'
        f'<label>Company <select name="realm">{choices}</select></label> '
        '<button name="answer" value="connect">Connect</button> '
        '<button name="answer" value="deny">No thanks</button></form>'
    )

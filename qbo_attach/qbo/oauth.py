"""Intuit's OAuth 2.0 addresses and token endpoint, for one app.

https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
Errors: RFC 6749, 5.2. Ends: https://blogs.intuit.com/2025/11/12/important-changes-to-refresh-token-policy
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx

from qbo_attach.core.credentials import Tokens
from qbo_attach.core.model import Fault, Recovery
from qbo_attach.core.ports import Clock
from qbo_attach.qbo.envelopes import get, load_json, masked, short, text_of
from qbo_attach.qbo.faults import NO_CONNECTION, NO_TOKEN, NotDoneError, error_for, recovery
from qbo_attach.qbo.privacy import mask_logs, require_private

SCOPE = "com.intuit.quickbooks.accounting"
SENDABLE = re.compile(r"[!-~]+")
"""What can stand behind `Bearer`."""
_TIMEOUT_S = 15.0


class Addresses(NamedTuple):
    """Where a QBO environment lives."""

    api: str
    authorize: str
    token: str


_AUTHORIZE = "https://appcenter.intuit.com/connect/oauth2"
_TOKEN = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"  # noqa: S105  # an address
ENVIRONMENTS: Mapping[str, Addresses] = MappingProxyType(
    {
        "sandbox": Addresses("https://sandbox-quickbooks.api.intuit.com", _AUTHORIZE, _TOKEN),
        "production": Addresses("https://quickbooks.api.intuit.com", _AUTHORIZE, _TOKEN),
    }
)


def addresses(environment: str, base_url: str = "") -> Addresses:
    """The addresses of QBO_ENVIRONMENT, or of a QBO_BASE_URL that serves everything itself.

    Raises:
        SettingError: plain http to another machine.
    """
    if not base_url:
        return ENVIRONMENTS[environment]
    require_private(base_url, "QBO_BASE_URL")
    base = base_url.rstrip("/")
    if base in {known.api for known in ENVIRONMENTS.values()}:
        return Addresses(base, _AUTHORIZE, _TOKEN)
    return Addresses(base, f"{base}/connect/oauth2", f"{base}/oauth2/v1/tokens/bearer")


class TokenEndpoint:
    """Intuit's token endpoint, for one app.

    Args:
        url: the endpoint, https (http to this machine only).
        client_id: of the app.
        client_secret: of the app.
        clock: tells when tokens end.
        transport: httpx's transport, or None for the network.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._trust_env = not require_private(url, "QBO_BASE_URL")
        mask_logs()
        self._url = url
        self._auth = httpx.BasicAuth(client_id, client_secret)
        self._clock = clock
        self._transport = transport

    async def by_code(self, code: str, redirect_uri: str) -> Tokens:
        """Tokens for the code of a login.

        Raises:
            QboError: Intuit refused, or could not be reached.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return await self._ask(form)

    async def by_refresh_token(self, refresh_token: str) -> Tokens:
        """New tokens for a refresh token, which may be another from then on.

        Raises:
            StopError: the login has ended, or the app is not known.
            NotDoneError: Intuit could not be reached or is not well.
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self._ask(form)

    async def _ask(self, form: Mapping[str, str]) -> Tokens:
        async with httpx.AsyncClient(
            transport=self._transport, timeout=_TIMEOUT_S, trust_env=self._trust_env
        ) as http:
            try:
                response = await http.post(
                    self._url,
                    data=dict(form),
                    auth=self._auth,
                    headers={
                        "Accept": "application/json",
                        "x-include-refresh-token-hard-expires-in": "true",
                    },
                )
            except (httpx.HTTPError, OSError) as error:
                said = masked(str(error)) or type(error).__name__
                raise NotDoneError(
                    Fault(NO_CONNECTION, "no answer from the token endpoint", said)
                ) from None
        return _read_tokens(response, form, self._clock.utcnow())


def _read_tokens(response: httpx.Response, form: Mapping[str, str], now: datetime) -> Tokens:
    """Tokens of an answer; `form` gives the refresh token where the answer has none."""
    record = load_json(response.content)
    access = text_of(get(record, "access_token"))
    if response.is_success and SENDABLE.fullmatch(access):
        return Tokens(
            access_token=access,
            refresh_token=text_of(get(record, "refresh_token")) or form.get("refresh_token", ""),
            access_expires_at=_after(now, get(record, "expires_in")) or now,
            refresh_expires_at=_after(now, get(record, "x_refresh_token_expires_in")),
            hard_expires_at=_after(now, get(record, "x_refresh_token_hard_expires_in")),
        )
    code = text_of(get(record, "error"))
    fault = Fault(
        short(code),
        "the token endpoint did not give a token",
        short(text_of(get(record, "error_description"))),
        status=response.status_code,
        intuit_tid=response.headers.get("intuit_tid", ""),
    )
    if recovery(fault) is Recovery.STOP:
        raise error_for(fault)
    # Not OAuth's word, so neither a file's refusal nor the realm's throttle: not to be taken so.
    said = f"HTTP {response.status_code} {fault.code} {fault.detail}".rstrip()
    raise NotDoneError(Fault(NO_TOKEN, fault.message, said, intuit_tid=fault.intuit_tid))


def _after(now: datetime, seconds: Any) -> datetime | None:  # noqa: ANN401  # JSON
    try:
        return now + timedelta(seconds=float(text_of(seconds)))
    except (ValueError, OverflowError):
        return None

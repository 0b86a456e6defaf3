"""Logging in: a person's consent becomes tokens in the private store (QBO_TOKENS)."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import Callable

from qbo_attach.core.credentials import Tokens
from qbo_attach.core.errors import NotStartedError, SettingError
from qbo_attach.qbo.faults import QboError
from qbo_attach.qbo.login import (
    Grant,
    LoginError,
    RedirectReceiver,
    authorization_url,
    new_state,
    read_redirect,
)
from qbo_attach.qbo.oauth import SENDABLE, addresses
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.qbo.privacy import require_private
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import token_endpoint
from qbo_attach.storage.tokens import TokenFile

_LEASE_TRIES = 480
_LEASE_POLL_S = 0.25


def log_in(
    settings: Settings,
    *,
    show: Callable[[str], None],
    ask: Callable[[str], str],
    redirect_uri: str = "",
    port: int = 0,
) -> str:
    """Get consent by the authorization-code flow and keep the tokens; returns the realm.

    Args:
        settings: the app's credentials, the environment, where tokens are kept.
        show: shows a person a line.
        ask: asks a person for a line.
        redirect_uri: an https address of the app; the redirected address is then pasted. Empty:
            the redirect is received on this machine.
        port: to receive it on; 0 takes a free one.

    Raises:
        LoginError: no consent.
        NotStartedError: Intuit gave no tokens; settings are missing.
    """
    require_app(settings)
    if redirect_uri:
        require_private(redirect_uri, "--redirect-uri")
    return asyncio.run(_log_in(settings, show, ask, redirect_uri, port))


async def _log_in(
    settings: Settings,
    show: Callable[[str], None],
    ask: Callable[[str], str],
    redirect_uri: str,
    port: int,
) -> str:
    state = new_state()
    authorize = addresses(settings.qbo_environment, settings.qbo_base_url).authorize
    if redirect_uri:
        show(authorization_url(authorize, settings.qbo_client_id, redirect_uri, state))
        grant = read_redirect(_pasted(ask), state)
    else:
        async with RedirectReceiver(state, port) as receiver:
            redirect_uri = receiver.redirect_uri
            page = authorization_url(authorize, settings.qbo_client_id, redirect_uri, state)
            show(page)
            await asyncio.to_thread(webbrowser.open, page)
            grant = await receiver.grant()
    return await _keep_grant(settings, grant, redirect_uri)


def _pasted(ask: Callable[[str], str]) -> str:
    try:
        return ask("Address of the page it led to: ")
    except EOFError:
        raise LoginError("no address was pasted; run qbo-attach login again") from None


async def _keep_grant(settings: Settings, grant: Grant, redirect_uri: str) -> str:
    if settings.qbo_realm_id and settings.qbo_realm_id != grant.realm_id:
        raise SettingError(
            "QBO_REALM_ID",
            settings.qbo_realm_id,
            f"the login was to company {grant.realm_id}; choose the other one, or change this",
        )
    clock = SystemClock()
    try:
        tokens = await token_endpoint(settings, clock).by_code(grant.code, redirect_uri)
    except QboError as error:
        raise NotStartedError(str(error)) from None
    await _keep(settings, clock, grant.realm_id, tokens)
    return grant.realm_id


def import_refresh_token(settings: Settings, refresh_token: str) -> str:
    """Keep tokens made from a refresh token of Intuit's OAuth Playground; returns the realm.

    Raises:
        NotStartedError: it is none; Intuit refuses it; settings are missing.
    """
    require_app(settings)
    if not SENDABLE.fullmatch(refresh_token):
        raise LoginError("standard input had no refresh token: one word, on its first line")
    return asyncio.run(_import(settings, refresh_token))


async def _import(settings: Settings, refresh_token: str) -> str:
    clock = SystemClock()
    try:
        tokens = await token_endpoint(settings, clock).by_refresh_token(refresh_token)
    except QboError as error:
        raise NotStartedError(str(error)) from None
    await _keep(settings, clock, settings.realm_id, tokens)
    return settings.realm_id


async def _keep(settings: Settings, clock: SystemClock, realm_id: str, tokens: Tokens) -> None:
    store = TokenFile(settings.qbo_tokens, clock.monotonic)
    for _ in range(_LEASE_TRIES):
        if await asyncio.to_thread(store.try_lease):
            break
        await clock.sleep(_LEASE_POLL_S)
    else:
        raise NotStartedError(f"{store.url} is in use by another process; log in again later")
    try:
        await asyncio.to_thread(store.save, realm_id, tokens)
    finally:
        await asyncio.to_thread(store.release)


def require_app(settings: Settings) -> None:
    """Refuse to log in without the app's credentials.

    Raises:
        SettingError: names the missing one.
    """
    for name, value in (
        ("QBO_CLIENT_ID", settings.qbo_client_id),
        ("QBO_CLIENT_SECRET", settings.qbo_client_secret.get_secret_value()),
    ):
        if not value:
            raise SettingError(name, "", "is not set; the app's page at Intuit shows it")

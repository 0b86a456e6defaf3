"""Logging in: the authorization-code flow, its redirect to this machine or pasted by a person.

https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
Production keys need an https redirect, which a person pastes; localhost is for development keys.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from qbo_attach.core.errors import NotStartedError
from qbo_attach.qbo.envelopes import short
from qbo_attach.qbo.oauth import SCOPE

_REQUEST_BYTES = 65_536
"""Read whole: what is left unread when a connection is closed may take the answer along."""
_PAGE = (
    "<!doctype html><meta charset=utf-8><title>qbo-attach</title>"
    "<p>{said} You may close this page and go back to the terminal."
)


class LoginError(NotStartedError):
    """The login did not come to an end; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the redirect brought: the company, and a code that is good once, for minutes."""

    realm_id: str
    code: str = field(repr=False)


def new_state() -> str:
    """A random word that the redirect must bring back: it proves the redirect is ours."""
    return secrets.token_urlsafe(24)


def authorization_url(authorize: str, client_id: str, redirect_uri: str, state: str) -> str:
    """The page at Intuit where a person picks the company and consents."""
    query = {
        "client_id": client_id,
        "response_type": "code",
        "scope": SCOPE,
        "redirect_uri": redirect_uri,
        "state": state,
    }
    return f"{authorize}?{urlencode(query)}"


def read_redirect(url: str, state: str) -> Grant:
    """The grant in a redirected address, whole or from its path on.

    Raises:
        LoginError: another login's, a refusal, or no such address; shows no code.
    """
    query = parse_qs(urlsplit(url.strip()).query)
    given = {name: values[0] for name, values in query.items()}
    if not hmac.compare_digest(given.get("state", "").encode(), state.encode()):
        raise LoginError(
            "the redirect does not belong to this login (its state differs); run qbo-attach login "
            "again and paste the address of the very page it leads to"
        )
    if "error" in given:
        told = short(given.get("error_description") or given["error"])
        raise LoginError(f"Intuit did not grant the login: {told}; run qbo-attach login again")
    realm_id, code = given.get("realmId", ""), given.get("code", "")
    if not code or not realm_id.isdigit():
        raise LoginError("the redirect has no code or no company (realmId); log in again")
    return Grant(realm_id, code)


class RedirectReceiver:
    """Waits on this machine for the browser's redirect. Use as an async context manager.

    Args:
        state: what the redirect must bring back; anything else is answered and passed over.
        port: 0 takes a free one. Intuit compares the redirect address with those of the app.
        path: of the redirect address.
    """

    def __init__(self, state: str, port: int = 0, path: str = "/callback") -> None:
        self._state = state
        self._port = port
        self._path = path
        self._server: asyncio.Server | None = None
        self._grant: asyncio.Future[Grant] | None = None

    async def __aenter__(self) -> RedirectReceiver:  # noqa: PYI034  # Self needs 3.11
        self._grant = asyncio.get_running_loop().create_future()
        try:
            self._server = await asyncio.start_server(
                self._answer, "127.0.0.1", self._port, limit=_REQUEST_BYTES
            )
        except OSError as error:
            raise LoginError(
                f"port {self._port} cannot be listened on ({error.strerror}); give another port"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    @property
    def redirect_uri(self) -> str:
        """The address to give to Intuit."""
        if self._server is None:
            raise RuntimeError("not entered")
        return f"http://localhost:{self._server.sockets[0].getsockname()[1]}{self._path}"

    async def grant(self, timeout_s: float = 600.0) -> Grant:
        """The redirect's grant.

        Raises:
            LoginError: a refusal, or nobody came in time.
        """
        if self._grant is None:
            raise RuntimeError("not entered")
        try:
            return await asyncio.wait_for(asyncio.shield(self._grant), timeout_s)
        except asyncio.TimeoutError:
            raise LoginError(
                f"no redirect came within {timeout_s:.0f} s; run qbo-attach login again"
            ) from None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            line = asked.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            status, said = self._take(line[1] if len(line) > 1 and line[0] == "GET" else "")
            page = _PAGE.format(said=said).encode()
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
                f"Content-Length: {len(page)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + page)
            await writer.drain()
        except (OSError, ValueError, EOFError, asyncio.LimitOverrunError, asyncio.TimeoutError):
            return  # a visitor that is no browser
        finally:
            writer.close()

    def _take(self, target: str) -> tuple[str, str]:
        if urlsplit(target).path != self._path or self._grant is None:
            return "404 Not Found", "Nothing is here."
        if self._grant.done():
            return "200 OK", "This login is done already."
        try:
            grant = read_redirect(target, self._state)
        except LoginError as error:
            if "does not belong" in str(error):
                return "400 Bad Request", "This redirect does not belong to the login under way."
            self._grant.set_exception(error)
            return "200 OK", "The login was not granted."
        self._grant.set_result(grant)
        return "200 OK", "You are logged in."

"""Where bearer tokens come from, and how they are kept fresh."""

from __future__ import annotations

import asyncio
from datetime import datetime

from qbo_attach.core.credentials import Tokens
from qbo_attach.core.errors import SettingError, StoppedError, StorageError
from qbo_attach.core.model import Fault
from qbo_attach.core.ports import Clock, TokenStore
from qbo_attach.qbo.faults import (
    INVALID_GRANT,
    INVALID_TOKEN,
    NO_CONNECTION,
    NotDoneError,
    StopError,
)
from qbo_attach.qbo.oauth import SENDABLE, TokenEndpoint

REFRESH_AHEAD_S = 300.0
"""A token is renewed this long before its end, so that none expires on its way."""
_LEASE_WAIT_S = 120.0
_LEASE_POLL_S = 0.25
_TRIES = 3


class StaticToken:
    """One access token as given (QBO_ACCESS_TOKEN): good for an hour at most, never renewed.

    Raises:
        SettingError: it cannot stand in a header.
    """

    def __init__(self, token: str) -> None:
        if not SENDABLE.fullmatch(token):
            raise SettingError("QBO_ACCESS_TOKEN", "***", "must be one word without spaces")
        self._token = token

    def __repr__(self) -> str:
        return "StaticToken(***)"

    async def token(self) -> str:
        """The token."""
        return self._token

    async def refreshed(self, stale: str) -> str:
        """Nothing can be done: raises StopError."""
        del stale
        raise StopError(Fault(INVALID_TOKEN, "QBO refuses QBO_ACCESS_TOKEN", status=401))


class StoredTokens:
    """Tokens of one realm, kept fresh in a store: once, however many ask, in however many places.

    A new token is in the store before it is used: the one before may be dead from then on.

    Args:
        store: shared with other processes and hosts.
        realm_id: the company.
        endpoint: renews them.
        clock: tells when.
    """

    def __init__(
        self, store: TokenStore, realm_id: str, endpoint: TokenEndpoint, clock: Clock
    ) -> None:
        self._store = store
        self._realm_id = realm_id
        self._endpoint = endpoint
        self._clock = clock
        self._tokens: Tokens | None = None
        self._lock = asyncio.Lock()

    @property
    def login_ends_at(self) -> datetime | None:
        """When a person must log in again at the latest, as far as Intuit told."""
        return None if self._tokens is None else self._tokens.login_ends_at

    async def token(self) -> str:
        """An access token that is good for the next minutes.

        Raises:
            StopError: a person must log in again.
            NotDoneError: Intuit could not be reached.
            StoppedError: the store cannot be written or read.
        """
        if self._tokens is not None and self._good(self._tokens):
            return self._tokens.access_token
        return await self._fresh("")

    async def refreshed(self, stale: str) -> str:
        """Another access token than the one that QBO just refused; errors as of `token`."""
        return await self._fresh(stale)

    def _good(self, tokens: Tokens | None, stale: str = "") -> bool:
        return (
            tokens is not None
            and tokens.access_token != stale
            and tokens.good_at(self._clock.utcnow(), REFRESH_AHEAD_S)
        )

    async def _fresh(self, stale: str) -> str:
        async with self._lock:
            if not self._good(self._tokens, stale):
                self._tokens = await self._load()
            if not self._good(self._tokens, stale):
                self._tokens = await self._renewed(stale)
            if self._tokens is None:
                raise AssertionError("renewed or raised")
            return self._tokens.access_token

    async def _load(self) -> Tokens:
        try:
            tokens = await asyncio.to_thread(self._store.load, self._realm_id)
        except StorageError as error:
            raise StoppedError(str(error)) from error
        if tokens is None:
            raise StopError(Fault(INVALID_GRANT, f"nobody logged in for realm {self._realm_id}"))
        ends = tokens.login_ends_at
        if ends is not None and ends <= self._clock.utcnow():
            raise StopError(Fault(INVALID_GRANT, f"the login ended at {ends:%Y-%m-%d %H:%M} UTC"))
        return tokens

    async def _renewed(self, stale: str) -> Tokens:
        """Renew under the store's lease, unless somebody else just did."""
        await self._take_lease()
        try:
            tokens = await self._load()
            if self._good(tokens, stale):
                return tokens
            renewed = await self._ask(tokens)
            await self._save(renewed)
            return renewed
        finally:
            await asyncio.shield(self._release())

    async def _take_lease(self) -> None:
        until = self._clock.monotonic() + _LEASE_WAIT_S
        while True:
            try:
                if await asyncio.to_thread(self._store.try_lease):
                    return
            except StorageError as error:
                raise StoppedError(str(error)) from error
            if self._clock.monotonic() >= until:
                said = "another process has been renewing the token for two minutes"
                raise NotDoneError(Fault(NO_CONNECTION, said))
            await self._clock.sleep(_LEASE_POLL_S)

    async def _release(self) -> None:
        try:
            await asyncio.to_thread(self._store.release)
        except StorageError:
            return  # it is taken for abandoned after its time

    async def _ask(self, tokens: Tokens) -> Tokens:
        """The same question may be asked again: Intuit gives one refresh token for a day."""
        for again in range(1, _TRIES + 1):
            try:
                return await self._endpoint.by_refresh_token(tokens.refresh_token)
            except NotDoneError:
                if again == _TRIES:
                    raise
            await self._clock.sleep(2.0**again)
        raise AssertionError("returned or raised")

    async def _save(self, tokens: Tokens) -> None:
        for again in range(1, _TRIES + 1):
            try:
                return await asyncio.to_thread(self._store.save, self._realm_id, tokens)
            except StorageError as error:
                if again == _TRIES:
                    said = f"the renewed token cannot be kept, so it is not used: {error}"
                    raise StoppedError(said) from error
            await self._clock.sleep(2.0**again)
        raise AssertionError("returned or raised")

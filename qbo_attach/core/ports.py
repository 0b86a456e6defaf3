"""What the rooms below must be given from outside: doors as protocols."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from qbo_attach.core.credentials import Tokens


class Clock(Protocol):
    """Time, from outside, so that tests and simulations own it."""

    def monotonic(self) -> float:
        """Seconds that only grow, counted from anywhere, time asleep (suspended) included."""

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds; none or fewer lets others run once."""

    def utcnow(self) -> datetime:
        """Wall clock, aware, UTC."""


class TokenStore(Protocol):
    """A private place for the tokens of several realms, shared by tasks, processes, hosts.

    Its calls block; they raise StorageError where the place is to blame.
    """

    def load(self, realm_id: str) -> Tokens | None:
        """The tokens saved last; None if there never were any."""

    def save(self, realm_id: str, tokens: Tokens) -> None:
        """Keep tokens, whole or not at all; only while holding the lease."""

    def try_lease(self) -> bool:
        """Take the store's lease, unless another holds it; false: ask again a little later."""

    def release(self) -> None:
        """Give the lease back."""

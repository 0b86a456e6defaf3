"""OAuth tokens of one realm as a value that does not show them, and their form in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any


@dataclass(frozen=True, slots=True)
class Tokens:
    """What Intuit's token endpoint gave. Moments are aware UTC; None where not told.

    The access token lives an hour, the refresh token 100 days from its last use, and the login
    five years (`hard_expires_at`).
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_expires_at: datetime
    refresh_expires_at: datetime | None = None
    hard_expires_at: datetime | None = None

    @property
    def login_ends_at(self) -> datetime | None:
        """When nothing but another login helps, as far as it is known."""
        ends = [end for end in (self.refresh_expires_at, self.hard_expires_at) if end is not None]
        return min(ends, default=None)

    def good_at(self, moment: datetime, ahead_s: float = 0.0) -> bool:
        """Whether the access token is still good some seconds after a moment."""
        return moment + timedelta(seconds=ahead_s) < self.access_expires_at


def encode_realms(realms: Mapping[str, Tokens]) -> bytes:
    """The tokens of several realms, by realm id, as a file's bytes."""
    table = {realm: _plain(tokens) for realm, tokens in sorted(realms.items())}
    return json.dumps({"version": 1, "realms": table}, indent=1).encode() + b"\n"


def decode_realms(data: bytes) -> dict[str, Tokens]:
    """Read back what `encode_realms` wrote.

    Raises:
        ValueError: it is not such a file. The message shows nothing of it.
    """
    try:
        realms = json.loads(data)["realms"]
        return {str(realm): _tokens(plain) for realm, plain in realms.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("not a file of tokens") from None


def _plain(tokens: Tokens) -> dict[str, Any]:
    return {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "access_expires_at": tokens.access_expires_at.isoformat(),
        "refresh_expires_at": _moment_text(tokens.refresh_expires_at),
        "hard_expires_at": _moment_text(tokens.hard_expires_at),
    }


def _tokens(plain: Mapping[str, Any]) -> Tokens:
    return Tokens(
        access_token=str(plain["access_token"]),
        refresh_token=str(plain["refresh_token"]),
        access_expires_at=_moment(plain["access_expires_at"]),
        refresh_expires_at=_maybe_moment(plain.get("refresh_expires_at")),
        hard_expires_at=_maybe_moment(plain.get("hard_expires_at")),
    )


def _moment_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(timezone.utc)


def _maybe_moment(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)

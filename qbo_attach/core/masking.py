"""Settings as they may be shown: without the secrets that a URL or an option can carry."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

MASK = "***"

_USER = re.compile(r"://[^/\s]*@")
_QUERY = re.compile(r"\?[^\s,]+")
_SECRET_NAME = re.compile(
    r"key|secret|token|pass|pwd|cred|sas|auth|sign|user|login|connection", re.IGNORECASE
)
"""Options of storage drivers that carry a secret, or the name it belongs to."""


def masked_url(text: str) -> str:
    """A URL (or several, or a plain path) without user, password and query.

    A presigned address is as good as a password, and is one by its query.
    """
    if "://" not in text:
        return text
    return _QUERY.sub(f"?{MASK}", _USER.sub(f"://{MASK}@", text))


def masked_options(options: Mapping[str, object]) -> str:
    """Options as JSON, the values of all that may be a secret masked, at every depth."""
    return json.dumps(_masked(options, secret=False), sort_keys=True, default=str)


def _masked(value: object, *, secret: bool) -> object:
    if isinstance(value, Mapping):
        return {
            str(name): _masked(item, secret=secret or bool(_SECRET_NAME.search(str(name))))
            for name, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_masked(item, secret=secret) for item in value]
    if secret and value not in (None, "", True, False):
        return MASK
    return masked_url(value) if isinstance(value, str) else value

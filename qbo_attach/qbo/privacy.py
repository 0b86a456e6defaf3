"""What keeps secrets secret: private addresses only, and log lines without tokens."""

from __future__ import annotations

import ipaddress
import logging

import httpx

from qbo_attach.core.errors import SettingError
from qbo_attach.qbo.envelopes import masked


def require_private(url: str, variable: str) -> bool:
    """Refuse an address over which others could read; tells whether it is this machine.

    Raises:
        SettingError: not https, and not http to this machine.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise SettingError(variable, "***", "is not an address") from None
    local = _is_this_machine(parsed.host)
    if not parsed.host or not (parsed.scheme == "https" or (parsed.scheme == "http" and local)):
        raise SettingError(
            variable,
            f"{parsed.scheme}://{parsed.host}",
            "must begin with https:// (http:// is taken for localhost only)",
        )
    return local


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Masking(logging.Filter):
    """Takes tokens and the queries of addresses (signatures, codes) out of httpx's log lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = masked(record.getMessage()), ()
        return True


_MASKING = _Masking()


def mask_logs() -> None:
    """Put the filter on the loggers of httpx and httpcore; once is enough, more do no harm."""
    # A filter does not reach the records of loggers below its own: each is named.
    for name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2"):
        logging.getLogger(name).addFilter(_MASKING)
    for name in ("httpcore.proxy", "httpcore.socks"):
        logging.getLogger(name).addFilter(_MASKING)

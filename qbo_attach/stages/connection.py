"""The company at the other end: a client from the settings, and whether LOG_DIR is its own."""

from __future__ import annotations

import json

from qbo_attach.core.errors import NotStartedError, SettingError
from qbo_attach.qbo.auth import StaticToken, StoredTokens
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.oauth import TokenEndpoint, addresses
from qbo_attach.qbo.pacing import Pacer, SystemClock
from qbo_attach.qbo.realm import TokenSource
from qbo_attach.settings import PRODUCTION_URL, SANDBOX_URL, Settings
from qbo_attach.storage.files import Store
from qbo_attach.storage.tokens import TokenFile

COMPANY_FILE = "company.json"
_INTUITS_RATE = 500


def make_pacer(settings: Settings, clock: SystemClock) -> Pacer:
    """The realm's pace. Above what Intuit allows (a fake company), the bound a second rises too."""
    rate = settings.qbo_requests_per_min
    per_second = 10 if rate <= _INTUITS_RATE else max(10, rate // 30)
    return Pacer(clock, rate, per_second=per_second)


def make_client(settings: Settings, pacer: Pacer, clock: SystemClock) -> QboClient:
    """A client of the company that the settings name.

    Raises:
        SettingError: no realm, or no token.
    """
    return QboClient(
        base_url=settings.base_url,
        realm_id=settings.realm_id,
        tokens=token_source(settings, clock),
        pacer=pacer,
        clock=clock,
        marker_field=settings.qbo_marker,
    )


def token_source(settings: Settings, clock: SystemClock) -> TokenSource:
    """QBO_ACCESS_TOKEN as it is, else the tokens that `qbo-attach login` keeps.

    Raises:
        SettingError: neither a token nor the app's credentials.
    """
    token = settings.qbo_access_token.get_secret_value()
    if token:
        return StaticToken(token)
    if not settings.qbo_client_id or not settings.qbo_client_secret.get_secret_value():
        raise SettingError(
            "QBO_ACCESS_TOKEN",
            "",
            "is not set; set it, or set QBO_CLIENT_ID and QBO_CLIENT_SECRET and run "
            "qbo-attach login",
        )
    store = TokenFile(settings.qbo_tokens, clock.monotonic)
    return StoredTokens(store, settings.realm_id, token_endpoint(settings, clock), clock)


def token_endpoint(settings: Settings, clock: SystemClock) -> TokenEndpoint:
    """Intuit's token endpoint, or the one of QBO_BASE_URL, for the app of the settings."""
    return TokenEndpoint(
        addresses(settings.qbo_environment, settings.qbo_base_url).token,
        settings.qbo_client_id,
        settings.qbo_client_secret.get_secret_value(),
        clock,
    )


def environment_name(settings: Settings) -> str:
    """`production`, `sandbox`, or `other` for any other address (a fake company)."""
    return {PRODUCTION_URL: "production", SANDBOX_URL: "sandbox"}.get(settings.base_url, "other")


def claim_log_dir(settings: Settings, log: Store) -> None:
    """LOG_DIR belongs to one realm: the first run writes which, each later one must be it.

    Raises:
        SettingError: LOG_DIR holds another company's log.
        StorageError: LOG_DIR cannot keep a run log.
    """
    log.probe_create_once("runlog")
    text = json.dumps(_company(settings), sort_keys=True) + "\n"
    if not log.create_once(COMPANY_FILE, text.encode()):
        check_log_dir(settings, log)


def _company(settings: Settings) -> dict[str, str]:
    return {"environment": environment_name(settings), "realm_id": settings.realm_id}


def check_log_dir(settings: Settings, log: Store) -> None:
    """See that LOG_DIR is not another company's.

    Raises:
        SettingError: it is.
    """
    company = _company(settings)
    try:
        there = json.loads(log.read_bytes(COMPANY_FILE))
        same = there == company
    except FileNotFoundError:
        return
    except ValueError as error:
        raise NotStartedError(f"{log.child_url(COMPANY_FILE)} is damaged: {error}") from error
    if not same:
        raise SettingError(
            "LOG_DIR",
            log.url,
            f"holds the log of realm {there.get('realm_id')} ({there.get('environment')}), not of "
            f"{company['realm_id']} ({company['environment']}); use one LOG_DIR a company",
        )

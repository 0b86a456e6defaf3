"""Logging in at the fake company, over a socket."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from qbo_attach.core.errors import NotStartedError, SettingError
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages.login import import_refresh_token, log_in


def _settings(base_url: str, tmp_path: Path, **more: str) -> Settings:
    given = {
        "qbo_base_url": base_url,
        "qbo_client_id": "id",
        "qbo_client_secret": "secret",
        "qbo_realm_id": "1234567890",
        "qbo_tokens": str(tmp_path / "tokens.json"),
        **more,
    }
    return load_settings(given, env_file=None)


def test_an_imported_refresh_token_is_kept_in_a_private_file(tmp_path: Path) -> None:
    with running(FakeOptions()) as company:
        realm = import_refresh_token(_settings(company.base_url, tmp_path), "from-the-playground")
    assert realm == "1234567890"
    file = tmp_path / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_redirect_of_another_login_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    with running(FakeOptions()) as company, pytest.raises(NotStartedError, match="state"):
        log_in(
            _settings(company.base_url, tmp_path),
            show=lambda _line: None,
            ask=lambda _question: "https://app.test/cb?code=c&state=other&realmId=1234567890",
            redirect_uri="https://app.test/cb",
        )
    assert not (tmp_path / "tokens.json").exists()


def test_a_pasted_redirect_logs_in(tmp_path: Path) -> None:
    pages: list[str] = []

    def pasted(_question: str) -> str:
        state = parse_qs(urlsplit(pages[0]).query)["state"][0]
        return f"https://app.test/cb?code=a-code&state={state}&realmId=1234567890"

    with running(FakeOptions()) as company:
        settings = _settings(company.base_url, tmp_path)
        log_in(settings, show=pages.append, ask=pasted, redirect_uri="https://app.test/cb")
    assert (tmp_path / "tokens.json").exists()


def test_a_login_without_the_apps_credentials_names_what_is_missing(tmp_path: Path) -> None:
    settings = _settings("http://127.0.0.1:1", tmp_path, qbo_client_secret="")
    with pytest.raises(SettingError, match="QBO_CLIENT_SECRET"):
        log_in(settings, show=print, ask=input)

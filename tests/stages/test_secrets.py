"""No token, secret, code or signature is in any file, output or traceback but the tokens file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from qbo_attach.fake_qbo import Behaviour, FakeOptions, running
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.sample import make_sample

SECRET = "the-apps-own-Secret-7391"
GIVEN = "AB11-refresh-token-of-the-Playground"


@pytest.fixture
def fake() -> Iterator[RunningFake]:
    """Intuit prints a refused token into its 401; every refresh gives another refresh token."""
    with running(FakeOptions(behaviour=Behaviour(rotation="always", auto_consent=True))) as served:
        yield served


class Person:
    """Runs `qbo-attach` in a folder of their own, and keeps all that it prints."""

    def __init__(self, fake: RunningFake, home: Path) -> None:
        self.home = home
        self.printed: list[str] = []
        made = make_sample(str(home / "sample"), seed=3, files=120, clients=2)
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("QBO_")},
            **made.environment(),
            "HOME": str(home),
            "BROWSER": "true",
            "LOG_DIR": str(home / "log"),
            "QBO_BASE_URL": fake.base_url,
            "QBO_REALM_ID": fake.realm,
            "QBO_ACCESS_TOKEN": "",
            "QBO_CLIENT_ID": "the-app",
            "QBO_CLIENT_SECRET": SECRET,
            "QBO_REQUESTS_PER_MIN": "9000",
            "QBO_SETTLE_S": "0",
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "qbo_attach.cli", *words],
            cwd=self.home, env=self.env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, typed: str = "") -> int:
        process = self.start(*words)
        out, error = process.communicate(typed, timeout=50)
        self.printed += [out, error]
        return process.returncode

    def log_in_by_browser(self) -> int:
        """Through the consent page, which consents by itself; the browser knows the code anyway."""
        process = self.start("login", "--port", "0")
        assert process.stderr is not None
        seen = ""
        for line in process.stderr:
            seen += line
            if "/connect/oauth2?" in line:
                httpx.get(line.strip(), follow_redirects=True)
                break
        out, error = process.communicate(timeout=20)
        self.printed += [seen, out, error]
        return process.returncode

    @property
    def tokens(self) -> Path:
        return self.home / ".config" / "qbo-attach" / "tokens.json"

    def age_the_token(self) -> None:
        """So that the next command refreshes it ahead of its end."""
        text = self.tokens.read_text()
        aged = re.sub(r'("access_expires_at": ?)"[^"]+"', r'\1"2026-01-01T00:00:00+00:00"', text)
        assert aged != text
        self.tokens.write_text(aged)

    def written(self) -> dict[str, str]:
        """Every file but the tokens file, by its path, as text whatever it is."""
        return {
            str(path): path.read_bytes().decode("latin-1")
            for path in self.home.rglob("*")
            if path.is_file() and path != self.tokens
        }


def secrets_of(fake: RunningFake) -> set[str]:
    """All that was ever given out or in: codes, access and refresh tokens, the app's secret."""
    issued = fake.company.oauth._tokens.values()
    assert {token.kind for token in issued} == {"code", "access", "refresh"}
    return {token.value for token in issued} | {SECRET, GIVEN}


@pytest.mark.proof
@pytest.mark.timeout(180)  # some ten processes one after another
def test_secrets_are_in_the_tokens_file_and_nowhere_else(fake: RunningFake, tmp_path: Path) -> None:
    person = Person(fake, tmp_path)
    plan = fake.company.plan
    statuses = {
        "imported": person.run("login", "--from-refresh-token", typed=GIVEN + "\n"),
        "by browser": person.log_in_by_browser(),
    }
    person.age_the_token()
    plan.add(
        [Rule("401", endpoint="upload", times=1), Rule("cut_after", endpoint="upload", times=1)]
    )
    statuses["run"] = person.run("run")
    fake.company.oauth.end("access")
    statuses["config"] = person.run("config")
    # Now everything fails, each time in another way, with its traceback.
    for kind in ("fault_200", "403", "revoked_token"):
        plan.clear()
        plan.add([Rule(kind, realm=fake.realm)])
        statuses[kind] = person.run("mapping", "--from", "qbo", "--debug")
    person.env["LOG_DIR"] = str(tmp_path / "another log")
    statuses["revoked, run"] = person.run("run", "--debug")
    plan.clear()
    fake.company.oauth.end("", revoke=True)
    statuses["logged out"] = person.run("mapping", "--from", "qbo", "--debug")
    person.env["QBO_ACCESS_TOKEN"] = GIVEN
    statuses["a bad token"] = person.run("mapping", "--from", "qbo", "--debug")
    expected = {"imported": 0, "by browser": 0, "config": 0}
    assert {name: statuses[name] for name in expected} == expected, person.printed
    assert statuses["run"] in (0, 1), person.printed[5:9]
    for name in ("fault_200", "403", "revoked_token", "revoked, run", "logged out"):
        assert statuses[name] in (2, 3), name
    assert any("Traceback" in text for text in person.printed)

    secrets = secrets_of(fake)
    texts = {**person.written(), **{f"output {n}": t for n, t in enumerate(person.printed)}}
    assert len(texts) > 20
    for name, text in texts.items():
        for secret in secrets:
            assert secret not in text, (name, secret[:6])
        assert "X-Amz-Signature" not in text, name
        assert "Bearer " not in text, name
    kept = json.loads(person.tokens.read_text())
    assert set(kept["realms"]) == {fake.realm}
    assert person.tokens.stat().st_mode & 0o077 == 0

"""`qbo-attach login` as a person runs it: a process, a browser, the company's consent page."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.fake_qbo.server import RunningFake

REALM = "1234567890"
SECRET = "the-apps-own-secret"


@pytest.fixture
def fake() -> Iterator[RunningFake]:
    with running(FakeOptions(realm=f"{REALM},99")) as served:
        yield served


class Login:
    """A login under way, its page, and what a person does there."""

    def __init__(self, process: subprocess.Popen[str], page: str) -> None:
        self.process = process
        self.page = page
        self.shown = httpx.get(page).text
        self._browser = httpx.Client(follow_redirects=True)

    def press(self, answer: str, realm: str = REALM, **changed: str) -> httpx.Response:
        """Press a button of the consent page, its hidden fields as they are or changed."""
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', self.shown))
        sent = {**hidden, "realm": realm, "answer": answer, **changed}
        return self._browser.get(f"{self.page.partition('?')[0]}", params=sent)

    @property
    def callback(self) -> str:
        return str(httpx.URL(self.page).params["redirect_uri"])

    def end(self) -> tuple[int, str, str]:
        """Exit status, standard output, the rest of standard error."""
        self._browser.close()
        out, error = self.process.communicate(timeout=20)
        return self.process.returncode, out, error


Command = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def command(fake: RunningFake, tmp_path: Path) -> Command:
    """Starts `qbo-attach` in an empty folder of a person whose home is empty, too."""

    def start(*words: str, **settings: str) -> subprocess.Popen[str]:
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("QBO_")},
            "HOME": str(tmp_path),
            "BROWSER": "true",  # the command of that name, so that no browser opens
            "QBO_BASE_URL": fake.base_url,
            "QBO_CLIENT_ID": "the-app",
            "QBO_CLIENT_SECRET": SECRET,
            **settings,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "qbo_attach.cli", *words],
            cwd=tmp_path, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


@contextmanager
def begun(process: subprocess.Popen[str]) -> Iterator[Login]:
    try:
        yield Login(process, page_of(process.stderr))
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def page_of(stream: IO[str] | None) -> str:
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line)
        if "/connect/oauth2?" in line:
            return line.strip()
    raise AssertionError("".join(lines))


def tokens_file(home: Path) -> Path:
    return home / ".config" / "qbo-attach" / "tokens.json"


def nothing_kept(home: Path) -> bool:
    return not tokens_file(home).exists()


def test_a_person_logs_in_by_the_consent_page_and_the_tokens_are_private(
    command: Command, fake: RunningFake, tmp_path: Path
) -> None:
    with begun(command("login", "--port", "0")) as login:
        assert "the-app" in login.shown
        assert login.callback.startswith("http://localhost:")
        assert "You are logged in" in login.press("connect", realm="99").text
        status, out, error = login.end()
    assert (status, error) == (0, "")
    assert out == "Logged in to company 99: set QBO_REALM_ID=99\n"
    file = tokens_file(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert set(json.loads(file.read_bytes())["realms"]) == {"99"}
    assert {path.name for path in tmp_path.iterdir()} == {".config"}
    asked = command("mapping", "--from", "qbo", QBO_REALM_ID="99", QBO_REQUESTS_PER_MIN="9000")
    _, told = asked.communicate(timeout=20)
    assert (asked.returncode, "no such table" in told or "QbdtEntityIdMapping" in told) == (2, True)
    assert fake.ledger()["requests"]["query"] > 0


def test_another_logins_redirect_is_turned_away_and_the_right_one_still_counts(
    command: Command, tmp_path: Path
) -> None:
    with begun(command("login", "--port", "0")) as login:
        foreign = login.press("connect", state="of-another-login")
        assert foreign.status_code == 400
        assert "does not belong" in foreign.text
        assert httpx.get(f"{login.callback}?code=guessed&realmId={REALM}").status_code == 400
        assert nothing_kept(tmp_path)
        assert login.press("connect").status_code == 200
        assert login.end()[0] == 0
    assert not nothing_kept(tmp_path)


def test_a_person_who_refuses_ends_the_login_in_one_sentence(
    command: Command, tmp_path: Path
) -> None:
    with begun(command("login", "--port", "0")) as login:
        assert "not granted" in login.press("deny").text
        status, out, error = login.end()
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert "access_denied" in error
    assert nothing_kept(tmp_path)


def test_a_login_to_another_company_than_the_set_one_is_not_kept(
    command: Command, tmp_path: Path
) -> None:
    with begun(command("login", "--port", "0", QBO_REALM_ID=REALM)) as login:
        login.press("connect", realm="99")
        status, _, error = login.end()
    assert (status, error.count("\n")) == (2, 1)
    assert "QBO_REALM_ID" in error
    assert "99" in error
    assert nothing_kept(tmp_path)


def test_a_port_in_use_is_named(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = command("login", "--port", str(port))
        out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error.count("\n")) == (2, "", 1)
    assert f"port {port}" in error
    assert nothing_kept(tmp_path)


def test_production_keys_paste_the_redirected_address(command: Command, tmp_path: Path) -> None:
    with begun(command("login", "--redirect-uri", "https://app.example/cb")) as login:
        assert login.callback == "https://app.example/cb"
        asked = httpx.URL(login.page).params
        answer = httpx.get(login.page.partition("?")[0], params={**asked, "answer": "connect"})
        assert login.process.stdin is not None
        login.process.stdin.write(answer.headers["Location"] + "\n")
        status, out, error = login.end()
    assert (status, error) == (0, "")
    assert REALM in out
    assert not nothing_kept(tmp_path)


@pytest.mark.parametrize(
    ("words", "typed", "told"),
    [
        (["--redirect-uri", "https://app.example/cb"], "", "no address was pasted"),
        (["--redirect-uri", "https://app.example/cb"], "nonsense\n", "state differs"),
        (["--redirect-uri", "http://app.example/cb"], "", "must begin with https"),
        (["--from-refresh-token"], "", "no refresh token"),
        (["--from-refresh-token"], "two words\n", "no refresh token"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(
    command: Command, tmp_path: Path, words: list[str], typed: str, told: str
) -> None:
    process = command("login", *words, QBO_REALM_ID=REALM)
    _, error = process.communicate(typed, timeout=20)
    assert process.returncode == 2, error
    last = error.splitlines()[-1]
    assert last.startswith("qbo-attach: ")
    assert told in last
    assert "Traceback" not in error
    assert nothing_kept(tmp_path)


def test_a_refresh_token_of_the_playground_is_taken_from_standard_input(
    command: Command, tmp_path: Path
) -> None:
    process = command("login", "--from-refresh-token", QBO_REALM_ID=REALM)
    out, error = process.communicate("AB11-from-the-playground\n", timeout=20)
    assert (process.returncode, error) == (0, "")
    assert "AB11" not in out
    assert stat.S_IMODE(tokens_file(tmp_path).stat().st_mode) == 0o600

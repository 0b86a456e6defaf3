"""Tokens at rest: private, shared by hosts, refreshed once however many ask at one moment."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from qbo_attach.core.credentials import Tokens
from qbo_attach.core.errors import StorageError
from qbo_attach.fake_qbo import Behaviour, FakeOptions, running
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.qbo.auth import StoredTokens
from qbo_attach.qbo.oauth import TokenEndpoint
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.storage.tokens import TokenFile
from tests.conftest import S3Server

REALM = "1234567890"


@pytest.fixture
def fake() -> Iterator[RunningFake]:
    """A company that ends a refresh token at its first use."""
    with running(FakeOptions(behaviour=Behaviour(rotation="always"))) as served:
        yield served


@pytest.fixture(params=["disk", "s3"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, use_s3: Callable[[S3Server], None]
) -> str:
    if request.param == "disk":
        return str(tmp_path / "private" / "tokens.json")
    server: S3Server = request.getfixturevalue("s3_moto")
    use_s3(server)
    return f"{server.new_bucket()}/private/tokens.json"


def save(place: str, tokens: Tokens, realm: str = REALM) -> None:
    store = TokenFile(place, time.monotonic)
    assert store.try_lease()
    store.save(realm, tokens)
    store.release()


def logged_in(fake: RunningFake, place: str, *, good_for_s: float) -> Tokens:
    """Tokens of the company, kept."""
    oauth = fake.company.oauth
    now = datetime.now(timezone.utc)
    tokens = Tokens(
        access_token=oauth.issue("access", REALM, 3600).value,
        refresh_token=oauth.issue("refresh", REALM, 8_640_000).value,
        access_expires_at=now + timedelta(seconds=good_for_s),
    )
    save(place, tokens)
    return tokens


def source(fake: RunningFake, place: str) -> StoredTokens:
    clock = SystemClock()
    endpoint = TokenEndpoint(f"{fake.base_url}/oauth2/v1/tokens/bearer", "id", "secret", clock)
    return StoredTokens(TokenFile(place, clock.monotonic), REALM, endpoint, clock)


def test_a_token_file_and_the_folder_made_for_it_are_private(tmp_path: Path) -> None:
    file = tmp_path / "made" / "qbo-attach" / "tokens.json"
    save(str(file), Tokens("the access token", "the refresh token", datetime.now(timezone.utc)))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [p for p in file.parent.iterdir() if b"token" in p.read_bytes()] == [file]


def test_a_folder_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    save(str(tmp_path / "tokens.json"), Tokens("a", "r", datetime.now(timezone.utc)))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_a_folder_that_cannot_be_made_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="QBO_TOKENS"):
        save(str(tmp_path / "file" / "x" / "tokens.json"), Tokens("a", "r", datetime.now(timezone.utc)))  # fmt: skip


def test_realms_have_their_own_tokens_and_leases_leave_little_behind(place: str) -> None:
    ends = datetime.now(timezone.utc)
    for number in range(3):
        save(place, Tokens(f"a{number}", f"r{number}", ends), str(number))
    store = TokenFile(place, time.monotonic)
    assert [getattr(store.load(str(n)), "access_token", None) for n in range(4)] == [
        "a0",
        "a1",
        "a2",
        None,
    ]


@pytest.mark.parametrize("why", ["it ends soon", "it was refused"])
def test_many_hosts_that_refresh_at_one_moment_refresh_once(
    fake: RunningFake, place: str, why: str
) -> None:
    """Each with a store of its own, as hosts have: else all but one would be logged out."""
    old = logged_in(fake, place, good_for_s=10 if why == "it ends soon" else 3000)
    together = threading.Barrier(4)
    got: list[str] = []

    def host() -> None:
        tokens = source(fake, place)

        async def work() -> str:
            if why == "it ends soon":
                return await tokens.token()
            return await tokens.refreshed(old.access_token)

        together.wait()
        got.append(asyncio.run(work()))

    hosts = [threading.Thread(target=host) for _ in range(4)]
    for one in hosts:
        one.start()
    for one in hosts:
        one.join(30)
    assert len(got) == 4
    assert len(set(got)) == 1
    assert got[0] != old.access_token
    assert fake.ledger()["requests"]["token"] == 1
    # And the chain lives: the next refresh is granted.
    assert asyncio.run(source(fake, place).refreshed(got[0])) != got[0]


def test_two_processes_that_refresh_at_one_moment_refresh_once(
    fake: RunningFake, place: str
) -> None:
    logged_in(fake, place, good_for_s=10)
    script = (
        "import asyncio, hashlib, sys, time\n"
        "from qbo_attach.qbo.pacing import SystemClock\n"
        "from qbo_attach.settings import load_settings\n"
        "from qbo_attach.stages.connection import token_source\n"
        "source = token_source(load_settings(env_file=None), SystemClock())\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "token = asyncio.run(source.token())\n"
        "print(hashlib.sha256(token.encode()).hexdigest())\n"
    )
    env = {
        **os.environ,
        "QBO_BASE_URL": fake.base_url,
        "QBO_REALM_ID": REALM,
        "QBO_CLIENT_ID": "id",
        "QBO_CLIENT_SECRET": "secret",
        "QBO_TOKENS": place,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, error = process.communicate(timeout=30)
        assert process.returncode == 0, error
        said.append(out)
    kept = TokenFile(place, time.monotonic).load(REALM)
    assert kept is not None
    assert said == [hashlib.sha256(kept.access_token.encode()).hexdigest() + "\n"] * 2
    assert fake.ledger()["requests"]["token"] == 1


def test_a_lease_of_a_process_that_died_is_taken_over_after_its_time(place: str) -> None:
    now = [0.0]
    assert TokenFile(place, lambda: now[0]).try_lease()  # and never released
    other = TokenFile(place, lambda: now[0])
    assert not other.try_lease()
    now[0] = 59.0
    assert not other.try_lease()
    now[0] = 61.0
    assert other.try_lease()

"""Tokens: renewed once, kept before they are used, ended with one sentence, and never shown."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import stat
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from qbo_attach.core.credentials import Tokens, decode_realms, encode_realms
from qbo_attach.core.errors import SettingError, StoppedError, StorageError
from qbo_attach.core.model import Recovery
from qbo_attach.fake_qbo import Behaviour, FakeOptions, running
from qbo_attach.qbo.auth import StaticToken, StoredTokens
from qbo_attach.qbo.faults import NotDoneError, QboError, StopError
from qbo_attach.qbo.oauth import TokenEndpoint, addresses
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.storage.tokens import LEASE_S, TokenFile

REALM = "1234567890"
NOW = datetime.now(timezone.utc)
DEAD = Tokens("old-access", "old-refresh", NOW - timedelta(hours=1))


def file_in(folder: Path, tokens: Tokens | None = DEAD) -> TokenFile:
    store = TokenFile(str(folder / "tokens.json"), time.monotonic)
    if tokens is not None:
        assert store.try_lease()
        store.save(REALM, tokens)
        store.release()
    return store


def endpoint_of(answer: Callable[[httpx.Request], httpx.Response]) -> TokenEndpoint:
    transport = httpx.MockTransport(answer)
    return TokenEndpoint("https://a.example/t", "id", "secret", SystemClock(), transport=transport)


class Endpoint:
    """Gives a new pair each time, and counts; each refresh token is good once."""

    def __init__(self, good: str = "old-refresh") -> None:
        self.good = good
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        sent = dict(pair.split("=") for pair in request.content.decode().split("&"))
        if sent["refresh_token"] != self.good:
            return httpx.Response(400, json={"error": "invalid_grant"})
        self.good = f"refresh-{self.asked}"
        return httpx.Response(
            200,
            json={
                "access_token": f"access-{self.asked}",
                "refresh_token": self.good,
                "expires_in": 3600,
                "x_refresh_token_expires_in": 8_640_000,
            },
        )


def tokens_of(store: TokenFile, endpoint: TokenEndpoint) -> StoredTokens:
    return StoredTokens(store, REALM, endpoint, SystemClock())


async def test_a_dead_token_is_renewed_once_however_many_wait(tmp_path: Path) -> None:
    endpoint = Endpoint()
    source = tokens_of(file_in(tmp_path), endpoint_of(endpoint))
    got = await asyncio.gather(*(source.token() for _ in range(20)))
    assert (set(got), endpoint.asked) == ({"access-1"}, 1)
    got = await asyncio.gather(*(source.refreshed("access-1") for _ in range(20)))
    assert (set(got), endpoint.asked) == ({"access-2"}, 2)
    assert source.login_ends_at is not None


async def test_a_token_near_its_end_is_renewed_ahead(tmp_path: Path) -> None:
    soon = Tokens("a", "old-refresh", NOW + timedelta(minutes=4))
    later = Tokens("a", "old-refresh", NOW + timedelta(minutes=30))
    assert await tokens_of(file_in(tmp_path, soon), endpoint_of(Endpoint())).token() == "access-1"
    (tmp_path / "b").mkdir()
    endpoint = Endpoint()
    assert await tokens_of(file_in(tmp_path / "b", later), endpoint_of(endpoint)).token() == "a"
    assert endpoint.asked == 0


async def test_the_new_token_is_kept_before_it_is_used(tmp_path: Path) -> None:
    """A store that cannot be written: the token is not handed out."""

    class Full(TokenFile):
        def save(self, *_: object) -> None:
            raise StorageError(self.url, "no space left")

    file_in(tmp_path)
    full = Full(str(tmp_path / "tokens.json"), time.monotonic)
    clock = SystemClock()

    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0)

    clock.sleep = at_once  # type: ignore[method-assign]
    source = StoredTokens(full, REALM, endpoint_of(Endpoint()), clock)
    with pytest.raises(StoppedError, match="no space left"):
        await source.token()
    assert full.try_lease()  # given back


async def test_what_another_process_renewed_is_taken_over(tmp_path: Path) -> None:
    first = tokens_of(file_in(tmp_path), endpoint_of(Endpoint()))
    other_endpoint = Endpoint("nothing is good")
    other = tokens_of(file_in(tmp_path, None), endpoint_of(other_endpoint))
    assert await first.token() == await other.token() == "access-1"
    assert await other.refreshed("something older") == "access-1"
    assert other_endpoint.asked == 0


def _renew(url: str, folder: str, stale: str, out: str) -> None:
    async def work() -> str:
        endpoint = TokenEndpoint(url, "id", "secret", SystemClock())
        return await tokens_of(file_in(Path(folder), None), endpoint).refreshed(stale)

    Path(out).write_text(asyncio.run(work()))


def test_two_processes_that_renew_at_one_moment_renew_once(tmp_path: Path) -> None:
    with running(FakeOptions(behaviour=Behaviour(rotation="always"))) as fake:
        url = f"{fake.base_url}/oauth2/v1/tokens/bearer"
        first = asyncio.run(TokenEndpoint(url, "id", "secret", SystemClock()).by_refresh_token("x"))
        file_in(tmp_path, first)
        outs = [tmp_path / f"out-{n}" for n in range(3)]
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=_renew, args=(url, str(tmp_path), first.access_token, str(out)))
            for out in outs
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(40)
    got = {out.read_text() for out in outs}
    assert len(got) == 1
    assert got != {first.access_token}


@pytest.mark.parametrize(
    ("status", "body", "recovery", "said"),
    [
        (400, {"error": "invalid_grant"}, Recovery.STOP, "Log in again"),
        (401, {"error": "invalid_client"}, Recovery.STOP, "QBO_CLIENT_SECRET"),
        (500, {}, Recovery.NOT_DONE, "500"),
        (429, {}, Recovery.NOT_DONE, "429"),
        (200, {"token": "without its name"}, Recovery.NOT_DONE, "did not give"),
        (200, {"access_token": "two words"}, Recovery.NOT_DONE, "did not give"),
    ],
)
async def test_what_the_token_endpoint_refuses_is_told_by_recovery(
    status: int, body: dict[str, str], recovery: Recovery, said: str
) -> None:
    endpoint = endpoint_of(lambda _: httpx.Response(status, json=body))
    with pytest.raises(QboError, match=said) as raised:
        await endpoint.by_refresh_token("very-secret-refresh")
    assert raised.value.recovery is recovery
    assert "very-secret" not in str(raised.value)


async def test_no_answer_from_the_token_endpoint_may_be_asked_again() -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    with pytest.raises(NotDoneError):
        await endpoint_of(broken).by_refresh_token("x")


async def test_an_ended_login_is_told_without_asking(tmp_path: Path) -> None:
    ended = Tokens("a", "r", NOW - timedelta(days=1), hard_expires_at=NOW - timedelta(hours=1))
    endpoint = Endpoint()
    source = tokens_of(file_in(tmp_path, ended), endpoint_of(endpoint))
    with pytest.raises(StopError, match="Log in again with qbo-attach login"):
        await source.token()
    assert endpoint.asked == 0


async def test_nobody_logged_in_says_so(tmp_path: Path) -> None:
    with pytest.raises(StopError, match=f"nobody logged in for realm {REALM}"):
        await tokens_of(file_in(tmp_path, None), endpoint_of(Endpoint())).token()


async def test_a_given_token_cannot_be_renewed_and_is_not_shown() -> None:
    source = StaticToken("very-secret")
    assert await source.token() == "very-secret"
    assert "very-secret" not in repr(source)
    with pytest.raises(StopError, match="QBO_ACCESS_TOKEN"):
        await source.refreshed("very-secret")
    with pytest.raises(SettingError) as raised:
        StaticToken("very-secret\nX: y")
    assert "very-secret" not in str(raised.value)


def test_tokens_do_not_show_themselves() -> None:
    assert "old-" not in repr(DEAD) + str(DEAD)


def test_tokens_come_back_from_their_file_as_they_went() -> None:
    full = Tokens("a", "r", NOW, NOW + timedelta(days=100), NOW + timedelta(days=1_825))
    assert decode_realms(encode_realms({"1": full, "2": DEAD})) == {"1": full, "2": DEAD}


@pytest.mark.parametrize("data", [b"", b"[]", b'{"realms": 3}', b'{"realms": {"1": {}}}', b"\xff"])
def test_another_file_in_the_place_of_the_tokens_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tokens.json").write_bytes(data)
    with pytest.raises(StorageError, match="run qbo-attach login"):
        file_in(tmp_path, None).load(REALM)


def test_the_file_is_for_its_owner_alone_and_keeps_other_realms(tmp_path: Path) -> None:
    store = file_in(tmp_path)
    assert store.try_lease()
    store.save("2", DEAD)
    store.release()
    assert store.load(REALM) == store.load("2") == DEAD
    assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "tokens.json").read_bytes())["version"] == 1


def test_saving_needs_the_lease(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lease"):
        file_in(tmp_path, None).save(REALM, DEAD)


def test_the_lease_is_held_by_one_and_an_abandoned_one_is_taken_by_one(tmp_path: Path) -> None:
    now = [0.0]
    dead, second, third = (
        TokenFile(str(tmp_path / "tokens.json"), lambda: now[0]) for _ in range(3)
    )
    assert dead.try_lease()
    assert not dead.try_lease()
    assert not second.try_lease()
    assert not third.try_lease()
    now[0] = LEASE_S - 1
    assert not second.try_lease()
    now[0] = LEASE_S
    assert [second.try_lease(), third.try_lease()] == [True, False]
    dead.release()  # it comes back to life: the holder's lease stands
    assert not third.try_lease()
    second.release()
    assert third.try_lease()
    third.release()
    assert len(list(tmp_path.glob("*.lease.*"))) <= 2


def test_addresses_are_intuits_unless_everything_is_elsewhere() -> None:
    sandbox = addresses("sandbox")
    assert sandbox.api == "https://sandbox-quickbooks.api.intuit.com"
    assert addresses("production", sandbox.api + "/").token == sandbox.token
    assert addresses("sandbox", "http://127.0.0.1:8/").token == (
        "http://127.0.0.1:8/oauth2/v1/tokens/bearer"
    )
    with pytest.raises(SettingError):
        addresses("sandbox", "http://elsewhere")


class Hurried(SystemClock):
    """Real, but each sleep is over at once and took its time by the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


async def test_a_renewal_that_another_never_ends_is_given_up_for_now(tmp_path: Path) -> None:
    """The other keeps its lease alive, or a store clock stands still."""
    store = file_in(tmp_path)
    assert store.try_lease()
    waiting = TokenFile(str(tmp_path / "tokens.json"), lambda: 0.0)
    clock, endpoint = Hurried(), Endpoint()
    source = StoredTokens(waiting, REALM, endpoint_of(endpoint), clock)
    with pytest.raises(NotDoneError, match="two minutes"):
        await source.token()
    assert endpoint.asked == 0
    store.release()
    assert await source.token() == "access-1"


async def test_a_token_endpoint_that_stumbles_is_asked_again(tmp_path: Path) -> None:
    good, calls = Endpoint(), []

    def stumbles(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(503) if len(calls) < 3 else good(request)

    source = StoredTokens(file_in(tmp_path), REALM, endpoint_of(stumbles), Hurried())
    assert await source.token() == "access-1"
    calls.clear()
    dead = endpoint_of(lambda _: httpx.Response(503))
    source = StoredTokens(file_in(tmp_path), REALM, dead, Hurried())
    with pytest.raises(NotDoneError):
        await source.token()


async def test_a_store_that_cannot_be_read_ends_the_run_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_bytes(b"not ours")
    source = tokens_of(file_in(tmp_path, None), endpoint_of(Endpoint()))
    with pytest.raises(StoppedError, match=r"tokens\.json"):
        await source.token()

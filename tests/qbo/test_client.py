"""The client over a real socket, with the fake company's faults switched on one after another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.fake_qbo import Behaviour, FakeOptions, running
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.qbo.auth import StaticToken
from qbo_attach.qbo.body import BodyFailedError, BodyLengthError, BodySource
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import (
    InDoubtError,
    NotDoneError,
    RefusedError,
)
from qbo_attach.qbo.multipart import UploadPart
from qbo_attach.qbo.pacing import Pacer, SystemClock
from qbo_attach.qbo.qbdt import NoMappingTableError
from qbo_attach.qbo.wire import UploadAnswer
from tests.peak import Peak
from tests.qbo.contract import source

REF = EntityRef("Bill", "7")


class Renewing:
    """Tokens t1, t2, ... each good until it is refused."""

    def __init__(self) -> None:
        self.number = 1

    async def token(self) -> str:
        return f"t{self.number}"

    async def refreshed(self, stale: str) -> str:
        if stale == f"t{self.number}":
            self.number += 1
        return await self.token()


@pytest.fixture(scope="module")
def served() -> Iterator[RunningFake]:
    with running() as fake:
        yield fake


@pytest.fixture
def fake(served: RunningFake) -> Iterator[RunningFake]:
    yield served
    served.company.plan.clear()
    served.company.state.settle(everything=True)  # no late commit comes into the next test


@pytest.fixture
async def client(fake: RunningFake) -> AsyncIterator[QboClient]:
    client = client_of(fake)
    yield client
    await client.aclose()


def client_of(fake: RunningFake, deadline_s: float = 20.0) -> QboClient:
    clock = SystemClock()
    return QboClient(
        base_url=fake.base_url,
        realm_id=fake.realm,
        tokens=Renewing(),
        pacer=Pacer(clock, 100_000, 10_000),
        clock=clock,
        deadline_s=deadline_s,
    )


async def upload(
    client: QboClient, *files: bytes, sources: list[BodySource] | None = None, size: int = 0
) -> UploadAnswer:
    parts = [
        UploadPart(f"{n} {uuid4().hex}.pdf", "application/pdf", size or len(data), (REF,), "k")
        for n, data in enumerate(files)
    ]
    return await client.upload(
        parts,
        sources or [source(data) for data in files],
        request_id=uuid4().hex,
        boundary=uuid4().hex,
        before_first_byte=lambda: None,
    )


def strike(fake: RunningFake, kind: str, **fields: object) -> None:
    fake.company.plan.add([Rule(kind, endpoint="upload", times=1, **fields)])  # type: ignore[arg-type]


async def test_nobody_there_is_not_done() -> None:
    clock = SystemClock()
    client = QboClient(
        base_url="http://127.0.0.1:1",
        realm_id="1",
        tokens=StaticToken("t"),
        pacer=Pacer(clock),
        clock=clock,
    )
    with pytest.raises(NotDoneError, match="no connection"):
        await upload(client, b"x")
    await client.aclose()


async def test_a_401_renews_the_token_and_is_not_sent_again_here(fake: RunningFake) -> None:
    tokens = Renewing()
    clock = SystemClock()
    client = QboClient(
        base_url=fake.base_url,
        realm_id=fake.realm,
        tokens=tokens,
        pacer=Pacer(clock, 100_000, 10_000),
        clock=clock,
    )
    strike(fake, "401")
    with pytest.raises(NotDoneError) as raised:
        await upload(client, b"x")
    assert (raised.value.retry_after_s, tokens.number) == (0.0, 2)
    assert client.requests_sent == {"upload": 1}
    await client.aclose()


async def test_what_the_last_check_raises_comes_out_and_nothing_is_sent(
    client: QboClient, fake: RunningFake
) -> None:
    class TooLateError(Exception):
        pass

    calls = []

    def check_fails_at(call: int) -> None:
        calls.append(call)
        if len(calls) == call:
            raise TooLateError

    for call in (1, 2):
        calls.clear()
        before = len(fake.company.state.ledger.all())
        with pytest.raises(TooLateError):
            await client.upload(
                [UploadPart("a.pdf", "application/pdf", 1, (REF,))],
                [source(b"x")],
                request_id=uuid4().hex,
                boundary="b",
                before_first_byte=lambda call=call: check_fails_at(call),  # type: ignore[misc]
            )
        assert len(calls) == call
        assert len(fake.company.state.ledger.all()) == before


@pytest.mark.parametrize("size", [10, 5_000_000])
@pytest.mark.parametrize("wrong", [-1, 1])
async def test_a_file_of_another_length_is_never_stored(
    client: QboClient, fake: RunningFake, size: int, wrong: int
) -> None:
    before = len(fake.company.state.ledger.all())
    with pytest.raises(BodyFailedError) as raised:
        await upload(client, bytes(size + wrong), size=size)
    assert isinstance(raised.value.cause, BodyLengthError)
    assert raised.value.begun is (size > 10)
    await asyncio.sleep(0.05)
    assert len(fake.company.state.ledger.all()) == before


async def test_a_file_that_cannot_be_read_says_which_and_closes_all(client: QboClient) -> None:
    closed = []

    async def broken() -> AsyncIterator[bytes]:
        try:
            yield b"x" * 3_000_000
            raise PermissionError("gone")
        finally:
            closed.append("broken")

    with pytest.raises(BodyFailedError) as raised:
        await upload(client, b"a", b"", sources=[source(b"a" * 4_000_000), broken], size=4_000_000)
    assert (raised.value.index, raised.value.begun, closed) == (1, True, ["broken"])
    assert isinstance(raised.value.__cause__, PermissionError)


async def test_sources_are_closed_when_the_deadline_ends_the_sending(fake: RunningFake) -> None:
    client, closed = client_of(fake, deadline_s=2.0), []

    async def stuck() -> AsyncIterator[bytes]:
        try:
            yield b"x" * 3_000_000
            await asyncio.sleep(60)
        finally:
            closed.append("stuck")

    with pytest.raises(InDoubtError, match="no answer within"):
        await upload(client, b"", sources=[stuck], size=4_000_000)
    assert closed == ["stuck"]
    await client.aclose()


async def test_a_cancelled_upload_ends_its_connection(client: QboClient, fake: RunningFake) -> None:
    fake.company.plan.add([Rule("hang", endpoint="upload", times=1)])
    task = asyncio.create_task(upload(client, b"x"))
    while not fake.company.plan.counts.get("hang"):  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await upload(client, b"y")).items  # the lane is usable again


async def test_a_group_above_the_bound_is_not_begun(client: QboClient) -> None:
    with pytest.raises(ValueError, match="over 100 MB"):
        await upload(client, b"", size=100_000_000)


async def test_a_file_near_the_bound_streams_in_little_memory(fake: RunningFake) -> None:
    """All of the process, the fake included, which spools to disk: well below the file's size."""
    client, piece = client_of(fake, deadline_s=50), bytes(1 << 20)

    async def large() -> AsyncIterator[bytes]:
        for _ in range(95):
            yield piece

    await upload(client, b"warm")
    peak = Peak()
    (item,) = (await upload(client, b"", sources=[large], size=95 << 20)).items
    grown_bytes = peak.grown_bytes()
    assert item.attachable is not None
    assert item.attachable.size_bytes == 95 << 20
    assert grown_bytes < 16 << 20
    await client.aclose()


async def test_reads_are_tried_again_after_what_a_wait_may_heal(
    client: QboClient, fake: RunningFake
) -> None:
    for kind in ("401", "cut_answer"):
        fake.company.plan.add([Rule(kind, endpoint="query", times=1)])
    fake.company.plan.add([Rule("429", endpoint="query", times=1, retry_after="0")])
    assert await client.attachables_by_marker(["none such"]) == []
    assert client.requests_sent == {"query": 4}


async def test_all_pages_are_read(client: QboClient, fake: RunningFake) -> None:
    """Seeded so that a page is full, and so that it is not."""
    have = len([one async for one in client.all_attachables()])
    for number in range(7):
        fake.company.control.seed({"FileName": f"{number}.txt", "text": "x"}, fake.realm)
    rows = [row async for row in client.query_all("Attachable", page_size=3)]
    assert len({row["Id"] for row in rows}) == len(rows) == have + 7


async def test_an_attachable_is_seen_though_another_went_and_one_came_while_pages_were_read(
    client: QboClient, fake: RunningFake
) -> None:
    def add(number: int) -> None:
        fake.company.control.seed({"FileName": f"{number}.txt", "text": "x"}, fake.realm)

    for number in range(8):
        add(number)
    there = [one async for one in client.all_attachables()]
    seen: list[str] = []
    async for row in client.query_all("Attachable", page_size=4):
        seen.append(row["Id"])
        if len(seen) == 3:
            assert await client.delete_unchanged(there[0])
            add(99)
    assert len(seen) == len(set(seen))
    assert {one.id for one in there} <= set(seen)


@pytest.mark.parametrize("needs_type", [True, False])
@pytest.mark.parametrize("casing", ["pascal", "camel"])
async def test_the_mapping_table_is_read_in_either_of_its_forms(
    tmp_path: Path, casing: str, needs_type: bool
) -> None:
    table = tmp_path / "mapping.csv"
    rows = "".join(f"4-{n},BILL,Bill,{n}\n" for n in range(1, 4)) + "9-1,TIMETRACKING,Bill,9\n"
    table.write_text("legacy_txnid_norm,legacy_entity_type,qbo_entity_type,qbo_entity_id\n" + rows)
    behaviour = Behaviour(qbdt_casing=casing, qbdt_needs_type=needs_type)
    with running(FakeOptions(mapping=str(table), behaviour=behaviour)) as fake:
        client = client_of(fake, deadline_s=10)
        found = [row async for row in client.qbdt_mappings()]
        await client.aclose()
    ids = {row["QboEntityId"] for row in found}
    assert {"1", "2", "3"} <= ids
    assert ("9" in ids) is (not needs_type)
    assert len(found) == len(ids)
    assert all(row["QbdtExportableId"] for row in found)


@pytest.mark.parametrize("rows", [1000, 2, 0])
async def test_the_mapping_table_is_read_whole_however_it_is_paged(
    tmp_path: Path, rows: int
) -> None:
    """In pages as asked for, in shorter ones, or all at once whatever was asked."""
    table = tmp_path / "mapping.csv"
    lines = "".join(f"4-{n},BILL,Bill,{n}\n" for n in range(1, 6))
    table.write_text("legacy_txnid_norm,legacy_entity_type,qbo_entity_type,qbo_entity_id\n" + lines)
    behaviour = Behaviour(qbdt_page_rows=rows)
    with running(FakeOptions(mapping=str(table), behaviour=behaviour)) as fake:
        client = client_of(fake, deadline_s=10)
        found = [row["QboEntityId"] async for row in client.qbdt_mappings()]
        await client.aclose()
    assert sorted(found) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("state", ["empty", "absent"])
async def test_a_company_without_the_mapping_table_is_told_why(
    client: QboClient, fake: RunningFake, state: str
) -> None:
    old = fake.company.state.behaviour
    fake.company.state.behaviour = old.changed({"qbdt": state})
    try:
        with pytest.raises(NoMappingTableError, match="only if the app was integrated"):
            _ = [row async for row in client.qbdt_mappings()]
    finally:
        fake.company.state.behaviour = old


async def stored(client: QboClient, *data: bytes) -> list[Attachable]:
    items = (await upload(client, *data)).items
    return [item.attachable for item in items if item.attachable is not None]


async def test_an_attachable_that_was_changed_since_it_was_read_is_not_deleted(
    client: QboClient, fake: RunningFake
) -> None:
    (one,) = await stored(client, b"x")
    url = f"{fake.base_url}/v3/company/{fake.realm}/attachable"
    changed = {"Id": one.id, "SyncToken": "0", "FileName": "b.pdf"}
    async with httpx.AsyncClient(headers={"Authorization": "Bearer t"}) as other:
        assert (await other.post(url, json=changed)).status_code == 200
    assert not await client.delete_unchanged(one)
    assert await client.read_attachable(one.id) is not None


@pytest.mark.parametrize("code", ["610", "5010", "6000"])
async def test_whether_what_qbo_refuses_to_delete_is_gone_a_look_tells(
    client: QboClient, fake: RunningFake, code: str
) -> None:
    """A refusal may be the answer to a second try, or be about what the attachable hangs on."""
    gone, there = await stored(client, b"a", b"b")
    assert await client.delete_unchanged(gone)
    refused = Rule("refused", endpoint="attachable", code=code, times=1)
    fake.company.plan.add([refused])
    assert await client.delete_unchanged(gone)
    fake.company.plan.clear()
    fake.company.plan.add([refused])
    if code == "5010":
        assert not await client.delete_unchanged(there)
    else:
        with pytest.raises(RefusedError):
            await client.delete_unchanged(there)
    assert await client.read_attachable(there.id) is not None


async def test_a_look_that_is_refused_leaves_a_delete_in_doubt(
    client: QboClient, fake: RunningFake
) -> None:
    (one,) = await stored(client, b"a")
    fake.company.plan.add([Rule("500_after", endpoint="attachable", times=1)])
    fake.company.plan.add([Rule("refused", endpoint="attachable", code="400", times=2)])
    with pytest.raises(InDoubtError):
        await client.delete_unchanged(one)
    assert await client.read_attachable(one.id) is None


async def test_a_refusal_that_comes_in_half_is_no_word_on_what_is_to_be_deleted(
    client: QboClient, fake: RunningFake
) -> None:
    (gone,) = await stored(client, b"a")
    assert await client.delete_unchanged(gone)
    cut = Rule("truncated_200", endpoint="attachable", times=1)
    fake.company.plan.add([cut])
    assert await client.delete_unchanged(gone)
    fake.company.plan.clear()
    fake.company.plan.add([cut])
    assert await client.read_attachable(gone.id) is None


async def test_no_token_and_no_signature_reaches_a_log(
    client: QboClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (item,) = (await upload(client, b"secret bytes")).items
    assert item.attachable is not None
    _ = [piece async for piece in client.download(item.attachable.id)]
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("http")]
    assert any("HTTP Request" in line for line in lines)
    assert not any("Bearer t" in line or "X-Amz" in line or "?query" in line for line in lines)

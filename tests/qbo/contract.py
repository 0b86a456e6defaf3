"""What we take for granted of QBO, as tests: the same for the fake company and for Intuit's own.

Subclasses give the fixture `company`. Each test makes what it needs and deletes it again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from uuid import uuid4

import anyio
import pytest

from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.qbo.body import BodySource
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.delete_batches import DeleteBatchAnswer
from qbo_attach.qbo.faults import RefusedError
from qbo_attach.qbo.multipart import UploadPart
from qbo_attach.qbo.qbdt import NoMappingTableError
from qbo_attach.qbo.wire import UploadAnswer


@dataclass(frozen=True)
class Company:
    """A company to test against; `patience_s` is how long an upload may stay unseen."""

    client: QboClient
    ref: EntityRef
    patience_s: float = 5.0


def source(data: bytes, piece: int = 1 << 16) -> BodySource:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), piece):
            yield data[start : start + piece]

    return pieces


async def send(
    company: Company, files: dict[str, bytes], *, request_id: str = "", ref: EntityRef | None = None
) -> UploadAnswer:
    """Upload text files as one group, each with a marker made of its name."""
    parts = [
        UploadPart(name, "text/plain", len(data), (ref or company.ref,), marker_of(name))
        for name, data in files.items()
    ]
    return await company.client.upload(
        parts,
        [source(data) for data in files.values()],
        request_id=request_id or uuid4().hex,
        boundary=uuid4().hex,
        before_first_byte=lambda: None,
    )


def marker_of(name: str) -> str:
    return f"qbo-attach contract {name}"


async def seen(
    company: Company, ask: Callable[[], Awaitable[list[Attachable]]], count: int
) -> list[Attachable]:
    """What a query shows, once it shows that many."""
    with anyio.fail_after(company.patience_s):
        while len(found := await ask()) < count:  # noqa: ASYNC110  # it is another's company
            await anyio.sleep(0.5)
    return found


class QboContract:
    """Run by subclasses, against one company each."""

    async def test_the_company_has_a_name(self, company: Company) -> None:
        assert await company.client.company_name()

    async def test_a_group_is_stored_found_read_and_deleted(self, company: Company) -> None:
        unique = uuid4().hex[:8]
        files = {
            f"plain {unique}.txt": b"one",
            f"Quittung ä日本語 {unique}.txt": b"two\r\n--two\r\n",
            f"it's 100% (a;b) {unique}.txt": bytes(range(256)) * 300,
        }
        answer = await send(company, files)
        stored = {i.attachable.file_name: i.attachable for i in answer.items if i.attachable}
        assert set(stored) == set(files)
        for name, data in files.items():
            one = stored[name]
            assert (one.size_bytes, one.refs, one.tag) == (
                len(data),
                (company.ref,),
                marker_of(name),
            )
            assert b"".join([p async for p in company.client.download(one.id)]) == data
        ids = {one.id for one in stored.values()}
        by_marker = await seen(
            company,
            lambda: company.client.attachables_by_marker([marker_of(name) for name in files]),
            len(files),
        )
        assert {one.id for one in by_marker} == ids
        by_entity = await company.client.attachables_of(company.ref.type, [company.ref.id])
        assert ids <= {one.id for one in by_entity}
        for one in stored.values():
            assert await company.client.delete_unchanged(one)
            assert await company.client.read_attachable(one.id) is None
            assert await company.client.delete_unchanged(one)  # gone already is good

    async def test_a_batch_deletes_what_nobody_changed(self, company: Company) -> None:
        unique = uuid4().hex[:8]
        answer = await send(company, {f"batch {n} {unique}.txt": b"x" for n in range(3)})
        ones = [item.attachable for item in answer.items if item.attachable is not None]
        stale = replace(ones[0], sync_token="7")
        settled = await company.client.delete_unchanged_batch([stale, *ones[1:]])
        assert settled == DeleteBatchAnswer(
            frozenset(one.id for one in ones[1:]), frozenset({stale.id})
        )
        # Of what is gone already a batch says "not found", which alone proves nothing.
        assert await company.client.delete_unchanged_batch(ones) == DeleteBatchAnswer(
            frozenset({stale.id})
        )
        for one in ones:
            assert await company.client.read_attachable(one.id) is None

    async def test_an_entity_that_is_not_there_is_refused_with_a_code(
        self, company: Company
    ) -> None:
        name = f"nowhere {uuid4().hex[:8]}.txt"
        missing = EntityRef("NoSuchType", "999999999999")
        try:
            (item,) = (await send(company, {name: b"x"}, ref=missing)).items
        except RefusedError as error:
            fault = error.fault
        else:
            assert item.fault is not None
            fault = item.fault
        assert fault.code in {"6000", "6050", "610", "2500", "2010", "2020", "2030"}
        assert await company.client.attachables_by_marker([marker_of(name)]) == []

    async def test_a_query_for_what_is_not_known_is_refused(self, company: Company) -> None:
        with pytest.raises(RefusedError) as raised:
            await company.client.query("SELECT * FROM Custmoer")
        assert raised.value.fault.code == "4001"

    async def test_a_query_without_hits_has_no_rows(self, company: Company) -> None:
        assert await company.client.attachables_by_marker([uuid4().hex]) == []

    async def test_a_long_list_of_ids_is_answered(self, company: Company) -> None:
        markers = [uuid4().hex * 2 for _ in range(90)]
        assert await company.client.attachables_by_marker(markers) == []

    async def test_mappings_are_there_or_their_lack_is_explained(self, company: Company) -> None:
        try:
            async for row in company.client.qbdt_mappings():
                assert row["QboEntityId"]
                assert row["QbdtExportableId"]
                return
        except NoMappingTableError as error:
            assert "MAPPING_SOURCE" in str(error)  # noqa: PT017  # either is right

    async def test_clocks_are_compared(self, company: Company) -> None:
        await company.client.company_name()
        assert abs(company.client.clock_offset_s) < 600

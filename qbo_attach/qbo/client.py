"""What we ask of a QBO company: uploads, one attempt each, and reads, tried again where they may.

An upload is never sent twice here: whether and when it may be is decided where the run log is.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx

from qbo_attach.core.model import Attachable, Fault
from qbo_attach.core.ports import Clock
from qbo_attach.qbo import qbdt, wire
from qbo_attach.qbo.body import Body, BodySource
from qbo_attach.qbo.delete_batches import (
    DeleteBatchAnswer,
    batch_delete_request,
    read_batch_delete_answer,
)
from qbo_attach.qbo.envelopes import attachable_from_json, get, text_of
from qbo_attach.qbo.exchange import Exchange
from qbo_attach.qbo.faults import UNREADABLE, InDoubtError, RefusedError
from qbo_attach.qbo.multipart import MAX_REQUEST_BYTES, MarkerField, UploadPart, lay_out
from qbo_attach.qbo.pacing import Pacer
from qbo_attach.qbo.paging import rows_by_id, rows_of_short_pages
from qbo_attach.qbo.realm import Realm, TokenSource
from qbo_attach.qbo.wire import Request, UploadAnswer


class QboClient:
    """One realm of QuickBooks Online.

    Args:
        base_url: https address of the API; http is taken for this machine only.
        realm_id: the company.
        tokens: bearer tokens.
        pacer: shared by all that talks to this realm.
        clock: time, for deadlines and waits.
        transport: httpx's transport; None for the network.
        minor_version: of the API.
        deadline_s: seconds that a request may take in all.
        marker_field: where the idempotency key rides.
        verify: whether the server's certificate is checked.
        chance: numbers in [0, 1) for jitter.
    """

    def __init__(  # noqa: PLR0913  # all by name
        self,
        *,
        base_url: str,
        realm_id: str,
        tokens: TokenSource,
        pacer: Pacer,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        minor_version: int = wire.MINOR_VERSION,
        deadline_s: float = 120.0,
        marker_field: MarkerField = "tag",
        verify: bool = True,
        chance: Callable[[], float] = random.random,
    ) -> None:
        exchange = Exchange(
            base_url, clock, transport=transport, deadline_s=deadline_s, verify=verify
        )
        self._realm = Realm(exchange, tokens, pacer, clock, chance)
        self.realm_id = realm_id
        self._minor_version = minor_version
        self._marker_field: MarkerField = marker_field

    @property
    def requests_sent(self) -> dict[str, int]:
        """Requests that left, by kind: upload, query, read, delete, batch."""
        return dict(self._realm.requests_sent)

    @property
    def clock_offset_s(self) -> float:
        """QBO's clock minus ours, by the last `Date` header; a second is its grain."""
        return self._realm.clock_offset_s

    @property
    def wait_reason(self) -> str:
        """Why QBO last told us to wait, in its own words; "" if it never did."""
        return self._realm.wait_reason

    async def upload(
        self,
        parts: Sequence[UploadPart],
        bodies: Sequence[BodySource],
        *,
        request_id: str,
        boundary: str,
        before_first_byte: Callable[[], None],
    ) -> UploadAnswer:
        """Send a group once. A small group's bytes are read before its slot, large ones stream.

        Args:
            parts: the files, in order.
            bodies: for each part, opens its bytes; exactly `size_bytes` of them.
            request_id: QBO's `requestid`.
            boundary: 1 to 70 letters, digits, `-`, `_`, that occur in no file.
            before_first_byte: last check; called when the slot is there and again when the
                connection stands. What it raises comes out as it is, and nothing was sent.

        Raises:
            NotDoneError: surely without effect: no connection, 401 (the token was refreshed), or
                a throttle (the pacer was paused). `retry_after_s` tells the wait.
            InDoubtError: no or no readable answer, 5xx, 600.
            StopError: a person must act first.
            RefusedError: the request as a whole.
            BodyFailedError: a file could not be read; `begun` tells whether bytes had left.
        """
        layout = lay_out(parts, boundary, self._marker_field)
        if layout.content_length > MAX_REQUEST_BYTES:
            raise ValueError(f"the request has {layout.content_length} bytes, over 100 MB")
        request = wire.upload_request(self.realm_id, layout, request_id, self._minor_version)
        body = Body(layout, bodies, before_first_byte)
        await body.read_ahead()
        return await self._realm.ask(
            "upload", request, wire.read_upload_answer, body, before_first_byte
        )

    async def query(self, statement: str) -> list[dict[str, Any]]:
        """The rows of one page; reads are tried again where that may help.

        Raises:
            QboError: QBO refused, or every try failed.
        """
        words = statement.split()
        entity = words[[word.lower() for word in words].index("from") + 1]
        return list((await self._page(statement, entity)).rows)

    async def query_all(
        self,
        entity: str,
        where: str = "",
        page_size: int = wire.PAGE_ROWS,
        *,
        columns: str = "*",
        short_pages: bool = False,
    ) -> AsyncIterator[dict[str, Any]]:
        """All rows of an entity, page by page: by Id, each once whatever is deleted meanwhile.

        `short_pages`: in QBO's own order, for an entity whose paging is not documented.

        Raises:
            QboError: QBO refused, every try failed, or rows are deleted faster than they are read.
        """
        order = "" if short_pages else "Id"

        async def read(start: int) -> Sequence[dict[str, Any]]:
            statement = wire.select_page(
                entity, where, start=start, rows=page_size, order=order, columns=columns
            )
            return (await self._page(statement, entity)).rows

        async for row in rows_of_short_pages(read) if short_pages else rows_by_id(read, page_size):
            yield row

    async def entities_there(
        self, entity: str, ids: Sequence[str], *, named: bool
    ) -> dict[str, bool]:
        """Which of these ids of an entity type the company has, and whether each is active.

        All of the type are paged through if that takes fewer reads; what they did not show is then
        asked for by its id. `named`: the type is one of names (customers, items), which QBO leaves
        out when they are inactive unless they are asked for.

        Raises:
            QboError: QBO refused (4001: no such type can be queried), or every try failed.
        """
        columns = "Id, Active" if named else "Id"
        active_too = ["Active IN (true, false)"] if named else []
        wanted, found = set(ids), dict[str, bool]()

        async def look(*where: str) -> None:
            condition = " AND ".join([*where, *active_too])
            async for row in self.query_all(entity, condition, columns=columns):
                if (one := text_of(get(row, "Id"))) in wanted:
                    found[one] = get(row, "Active") is not False

        where = f" WHERE {active_too[0]}" if active_too else ""
        statement = f"SELECT count(*) FROM {entity}{where}"  # noqa: S608  # QBO's language, no values
        total = (await self._page(statement, "")).total
        if total is not None and total // wire.PAGE_ROWS + 1 < len(_chunks(sorted(wanted))):
            await look()
        for some in _chunks(sorted(wanted - found.keys())):
            await look(f"Id IN {wire.in_list(some)}")
        return found

    async def attachables_of(self, entity_type: str, ids: Sequence[str]) -> list[Attachable]:
        """The attachables that hang on any of these entities of one type."""
        kind = f"AttachableRef.EntityRef.Type = {wire.quoted(entity_type)}"
        return [
            attachable
            for some in _chunks(sorted(set(ids)))
            async for attachable in self._attachables(
                f"{kind} AND AttachableRef.EntityRef.value IN {wire.in_list(some)}"
            )
        ]

    async def attachables_by_marker(self, markers: Sequence[str]) -> list[Attachable]:
        """The attachables that carry one of these markers; none if markers are not sent."""
        if self._marker_field == "none":
            return []
        name = self._marker_field.capitalize()
        return [
            attachable
            for some in _chunks(sorted(set(markers)))
            async for attachable in self._attachables(f"{name} IN {wire.in_list(some)}")
        ]

    async def all_attachables(self) -> AsyncIterator[Attachable]:
        """Every attachable of the company, in pages of 1,000."""
        async for attachable in self._attachables(""):
            yield attachable

    async def attachables_since(self, created_at: str) -> list[Attachable]:
        """The attachables created at that time or later; the time as QBO writes it."""
        where = f"MetaData.CreateTime >= {wire.quoted(created_at)}"
        return [attachable async for attachable in self._attachables(where)]

    async def attachable_count(self) -> int:
        """How many attachables the company has.

        Raises:
            QboError: QBO refused, every try failed, or the answer has no count.
        """
        page = await self._page("SELECT count(*) FROM Attachable", "")
        if page.total is None:
            raise InDoubtError(Fault(UNREADABLE, "QBO did not say how many attachables it has"))
        return page.total

    async def read_attachable(self, attachable_id: str) -> Attachable | None:
        """One attachable as it is now; None if QBO has none of that id.

        Raises:
            QboError: QBO refused, did not answer, or showed another one.
        """
        request = self._get(f"attachable/{attachable_id}")
        try:
            found = await self._realm.read("read", request, wire.read_attachable_answer)
        except RefusedError as error:
            if error.fault.code == "610":
                return None
            raise
        if found.id != attachable_id:
            raise InDoubtError(
                Fault(UNREADABLE, f"asked for {attachable_id}, it showed {found.id}")
            )
        return found

    async def attachables_by_id(self, ids: Sequence[str]) -> list[Attachable]:
        """Those of these ids that the company has, in no order."""
        return [
            attachable
            for some in _chunks(sorted(set(ids)))
            async for attachable in self._attachables(f"Id IN {wire.in_list(some)}")
        ]

    async def delete_unchanged(self, attachable: Attachable) -> bool:
        """Delete an attachable as it was when it was read (`sync_token`).

        A delete whose answer was lost is asked for again, and a refusal may be due to that, or be
        about what the attachable hangs on: whether it is gone, a look tells, not the refusal.

        Returns:
            True: it is gone. False: somebody changed it since, and it is still there.

        Raises:
            RefusedError: QBO refused, and it is still there.
            InDoubtError, NotDoneError, StopError: every try failed, or the look did: it may be gone
                or not.
        """
        try:
            await self._delete(attachable)
        except RefusedError as error:
            try:
                if await self.read_attachable(attachable.id) is None:
                    return True
            except RefusedError as unseen:
                raise InDoubtError(unseen.fault) from error
            if error.fault.code == "5010":
                return False
            raise
        return True

    async def delete_unchanged_batch(
        self, attachables: Sequence[Attachable], before_sending: Callable[[], None] = lambda: None
    ) -> DeleteBatchAnswer:
        """Delete up to 30 attachables as they were when they were read, in one request.

        What the answer leaves open may be gone or not, and is to be deleted by itself.

        Args:
            attachables: 1 to 30.
            before_sending: last check, called when the slot is there. What it raises comes out as
                it is, and nothing was sent.

        Raises:
            NotDoneError, StopError, RefusedError: none of them was deleted, as far as a fault of
                the whole request can tell.
            InDoubtError: each of them may be gone or not.
        """
        request = batch_delete_request(self.realm_id, attachables, self._minor_version)
        return await self._realm.batch(
            request, lambda reply: read_batch_delete_answer(reply, attachables), before_sending
        )

    def download(self, attachable_id: str) -> AsyncIterator[bytes]:
        """The bytes of an attachable, in pieces, by its short-lived address; a cut is gone over.

        Raises:
            QboError: QBO refused, or the transfer was cut again and again.
        """
        request = wire.download_request(self.realm_id, attachable_id, self._minor_version)
        return self._realm.download(request)

    async def company_name(self) -> str:
        """The company's name: the shortest proof that address, realm and token fit."""
        request = self._get(f"companyinfo/{self.realm_id}")
        record = await self._realm.read("read", request, wire.checked)
        return text_of(get(get(record, "CompanyInfo"), "CompanyName"))

    async def qbdt_mappings(self) -> AsyncIterator[dict[str, str]]:
        """Intuit's own table from Desktop ids to QBO ids, page by page, type by type.

        Yields rows with QboEntityId, QbdtExportableId, QboEntityType and QbdtEntityType, whatever
        case QBO writes the names in.

        Raises:
            NoMappingTableError: the company has no such table, or an empty one.
            QboError: QBO refused, or every try failed.
        """
        entity = qbdt.ENTITY
        found = 0
        for kind in qbdt.DESKTOP_ENTITY_TYPES:
            where = f"qbdtEntityType = {wire.quoted(kind)}"
            try:
                async for row in self.query_all(entity, where, short_pages=True):
                    found += 1
                    yield qbdt.mapping_row(row)
            except RefusedError as error:
                if found == 0 and error.fault.code in {"4000", "4001"}:
                    raise qbdt.NoMappingTableError(str(error.fault)) from None
                raise
        async for row in self._unlisted_mappings(found):
            found += 1
            yield row
        if found == 0:
            raise qbdt.NoMappingTableError("it is empty")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._realm.exchange.aclose()

    async def _unlisted_mappings(self, found: int) -> AsyncIterator[dict[str, str]]:
        """Rows of types that our list lacks, where the count says that there are any.

        Whether QBO answers without a type is not documented, so that a refusal is no error here:
        all that is documented was read before.
        """
        try:
            page = await self._page(qbdt.COUNT, "")
            if (page.total or 0) <= found:
                return
            async for raw in self.query_all(qbdt.ENTITY, short_pages=True):
                row = qbdt.mapping_row(raw)
                if row["QbdtEntityType"].upper() not in qbdt.DESKTOP_ENTITY_TYPES:
                    yield row
        except RefusedError:
            return

    async def _attachables(self, where: str) -> AsyncIterator[Attachable]:
        async for row in self.query_all("Attachable", where):
            attachable = attachable_from_json(row)
            if attachable is not None:
                yield attachable

    async def _page(self, statement: str, entity: str) -> wire.QueryPage:
        request = wire.query_request(self.realm_id, statement, self._minor_version)
        return await self._realm.read("query", request, lambda r: wire.read_query_answer(r, entity))

    async def _delete(self, attachable: Attachable) -> None:
        request = wire.delete_request(self.realm_id, attachable, self._minor_version)
        await self._realm.read("delete", request, wire.checked)

    def _get(self, path: str) -> Request:
        return wire.get_request(self.realm_id, path, self._minor_version)


def _chunks(values: Sequence[str]) -> list[Sequence[str]]:
    step = wire.IDS_PER_QUERY
    return [values[start : start + step] for start in range(0, len(values), step)]

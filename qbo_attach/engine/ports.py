"""The doors of the engine: run log, company, sources. A simulation stands behind them as well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import Protocol

from qbo_attach.core.chain import GroupFile, Record
from qbo_attach.core.history import History
from qbo_attach.core.model import Attachable
from qbo_attach.qbo.body import BodySource
from qbo_attach.qbo.delete_batches import DeleteBatchAnswer
from qbo_attach.qbo.multipart import UploadPart
from qbo_attach.qbo.wire import UploadAnswer


class Log(Protocol):
    """The run log, held by this run; see `storage.runlog.RunLog`."""

    history: History
    predecessor_unproven_since: float | None

    async def append(self, records: Sequence[Record], *, release: bool = False) -> None:
        """Make records durable, then fold them into `history`."""

    async def append_snapshot(self) -> None:
        """Make the folded state durable, and release the lease."""


class Company(Protocol):
    """QBO; see `qbo.client.QboClient`."""

    @property
    def requests_sent(self) -> dict[str, int]:
        """Requests that left, by kind."""

    @property
    def clock_offset_s(self) -> float:
        """QBO's clock minus ours."""

    async def upload(
        self,
        parts: Sequence[UploadPart],
        bodies: Sequence[BodySource],
        *,
        request_id: str,
        boundary: str,
        before_first_byte: Callable[[], None],
    ) -> UploadAnswer:
        """Send a group once."""

    async def attachables_by_marker(self, markers: Sequence[str]) -> list[Attachable]:
        """What carries one of these markers."""

    async def attachables_of(self, entity_type: str, ids: Sequence[str]) -> list[Attachable]:
        """What hangs on one of these entities."""

    async def aclose(self) -> None:
        """Close all connections."""


class Holdings(Protocol):
    """What a company holds; see `qbo.client.QboClient`. All of it reads."""

    @property
    def clock_offset_s(self) -> float:
        """QBO's clock minus ours."""

    async def attachable_count(self) -> int:
        """How many attachables there are."""

    def all_attachables(self) -> AsyncIterator[Attachable]:
        """Every attachable, in pages of 1,000."""

    async def attachables_of(self, entity_type: str, ids: Sequence[str]) -> list[Attachable]:
        """What hangs on one of these entities: 40 ids a query."""

    async def attachables_since(self, created_at: str) -> list[Attachable]:
        """What was created at that time or later."""

    async def read_attachable(self, attachable_id: str) -> Attachable | None:
        """One attachable; None if it is gone."""

    def download(self, attachable_id: str) -> AsyncIterator[bytes]:
        """An attachable's bytes."""


class Inspected(Holdings, Protocol):
    """What a company holds, also by id; see `qbo.client.QboClient`."""

    @property
    def requests_sent(self) -> dict[str, int]:
        """Requests that left, by kind."""

    async def attachables_by_id(self, ids: Sequence[str]) -> list[Attachable]:
        """Those of these ids that are there: 40 ids a query."""


class Deletes(Inspected, Protocol):
    """A company in which something is deleted; see `qbo.client.QboClient`."""

    async def delete_unchanged(self, attachable: Attachable) -> bool:
        """Delete it as it was read: True, it is gone; False, somebody changed it since."""

    async def delete_unchanged_batch(
        self, attachables: Sequence[Attachable], before_sending: Callable[[], None]
    ) -> DeleteBatchAnswer:
        """Delete up to 30 as they were read; what the answer leaves open may be gone or not.

        What `before_sending` raises comes out as it is, and nothing was sent.
        """


class SourceState(Enum):
    """What a source is, seen against the intent that named it."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    MISSING = "missing"


class Sources(Protocol):
    """The files to send."""

    def pieces(self, file: GroupFile) -> AsyncIterator[bytes]:
        """Exactly the bytes of the file that was planned; raises SourceError for any other."""

    async def read_all(self, files: Sequence[GroupFile]) -> list[bytes | Exception]:
        """Small files whole, in order; the last may be what `pieces` raises for that file."""

    async def state(self, file: GroupFile) -> SourceState:
        """Whether the file is still the one that was planned, by size, time and etag."""

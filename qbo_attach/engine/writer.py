"""Records on their way into the run log, many in one segment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from qbo_attach.core.chain import Record
from qbo_attach.core.ports import Clock
from qbo_attach.engine.ports import Log

WRITE_EVERY_S = 10.0
"""Outcomes wait at most so long for their segment."""
RENEW_EVERY_S = 20.0
"""A run with nothing to write renews its lease so often: a third of the usual 60 s."""


class LogWriter:
    """Gathers records and appends them together.

    After a failed append nothing is taken any more: `on_failure` is told once, and every waiting
    or later `flush` raises the failure.
    """

    def __init__(
        self,
        log: Log,
        clock: Clock,
        *,
        on_failure: Callable[[Exception], None],
        renew_every_s: float = RENEW_EVERY_S,
    ) -> None:
        self._log = log
        self._clock = clock
        self._on_failure = on_failure
        self._renew_every_s = renew_every_s
        self._buffer: list[Record] = []
        self._turn = asyncio.Lock()
        self._written_at = clock.monotonic()
        self.failure: Exception | None = None

    def add(self, record: Record) -> None:
        """Take a record; it is durable after the next flush, at the latest in WRITE_EVERY_S."""
        self._buffer.append(record)

    async def flush(self) -> None:
        """Return when all that was added before is durable.

        Raises:
            LeaseLostError, StorageError, OSError: it is not, and nothing more will be.
        """
        async with self._turn:
            if self.failure is not None:
                raise self.failure
            if self._buffer:
                await self._append()

    async def keep(self) -> None:
        """Write what waits, and renew the lease, as time goes by. Ends by being cancelled."""
        while self.failure is None:
            await self._clock.sleep(WRITE_EVERY_S / 4)
            age_s = self._clock.monotonic() - self._written_at
            async with self._turn:
                due = age_s >= (WRITE_EVERY_S if self._buffer else self._renew_every_s)
                if due and self.failure is None:
                    try:
                        await self._append()
                    except Exception:  # noqa: BLE001 - kept in `failure`, and told by on_failure
                        return

    async def cancel(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Cancel tasks at a moment when none of them is amid an append."""
        async with self._turn:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _append(self) -> None:
        records, self._buffer = self._buffer, []
        try:
            await self._log.append(records)
        except Exception as error:
            self.failure = error
            self._on_failure(error)
            raise
        self._written_at = self._clock.monotonic()

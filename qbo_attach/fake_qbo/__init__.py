"""A QuickBooks Online company over HTTP, for rehearsals and tests. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from qbo_attach.fake_qbo.options import Behaviour, FakeOptions

if TYPE_CHECKING:
    from qbo_attach.fake_qbo.server import RunningFake

__all__ = ["Behaviour", "FakeOptions", "running", "serve"]


def serve(options: FakeOptions) -> None:
    """Serve a fake company until SIGTERM or SIGINT; see `server.serve`."""
    from qbo_attach.fake_qbo import server

    server.serve(options)


def running(
    options: FakeOptions | None = None, clock: Callable[[], float] | None = None
) -> AbstractContextManager[RunningFake]:
    """A fake company in a thread of this process; see `server.running`."""
    import time

    from qbo_attach.fake_qbo import server

    return server.running(options, clock or time.time)

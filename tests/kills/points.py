"""Named points in a run at which its process kills itself: around each write, each phase of a request.

They are put around functions of the product, in the process that is to die, before the command
line's `main` is called. A point that is passed for the n-th time ends the process by SIGKILL: no
handler runs, no buffer is written, no lock is released.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from qbo_attach.core.chain import Intent, RunEnded, RunStarted
from qbo_attach.engine import settling
from qbo_attach.engine.answers import Answers
from qbo_attach.engine.session import UploadSession
from qbo_attach.engine.settling import Settling
from qbo_attach.qbo.body import Body
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.exchange import Exchange
from qbo_attach.stages import whole
from qbo_attach.storage.disk import Disk
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import RunLog
from qbo_attach.storage.s3 import Bucket

_REACH_THE_SERVER_S = 0.02
"""So long what was just written gets to leave this process."""

Label = Callable[..., str]


class Points:
    """Counts passes by name, and dies at the chosen one.

    Args:
        name: of the point to die at; "" for none (a census).
        nth: at which pass, from 1.
    """

    def __init__(self, name: str = "", nth: int = 0) -> None:
        self.passes: Counter[str] = Counter()
        self._name = name
        self._nth = nth
        self._lock = threading.Lock()

    def reached(self, name: str) -> None:
        """This point is passed now."""
        with self._lock:
            self.passes[name] += 1
            if name == self._name and self.passes[name] == self._nth:
                die()


def die() -> None:
    """End this process by SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal ends all threads; nothing goes on meanwhile


def install(points: Points) -> None:
    """Put all points around the product's functions, in this process, for good."""
    for name in ("fsync", "link", "replace"):
        _around(points, os, name, f"disk.{name}")
    _around(points, Bucket, "_put", _put_label)
    _around(points, RunLog, "open", "log.open")
    _around(points, RunLog, "append", _append_label)
    _around(points, QboClient, "upload", "client.upload")
    _around(points, Exchange, "send", _send_label)
    _around(points, Answers, "answered", "answers.answered")
    _around(points, Answers, "failed", "answers.failed")
    _around(points, UploadSession, "record", "session.record")
    _around(points, UploadSession, "finish", "session.finish")
    _around(points, settling, "look", "settle.look")
    _around(points, Settling, "_settled", "settle.group")
    _around(points, whole, "run_report", "report")
    _torn_write(points)
    _sending(points)
    _tables(points)


def _around(points: Points, owner: Any, attribute: str, label: str | Label) -> None:
    """Pass `label:before` and `label:after` around a function, awaited or not."""
    original = getattr(owner, attribute)

    def named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return label if isinstance(label, str) else label(*args, **kwargs)

    if inspect.iscoroutinefunction(original):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            name = named(args, kwargs)
            points.reached(f"{name}:before")
            result = await original(*args, **kwargs)
            points.reached(f"{name}:after")
            return result

        setattr(owner, attribute, awaited)
        return

    def called(*args: Any, **kwargs: Any) -> Any:
        name = named(args, kwargs)
        points.reached(f"{name}:before")
        result = original(*args, **kwargs)
        points.reached(f"{name}:after")
        return result

    setattr(owner, attribute, called)


def _put_label(_bucket: Bucket, _path: str, _data: bytes, **condition: str) -> str:
    return "s3.create_once" if condition else "s3.put"


def _append_label(_log: RunLog, records: Any, **how: bool) -> str:
    if how.get("snapshot"):
        return "log.snapshot"
    kinds = {type(record) for record in records}
    for kind, word in ((RunStarted, "start"), (RunEnded, "end"), (Intent, "intents")):
        if kind in kinds:
            return f"log.{word}"
    return "log.outcomes"


def _send_label(_exchange: Exchange, _request: Any, _token: str, body: Any = None) -> str:
    return "wire.read" if body is None else "wire.upload"


def _torn_write(points: Points) -> None:
    """`disk.torn`: half of a file is written, and the process dies before it is made durable."""
    original: Callable[..., None] = Disk._made_durable

    def made_durable(disk: Disk, path: str, stream: Any) -> None:
        stream.flush()
        size = os.fstat(stream.fileno()).st_size
        if points.passes["disk.torn"] + 1 == points._nth and points._name == "disk.torn":
            os.truncate(stream.fileno(), size // 2)
        points.reached("disk.torn")
        original(disk, path, stream)

    Disk._made_durable = made_durable  # type: ignore[method-assign, assignment]


def _sending(points: Points) -> None:
    """`body.half`: half of a request's bytes are out; `body.whole`: all of them."""
    original: Callable[[Body], AsyncIterator[bytes]] = Body._run

    async def run(body: Body) -> AsyncIterator[bytes]:
        async with aclosing(original(body)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                middle = len(piece) // 2
                yield piece[:middle]
                await asyncio.sleep(_REACH_THE_SERVER_S)
                points.reached("body.half")
                yield piece[middle:]
        points.reached("body.whole")

    Body._run = run  # type: ignore[method-assign, assignment]


def _tables(points: Points) -> None:
    """`table.NAME:begun`, `:written`, `:there` around every table that is replaced whole."""
    original = Store.writing

    @contextmanager
    def writing(store: Store, path: str, *, private: bool = False) -> Iterator[Any]:
        name = "plan copy" if "/plan-" in path else path.rpartition("/")[2].partition(".")[0]
        with original(store, path, private=private) as stream:
            points.reached(f"table.{name}:begun")
            yield stream
            points.reached(f"table.{name}:written")
        points.reached(f"table.{name}:there")

    Store.writing = writing  # type: ignore[method-assign, assignment]

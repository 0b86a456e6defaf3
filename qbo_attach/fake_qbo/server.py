"""A fake company on a socket: as a process, or in a thread of a test."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from qbo_attach.fake_qbo.app import App
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.entities import Entities, read_mapping, read_records
from qbo_attach.fake_qbo.faults import rules_of_file
from qbo_attach.fake_qbo.journal import FileJournal, Journal, NoJournal, locked
from qbo_attach.fake_qbo.options import FakeOptions
from qbo_attach.fake_qbo.values import JSON
from qbo_attach.fake_qbo.vault import DiskVault

_ANY_TOKEN = "any-token"  # noqa: S105  # it stands for all tokens, and is none
_DRAIN_S = 0.5
_LONGEST_HEAD = 512 * 1024


class _Protocol(H11Protocol):
    """Lets the app reach the connection it serves."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does this only for sockets made with a protocol number; without it an answer in
        # two writes waits 40 ms for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """Uvicorn that ends at once when told, also from another thread, and exits with 0."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await super().startup(sockets)
        self._ready()

    async def main_loop(self) -> None:
        if self._stop is not None:
            await self._stop.wait()

    def stop(self) -> None:
        """End soon. From any thread or signal handler."""
        self.should_exit = True
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        for server in self.servers:
            server.close()
        tasks = set(self.server_state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_DRAIN_S)
            for task in late:
                task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old = {
            number: signal.signal(number, lambda *_: self.stop())
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def opened(options: FakeOptions, clock: Callable[[], float] = time.time) -> Iterator[FakeCompany]:
    """A company with its files, as the options say; without `state` they go away at the end.

    Raises:
        ValueError: an option, the mapping table or the file of faults cannot be used; says why.
    """
    behaviour = options.effective_behaviour()
    realms = options.realms()
    rules = rules_of_file(options.faults) if options.faults else []
    rows = read_mapping(options.mapping) if options.mapping else None
    records = read_records(options.entities) if options.entities else None
    with contextlib.ExitStack() as stack:
        journal: Journal = NoJournal()
        if options.state:
            folder = Path(options.state).expanduser()
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fake-qbo-")))
        try:
            if options.state:
                stack.enter_context(locked(folder))
            vault = DiskVault(folder / "bytes")
            if options.state:
                journal = FileJournal(folder / "journal.jsonl")
        except OSError as error:
            raise ValueError(
                f"{folder}: cannot be used as a state folder ({error.strerror}); choose another"
            ) from error
        company = FakeCompany(
            clock=clock,
            seed=options.seed,
            realms=realms,
            behaviour=behaviour,
            entities=Entities(rows, records),
            rules=rules,
            fail_rate=options.fail_rate,
            token=options.token,
            vault=vault,
            journal=journal,
        )
        stack.callback(company.close)
        yield company


def _bound(options: FakeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    except OSError as error:
        raise ValueError(
            f"{options.host}, port {options.port}: cannot be listened on ({error.strerror}); "
            "choose another port, or 0 for any free one"
        ) from error


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: Any) -> uvicorn.Config:  # noqa: ANN401  # uvicorn's own type for an app
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=120,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
    )


def serve(options: FakeOptions) -> None:
    """Serve a fake company until SIGTERM or SIGINT.

    Prints `listening on http://HOST:PORT` when it is ready, then the environment to use it.

    Raises:
        ValueError: an option cannot be used, or the port cannot be listened on; says why.
    """
    with opened(options) as company, _bound(options) as bound:
        address = _address(bound)
        token = options.token or _ANY_TOKEN
        lines = (
            f"listening on {address}",
            f"QBO_BASE_URL={address}",
            f"QBO_REALM_ID={options.realms()[0]}",
            f"QBO_ACCESS_TOKEN={token}",
        )

        def ready() -> None:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()

        server = _Server(_config(App(company, verbose=options.verbose)), ready)
        asyncio.run(server.serve(sockets=[bound]))


@dataclass(frozen=True, slots=True)
class RunningFake:
    """A fake company that is served. `base_url` has no slash at its end."""

    base_url: str
    company: FakeCompany
    realm: str

    def ledger(self) -> JSON:
        """What `/_fake/ledger` says."""
        return self.company.ledger()

    def content(self, attachable_id: str) -> bytes:
        """The stored bytes of an attachable. KeyError if there are none."""
        with self.company.lock:
            for one in self.company.state.ledger.all():
                if one.id == attachable_id:
                    return b"".join(self.company.state.vault.read(one.sha256))
        raise KeyError(attachable_id)


@contextlib.contextmanager
def running(
    options: FakeOptions | None = None, clock: Callable[[], float] = time.time
) -> Iterator[RunningFake]:
    """Serve a fake company in a thread of this process, on a free port unless one is named.

    Raises:
        ValueError: as `serve`.
    """
    options = options or FakeOptions()
    with opened(options, clock) as company, _bound(options) as bound:
        ready = threading.Event()
        server = _Server(_config(App(company, verbose=options.verbose)), ready.set)
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[bound])), name="fake-qbo", daemon=True
        )
        thread.start()
        if not ready.wait(10):
            raise RuntimeError("the fake company did not start within 10 s")
        try:
            yield RunningFake(_address(bound), company, options.realms()[0])
        finally:
            server.stop()
            thread.join(10)

"""Servers that misbehave: one that says nothing, and a proxy that loses and cuts answers."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and requests, and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@dataclass
class Proxy:
    """Forwards to an S3 server. `faults` are used up, each by the first request that it fits."""

    endpoint: str
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(method, fault); fault: `lose` the answer after the effect, `cut` the body, `halve` it and call
    that the whole, `refuse` (503), `deny` (403)."""
    seen: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_for(self, method: str) -> str:
        with self.lock:
            self.seen.append(method)
            for n, (wanted, fault) in enumerate(self.faults):
                if wanted == method:
                    del self.faults[n]
                    return fault
        return ""


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy before an S3 server, in threads."""
    host = urlsplit(upstream).netloc
    proxy = Proxy("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay quiet."""

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.fault_for(self.command)
            if fault in REFUSALS:
                status, code = REFUSALS[fault]
                self.answer(status, {}, f"<Error><Code>{code}</Code></Error>".encode())
                return
            connection = http.client.HTTPConnection(host)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            data = response.read()
            connection.close()
            if fault == "lose":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            kept = {k: v for k, v in response.getheaders() if k.lower() not in SKIPPED}
            if self.command == "HEAD":
                kept["Content-Length"] = response.getheader("Content-Length", "0")
            if fault == "halve":
                data = data[: len(data) // 2]
            self.answer(response.status, kept, data, cut=fault == "cut")

        def answer(
            self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False
        ) -> None:
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            if cut:
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


REFUSALS = {"refuse": (503, "SlowDown"), "deny": (403, "AccessDenied")}
SKIPPED = {"content-length", "transfer-encoding", "connection"}

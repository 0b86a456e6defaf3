"""A server far away that answers at once: it remembers what the server behind it answered.

remembering.py PORT TO_PORT DELAY_MS: every request waits DELAY_MS; one that was asked before, by
method, path and query, is then answered from memory. A second run of the same questions so costs
the server's machine nothing, as if it stood elsewhere.
"""

from __future__ import annotations

import asyncio
import sys

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_OK = 200
_HOP = frozenset({"connection", "content-length", "content-encoding", "transfer-encoding"})


class Memory:
    """An ASGI application before the server at `upstream`."""

    def __init__(self, upstream: str, delay_s: float) -> None:
        self._client = httpx.AsyncClient(base_url=upstream, timeout=120.0)
        self._delay_s = delay_s
        self._answers: dict[tuple[str, str], Response] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        await asyncio.sleep(self._delay_s)
        request = Request(scope, receive)
        path = scope["raw_path"].decode() + f"?{scope['query_string'].decode()}"
        asked = request.method, path
        answer = self._answers.get(asked) or await self._ask(request, path)
        if answer.status_code == _OK:
            self._answers[asked] = answer
        await answer(scope, receive, send)

    async def _ask(self, request: Request, path: str) -> Response:
        body = await request.body()
        # As they came, the host too: they are signed.
        answer = await self._client.request(
            request.method, path, content=body, headers=request.headers.raw
        )
        headers = {name: text for name, text in answer.headers.items() if name not in _HOP}
        return Response(answer.content, answer.status_code, headers)


def main() -> None:
    """Serve until the process is ended."""
    port, to_port, delay_ms = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    app = Memory(f"http://127.0.0.1:{to_port}", delay_ms / 1_000)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()

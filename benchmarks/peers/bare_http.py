# ruff: noqa: ASYNC230, PTH123
"""The floor: the same multipart bodies sent by a bare HTTP client, ten at a time, no log, no pace.

bare_http.py httpx|aiohttp BASE_URL REALM PLAN FILES_DIR HOW_MANY GROUP
"""

import asyncio
import csv
import json
import sys
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path

library, base, realm, plan, files, how_many, group = sys.argv[1:8]
URL = f"{base}/v3/company/{realm}/upload?minorversion=75"
HEADERS = {
    "Authorization": "Bearer any",
    "Accept": "application/json",
    "Content-Type": 'multipart/form-data; boundary="b0undary"',
}


def body(rows: list[dict[str, str]]) -> bytes:
    """One request of several files."""
    pieces = []
    for number, row in enumerate(rows):
        about = {
            "AttachableRef": [
                {"EntityRef": {"type": row["qbo_entity_type"], "value": row["qbo_entity_id"]}}
            ],
            "FileName": row["sent_file_name"],
            "ContentType": row["content_type"],
        }
        pieces += [
            f'--b0undary\r\nContent-Disposition: form-data; name="file_metadata_{number}"\r\n'
            f"Content-Type: application/json\r\n\r\n{json.dumps(about)}\r\n".encode(),
            f'--b0undary\r\nContent-Disposition: form-data; name="file_content_{number}"; '
            f'filename="f"\r\nContent-Type: {row["content_type"]}\r\n\r\n'.encode(),
            Path(files, row["file_path"]).read_bytes(),
            b"\r\n",
        ]
    return b"".join((*pieces, b"--b0undary--\r\n"))


async def all_sent(post: Callable[[bytes], Awaitable[int]]) -> None:
    """Ten senders share the rows."""
    with open(plan, encoding="utf-8", newline="") as stream:
        rows = list(islice(csv.DictReader(stream), int(how_many)))
    size = int(group)
    groups = iter([rows[at : at + size] for at in range(0, len(rows), size)])

    async def sender() -> None:
        for some in groups:
            if (status := await post(body(some))) != 200:
                raise SystemExit(f"HTTP {status}")

    await asyncio.gather(*(sender() for _ in range(10)))


async def main() -> None:
    """Send with the library that was named."""
    if library == "httpx":
        import httpx

        async with httpx.AsyncClient(timeout=60) as client:

            async def by_httpx(data: bytes) -> int:
                return (await client.post(URL, content=data, headers=HEADERS)).status_code

            await all_sent(by_httpx)
    else:
        import aiohttp

        async with aiohttp.ClientSession() as session:

            async def by_aiohttp(data: bytes) -> int:
                async with session.post(URL, data=data, headers=HEADERS) as answer:
                    await answer.read()
                    return answer.status

            await all_sent(by_aiohttp)


asyncio.run(main())

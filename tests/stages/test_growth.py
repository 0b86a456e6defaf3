"""What must not grow with a company faster than its files: listings, requests, reads, bytes."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ground import REALM, Company, Workspace, make_finished
from qbo_attach.core.chain import Facts
from qbo_attach.core.tables import VERIFICATION, InventoryRow, decode_table
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages import plan as plan_stage
from qbo_attach.stages import upload as upload_stage
from qbo_attach.stages.inventory import run_inventory
from qbo_attach.stages.mapping import run_mapping
from qbo_attach.stages.plan import run_plan
from qbo_attach.stages.verify import run_verify
from qbo_attach.stages.whole import run_all
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from qbo_attach.storage.latest_run import read_latest_run
from qbo_attach.storage.s3_listing import Entry, Page, list_entries

FILES = 140


def settings_of(workspace: Workspace, **given: str) -> Settings:
    env = {name.lower(): value for name, value in workspace.env(**given).items()}
    return load_settings(env, env_file=None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "company")
    Company(FILES).make_tree(made, size_bytes=20)
    return made


@pytest.fixture
def finished(workspace: Workspace) -> Workspace:
    """Every file is done, by the run log; nobody answers at its QBO."""
    for stage in (run_inventory, run_mapping, run_verify):
        stage(settings_of(workspace))
    assert make_finished(workspace) == FILES
    return workspace


def test_the_inventory_lists_each_folder_of_a_disk_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: Counter[str] = Counter()
    scandir = os.scandir

    def counted(path: Any) -> Any:
        listed[str(path).rstrip("/")] += 1
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    run_inventory(settings_of(workspace))
    monkeypatch.undo()
    folders = {str(path) for path in Path(workspace.files).rglob("*") if path.is_dir()}
    below = {path: times for path, times in listed.items() if path in folders}
    assert below == dict.fromkeys(folders, 1)


def test_the_inventory_asks_s3_for_hardly_more_pages_than_the_keys_fill() -> None:
    keys = [f"t/{c:02}/{n:05}" for c in range(40) for n in range(1_050)]
    asked: list[str] = []

    def page(prefix: str, delimiter: str, token: str) -> Future[Page]:
        asked.append(prefix)
        found = [key for key in keys if key.startswith(prefix)]
        folders: list[str] = []
        if delimiter:
            folders = sorted(
                {
                    prefix + k[len(prefix) :].split("/")[0] + "/"
                    for k in found
                    if "/" in k[len(prefix) :]
                }
            )
            found = [key for key in found if "/" not in key[len(prefix) :]]
        begin = int(token or 0)
        more = str(begin + 1_000) if begin + 1_000 < len(found) else ""
        future: Future[Page] = Future()
        entries = [Entry(key, 1, "", "", "") for key in found[begin : begin + 1_000]]
        future.set_result(Page(entries, folders, more))
        return future

    assert len(list(list_entries(page, ""))) == len(keys)
    # Two pages a client, the first look, and the two levels that were opened.
    assert len(asked) <= 2 * 40 + 3


def test_a_second_run_makes_no_request_and_sends_nothing(finished: Workspace) -> None:
    summary = run_all(settings_of(finished), lambda *_: None, lambda _: None)
    assert summary.outcomes == {"skipped_already_uploaded": FILES}
    assert summary.requests_sent == 0


def test_a_plan_on_finished_files_reads_none_of_them_and_their_table_once(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Any:
        pytest.fail("a file was to be read, or QBO to be asked")

    monkeypatch.setattr(plan_stage, "read_digests", refuse)
    monkeypatch.setattr(plan_stage, "check_existing", refuse)
    read: list[str] = []

    def noted(store: Store, name: str, row_type: Any) -> Any:
        read.append(name)
        return read_table(store, name, row_type)

    monkeypatch.setattr(plan_stage, "read_table", noted)
    run_plan(settings_of(finished))
    assert read == [VERIFICATION]
    made = (finished.log / "upload_plan.csv").read_text().splitlines()
    assert len(made) == FILES + 1


def test_an_upload_of_nothing_looks_at_no_row_and_keeps_the_very_plan(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(finished)
    plan = run_plan(settings).artifacts[0]

    def refuse(*_: object) -> Any:
        pytest.fail("a row of the plan was looked at")

    monkeypatch.setattr(upload_stage, "new_facts", refuse)
    monkeypatch.setattr(upload_stage, "outcome_so_far", refuse)
    with upload_stage.UploadRun(settings) as run:
        pass
    assert run.result.counts == {"skipped_already_uploaded": FILES}
    kept = finished.plan_of(run.run_id).read_bytes()
    assert hashlib.sha256(kept).hexdigest() == plan.sha256


def test_times_and_etags_that_the_run_log_lacks_are_learnt_once_though_nothing_is_sent(
    finished: Workspace,
) -> None:
    settings = settings_of(finished)
    verified = finished.log / "mapping_verification_log.csv"
    # A store without fractions and with etags: each file is what was sent, as far as they tell.
    verified.write_text(re.sub(r"\.\d{6}Z,,", "Z,etag,", verified.read_text()))
    learnt = []
    for _ in range(2):
        run_plan(settings)
        with upload_stage.UploadRun(settings) as run:
            pass
        assert run.result.counts == {"skipped_already_uploaded": FILES}
        segments = read_latest_run(Store(settings.log_dir), REALM)
        learnt.append(sum(isinstance(record, Facts) for _, some in segments for record in some))
    assert learnt == [FILES, 0]


def test_an_upload_of_nothing_after_another_run_looks_at_its_plan(finished: Workspace) -> None:
    settings = settings_of(finished)
    run_plan(settings)
    for _ in range(2):  # the second has segments that the plan has not seen
        with upload_stage.UploadRun(settings) as run:
            pass
        assert run.result.counts == {"skipped_already_uploaded": FILES}


@pytest.mark.parametrize("files", [10, FILES])
def test_a_first_run_asks_as_little_as_its_groups_need(tmp_path: Path, files: int) -> None:
    workspace = Workspace(tmp_path / "company")
    Company(files).make_tree(workspace, size_bytes=20)
    with running(FakeOptions()) as fake:
        given = {"QBO_BASE_URL": fake.base_url, "QBO_REQUESTS_PER_MIN": "60000"}
        run_all(settings_of(workspace, **given), lambda *_: None, lambda _: None)
        asked = fake.ledger()["requests"]
    assert asked["upload"] == -(-files // 10)
    # What QBO holds is read in pages of 1,000: before the plan and before sending; and its name.
    assert asked["query"] <= 2 * (files // 1_000 + 1) + 1


def test_a_table_is_read_once_from_beginning_to_end() -> None:
    class Counted(io.BytesIO):
        given = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.given += len(data)
            return data

    head = ",".join(InventoryRow._fields)
    row = ",".join(["x"] * len(InventoryRow._fields))
    data = "\n".join([head, *[row] * 5_000, ""]).encode()
    stream = Counted(data)
    assert sum(1 for _ in decode_table(InventoryRow, stream, "table")) == 5_000
    assert stream.given == len(data)

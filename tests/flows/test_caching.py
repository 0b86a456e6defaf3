"""Cached stages: exactly those whose inputs changed run again, and no cache decides what is sent."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.settings import PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK, temporary_settings

from flows import tasks
from flows.results import placed_at
from flows.tasks import NOT_INPUTS
from qbo_attach.core import tables
from qbo_attach.core.model import StageResult
from qbo_attach.sample import make_sample
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages.inventory import run_inventory
from qbo_attach.stages.mapping import run_mapping
from qbo_attach.stages.verify import run_verify
from qbo_attach.storage.files import Store
from tests.flows.case import Case, task_states

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(180)]

CACHED = ("mapping", "verify")


def ran(case: Case, **parameters: Any) -> set[str]:
    """Which of the cached stages a dry run computed."""
    state = case.run(dry_run=True, **parameters)
    assert state.is_completed(), state.message
    states = task_states(state)
    return {stage for stage in CACHED if states[stage] != "Cached"}


def results(case: Case) -> Path:
    return Path(case.log_dir) / "prefect-results"


def test_a_second_run_computes_no_cached_stage_and_sends_nothing(case: Case) -> None:
    first = case.run()
    assert first.name == "NeedsPerson", first.message
    requests = case.upload_requests()
    written = (Path(case.log_dir) / tables.VERIFICATION).stat().st_mtime_ns
    second = case.run()
    assert task_states(second) == {
        "inventory": "Completed",
        "mapping": "Cached",
        "verify": "Cached",
        "plan": "Completed",
        "report": "Completed",
    }
    assert "0 requests" in (second.message or "")
    assert (Path(case.log_dir) / tables.VERIFICATION).stat().st_mtime_ns == written
    assert case.upload_requests() == requests


def test_a_verify_that_asks_qbo_is_never_taken_from_the_cache(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_AGAINST_QBO", "true")
    assert ran(case) == {"mapping", "verify"}
    assert ran(case) == {"verify"}


def test_a_deleted_cache_sends_nothing_twice(case: Case) -> None:
    case.run()
    requests, made = case.upload_requests(), case.uploads()
    shutil.rmtree(results(case))
    state = case.run()
    assert {stage for stage in CACHED if task_states(state)[stage] == "Completed"} == set(CACHED)
    assert "0 requests" in (state.message or "")
    assert (case.upload_requests(), case.uploads()) == (requests, made)


def test_a_damaged_cache_is_as_good_as_none(case: Case) -> None:
    assert ran(case) == {"mapping", "verify"}
    for number, record in enumerate(sorted(results(case).iterdir())):
        record.write_bytes(b"{}" if number else record.read_bytes()[:200])
    assert ran(case) == {"mapping", "verify"}
    assert ran(case) == set()


@dataclass(frozen=True)
class Step:
    """A change to the inputs, and the stages that run again for it."""

    name: str
    change: Callable[[], object]
    again: set[str]


@pytest.mark.proof
def test_exactly_the_stages_whose_inputs_changed_run_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mapping = Path(case.sample.data_dir) / tables.MAPPING
    overrides = tmp_path / "overrides.csv"
    overrides.write_text(OVERRIDES)
    some = next(path for path in Path(case.sample.files_dir).rglob("*.pdf"))

    def set_to(name: str, value: str) -> Callable[[], object]:
        return lambda: monkeypatch.setenv(name, value)

    def raised(stage: str) -> Callable[[], object]:
        return lambda: monkeypatch.setitem(tasks.STAGE_VERSIONS, stage, 99)

    steps = [
        Step("the first run", lambda: None, {"mapping", "verify"}),
        Step("nothing", lambda: None, set()),
        Step("mapping edited", lambda: append(mapping, NEW_MAPPING), {"mapping", "verify"}),
        Step("file added", lambda: some.with_name("more.pdf").write_bytes(b"%PDF-1"), {"verify"}),
        Step("a rule of verify", set_to("EXCLUDE_EXTENSIONS", "zip"), {"verify"}),
        Step("the pace", set_to("QBO_REQUESTS_PER_MIN", "5900"), set()),
        Step("the token", set_to("QBO_ACCESS_TOKEN", "another"), set()),
        Step("decisions", set_to("MAPPING_OVERRIDES", str(overrides)), {"verify"}),
        Step("another decision", lambda: overrides.write_text(EXCLUDED), {"verify"}),
        Step("mapping's version", raised("mapping"), {"mapping"}),
        Step("verify's version", raised("verify"), {"verify"}),
        Step("everything as it is", lambda: None, set()),
    ]
    found = {}
    for step in steps:
        step.change()
        found[step.name] = ran(case)
    assert found == {step.name: step.again for step in steps}
    assert ran(case, refresh=True) == {"mapping", "verify"}
    other = make_sample(str(tmp_path / "other"), files=121, seed=2)
    assert ran(case, files_dir=other.files_dir, data_dir=other.data_dir) == {"mapping", "verify"}


NEW_MAPPING = b"AFFFF1,Bill,Bill,4711\n"
OVERRIDES = "legacy_id,entity_refs,reason,by_whom\nF11111,Bill:1,why,me\n"
EXCLUDED = "legacy_id,entity_refs,reason,by_whom\nF11111,exclude,why,me\n"


def append(path: Path, data: bytes) -> None:
    path.write_bytes(path.read_bytes() + data)


@pytest.mark.proof
def test_a_table_that_is_gone_or_altered_is_made_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    export = Path(case.sample.data_dir) / tables.MAPPING
    source = tmp_path / "mapping-source.csv"
    shutil.copy(export, source)
    monkeypatch.setenv("MAPPING_SOURCE", str(source))
    verification, skips = (
        Path(case.log_dir) / tables.VERIFICATION,
        Path(case.log_dir) / tables.SKIPS,
    )
    assert ran(case) == {"mapping", "verify"}
    whole = {path: path.read_bytes() for path in (export, verification, skips)}
    for alter in (
        verification.unlink,
        lambda: verification.write_bytes(whole[verification][:500]),
        lambda: append(skips, whole[skips].splitlines(keepends=True)[-1]),
        export.unlink,
    ):
        alter()
        case.run(dry_run=True)
        assert {path: path.read_bytes() for path in whole} == whole
    assert ran(case) == set()


class Watched(Settings):
    """Settings that remember which of them were read."""

    def __getattribute__(self, name: str) -> Any:
        if name in Settings.model_fields:
            READ.add(name)
        return super().__getattribute__(name)


READ: set[str] = set()


def _verify_only(settings: Settings) -> StageResult:
    return run_verify(settings)


@pytest.mark.parametrize(("stage", "run"), [("mapping", run_mapping), ("verify", _verify_only)])
def test_no_setting_that_a_stage_reads_is_left_out_of_its_key(
    tmp_path: Path, stage: str, run: Callable[[Settings], StageResult]
) -> None:
    sample = make_sample(str(tmp_path / "sample"), files=120)
    given: dict[str, Any] = {
        "files_dir": sample.files_dir,
        "data_dir": sample.data_dir,
        "log_dir": str(tmp_path / "log"),
        "legacy_clients": ("*",),
    }
    run_inventory(Settings(_env_file=None, **given))
    settings = Watched(_env_file=None, **given)
    READ.clear()
    run(settings)
    # Where the tables are is told by their digests; options are how to reach them, and secret.
    assert READ & (NOT_INPUTS[stage] - {"storage_options"}) == set()


def test_a_cached_result_holds_counts_and_digests_but_no_rows_bytes_or_secrets(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QBO_ACCESS_TOKEN", "token-that-nobody-may-see")
    monkeypatch.setenv("QBO_CLIENT_SECRET", "secret-that-nobody-may-see")
    case.run()
    store = placed_at(ResultStore(), str(results(case)), None)
    found = list(results(case).iterdir())
    assert len(found) == 2
    paths = [row.split(",")[4] for row in _lines(case)[1:20]]
    for path in found:
        data, result = path.read_bytes(), store.read(path.name).result
        assert isinstance(result, StageResult)
        plain = data + pickle.dumps(result)
        assert b"nobody-may-see" not in plain
        assert not [one for one in paths if one.encode() in plain]
        assert len(data) < 5_000


def _lines(case: Case) -> list[str]:
    return (Path(case.log_dir) / tables.VERIFICATION).read_text().splitlines()


@pytest.mark.proof
def test_results_lie_at_the_workspace_on_s3_and_are_found_there(
    case: Case, s3_moto: Any, use_s3: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(s3_moto)
    case.log_dir = f"{s3_moto.new_bucket()}/log"
    assert ran(case) == {"mapping", "verify"}
    kept = Store(case.log_dir).list_names("prefect-results")
    assert sorted(name.split("-v")[0] for name in kept) == ["mapping", "verify"]
    assert ran(case) == set()


def test_results_on_s3_are_reached_with_the_options_of_the_settings(
    prefect_server: None, s3_moto: Any
) -> None:
    bucket = s3_moto.new_bucket()
    store = placed_at(ResultStore(), f"{bucket}/results", s3_moto.options)
    store.write(obj={"rows": 3}, key="some-key")
    assert store.read("some-key").result == {"rows": 3}
    assert Store(bucket, s3_moto.options).list_names("results") == ["some-key"]


def test_a_storage_block_that_is_configured_wins_over_the_workspace(
    case: Case, tmp_path: Path
) -> None:
    own = tmp_path / "own-results"
    LocalFileSystem(basepath=str(own)).save("own-results", overwrite=True, _sync=True)  # type: ignore[call-arg]  # Prefect's switch
    with temporary_settings(
        {PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK: "local-file-system/own-results"}
    ):
        assert ran(case) == {"mapping", "verify"}
        assert ran(case) == set()
    assert len(list(own.iterdir())) == 2
    assert not results(case).exists()


def test_the_key_names_stage_and_version_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QBO_CLIENT_SECRET", "one")
    one = tasks.stage_key("verify", load_settings(env_file=None))
    monkeypatch.setenv("QBO_CLIENT_SECRET", "two")
    assert tasks.stage_key("verify", load_settings(env_file=None)) == one
    assert one.startswith(f"verify-v{tasks.STAGE_VERSIONS['verify']}-")

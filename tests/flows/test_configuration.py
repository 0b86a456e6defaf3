"""Where a run's settings come from: parameter, environment, block or Variable, .env, default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.variables import Variable

from deployments.setup import POOLS, main
from flows.configuration import SECRET_BLOCKS, VARIABLE, read_secret, read_variable, run_settings
from qbo_attach.core.errors import NotStartedError, SettingError

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(180)]


@pytest.fixture
def nothing_set(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """No Variable, no Secret block, no variable of the environment, an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("MIN_COVERAGE", "QBO_ACCESS_TOKEN", "QBO_CLIENT_SECRET", "LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    forget()
    yield
    forget()


def forget() -> None:
    with get_client(sync_client=True) as client:
        if client.read_variable_by_name(VARIABLE):
            client.delete_variable_by_name(VARIABLE)
        for block in SECRET_BLOCKS.values():
            try:
                found = client.read_block_document_by_name(block, "secret")
            except ObjectNotFound:
                continue
            client.delete_block_document(found.id)


def keep(**values: object) -> None:
    Variable.set(VARIABLE, values, overwrite=True)


def test_each_place_wins_over_those_below_it(
    nothing_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [run_settings({}).min_coverage]
    Path(".env").write_text("MIN_COVERAGE=0.2\n")
    found.append(run_settings({}).min_coverage)
    keep(min_coverage=0.3)
    found.append(run_settings({}).min_coverage)
    monkeypatch.setenv("MIN_COVERAGE", "0.4")
    found.append(run_settings({}).min_coverage)
    found.append(run_settings({"min_coverage": 0.5}).min_coverage)
    assert found == [0.9, 0.2, 0.3, 0.4, 0.5]


def test_a_secret_comes_from_the_environment_then_from_its_block_then_from_dotenv(
    nothing_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> str:
        return run_settings({}).qbo_access_token.get_secret_value()

    assert found() == ""
    Path(".env").write_text("QBO_ACCESS_TOKEN=of-dotenv\n")
    assert found() == "of-dotenv"
    Secret(value="of-block").save(SECRET_BLOCKS["qbo_access_token"], _sync=True)  # type: ignore[call-arg]  # Prefect's switch
    assert found() == "of-block"
    monkeypatch.setenv("QBO_ACCESS_TOKEN", "of-environment")
    assert found() == "of-environment"


def test_a_deployed_run_takes_its_folders_from_the_variable_and_refuses_none_or_relative_ones(
    nothing_set: None,
) -> None:
    with pytest.raises(NotStartedError, match=r"FILES_DIR is not set.*parameter files_dir"):
        run_settings({}, deployed=True)
    keep(files_dir="/srv/files", data_dir="/srv/data", log_dir="log")
    with pytest.raises(SettingError, match="LOG_DIR=log: a deployed run needs an absolute path"):
        run_settings({}, deployed=True)
    settings = run_settings({"log_dir": "s3://bucket/log"}, deployed=True)
    assert (settings.files_dir, settings.log_dir) == ("/srv/files", "s3://bucket/log")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"min_covrage": 1}, "min_covrage: is no setting; there are: data_dir, files_dir"),
        ({"qbo_client_secret": "x"}, r"=\*\*\*: is shown in clear there; keep it in the Secret"),
        ({"min_coverage": 7}, "MIN_COVERAGE=7"),
        (["min_coverage"], "must be a JSON object"),
    ],
)
def test_a_variable_that_no_run_could_use_is_refused(
    nothing_set: None, value: object, sentence: str
) -> None:
    Variable.set(VARIABLE, value, overwrite=True)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(SettingError, match=sentence):
        run_settings({})


def test_the_set_up_may_be_repeated_and_keeps_what_people_changed(
    nothing_set: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    assert "not made: QBO_CLIENT_SECRET is not set" in capsys.readouterr().out
    monkeypatch.setenv("QBO_CLIENT_SECRET", "the secret")
    assert main(["--set", "min_coverage=0.95", "--set", "legacy_clients=*"]) == 0
    first = state_of_server()
    assert read_variable() == {"min_coverage": "0.95", "legacy_clients": "*"}
    assert read_secret("qbo-client-secret") == "the secret"
    monkeypatch.delenv("QBO_CLIENT_SECRET")
    assert main([]) == 0
    assert state_of_server() == first
    assert read_secret("qbo-client-secret") == "the secret"
    assert main(["--set", "legacy_clients="]) == 0
    assert read_variable() == {"min_coverage": "0.95"}
    assert "the secret" not in capsys.readouterr().out


def state_of_server() -> tuple[list[tuple[str, str]], list[tuple[str, str, bool]]]:
    """Pools with their types; automations by name, id and whether they are on."""
    with get_client(sync_client=True) as client:
        pools = [(pool.name, pool.type) for pool in client.read_work_pools()]
        found = client.read_automations()
    return sorted(p for p in pools if p[0] in POOLS), [
        (a.name, str(a.id), a.enabled) for a in found
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "min_coverage"], "write NAME=VALUE"),
        (["--set", "min_coverage=7"], "MIN_COVERAGE=7"),
        (["--set", "qbo_client_secret=x"], "Secret block qbo-client-secret"),
        (["--notify", "slack-webhook/nobody"], "there is no such block"),
    ],
)
def test_the_set_up_says_in_a_sentence_what_it_cannot_do(
    nothing_set: None,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_no_secret_is_a_parameter_or_stands_in_prefect_yaml() -> None:
    root = Path(__file__).resolve().parents[2]
    text = (root / "prefect.yaml").read_text()
    assert "prefect.blocks.secret" not in text
    for name in SECRET_BLOCKS:
        assert name not in text.lower()

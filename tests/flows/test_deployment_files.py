"""prefect.yaml, server.env and the Dockerfile, read as the tools read them."""

from __future__ import annotations

import re
import shlex
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from prefect.flows import Flow
from prefect.settings import Settings as PrefectSettings
from prefect.utilities.callables import parameter_schema

from deployments.automations import SILENT_S
from deployments.setup import POOLS
from flows.configuration import SECRET_BLOCKS
from flows.migrate import migrate
from flows.portfolio import portfolio
from flows.reconcile import reconcile

ROOT = Path(__file__).resolve().parents[2]
PLAN: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS: dict[str, dict[str, Any]] = {d["name"]: d for d in PLAN["deployments"]}


def test_there_are_four_deployments_in_pools_that_the_set_up_makes() -> None:
    assert set(DEPLOYMENTS) == {"local", "s3", "company", "default"}
    assert {d["work_pool"]["name"] for d in DEPLOYMENTS.values()} == set(POOLS)
    assert DEPLOYMENTS["default"]["work_pool"]["name"] != DEPLOYMENTS["local"]["work_pool"]["name"]


@pytest.mark.parametrize("name", sorted(DEPLOYMENTS))
def test_a_deployment_is_described_tagged_off_schedule_portable_and_without_secrets(
    name: str,
) -> None:
    deployment = DEPLOYMENTS[name]
    module, _, function = deployment["entrypoint"].rpartition(".")
    assert isinstance(getattr(import_module(module), function), Flow)
    assert deployment["description"]
    assert "qbo-attach" in deployment["tags"]
    assert [schedule["active"] for schedule in deployment["schedules"]] == [False]
    assert "concurrency_limit" not in deployment  # it would serialise a portfolio
    assert PLAN["pull"] == []  # else the deploying machine's folder would be written down
    assert str(ROOT) not in str(deployment)
    given = deployment["work_pool"]["job_variables"]["env"]
    assert not {n.upper() for n in SECRET_BLOCKS} & set(given)
    assert given["DO_NOT_TRACK"] == "1"


@pytest.mark.parametrize("flow", [migrate, reconcile, portfolio])
def test_every_parameter_is_flat_and_has_help_and_a_default_and_none_is_secret(
    flow: Flow[..., Any],
) -> None:
    schema = parameter_schema(flow.fn).model_dump()
    needed = schema["required"]
    for name, field in schema["properties"].items():
        assert field["type"] in ("string", "boolean", "integer"), name
        assert len(field["description"]) > 10, name
        assert name in needed or "default" in field, name
        assert name not in SECRET_BLOCKS
    assert needed == (["companies"] if flow is portfolio else [])


def test_parameters_are_checked_before_a_run_starts() -> None:
    properties = parameter_schema(migrate.fn).model_dump()["properties"]
    assert properties["realm_id"]["pattern"] == "^[0-9]*$"
    assert parameter_schema(portfolio.fn).model_dump()["properties"]["at_once"]["minimum"] == 1


EFFECTS: dict[str, tuple[str, Any]] = {
    "API_URL": ("api.url", "http://127.0.0.1:4200/api"),
    "SERVER_API_HOST": ("server.api.host", "127.0.0.1"),
    "SERVER_API_PORT": ("server.api.port", 4200),
    "SERVER_ANALYTICS_ENABLED": ("server.analytics_enabled", False),
    "SERVER_UI_SHOW_PROMOTIONAL_CONTENT": ("server.ui.show_promotional_content", False),
    "SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": (
        "server.services.task_run_recorder.batch_size",
        200,
    ),
    "SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": (
        "server.services.task_run_recorder.read_batch_size",
        200,
    ),
    "SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": (
        "server.services.task_run_recorder.flush_interval",
        1,
    ),
    "SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": (
        "server.services.event_persister.batch_size",
        500,
    ),
    "SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": (
        "server.services.event_persister.read_batch_size",
        200,
    ),
    "SERVER_CONCURRENCY_LEASE_STORAGE": (
        "server.concurrency.lease_storage",
        "prefect.server.concurrency.lease_storage.filesystem",
    ),
    "FLOWS_HEARTBEAT_FREQUENCY": ("flows.heartbeat_frequency", 30),
    "SERVER_SERVICES_DB_VACUUM_ENABLED": (
        "server.services.db_vacuum.enabled",
        {"events", "flow_runs"},
    ),
    "WORKER_QUERY_SECONDS": ("worker.query_seconds", 2),
}


def test_every_line_of_the_server_environment_has_its_effect_on_prefect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = dotenv_values(ROOT / "deployments" / "server.env")
    for name, value in given.items():
        monkeypatch.setenv(name, value or "")
    assert given["DO_NOT_TRACK"] == "1"
    assert {name for name in given if name != "DO_NOT_TRACK"} == {f"PREFECT_{n}" for n in EFFECTS}
    settings = PrefectSettings()
    for place, value in EFFECTS.values():
        assert reduce(getattr, place.split("."), settings) == value, place


def test_silence_is_three_heartbeats_long() -> None:
    assert 3 * EFFECTS["FLOWS_HEARTBEAT_FREQUENCY"][1] == SILENT_S


def docker_lines() -> list[tuple[str, list[str]]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], shlex.split(line)[1:]) for line in lines]


def test_the_image_takes_only_files_that_are_there_and_that_the_context_lets_through() -> None:
    ignored = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert ignored[0] == "*"
    let_in = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    copied = [
        word.rstrip("/") for kind, words in docker_lines() if kind == "COPY" for word in words[:-1]
    ]
    copied = [word for word in copied if not word.startswith("--")]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source in let_in, source


def test_the_image_runs_as_nobody_special_holds_no_secret_and_sends_nothing_home() -> None:
    lines = docker_lines()
    users = [words for kind, words in lines if kind == "USER"]
    assert users
    assert users[-1] not in (["root"], ["0"])
    environment = " ".join(
        word for kind, words in lines if kind in ("ENV", "ARG") for word in words
    )
    assert "DO_NOT_TRACK=1" in environment
    assert not [name for name in SECRET_BLOCKS if name.upper() in environment]

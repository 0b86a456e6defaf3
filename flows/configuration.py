"""Settings of a flow run, from all the places where a user of Prefect may keep them.

First that has a value: parameter of the run, environment of the worker (with the job variables'
`env`), Secret block or the Variable `qbo_attach`, `.env` in the working directory, default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from qbo_attach.core.errors import NotStartedError, SettingError
from qbo_attach.settings import Settings, as_written, load_settings, require_absolute

VARIABLE = "qbo_attach"
"""A Prefect Variable: a JSON object of settings by name, in small letters."""

SECRET_BLOCKS = {
    "qbo_access_token": "qbo-access-token",
    "qbo_client_secret": "qbo-client-secret",
}
"""Settings that are secret, and the Secret block of each."""

NAME_CHARACTERS, REALM_CHARACTERS, URL_CHARACTERS, EXPECTED_CHARACTERS = 100, 30, 2_000, 500
"""How long the texts may be that a run is given; a portfolio's list is checked for that first."""

_FOLDERS = ("files_dir", "data_dir", "log_dir")


def run_settings(given: Mapping[str, Any], *, deployed: bool = False) -> Settings:
    """The settings of a flow run.

    Args:
        given: the run's parameters by the settings' names.
        deployed: the run's working directory is a temporary folder, so that every folder must be
            set, and absolute.

    Raises:
        SettingError: a value is refused; names the variable, the value and what is allowed.
        NotStartedError: a folder is not set.
    """
    kept = {**read_variable(), **dict(_secrets())}
    if deployed:
        _require_folders({name: _first(name, given, kept) for name in _FOLDERS})
    return load_settings(given, fallback=kept)


def _first(name: str, given: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    return str(given.get(name) or as_written(name) or kept.get(name) or "")


def _require_folders(urls: Mapping[str, str]) -> None:
    for name, url in urls.items():
        if not url:
            raise NotStartedError(
                f"{name.upper()} is not set: give the parameter {name}, or set it in the worker's "
                f"environment or in the Variable {VARIABLE}"
            )
    require_absolute({name.upper(): url for name, url in urls.items()})


def read_variable() -> dict[str, Any]:
    """What the Variable `qbo_attach` sets; {} where there is none.

    Raises:
        SettingError: it is no JSON object, has a name that is no setting, or holds a secret.
    """
    with get_client(sync_client=True) as client:
        variable = client.read_variable_by_name(VARIABLE)
    if variable is None:
        return {}
    value: object = variable.value
    if not isinstance(value, dict):
        raise SettingError(
            f"Variable {VARIABLE}", value, 'must be a JSON object, as {"min_coverage": 0.95}'
        )
    check_names(value)
    return value


def check_names(values: Mapping[str, Any]) -> None:
    """See that these may stand in the Variable.

    Raises:
        SettingError: a name is no setting, or is a secret.
    """
    for name in values:
        if name in SECRET_BLOCKS:
            raise SettingError(
                f"Variable {VARIABLE}, {name}",
                "***",
                f"is shown in clear there; keep it in the Secret block {SECRET_BLOCKS[name]}",
            )
        if name not in Settings.model_fields:
            known = ", ".join(n for n in Settings.model_fields if n not in SECRET_BLOCKS)
            raise SettingError(f"Variable {VARIABLE}", name, f"is no setting; there are: {known}")


def _secrets() -> Iterator[tuple[str, str]]:
    """Secrets that the environment does not have, from their blocks."""
    for name, block in SECRET_BLOCKS.items():
        if not as_written(name):
            value = read_secret(block)
            if value:
                yield name, value


def read_secret(block: str) -> str:
    """The text of a Secret block, "" where there is none."""
    try:
        with get_client(sync_client=True) as client:
            found = client.read_block_document_by_name(block, "secret", include_secrets=True)
    except ObjectNotFound:
        return ""
    return str(found.data.get("value", ""))

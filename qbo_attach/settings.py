"""Settings: the only reader of the environment and of `.env`.

Order, first that has a value: parameter or flag, environment, `fallback` (Prefect Variables, given
by the flow), `.env` in the working directory, default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from qbo_attach.core.errors import SettingError
from qbo_attach.core.masking import masked_options, masked_url
from qbo_attach.storage.files import absolute_url, archive_of, is_absolute

PRODUCTION_URL = "https://quickbooks.api.intuit.com"
SANDBOX_URL = "https://sandbox-quickbooks.api.intuit.com"

_ALIKE = 0.85
"""How alike two names are, of 1, when one may be the other mistyped."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (p.strip() for p in value.split(",")) if part)
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A comma-separated list."""


class Settings(BaseSettings):
    """Everything that can be set; the field names in upper case are the variables' names."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    data_dir: str = Field("data", description="folder of the inventory and the mapping (URL)")
    files_dir: str = Field("files", description="the legacy tree: the Attach folder or its parent")
    log_dir: str = Field("log", description="folder of logs and run log; belongs to one realm")
    storage_options: dict[str, Any] = Field(
        default_factory=dict, description="fsspec options for the three folders, as JSON"
    )

    legacy_layout: str = Field(
        "Attach/{client}/{entity_type}/{legacy_id}/{file_name}",
        description="how the tree is laid out",
    )
    legacy_clients: Names = Field(
        (), description="clients of one company file whose files go to this realm, or *"
    )
    legacy_id_prefix: str = Field(
        "80", description="dropped once from raw transaction folder names; none: nothing is"
    )
    legacy_list_prefix: str = Field(
        "", description="the same for list folder names; empty or none: nothing is"
    )
    include_entity_types: Names = Field((), description="only these entity types; empty: all")
    exclude_clients: Names = Field((), description="leave out these clients")
    exclude_extensions: Names = Field((), description="leave out files with these extensions")
    exclude_names: Names = Field((), description="leave out files whose name fits a pattern")
    exclude_smaller_than_bytes: int = Field(0, ge=0, description="leave out smaller files")
    exclude_larger_than_bytes: int = Field(0, ge=0, description="leave out larger files; 0: none")
    allow_shrink: bool = Field(
        default=False, description="accept an inventory less than half as large as the last one"
    )

    mapping_source: str = Field(
        "",
        description="URL of a mapping table, qbo or match; empty: DATA_DIR/mapping_export.csv",
    )
    desktop_export: Names = Field(
        (), description="URLs of tables of Desktop's transactions and lists, for match"
    )
    desktop_dates: Literal["iso", "mdy", "dmy"] = Field(
        "iso", description="order of the dates in DESKTOP_EXPORT: 2024-03-31, 3/31/2024, 31/3/2024"
    )
    desktop_decimal: Literal["auto", "point", "comma"] = Field(
        "auto", description="decimal sign in DESKTOP_EXPORT; auto: the one its amounts prove"
    )
    desktop_columns_table: str = Field("", description="URL of an edited copy of our column names")
    match_types_table: str = Field(
        "", description="URL of an edited copy of what Desktop types become in QBO"
    )
    match_known: str = Field(
        "qbo", description="a part of QbdtEntityIdMapping: qbo asks for it, none, or a table's URL"
    )
    match_tiers_off: Names = Field((), description="tiers of matching that are off")
    match_max_error: float = Field(
        0.0, ge=0, le=1, description="share of wrong pairs above which a tier of matching is off"
    )
    match_read_anew: bool = Field(
        default=False, description="read QBO's entities again, though DATA_DIR has them"
    )
    mapping_overrides: str = Field("", description="URL of a table of decisions, applied last")
    entity_types_table: str = Field("", description="URL of an edited copy of our table of types")
    file_types_table: str = Field("", description="URL of an edited copy of Intuit's file types")
    verify_against_qbo: bool = Field(
        default=False, description="ask QBO whether it has the entities that the mapping names"
    )
    min_coverage: float = Field(0.90, ge=0, le=1, description="upload starts at this share or more")
    accept_coverage: bool = Field(default=False, description="upload below MIN_COVERAGE")

    qbo_environment: Literal["sandbox", "production"] = Field(
        "sandbox", description="which of Intuit's addresses"
    )
    qbo_base_url: str = Field("", description="another address; http only to this machine")
    qbo_realm_id: str = Field("", pattern=r"^[0-9]*$", description="the company's id, digits")
    expect_company_name: str = Field(
        "", description="the company's name in QBO: nothing is sent to one of another name"
    )
    qbo_access_token: SecretStr = Field(
        SecretStr(""), description="an access token, valid for an hour"
    )
    qbo_client_id: str = Field("", description="of the app at Intuit")
    qbo_client_secret: SecretStr = Field(SecretStr(""), description="of the app at Intuit")
    qbo_tokens: str = Field(
        "~/.config/qbo-attach/tokens.json", description="where `login` keeps tokens, private"
    )
    qbo_requests_per_min: int = Field(
        490, ge=1, le=1_000_000, description="pace of all requests; Intuit allows 500"
    )
    qbo_settle_s: float = Field(
        120.0, ge=0, description="wait before a look at QBO for a group in doubt counts"
    )
    qbo_marker: Literal["tag", "note", "none"] = Field(
        "tag", description="field of the attachable that carries our marker"
    )
    files_per_request: int | Literal["auto"] = Field(
        10, description="files in one upload request; auto climbs as answers allow"
    )
    existing: Literal["check", "off"] = Field(
        "check", description="check: read what QBO already has before sending; off: do not"
    )
    vanished: Literal["stop", "keep", "send"] = Field(
        "stop",
        description="attachments that are done and gone from QBO: stop if they are over 1 %, keep "
        "them as done, or send them again",
    )
    skip_refused: bool = Field(
        default=False, description="leave alone what QBO refused in an earlier run"
    )
    batch_size: int = Field(500, ge=1, le=5_000, description="attachments of one upload task")
    drain_s: float = Field(
        20.0, ge=0, description="how long a stopped run waits for requests in flight"
    )
    lease_s: float = Field(
        60.0, ge=1, description="how long a silent run keeps its realm from another host"
    )

    @field_validator("data_dir", "files_dir", "log_dir", mode="after")
    @classmethod
    def _absolute(cls, url: str) -> str:
        return absolute_url(url)

    @field_validator("data_dir", "log_dir", mode="after")
    @classmethod
    def _writable(cls, url: str) -> str:
        if archive_of(url) is not None:
            raise ValueError("a zip archive is only read; FILES_DIR alone may be one")
        return url

    @field_validator(
        "mapping_overrides",
        "entity_types_table",
        "file_types_table",
        "desktop_columns_table",
        "match_types_table",
        mode="after",
    )
    @classmethod
    def _absolute_if_given(cls, url: str) -> str:
        return absolute_url(url) if url else ""

    @field_validator("mapping_source", mode="after")
    @classmethod
    def _absolute_or_word(cls, url: str) -> str:
        return absolute_url(url) if url and url not in MAPPING_WORDS else url

    @field_validator("desktop_export", mode="after")
    @classmethod
    def _all_absolute(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(absolute_url(url) for url in urls)

    @field_validator("match_known", mode="after")
    @classmethod
    def _absolute_or_known_word(cls, url: str) -> str:
        return url if url in KNOWN_WORDS else absolute_url(url)

    @field_validator("qbo_base_url", mode="after")
    @classmethod
    def _private(cls, url: str) -> str:
        url = url.rstrip("/")
        host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        bare = host if host.endswith("]") else host.rpartition(":")[0] or host
        if url.startswith("http://") and bare not in LOCAL_HOSTS:
            raise ValueError("plain http is allowed to this machine only; use https")
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// (or http:// for this machine)")
        return url

    @field_validator("files_per_request", mode="after")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be a whole number from 1, or auto")
        return value

    @property
    def base_url(self) -> str:
        """Where requests go: QBO_BASE_URL, else the address of QBO_ENVIRONMENT."""
        by_environment = PRODUCTION_URL if self.qbo_environment == "production" else SANDBOX_URL
        return self.qbo_base_url or by_environment

    @property
    def realm_id(self) -> str:
        """The realm; for stages that cannot do without.

        Raises:
            SettingError: QBO_REALM_ID is not set.
        """
        if not self.qbo_realm_id:
            raise SettingError("QBO_REALM_ID", "", "is not set; give the QBO company's id (digits)")
        return self.qbo_realm_id


MAPPING_WORDS = ("qbo", "match")
KNOWN_WORDS = ("qbo", "none")


def load_settings(
    given: Mapping[str, Any] | None = None,
    *,
    fallback: Mapping[str, Any] | None = None,
    env_file: str | None = ".env",
) -> Settings:
    """Read all settings.

    Args:
        given: values by field name that win over everything (parameters, flags); None and ""
            count as not given.
        fallback: values that count where the environment has none.
        env_file: another file than `.env`; None reads none.

    Raises:
        SettingError: a value is refused; names the variable, the value and what is allowed.
    """
    chosen = {k: v for k, v in (given or {}).items() if v is not None and v != ""}
    for name, value in (fallback or {}).items():
        if value not in (None, "") and not as_written(name):
            chosen.setdefault(name.lower(), value)
    try:
        return Settings(_env_file=env_file, **chosen)
    except ValidationError as error:
        raise _setting_error(error) from None


def _setting_error(error: ValidationError) -> SettingError:
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0])
    info = Settings.model_fields.get(name)
    value = problem.get("input")
    if info is not None and _is_secret(info):
        value = "***"
    allowed = problem["msg"].removeprefix("Value error, ")
    if info is not None and info.description:
        allowed = f"{allowed} ({info.description})"
    return SettingError(name.upper(), value, allowed)


def _is_secret(info: FieldInfo) -> bool:
    return info.annotation is SecretStr or SecretStr in get_args(info.annotation)


def require_absolute(given: Mapping[str, str]) -> None:
    """Refuse relative folders: a deployed run's working directory is a temporary folder.

    Args:
        given: by variable name, as the person wrote them.

    Raises:
        SettingError: one of them is relative.
    """
    for variable, url in given.items():
        if url and not is_absolute(url):
            raise SettingError(
                variable, url, "a deployed run needs an absolute path or a URL such as s3://..."
            )


def as_written(name: str) -> str:
    """What the environment has for a setting, "" where it has nothing."""
    return os.environ.get(name.upper(), os.environ.get(name.lower(), ""))


def provenance(
    settings: Settings, given: Mapping[str, Any] | None = None, env_file: str = ".env"
) -> list[tuple[str, str, str]]:
    """Each setting as (variable, effective value, where it came from); secrets masked."""
    flags = {k for k, v in (given or {}).items() if v is not None and v != ""}
    environment = {name.lower() for name, value in os.environ.items() if value}
    defaults = {name.lower() for name in load_dotenv_names(env_file)}
    rows = []
    for name, info in Settings.model_fields.items():
        if name in flags:
            source = "flag"
        elif name in environment:
            source = "environment"
        elif name in defaults:
            source = env_file
        else:
            source = "default"
        value = getattr(settings, name)
        shown = _shown(value)
        rows.append((name.upper(), shown if not _is_secret(info) or not shown else "***", source))
    return rows


def misspelt(env_file: str = ".env") -> list[str]:
    """What nobody reads and looks like a setting's name: sentences for a person.

    A mistyped EXPECT_COMPANY_NAME guards nothing, and nothing else would tell.
    """
    from difflib import get_close_matches

    known = [name.upper() for name in Settings.model_fields]
    told = []
    for name, place in (
        *((name, "the environment") for name in os.environ),
        *((name, env_file) for name in load_dotenv_names(env_file)),
    ):
        meant = get_close_matches(name.upper(), known, 1, cutoff=_ALIKE)
        if meant and name.upper() not in known:
            told.append(f"{name}, in {place}, is no setting: is {meant[0]} meant?")
    return told


def _shown(value: object) -> str:
    """A setting's value without what a URL or an option of a store may hide."""
    if isinstance(value, dict):
        return masked_options(value)
    return masked_url(",".join(value) if isinstance(value, tuple) else str(value))


def load_dotenv_names(env_file: str) -> list[str]:
    """Names that a `.env` file sets; [] where there is none."""
    from dotenv import dotenv_values

    return [name for name, value in dotenv_values(env_file).items() if value]

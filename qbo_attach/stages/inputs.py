"""The small tables and rules that several stages take from the settings."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from qbo_attach.core.clients import ClientRules
from qbo_attach.core.entity_types import EntityTypes, built_in_entity_types, read_entity_types
from qbo_attach.core.errors import StorageError
from qbo_attach.core.file_types import FileTypes, built_in_file_types, read_file_types
from qbo_attach.core.identifiers import IdRules
from qbo_attach.core.overrides import Overrides, read_overrides
from qbo_attach.settings import Settings
from qbo_attach.storage.files import Store, absolute_url
from qbo_attach.storage.urls import split


def data_store(settings: Settings) -> Store:
    """DATA_DIR."""
    return Store(settings.data_dir, settings.storage_options)


def log_store(settings: Settings) -> Store:
    """LOG_DIR."""
    return Store(settings.log_dir, settings.storage_options)


@contextmanager
def open_input(settings: Settings, url: str, remedy: str) -> Iterator[io.BufferedIOBase]:
    """Open a table that a setting names, for reading.

    Raises:
        StorageError: it is not there (then with the remedy) or cannot be read.
    """
    folder, name = split(absolute_url(url))
    store = Store(folder, settings.storage_options)
    try:
        stream = store.open_binary(name)
    except FileNotFoundError as error:
        raise StorageError(url, f"there is no such file; {remedy}") from error
    with stream:
        yield stream


def load_entity_types(settings: Settings) -> EntityTypes:
    """The table of ENTITY_TYPES_TABLE, or ours."""
    url = settings.entity_types_table
    if not url:
        return built_in_entity_types()
    with open_input(settings, url, "correct ENTITY_TYPES_TABLE") as stream:
        return read_entity_types(stream, url)


def load_file_types(settings: Settings) -> FileTypes:
    """The table of FILE_TYPES_TABLE, or ours."""
    url = settings.file_types_table
    if not url:
        return built_in_file_types()
    with open_input(settings, url, "correct FILE_TYPES_TABLE") as stream:
        return read_file_types(stream, url)


def load_overrides(settings: Settings, types: EntityTypes) -> Overrides:
    """The table of MAPPING_OVERRIDES; without one, no overrides."""
    url = settings.mapping_overrides
    if not url:
        return Overrides()
    with open_input(settings, url, "correct MAPPING_OVERRIDES") as stream:
        return read_overrides(stream, url, types)


def id_rules(settings: Settings) -> IdRules:
    """LEGACY_ID_PREFIX and LEGACY_LIST_PREFIX."""
    return IdRules.of(settings.legacy_id_prefix, settings.legacy_list_prefix)


def client_rules(settings: Settings) -> ClientRules:
    """LEGACY_CLIENTS and EXCLUDE_CLIENTS."""
    return ClientRules(settings.legacy_clients, settings.exclude_clients)

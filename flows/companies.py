"""The list of companies of a portfolio: read, and checked whole before anything starts."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import yaml

from flows.configuration import (
    EXPECTED_CHARACTERS,
    NAME_CHARACTERS,
    REALM_CHARACTERS,
    URL_CHARACTERS,
)
from qbo_attach.core.edited_tables import header_cells
from qbo_attach.core.errors import NotStartedError, StorageError
from qbo_attach.core.tables import open_text, records
from qbo_attach.settings import MAPPING_WORDS
from qbo_attach.storage.files import Store, absolute_url, is_absolute
from qbo_attach.storage.urls import split

_YAML = (".yaml", ".yml")
_TOLD_AT_MOST = 50


@dataclass(frozen=True, slots=True)
class Company:
    """One company: a row of the list. Field names are the columns.

    What has a default may be "", which leaves the workers' value; the rest is needed.
    """

    name: str
    realm_id: str
    files_dir: str
    data_dir: str
    log_dir: str
    mapping_source: str = ""
    mapping_overrides: str = ""
    expect_company_name: str = ""

    def parameters(self) -> dict[str, str]:
        """What a run of `migrate` is given."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["company"] = given.pop("name")
        return {name: value for name, value in given.items() if value}


COLUMNS = tuple(field.name for field in fields(Company))
_NEEDED = COLUMNS[:5]
_URLS = COLUMNS[2:7]
_MOST_CHARACTERS = {
    "name": NAME_CHARACTERS,
    "realm_id": REALM_CHARACTERS,
    **dict.fromkeys(_URLS, URL_CHARACTERS),
    "expect_company_name": EXPECTED_CHARACTERS,
}
_ITS_OWN = ("name", "realm_id", "data_dir", "log_dir")
"""No two companies may share these."""


class CompanyListError(NotStartedError):
    """The list cannot be used; one line a problem."""

    def __init__(self, url: str, problems: list[str]) -> None:
        self.problems = problems
        more = len(problems) - _TOLD_AT_MOST
        lines = problems[:_TOLD_AT_MOST] + ([f"and {more} more problems"] if more > 0 else [])
        super().__init__(f"{url} cannot be used:\n" + "\n".join(lines))


def read_companies(url: str, options: Mapping[str, Any] | None = None) -> list[Company]:
    """Read a list of companies: CSV, or YAML (`.yaml`, `.yml`): a list of mappings.

    CSV is UTF-8 or UTF-16, `,` or `;`, columns in any order and case. In both, columns are the
    fields of `Company`.

    Args:
        url: absolute path or fsspec URL.
        options: fsspec options.

    Raises:
        CompanyListError: rows that cannot be used, each with row, column and remedy.
        TableError, StorageError: it is no such file, or not there.
    """
    folder, name = split(absolute_url(url))
    store = Store(folder, options)
    try:
        stream = store.open_binary(name)
    except FileNotFoundError as error:
        raise StorageError(url, "there is no such file; correct `companies`") from error
    with stream:
        rows = list(
            _yaml_rows(stream, url) if url.lower().endswith(_YAML) else _csv_rows(stream, url)
        )
    return checked(rows, url)


def checked(rows: Iterable[tuple[str, Mapping[str, str]]], url: str) -> list[Company]:
    """Companies of the rows.

    Args:
        rows: where each stands (`row 3`), and its cells by column.
        url: of the list, for messages.

    Raises:
        CompanyListError: any row cannot be used; all problems are told at once.
    """
    companies: list[Company] = []
    problems: list[str] = []
    owners: dict[tuple[str, str], str] = {}
    for place, cells in rows:
        found = [f"{place}, {problem}" for problem in _problems(cells)]
        found += [f"{place}, {problem}" for problem in _shared(place, cells, owners)]
        problems += found
        if not found:
            companies.append(Company(**{name: cells.get(name, "") for name in COLUMNS}))
    if problems:
        raise CompanyListError(url, problems)
    if not companies:
        raise CompanyListError(url, ["it names no company; give each one a row"])
    return companies


def _problems(cells: Mapping[str, str]) -> Iterator[str]:
    for name in cells:
        if name not in COLUMNS:
            yield f"{name}: is no column; there are {', '.join(COLUMNS)}"
    for name in _NEEDED:
        if not cells.get(name):
            yield f"{name}: is empty; every company needs it"
    for name, most in _MOST_CHARACTERS.items():
        if (length := len(cells.get(name, ""))) > most:
            yield f"{name}: has {length:,} characters; at most {most:,} are taken"
    realm = cells.get("realm_id", "")
    if realm and not (realm.isascii() and realm.isdigit()):
        yield f"realm_id: {realm!r} is not the digits of a company's id in QuickBooks Online"
    for name in _URLS:
        url = cells.get(name, "")
        if url and url not in MAPPING_WORDS and not is_absolute(url):
            yield f"{name}: {url!r} is relative; write an absolute path or a URL as s3://..."


def _shared(
    place: str, cells: Mapping[str, str], owners: dict[tuple[str, str], str]
) -> Iterator[str]:
    for name in _ITS_OWN:
        value = cells.get(name, "").rstrip("/")
        if not value:
            continue
        other = owners.setdefault((name, value), place)
        if other is not place:
            yield f"{name}: {value!r} is that of {other}; each company needs its own"


def _csv_rows(stream: io.BufferedIOBase, url: str) -> Iterator[tuple[str, dict[str, str]]]:
    text = open_text(stream, url)
    try:
        first = text.readline()
    except UnicodeDecodeError as error:
        raise CompanyListError(url, ["it is not text; save it as UTF-8"]) from error
    delimiter, names = header_cells(first, url)
    for row, cells in records(text, delimiter, url):
        if any(cell.strip() for cell in cells):
            values = [cell.strip() for cell in cells]
            if len(values) > len(names):
                raise CompanyListError(url, [f"row {row}, has more cells than the header"])
            yield f"row {row}", dict(zip(names, values, strict=False))


def _yaml_rows(stream: io.BufferedIOBase, url: str) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        entries = yaml.safe_load(stream)
    except yaml.YAMLError as error:
        raise CompanyListError(url, [f"it is not readable as YAML: {error}"]) from error
    if not isinstance(entries, list):
        raise CompanyListError(url, ["it must be a list: one `- name: ...` a company"])
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise CompanyListError(url, [f"entry {number}, is no mapping of columns to values"])
        cells = {str(name).lower(): _text(value) for name, value in entry.items()}
        yield f"entry {number}", cells


def _text(value: object) -> str:
    # Quotes around digits are easily left out in YAML, and a leading zero would then be lost; QBO's
    # ids have none.
    return "" if value is None else str(value).strip()

"""Makes the sample at a place: files, mapping, and what is expected of each file."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass

from qbo_attach.core.errors import NotStartedError, StorageError
from qbo_attach.core.model import Outcome, Status
from qbo_attach.core.tables import MAPPING, MappingRow, encode_table
from qbo_attach.sample.awkward import awkward_cases, too_large
from qbo_attach.sample.both_sides import ExportRow, export_rows, qbo_records, told
from qbo_attach.sample.company import Company, intuit_mapping, mapping_rows
from qbo_attach.sample.expected import EXPECTED, ExpectedRow
from qbo_attach.sample.formats import material
from qbo_attach.sample.planned import Case, Desk, inventory_order, ordinary_files
from qbo_attach.sample.targets import target, write_case, write_ordinary
from qbo_attach.storage import urls
from qbo_attach.storage.files import Store

INTUIT_MAPPING = "qbdt_entity_id_mapping.json"
DESKTOP_EXPORT = "desktop_export.csv"
QBO_RECORDS = "qbo_company.jsonl"
LEAST_COVERAGE = 0.92
"""docs/design.md, 4: the gate is at 0.90, and the sample is above it."""

_MARK = "sample.json"
_LEAST_CLIENTS = 2
_GATE = frozenset(
    {
        Status.MISSING_MAPPING,
        Status.AMBIGUOUS_MAPPING,
        Status.AMBIGUOUS_IDENTIFIER,
        Status.DUPLICATE_MAPPING,
        Status.UNSUPPORTED_ENTITY_TYPE,
        Status.UNRECOGNIZED_PATH,
    }
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample as it was made. URLs are absolute; a local place is a plain path.

    `status_counts` and `outcome_counts` are of a first run; `left_out` gives for each awkward
    case that the place cannot hold the reason.
    """

    url: str
    files: int
    status_counts: dict[str, int]
    outcome_counts: dict[str, int]
    left_out: dict[str, str]

    @property
    def files_dir(self) -> str:
        """Parent of the `Attach` folder."""
        return urls.join(self.url, "files")

    @property
    def data_dir(self) -> str:
        """Where the mapping is, and the inventory will be."""
        return urls.join(self.url, "data")

    @property
    def log_dir(self) -> str:
        """A place for the logs of the runs; nothing is written there yet."""
        return urls.join(self.url, "log")

    @property
    def mapping_url(self) -> str:
        """The mapping, in four columns."""
        return urls.join(self.data_dir, MAPPING)

    @property
    def intuit_mapping_url(self) -> str:
        """The same mapping as QBO would give it; there only if it was asked for."""
        return urls.join(self.data_dir, INTUIT_MAPPING)

    @property
    def desktop_export_url(self) -> str:
        """Desktop's transactions and lists, for matching; there only if asked for."""
        return urls.join(self.url, DESKTOP_EXPORT)

    @property
    def qbo_records_url(self) -> str:
        """QBO's entities, for a fake company that answers queries; there only if asked for."""
        return urls.join(self.url, QBO_RECORDS)

    @property
    def expected_url(self) -> str:
        """What a first run makes of each file."""
        return urls.join(self.url, EXPECTED)

    @property
    def coverage(self) -> float:
        """The share of attachments with an entity, as the gate counts it."""
        return _coverage(Counter(self.status_counts))

    def environment(
        self, *, base_url: str = "http://127.0.0.1:8700", realm_id: str = "1234567890"
    ) -> dict[str, str]:
        """Give the settings that make a run use this sample and a fake company.

        Args:
            base_url: where `qbo-attach fake-qbo` listens.
            realm_id: its realm.
        """
        return {
            "FILES_DIR": self.files_dir,
            "DATA_DIR": self.data_dir,
            "LOG_DIR": self.log_dir,
            "LEGACY_CLIENTS": "*",
            "QBO_BASE_URL": base_url,
            "QBO_REALM_ID": realm_id,
            "QBO_ACCESS_TOKEN": "sample",
        }

    def shell_lines(
        self, *, base_url: str = "http://127.0.0.1:8700", realm_id: str = "1234567890"
    ) -> list[str]:
        """Give `environment` as lines for a POSIX shell."""
        values = self.environment(base_url=base_url, realm_id=realm_id)
        return [f"export {name}={shlex.quote(value)}" for name, value in values.items()]


def make_sample(  # noqa: PLR0913  # each by keyword
    destination: str,
    *,
    seed: int = 1,
    files: int = 300,
    clients: int = 20,
    awkward: bool = True,
    size_kb: tuple[float, float] = (1, 60),
    with_intuit_mapping: bool = False,
    with_desktop_export: bool = False,
    with_too_large: bool = False,
) -> Sample:
    """Make a legacy tree, its mapping and its expected results; equal arguments, equal bytes.

    Below the destination: `files/Attach/...`, `data/mapping_export.csv`, `expected.csv`. Made
    again with equal arguments, it is written over itself.

    Args:
        destination: path or fsspec URL.
        seed: decides everything that is drawn.
        files: how many in all, the awkward ones among them.
        clients: how many, at least two.
        awkward: whether the cases of `awkward` are in it; else every file is sent.
        size_kb: smallest and largest size of a file in KiB, roughly.
        with_intuit_mapping: also write `data/qbdt_entity_id_mapping.json`.
        with_desktop_export: also write `desktop_export.csv` and `qbo_company.jsonl`: what both
            sides say of the mapping's entities.
        with_too_large: also make the case `file_too_large`, where the disk is local.

    Raises:
        NotStartedError: too few files or clients, or sizes out of order.
        StorageError: the place cannot be written, or holds something else.
    """
    _check(clients, size_kb)
    url = urls.absolute_url(destination)
    company = Company(seed, clients)
    desk = Desk(company, seed, size_kb)
    cases = list(awkward_cases(desk)) if awkward else []
    if with_too_large:
        cases.append(too_large(desk))
    _check_count(files, cases)
    store = Store(url)
    parameters = {
        "seed": seed,
        "files": files,
        "clients": clients,
        "awkward": awkward,
        "size_kb": list(size_kb),
        "with_too_large": with_too_large,
    }
    _claim(store, url, parameters)

    place = target(urls.join(url, "files"))
    stuff = material(seed)
    rows: list[ExpectedRow] = []
    left_out: dict[str, str] = {}
    for case in cases:
        written, reason = write_case(place, case, stuff)
        rows += written
        if reason:
            left_out[case.name] = reason
    rows += write_ordinary(place, ordinary_files(desk, files - len(rows)), stuff)
    rows.sort(key=lambda row: inventory_order(row.file_path))

    mapping = company.mapping
    _write(store, f"data/{MAPPING}", *encode_table(MappingRow._fields, mapping_rows(mapping)))
    if with_intuit_mapping:
        _write(store, f"data/{INTUIT_MAPPING}", intuit_mapping(mapping))
    if with_desktop_export:
        both = told(mapping, seed)
        _write(store, DESKTOP_EXPORT, *encode_table(ExportRow._fields, export_rows(both)))
        _write(store, QBO_RECORDS, qbo_records(both))
    _write(store, EXPECTED, *encode_table(ExpectedRow._fields, rows))
    return Sample(
        url=url,
        files=len(rows),
        status_counts=_counts([row.status for row in rows], Status),
        outcome_counts=_counts([row.outcome for row in rows], Outcome),
        left_out=left_out,
    )


def _check(clients: int, size_kb: tuple[float, float]) -> None:
    low, high = size_kb
    largest = 1024
    if clients < _LEAST_CLIENTS:
        raise NotStartedError(f"clients={clients}: a sample has at least {_LEAST_CLIENTS} clients")
    if not 0 < low <= high <= largest:
        raise NotStartedError(
            f"size_kb={low},{high}: give the smallest and the largest size, in KiB, "
            f"above 0 and up to {largest}"
        )


def _check_count(files: int, cases: list[Case]) -> None:
    """Refuse a sample so small that its awkward cases would close the gate."""
    planned = [file.status for case in cases for file in case.files]
    counts = Counter(status.value for status in planned)
    least = len(planned)
    while _coverage(counts) < LEAST_COVERAGE:
        counts[Status.OK.value] += 1
        least += 1
    if files < max(1, least):
        raise NotStartedError(
            f"files={files}: a sample of these cases has at least {max(1, least)} files"
        )


def _coverage(counts: Counter[str]) -> float:
    ok = counts[Status.OK.value]
    gated = sum(counts[status.value] for status in _GATE)
    return ok / (ok + gated) if ok + gated else 1.0


def _counts(values: list[str], order: type[Status | Outcome]) -> dict[str, int]:
    """Count, in the order of the closed list."""
    counts = Counter(values)
    return {member.value: counts[member.value] for member in order if counts[member.value]}


def _claim(store: Store, url: str, parameters: dict[str, object]) -> None:
    """Mark the place as this sample's.

    Raises:
        StorageError: another sample is there, or files that no sample made.
    """
    mark = json.dumps(parameters, indent=1).encode()
    if store.info(_MARK) is None:
        if _holds_files(urls.join(url, "files")):
            raise StorageError(
                urls.join(url, "files"), "holds files already; name an empty place for the sample"
            )
        _write(store, _MARK, mark)
    elif store.read_bytes(_MARK) != mark:
        raise StorageError(
            url, "holds a sample made with other arguments; remove it, or name another place"
        )


def _holds_files(url: str) -> bool:
    try:
        return next(iter(Store(url).list_files()), None) is not None
    except StorageError:  # nothing is there; if it is worse than that, writing will tell
        return False


def _write(store: Store, path: str, *pieces: bytes) -> None:
    with store.writing(path) as stream:
        for piece in pieces:
            stream.write(piece)

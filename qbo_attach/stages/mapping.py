"""Stage `mapping`: MAPPING_SOURCE, or QBO, to DATA_DIR/mapping_export.csv.

Without MAPPING_SOURCE the table in DATA_DIR is the user's own: it is checked, and never written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from qbo_attach.core.entity_types import EntityTypes
from qbo_attach.core.errors import SettingError, StorageError, TableError
from qbo_attach.core.mapping import normalise_mapping
from qbo_attach.core.mapping_formats import RawMapping, mapping_rows, read_mapping
from qbo_attach.core.model import StageResult
from qbo_attach.core.tables import COLUMNS, MAPPING, MappingRow
from qbo_attach.settings import Settings
from qbo_attach.stages.inputs import data_store, load_entity_types, open_input
from qbo_attach.storage.artifacts import existing, write_table
from qbo_attach.storage.files import Store

FROM_QBO = "qbo"
Fetch = Callable[[], Iterable[Mapping[str, object]]]
"""Gives the records of QbdtEntityIdMapping, with Intuit's field names."""

_REMEDY = "put the mapping there, or name one with MAPPING_SOURCE"
_NAMED_AT_MOST = 5


def run_mapping(settings: Settings, fetch: Fetch | None = None) -> StageResult:
    """Bring the mapping into DATA_DIR, checked and in four columns.

    Args:
        settings: where from and where to.
        fetch: asks QBO; needed where MAPPING_SOURCE is `qbo`.

    Returns:
        Counts: `rows`, and `unsupported_entity_type` (rows whose type QBO hangs no attachment on).

    Raises:
        StorageError: there is no mapping.
        TableError: it is broken, or has no rows; names row and column.
        SettingError: MAPPING_SOURCE is `qbo` and nobody can ask it.
    """
    types = load_entity_types(settings)
    data = data_store(settings)
    url = settings.mapping_source
    if url == FROM_QBO:
        if fetch is None:
            raise SettingError("MAPPING_SOURCE", url, "needs a QBO company; name a mapping file")
        return _written(data, mapping_rows(fetch(), "QbdtEntityIdMapping"), types, FROM_QBO)
    target = data.child_url(MAPPING)
    if not url or url == target:
        return _checked(settings, data, types)
    with open_input(settings, url, "correct MAPPING_SOURCE") as stream:
        return _written(data, read_mapping(stream, url), types, url)


def _written(data: Store, rows: Iterable[RawMapping], types: EntityTypes, url: str) -> StageResult:
    pairs: Counter[tuple[str, str]] = Counter()
    normalised = _counted(normalise_mapping(rows, types, url), pairs, url)
    artifact = write_table(data, MAPPING, COLUMNS[MAPPING], normalised)
    return StageResult((artifact,), *_facts(pairs, types))


def _checked(settings: Settings, data: Store, types: EntityTypes) -> StageResult:
    url = data.child_url(MAPPING)
    pairs: Counter[tuple[str, str]] = Counter()
    with open_input(settings, url, _REMEDY) as stream:
        for _ in _counted(normalise_mapping(read_mapping(stream, url), types, url), pairs, url):
            pass
    artifact = existing(data, MAPPING)
    if artifact is None:
        raise StorageError(url, f"it vanished while it was read; {_REMEDY}")
    counts, notes = _facts(pairs, types)
    return StageResult((replace(artifact, rows=counts["rows"]),), counts, notes)


def _counted(
    rows: Iterable[MappingRow], pairs: Counter[tuple[str, str]], url: str
) -> Iterator[MappingRow]:
    """Pass rows on; count their types; refuse a table without any."""
    for row in rows:
        pairs[row.legacy_entity_type, row.qbo_entity_type] += 1
        yield row
    if not pairs:
        raise TableError(url, "has no rows; without a mapping nothing can be sent")


def _facts(
    pairs: Counter[tuple[str, str]], types: EntityTypes
) -> tuple[dict[str, int], tuple[str, ...]]:
    unsupported = {p: n for p, n in sorted(pairs.items()) if not types.entity_ref_type(p[1])}
    rows = sum(unsupported.values())
    counts = {"rows": sum(pairs.values()), "unsupported_entity_type": rows}
    if not rows:
        return counts, ()
    some = ", ".join(f"{p[1]} ({n:,})" for p, n in list(unsupported.items())[:_NAMED_AT_MOST])
    return counts, (
        f"{rows:,} rows of the mapping have a type in QBO that no attachment can hang on: {some}.",
    )

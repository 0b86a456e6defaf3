"""Stage `verify`: inventory and mapping to a status for every attachment, in LOG_DIR."""

from __future__ import annotations

from collections.abc import Iterator

from qbo_attach.core.entity_check import EntityCheck
from qbo_attach.core.entity_types import EntityTypes
from qbo_attach.core.exclusions import Exclusions
from qbo_attach.core.joining import IncludedTypes, Joiner
from qbo_attach.core.layout import Layout
from qbo_attach.core.mapping import MappingIndex
from qbo_attach.core.mapping_formats import read_mapping
from qbo_attach.core.model import StageResult, Status
from qbo_attach.core.overrides import Overrides
from qbo_attach.core.tables import (
    COLUMNS,
    INVENTORY,
    MAPPING,
    SKIPS,
    VERIFICATION,
    InventoryRow,
    VerificationRow,
)
from qbo_attach.core.verification import Rules, Verifier, coverage, skip_row
from qbo_attach.settings import Settings
from qbo_attach.stages.inputs import (
    client_rules,
    data_store,
    id_rules,
    load_entity_types,
    load_file_types,
    load_overrides,
    log_store,
    open_input,
)
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.table_writer import open_table

_EXCLUDED = Status.EXCLUDED.value
_NAMED_AT_MOST = 5


def run_verify(settings: Settings) -> StageResult:
    """Join the inventory with the mapping; one row and one status an attachment.

    Returns:
        Counts: by verification status, those that occur. Notes: the coverage, the scores of the
        prefix rules, overrides that met nothing; with VERIFY_AGAINST_QBO what QBO lacks.

    Raises:
        StorageError: inventory or mapping is not there.
        TableError: one of the tables is broken; names row and column.
        SettingError: another prefix rule fits better, or clients or types that are not known.
        NotStartedError: the sums do not hold, or QBO cannot be asked.
    """
    types = load_entity_types(settings)
    overrides = load_overrides(settings, types)
    rules, joiner = verifying_rules(settings, types), make_joiner(settings, types, overrides)
    data, log = data_store(settings), log_store(settings)

    def verified(verifier: Verifier) -> Iterator[VerificationRow]:
        inventory = read_table(data, INVENTORY, InventoryRow)
        return verifier.rows(inventory, data.child_url(INVENTORY))

    check = EntityCheck()
    if settings.verify_against_qbo:
        from qbo_attach.stages.entity_check import check_entities

        check = check_entities(settings, types, verified(Verifier(rules, joiner)))
    verifier = Verifier(rules, joiner)
    with (
        open_table(log, SKIPS, COLUMNS[SKIPS]) as skips,
        open_table(log, VERIFICATION, COLUMNS[VERIFICATION]) as written,
    ):
        for row in check.rows(verified(verifier), verifier.counts):
            written.add(row)
            if row.status == _EXCLUDED:
                skips.add(skip_row(row))
        # Still within the writing: what is refused here leaves the old tables in place.
        notes = verifier.check_settings()
        verifier.check_sums(written.rows, skips.rows)
    counts = {status: count for status, count in verifier.counts.items() if count}
    share = f"Coverage {coverage(counts):.2%}; MIN_COVERAGE is {settings.min_coverage:.2%}."
    artifacts = (written.artifact(log, VERIFICATION), skips.artifact(log, SKIPS))
    about = (*check.notes, *_about(overrides))
    return StageResult(artifacts, counts, (share, *notes, *about))


def verifying_rules(settings: Settings, types: EntityTypes) -> Rules:
    """What the settings say of layout, clients, exclusions and file types."""
    return Rules(
        Layout.parse(settings.legacy_layout, types).template,
        client_rules(settings),
        Exclusions(
            settings.exclude_names,
            settings.exclude_extensions,
            settings.exclude_smaller_than_bytes,
            settings.exclude_larger_than_bytes,
        ),
        load_file_types(settings),
    )


def make_joiner(settings: Settings, types: EntityTypes, overrides: Overrides) -> Joiner:
    """What joins a folder's id with the mapping of DATA_DIR.

    Raises:
        StorageError: there is no mapping.
        TableError: it is broken; names row and column.
    """
    included = IncludedTypes(settings.include_entity_types, types)
    url = data_store(settings).child_url(MAPPING)
    with open_input(settings, url, "run mapping first") as stream:
        index = MappingIndex(read_mapping(stream, url), types, url)
    return Joiner(index, types, id_rules(settings), overrides, included)


def _about(overrides: Overrides) -> tuple[str, ...]:
    unused = overrides.unused()
    if not unused:
        return ()
    more = f" and {len(unused) - _NAMED_AT_MOST} more" if len(unused) > _NAMED_AT_MOST else ""
    some = ", ".join(unused[:_NAMED_AT_MOST])
    return (f"{len(unused)} rows of MAPPING_OVERRIDES met no attachment: {some}{more}.",)

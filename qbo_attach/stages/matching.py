"""MAPPING_SOURCE=match: the mapping made from a Desktop export and what QBO holds.

Writes DATA_DIR/mapping_export.csv, and for a person mapping_candidates.csv, mapping_sample.csv and
mapping_checks.csv. Answers that a person has put into mapping_candidates.csv stay in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from qbo_attach.core.entity_types import EntityTypes
from qbo_attach.core.errors import SettingError, StorageError, TableError
from qbo_attach.core.identifiers import canonical_legacy_id
from qbo_attach.core.mapping import normalise_mapping
from qbo_attach.core.mapping_formats import read_mapping
from qbo_attach.core.matching.checks import Known, Options
from qbo_attach.core.matching.desktop_columns import Columns, built_in_columns, read_columns
from qbo_attach.core.matching.desktop_export import DesktopExport, types_of
from qbo_attach.core.matching.pairing import KNOWN, WHY, Matching, check_tiers, match
from qbo_attach.core.matching.tables import (
    CANDIDATES,
    CHECKS,
    SAMPLE,
    CandidateRow,
    CheckRow,
    MatchedMappingRow,
    SampleRow,
    candidate_rows,
    check_rows,
    mapping_rows,
    sample_rows,
)
from qbo_attach.core.matching.types import MatchTypes, built_in_match_types, read_match_types
from qbo_attach.core.model import Artifact, StageResult
from qbo_attach.core.tables import INVENTORY, MAPPING, InventoryRow, MappingRow
from qbo_attach.settings import KNOWN_WORDS, PRODUCTION_URL, Settings
from qbo_attach.stages.inputs import data_store, load_entity_types, open_input
from qbo_attach.stages.qbo_entities import held_entities, held_known
from qbo_attach.storage.artifacts import read_table, write_table
from qbo_attach.storage.files import Store

FROM_MATCH = "match"


def run_matching(settings: Settings) -> StageResult:
    """Make the mapping by matching.

    Returns:
        Counts: `rows` of the mapping, rows by match rule, `undecided` Desktop rows, and
        `no_entity` (rows of types that become nothing in QBO). Notes: columns taken, reads,
        coverage by type and tier, tiers that are off, what a person is to do.

    Raises:
        SettingError: DESKTOP_EXPORT is not set, or a tier that there is not.
        TableError: the export is broken; names file, row, column and remedy.
        StorageError: a table is not there.
        NotStartedError: QBO refused, or could not be asked.
    """
    options = Options(settings.match_max_error, check_tiers(settings.match_tiers_off))
    data = data_store(settings)
    export = _read_export(settings)
    held = held_entities(settings, data, types_of(export.rows))
    known_rows, told_known = _known(settings, data)
    known = Known()
    for row in known_rows:
        known.add(row.legacy_txnid_norm, row.qbo_entity_type, row.qbo_entity_id)
    matching = match(export.rows, held.rows, known, options)
    written = _write(settings, data, matching, known_rows)
    counts = Counter(pair.rule for pair in matching.matched())
    counts[KNOWN] = len(known_rows)
    undecided = sum(len(result.undecided) for result in matching.types)
    notes = [*export.notes, held.told, told_known, *_about(export, matching, undecided, written)]
    return StageResult(
        (*written.artifacts, held.artifact),
        {
            "rows": sum(counts.values()),
            **{rule: count for rule, count in counts.items() if count},
            "undecided": undecided,
            "no_entity": sum(export.without_entity.values()),
        },
        tuple(note for note in notes if note),
    )


def _read_export(settings: Settings) -> DesktopExport:
    if not settings.desktop_export:
        raise SettingError(
            "DESKTOP_EXPORT",
            "",
            "is not set; matching needs a table of Desktop's transactions (docs/matching.md)",
        )
    export = DesktopExport(
        _match_types(settings), _columns(settings), settings.desktop_dates, settings.desktop_decimal
    )
    for url in settings.desktop_export:
        with open_input(settings, url, "correct DESKTOP_EXPORT") as stream:
            export.add(stream, url)
    if not export.rows:
        urls = ", ".join(settings.desktop_export)
        raise TableError(urls, "has no rows that become anything in QBO; export transactions")
    return export


def _match_types(settings: Settings) -> MatchTypes:
    url = settings.match_types_table
    if not url:
        return built_in_match_types()
    with open_input(settings, url, "correct MATCH_TYPES_TABLE") as stream:
        return read_match_types(stream, url)


def _columns(settings: Settings) -> Columns:
    url = settings.desktop_columns_table
    if not url:
        return built_in_columns()
    with open_input(settings, url, "correct DESKTOP_COLUMNS_TABLE") as stream:
        return read_columns(stream, url)


def _known(settings: Settings, data: Store) -> tuple[list[MappingRow], str]:
    """What is known already, by MATCH_KNOWN."""
    url = settings.match_known
    types: EntityTypes = load_entity_types(settings)
    if url not in KNOWN_WORDS:
        with open_input(settings, url, "correct MATCH_KNOWN") as stream:
            return list(normalise_mapping(read_mapping(stream, url), types, url)), ""
    return ([], "") if url == "none" else held_known(settings, data, types)


@dataclass(frozen=True, slots=True)
class _Written:
    artifacts: tuple[Artifact, ...]
    to_decide: int
    answered: int


def _write(
    settings: Settings, data: Store, matching: Matching, known_rows: list[MappingRow]
) -> _Written:
    sandbox = settings.base_url != PRODUCTION_URL
    known = (MatchedMappingRow(*row, KNOWN) for row in known_rows)
    rows = chain(known, mapping_rows(matching))
    mapping = write_table(data, MAPPING, MatchedMappingRow._fields, rows)
    answered = _answered(data)
    ids = {row.legacy_id for row in answered}
    found = candidate_rows(matching, _attachments(data), sandbox=sandbox)
    asked = [row for row in found if row.legacy_id not in ids]
    candidates = write_table(data, CANDIDATES, CandidateRow._fields, [*answered, *asked])
    sample = write_table(data, SAMPLE, SampleRow._fields, sample_rows(matching, sandbox=sandbox))
    checks = write_table(data, CHECKS, CheckRow._fields, check_rows(matching))
    return _Written((mapping, candidates, sample, checks), len(asked), len(answered))


def _answered(data: Store) -> list[CandidateRow]:
    """Rows of the last mapping_candidates.csv that a person has decided."""
    try:
        return [
            row for row in read_table(data, CANDIDATES, CandidateRow) if row.entity_refs.strip()
        ]
    except StorageError:
        return []


def _attachments(data: Store) -> Counter[str]:
    """Files of the inventory by id, with the folder's prefix and without; none, where none is."""
    files: Counter[str] = Counter()
    try:
        for row in read_table(data, INVENTORY, InventoryRow):
            files.update({row.legacy_txnid_norm, canonical_legacy_id(row.raw_legacy_id)})
    except StorageError:
        return Counter()
    return files


def _about(
    export: DesktopExport, matching: Matching, undecided: int, written: _Written
) -> Iterator[str]:
    for name, count in sorted(export.without_entity.items()):
        yield f"{name}: {count:,} rows; nothing becomes of them in QBO."
    if export.repeated_rows:
        yield f"{export.repeated_rows:,} lines of the export repeat an earlier one."
    for result in matching.types:
        rules = Counter(pair.rule for pair in result.matched)
        by_rule = ", ".join(f"{rule} {count:,}" for rule, count in rules.most_common())
        whole = len(result.desktop) - result.known
        share = f"{len(result.matched) / whole:.1%}" if whole else "all known"
        yield (
            f"{result.type}: {len(result.matched):,} of {whole:,} matched ({share})"
            + (f": {by_rule}" if by_rule else "")
            + f"; QBO holds {len(result.qbo):,}."
        )
        if result.renumbered:
            yield f"{result.type}: numbers were given anew in QBO; no tier by number counts."
    for check in matching.checks:
        if not check.is_on and check.pairs:
            yield f"{check.type}: tier {check.tier} is off ({check.pairs:,} pairs): {check.why}."
    reasons = Counter(why for result in matching.types for _, why in result.undecided)
    for why, count in reasons.most_common():
        yield f"No partner for {count:,} rows ({why}): {WHY[why]}."
    if undecided:
        yield (
            f"{undecided:,} rows have no partner; {written.to_decide:,} of them have candidates in "
            f"{CANDIDATES}: fill entity_refs and by_whom, and name that file in MAPPING_OVERRIDES."
        )
    if written.answered:
        yield f"{written.answered:,} answers in {CANDIDATES} were left as they are."
    yield f"{SAMPLE} has some pairs of each tier, with links into QBO: look at them."

"""The tables that matching writes and reads back, and what stands in their cells."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from qbo_attach.core.links import entity_link
from qbo_attach.core.matching.candidates import Candidate, candidates
from qbo_attach.core.matching.desktop_export import DesktopRow
from qbo_attach.core.matching.groups import QboRow
from qbo_attach.core.matching.pairing import Matched, Matching, TypeResult

ENTITIES = "qbo_entities.csv"
ENTITIES_FACTS = "qbo_entities.json"
KNOWN_MAPPING = "qbo_known_mapping.csv"
CANDIDATES = "mapping_candidates.csv"
SAMPLE = "mapping_sample.csv"
CHECKS = "mapping_checks.csv"

_OF_EACH_IN_SAMPLE = 5


class MatchedMappingRow(NamedTuple):
    """mapping_export.csv made by matching: a mapping row, its rule, and what was compared."""

    legacy_txnid_norm: str
    legacy_entity_type: str
    qbo_entity_type: str
    qbo_entity_id: str
    match_rule: str
    desktop_number: str = ""
    desktop_date: str = ""
    desktop_amount: str = ""
    desktop_name: str = ""
    qbo_number: str = ""
    qbo_date: str = ""
    qbo_amount: str = ""
    qbo_name: str = ""


class SampleRow(NamedTuple):
    """mapping_sample.csv: some rows of each type and rule, with the page to compare them on."""

    match_rule: str
    qbo_entity_type: str
    qbo_entity_id: str
    link: str
    legacy_id: str
    desktop_number: str
    desktop_date: str
    desktop_amount: str
    desktop_name: str
    qbo_number: str
    qbo_date: str
    qbo_amount: str
    qbo_name: str


class CheckRow(NamedTuple):
    """mapping_checks.csv: one row a type and tier. `share` is of the type's Desktop rows."""

    qbo_entity_type: str
    tier: str
    desktop_rows: str
    qbo_rows: str
    pairs: str
    counted: str
    share: str
    known: str
    wrong: str
    estimate: str
    state: str
    why: str


class CandidateRow(NamedTuple):
    """mapping_candidates.csv: a Desktop row for a person to decide, and MAPPING_OVERRIDES itself.

    To decide, fill `entity_refs` (a candidate, another `Type:id`, or `exclude`) and `by_whom`; a
    row with an empty `entity_refs` is passed over. `attachments` counts its files in the
    inventory.
    """

    legacy_id: str
    entity_refs: str
    by_whom: str
    reason: str
    why: str
    attachments: str
    desktop_type: str
    desktop_number: str
    desktop_date: str
    desktop_amount: str
    desktop_name: str
    candidate_1: str
    about_1: str = ""
    link_1: str = ""
    candidate_2: str = ""
    about_2: str = ""
    link_2: str = ""
    candidate_3: str = ""
    about_3: str = ""
    link_3: str = ""
    candidate_4: str = ""
    about_4: str = ""
    link_4: str = ""
    candidate_5: str = ""
    about_5: str = ""
    link_5: str = ""


def mapping_rows(matching: Matching) -> Iterator[MatchedMappingRow]:
    """Every pair, in the order of its type and the export."""
    for desktop, qbo, rule in matching.matched():
        yield MatchedMappingRow(
            desktop.id,
            desktop.kind.desktop_type,
            qbo.type,
            qbo.id,
            rule,
            *_said(desktop),
            *_said(qbo),
        )


def _said(row: DesktopRow | QboRow) -> tuple[str, str, str, str]:
    return row.number, row.date, row.amount, row.name


def sample_rows(matching: Matching, *, sandbox: bool) -> Iterator[SampleRow]:
    """Some pairs of each type and rule, drawn by the digest of their id, so ever the same ones."""
    chosen: dict[tuple[str, str], list[tuple[int, Matched]]] = {}
    for pair in matching.matched():
        group = chosen.setdefault((pair.qbo.type, pair.rule), [])
        group.append((zlib.crc32(pair.desktop.id.encode()), pair))
        if len(group) > 2 * _OF_EACH_IN_SAMPLE:
            group.sort(key=lambda each: each[0])
            del group[_OF_EACH_IN_SAMPLE:]
    for (kind, rule), group in sorted(chosen.items()):
        group.sort(key=lambda each: each[0])
        for _, (desktop, qbo, _rule) in group[:_OF_EACH_IN_SAMPLE]:
            link = entity_link(kind, qbo.id, sandbox=sandbox)
            yield SampleRow(rule, kind, qbo.id, link, desktop.id, *_said(desktop), *_said(qbo))


def check_rows(matching: Matching) -> Iterator[CheckRow]:
    """Every tier of every type."""
    counted: Counter[tuple[str, str]] = Counter()
    by_type = {result.type: result for result in matching.types}
    for pair in matching.matched():
        counted[pair.qbo.type, pair.rule] += 1
    for check in matching.checks:
        result = by_type[check.type]
        count = counted[check.type, check.tier]
        yield CheckRow(
            check.type,
            check.tier,
            str(len(result.desktop)),
            str(len(result.qbo)),
            str(check.pairs),
            str(count),
            f"{count / len(result.desktop):.4f}",
            str(check.known),
            str(check.wrong),
            "" if check.estimate is None else f"{check.estimate:.2g}",
            "on" if check.is_on else "off",
            check.why,
        )


def candidate_rows(
    matching: Matching, attachments: Counter[str], *, sandbox: bool
) -> Iterator[CandidateRow]:
    """Undecided rows that have candidates; those with most attachments first.

    Args:
        matching: what came of it.
        attachments: files of the inventory by canonical legacy id.
        sandbox: whether links lead to Intuit's sandbox.
    """
    rows = [
        (attachments[row.id], _candidate_row(row, why, found, attachments, sandbox=sandbox))
        for result in matching.types
        for row, why, found in _undecided(result, matching)
    ]
    rows.sort(key=lambda each: -each[0])
    yield from (row for _, row in rows)


def _undecided(
    result: TypeResult, matching: Matching
) -> Iterable[tuple[DesktopRow, str, list[Candidate]]]:
    return (each for each in candidates(result, matching.names) if each[2])


def _candidate_row(
    row: DesktopRow, why: str, found: list[Candidate], attachments: Counter[str], *, sandbox: bool
) -> CandidateRow:
    cells: list[str] = []
    for entity, differs in found:
        said = ", ".join(cell or "-" for cell in _said(entity)) if entity.date else entity.name
        told = f"; differs: {', '.join(differs)}" if differs else "; agrees in all"
        link = entity_link(entity.type, entity.id, sandbox=sandbox)
        cells += [f"{entity.type}:{entity.id}", said + told, link]
    count = attachments[row.id] if attachments else 0
    return CandidateRow(
        row.id,
        "",
        "",
        f"chosen among the candidates of matching ({why})",
        why,
        str(count) if attachments else "",
        row.kind.name,
        *_said(row),
        *cells,
    )

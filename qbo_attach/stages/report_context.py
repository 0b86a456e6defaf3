"""From facts to what the page says: words, sums, links. The templates only set it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any, NamedTuple

from qbo_attach import __version__
from qbo_attach.core import tables
from qbo_attach.core.done import DoneRows
from qbo_attach.core.entity_check import INACTIVE
from qbo_attach.core.exclusions import JUNK, JUNK_NAMES
from qbo_attach.core.links import entity_link
from qbo_attach.core.masking import masked_url
from qbo_attach.core.model import Fault, Outcome, Status
from qbo_attach.core.remedies import REMEDIES, meaning
from qbo_attach.core.report_facts import BY_PERSON, LINKS, Facts, RunTold, Whereabouts
from qbo_attach.core.report_groups import Drawn, Group
from qbo_attach.core.report_rate import chart
from qbo_attach.core.report_verdict import WHEREABOUTS, bar, sums_of, verdict
from qbo_attach.qbo import faults
from qbo_attach.settings import Settings, provenance
from qbo_attach.stages.connection import environment_name
from qbo_attach.stages.report_tables import Beside

_REASONS = 5
_FAULTS = 20
_TYPES = 30
_CLIENTS = 25
_DECISIONS = 60
_REMARKS = {
    Outcome.SUCCESS.value: "Sent, with a remark",
    INACTIVE: "On entities that are inactive in QBO",
}
_LIBRARIES = ("httpx", "fsspec", "s3fs", "pydantic", "jinja2")
_STATUS_NAMES = frozenset(status.value for status in Status)


class Link(NamedTuple):
    """A drawn attachment; `url` is "" where QBO's page for its entity cannot be named."""

    drawn: Drawn
    attachable_id: str
    url: str


class Decision(NamedTuple):
    """Files that were left out, or put elsewhere, by somebody's word."""

    files: int
    reason: str
    by_whom: str
    example: str


def page_context(
    settings: Settings, facts: Facts, beside: Beside, rows: DoneRows, made_at: datetime
) -> dict[str, Any]:
    """All that the templates need.

    Args:
        settings: all of them.
        facts: complete.
        beside: the tables beside the report.
        rows: what the run log has as done.
        made_at: now, UTC.
    """
    latest = facts.latest
    environment = latest.started.environment if latest else environment_name(settings)
    sums = list(sums_of(facts, beside.inventory_rows))
    stale = bool(beside.reconciled_at and latest and beside.reconciled_at < latest.ended_at)
    return {
        "made_at": f"{made_at:%Y-%m-%d %H:%M:%S} UTC",
        "company": next((r.started.company for r in reversed(facts.runs) if r.started.company), ""),
        "realm_id": settings.realm_id,
        "environment": environment,
        "folders": [
            ("FILES_DIR", masked_url(latest.started.files_dir if latest else settings.files_dir)),
            ("DATA_DIR", masked_url(settings.data_dir)),
            ("LOG_DIR", masked_url(settings.log_dir)),
        ],
        "latest": latest,
        "verdict": verdict(facts, sums, stale=stale),
        "files": facts.statuses.total(),
        "facts": facts,
        "beside": beside,
        "in_qbo_in_all": rows.keys(),
        "whereabouts": [
            (name, label, facts.whereabouts[name])
            for name, label in WHEREABOUTS.items()
            if facts.whereabouts[name]
            or name not in (Whereabouts.TAKEN_BACK, Whereabouts.SAME_CONTENT)
        ],
        "bar": list(bar(facts.whereabouts)),
        "sums": sums,
        "statuses": list(_counted(facts.statuses)),
        "outcomes": list(_counted(facts.outcomes)),
        "outcome_columns": [o.value for o in Outcome if any(c[o.value] for _, c in _types(facts))],
        "by_type": _types(facts),
        "where_columns": [s for s in WHEREABOUTS if facts.whereabouts[s]],
        "where_labels": WHEREABOUTS,
        "by_client": facts.by_client.rows(_CLIENTS),
        "rate": _rate(settings, facts),
        "faults": list(_faults(facts)),
        "remarks": [
            (title, facts.remarks.counts[kind], *facts.remarks.of(kind, _REASONS))
            for kind, title in _REMARKS.items()
            if facts.remarks.counts[kind]
        ],
        "open": list(_open(facts)),
        "settings": _settings(settings),
        "versions": _versions(latest),
        "runs": list(reversed(facts.runs)),
        "earlier_run_ids": list(facts.run_ids)[: -len(facts.runs) or None],
        "untold_runs": facts.runs_in_all - len(facts.run_ids),
        "decisions": list(_decisions(settings, facts, Status.EXCLUDED)),
        "elsewhere": list(_decisions(settings, facts, Status.OK)),
        "more_decisions": facts.decisions.of(Status.EXCLUDED, _DECISIONS)[1],
        "reconciliation": facts.reconciliation,
        "stale": stale,
        "links": list(_links(facts, rows, environment)),
        "links_wanted": LINKS,
        "meaning": meaning,
        "tables": tables,
    }


def _types(facts: Facts) -> list[tuple[str, Mapping[str, int]]]:
    return [(name, counts) for name, counts in facts.by_type.rows(_TYPES)]


def _counted(counts: Mapping[str, int]) -> Iterator[tuple[str, int, str, bool]]:
    """Name, count, meaning, and whether somebody has to act; what is well first."""
    for name, count in sorted(counts.items(), key=lambda c: (c[0] in REMEDIES, -c[1], c[0])):
        if count:
            yield name, count, meaning(name), name in REMEDIES


def _rate(settings: Settings, facts: Facts) -> dict[str, Any] | None:
    if facts.rate is None:
        return None
    run_id, rate = facts.rate
    limit = settings.qbo_requests_per_min
    return {
        "run_id": run_id,
        "width_s": rate.width_s,
        "limit": limit,
        "requests": chart(rate.requests_per_min(), rate.width_s, limit),
        "files": chart(rate.files_per_min(), rate.width_s),
    }


def _faults(facts: Facts) -> Iterator[tuple[str, int, int, str, str]]:
    """Code, count in the latest run, count in all runs, what QBO said, remedy."""
    for code, count in facts.faults.counts.most_common(_FAULTS):
        [first, *_], _ = facts.faults.of(code, 1)
        remedy = ""
        if code.lstrip("0") in faults.FAULTS:
            remedy = faults.remedy(Fault(code, ""))
        said = first.reason.removesuffix(remedy).strip().removeprefix(code).strip()
        yield code or "-", count, facts.faults_of_all[code], said, remedy


def _open(facts: Facts) -> Iterator[tuple[str, int, str, str, list[Group], int]]:
    """What, count, remedy, the table that has all, the commonest reasons, files of others."""
    for what, count in facts.open.counts.most_common():
        table = tables.VERIFICATION if what in _STATUS_NAMES else tables.ERRORS
        groups, more = facts.open.of(what, _REASONS)
        yield what, count, REMEDIES.get(what, ""), table, groups, more


def _decisions(settings: Settings, facts: Facts, status: Status) -> Iterator[Decision]:
    for group in facts.decisions.of(status.value, _DECISIONS)[0]:
        reason, by_whom = group.reason, "the settings of the run"
        if reason.startswith(BY_PERSON):
            by_whom, _, reason = reason.removeprefix(BY_PERSON).partition(": ")
        elif reason == JUNK:
            by_whom = "built in"
            reason = f"left behind by operating systems: {', '.join(JUNK_NAMES)}"
        else:
            value = getattr(settings, reason.lower(), "")
            shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            reason = f"{reason} = {shown}" if shown else reason
        yield Decision(group.count, reason, by_whom, group.examples[0])


def _settings(settings: Settings) -> list[tuple[str, str, bool]]:
    """Name, value as it may be shown, whether it is the default."""
    given = settings.model_fields_set
    return [(name, value, name.lower() not in given) for name, value, _ in provenance(settings)]


def _versions(latest: RunTold | None) -> list[tuple[str, str]]:
    told = [("qbo-attach, this page", __version__)]
    if latest is not None:
        told.append(("qbo-attach, latest run", latest.started.version))
    told.append(("Python", platform.python_version()))
    return told + [(name, version(name)) for name in _LIBRARIES]


def _links(facts: Facts, rows: DoneRows, environment: str) -> Iterator[Link]:
    for one in facts.draw.drawn():
        done = rows.at_key(one.key) or rows.at_path(one.path)
        kind, one_id = one.qbo_entity_type.split(";")[0], one.qbo_entity_id.split(";")[0]
        url = ""
        if environment != "other" and one_id.isascii() and one_id.isalnum():
            url = entity_link(kind, one_id, sandbox=environment == "sandbox")
        yield Link(one, done.attachable_id if done is not None else "", url)

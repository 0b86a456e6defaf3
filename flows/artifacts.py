"""What the Prefect UI shows of an ended run: a summary that adds up, and what needs a person.

The keys carry the realm, so that the UI keeps each company's history together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from qbo_attach.core import tables
from qbo_attach.core.model import (
    NEEDS_PERSON_OUTCOMES,
    Artifact,
    Status,
)
from qbo_attach.core.remedies import REMEDIES, meaning
from qbo_attach.core.tables import RunLogRow, VerificationRow
from qbo_attach.settings import Settings
from qbo_attach.stages.inputs import log_store
from qbo_attach.storage.artifacts import read_table

if TYPE_CHECKING:
    from qbo_attach.stages.canary import Canary

ROWS_SHOWN = 1_000
_EXAMPLES = 3
_DISTINCT_REASONS = 20_000
"""More reasons than this are counted together: a million different ones would not fit memory."""

_NO_PERSON = frozenset({Status.OK.value, Status.EXCLUDED.value})


@contextmanager
def harmless() -> Iterator[None]:
    """What the UI shows may fail to reach the server; the run goes on and says so."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a picture of the run is not the run
        get_run_logger().warning("Not shown in the UI: %s: %s", type(error).__name__, error)


def letters(text: str) -> str:
    """Text that came from files, tables or QBO, as the UI's Markdown shows it letter by letter.

    The UI reads every text as Markdown, also the cells of a table: without this a file's name could
    be a link, or a picture that the reader's browser fetches.
    """
    from qbo_attach.stages.report_page import plain_markdown

    return str(plain_markdown(text))


def show_summary(
    settings: Settings,
    title: str,
    *,
    notes: Iterable[str],
    statuses: Mapping[str, int],
    outcomes: Mapping[str, int],
    logs: Iterable[Artifact],
) -> None:
    """The run's figures as a UI artifact: each table adds up to the row above it."""
    text = summary_text(
        title,
        notes=notes,
        statuses=statuses,
        outcomes=outcomes,
        logs=logs,
        log_dir=settings.log_dir,
    )
    with harmless():
        create_markdown_artifact(
            text,
            key=f"summary-{settings.realm_id}",
            description=letters(title),
            _sync=True,  # type: ignore[call-arg]  # Prefect's switch, also for calls from a loop
        )


def summary_text(
    title: str,
    *,
    notes: Iterable[str],
    statuses: Mapping[str, int],
    outcomes: Mapping[str, int],
    logs: Iterable[Artifact],
    log_dir: str,
) -> str:
    """Markdown: files by status, of these the planned by outcome or action, notes, links.

    The first note stands on top, and is Markdown; whatever else is text is shown as it is.
    """
    first, *rest = notes
    lines = [f"# {letters(title)}", "", first, ""]
    lines += _counted("Files of the tree", statuses)
    lines += _counted("Of these `ok`", outcomes)
    lines += ["## Notes", "", *(f"- {letters(note)}" for note in rest), ""]
    lines += ["## Tables", "", "| Table | Rows |", "| --- | ---: |"]
    lines += [f"| {linked(log.name, log.url)} | {_rows(log)} |" for log in logs]
    return "\n".join([*lines, "", f"Logs and run log: {linked(log_dir, log_dir)}", ""])


def _rows(log: Artifact) -> str:
    """How many rows a table has; a page has none to tell."""
    return f"{log.rows:,}" if log.name.endswith(".csv") else ""


def _counted(heading: str, counts: Mapping[str, int]) -> list[str]:
    ordered = sorted(counts.items(), key=lambda pair: (pair[0] in REMEDIES, -pair[1], pair[0]))
    return [
        f"## {heading}: {sum(counts.values()):,}",
        "",
        "| | Attachments | What it means, or what to do |",
        "| --- | ---: | --- |",
        *(f"| {name} | {count:,} | {_meaning(name)} |" for name, count in ordered),
        f"| **sum** | **{sum(counts.values()):,}** | |",
        "",
    ]


def _meaning(name: str) -> str:
    return f"**{REMEDIES[name]}**" if name in REMEDIES else meaning(name)


def linked(name: str, url: str) -> str:
    """A place as Markdown: a link where a browser can follow one, else its address to copy."""
    if url.startswith("/"):
        target = "file://" + url.replace(" ", "%20")
    elif url.startswith(("http://", "https://")):
        target = url
    else:
        return f"`{url}`"
    return f"[{name}]({target})" if name != url else f"[`{name}`]({target})"


class NeedsPerson:
    """Counts what needs a person, by kind and reason, with the first examples of each."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.examples: dict[tuple[str, str], list[str]] = {}

    @property
    def total(self) -> int:
        """Attachments that need a person, or another run."""
        return self.counts.total()

    def add(self, what: str, reason: str, path: str) -> None:
        """One attachment."""
        group = (what, reason)
        if group not in self.counts and len(self.counts) >= _DISTINCT_REASONS:
            group = (what, "and other reasons")
        self.counts[group] += 1
        some = self.examples.setdefault(group, [])
        if len(some) < _EXAMPLES:
            some.append(path)

    def rows(self, url: str, limit: int = ROWS_SHOWN) -> list[dict[str, str | int]]:
        """A row a reason, the most frequent first; what is beyond `limit` is counted in the last.

        Args:
            url: where all of them are.
            limit: most rows.
        """
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        shown = ordered if len(ordered) <= limit else ordered[: limit - 1]
        rows = [self._row(what, reason, count) for (what, reason), count in shown]
        rest = ordered[len(shown) :]
        if rest:
            rows.append(
                {
                    "what": "more",
                    "attachments": sum(count for _, count in rest),
                    "remedy": f"see {url}",
                    "reason": f"{len(rest):,} further reasons",
                    "examples": "",
                }
            )
        return rows

    def _row(self, what: str, reason: str, count: int) -> dict[str, str | int]:
        return {
            "what": what,
            "attachments": count,
            "remedy": REMEDIES.get(what, ""),
            "reason": letters(reason),
            "examples": "\n".join(map(letters, self.examples[what, reason])),
        }


def show_needs_person(settings: Settings) -> int:
    """What needs a person, as a UI artifact; returns how many attachments that are."""
    log = log_store(settings)
    found = NeedsPerson()
    for row in read_table(log, tables.ERRORS, RunLogRow):
        found.add(row.outcome, row.error, row.file_path)
    for verified in read_table(log, tables.VERIFICATION, VerificationRow):
        if verified.status not in _NO_PERSON:
            found.add(verified.status, verified.reason, verified.file_path)
    rows = found.rows(settings.log_dir)
    if rows:
        with harmless():
            create_table_artifact(
                rows,
                key=f"needs-person-{settings.realm_id}",
                description=f"{found.total:,} attachments need a person or another run. All of "
                f"them, one a row: {tables.ERRORS} and {tables.VERIFICATION} in "
                f"{linked(settings.log_dir, settings.log_dir)}",
                _sync=True,  # type: ignore[call-arg]
            )
    return found.total


def show_canary(settings: Settings, first: Canary) -> None:
    """Each attachment of a canary as a row of a UI artifact, with its link into QBO."""
    rows = [
        {
            "state": file.state,
            "file": letters(file.path),
            "bytes": file.size_bytes,
            "entity": linked(entity, file.link) if file.link else entity,
            "reason": letters(file.reason),
        }
        for file in first.files
        for entity in (letters(file.entity),)
    ]
    with harmless():
        create_table_artifact(
            rows,
            key=f"canary-{settings.realm_id}",
            description=f"Run {first.summary.run_id}: sent first and downloaded again; "
            f"{first.rest:,} are still to be sent.",
            _sync=True,  # type: ignore[call-arg]
        )


def person_count(statuses: Mapping[str, int], outcomes: Mapping[str, int]) -> int:
    """How many attachments need a person, by the counts of a run."""
    by_status = sum(n for status, n in statuses.items() if status not in _NO_PERSON)
    return by_status + sum(outcomes.get(o.value, 0) for o in NEEDS_PERSON_OUTCOMES)

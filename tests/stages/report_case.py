"""Facts of a run of any size, and whether a page has only what it should have."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

from qbo_attach.core.chain import Done, Recorded, RunEnded, RunStarted
from qbo_attach.core.done import MemoryRows
from qbo_attach.core.report_facts import Facts
from qbo_attach.core.tables import PlanRow, ReconciliationRow, RunLogRow, VerificationRow
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages.report_context import page_context
from qbo_attach.stages.report_tables import Beside, Digested

BEGIN = datetime(2026, 11, 21, 8, tzinfo=timezone.utc)
FULL = ("Bill", "Invoice", "Purchase", "SalesReceipt", "Vendor", "Item", "Bill;Invoice")
RUN = "20261121T080000Z-0a1b2c"


def at(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")[:-6] + "Z"


def made(settings: Settings, rows: int, text: str = "plain", **how: Any) -> dict[str, Any]:
    """What the page of a run over so many files says; `text` stands wherever others write."""
    facts = gathered(rows, text, **how)
    digests = [
        Digested("LOG_DIR", f"{text.replace('/', '-')}.csv", rows, "ab" * 32),
        Digested("DATA_DIR", "attachments_inventory.csv", rows, "cd" * 32),
    ]
    beside = Beside(digests, rows, at(9_999), 40, [text])
    done = MemoryRows()
    for one in facts.draw.drawn():
        done.keep(
            Done(one.key, one.path, text, "Bill", "1", 9, "", "", "", text, "success", RUN, "")
        )
    return page_context(settings, facts, beside, done, BEGIN)


def settings_of(**given: Any) -> Settings:
    return load_settings(
        {"qbo_realm_id": "1234567890", "log_dir": "/log", "data_dir": "/data", **given},
        env_file=None,
    )


def gathered(rows: int, text: str = "plain", environment: str = "sandbox") -> Facts:
    """Rows of every kind, most of them sent, at 490 requests a minute."""
    facts = Facts()
    for n in range(60):
        facts.records(
            [RunStarted(f"earlier-{n}", at(n - 999), "1", environment, text, "/f", "d", text)]
        )
    run = RunStarted(
        RUN, at(0), "1", environment, text, "sftp://u:hidden-7@h/f", "disk", "0.1.0", "", 0
    )
    sent = [n for n in range(rows) if n % 20]
    facts.records([RunStarted(**{**as_dict(run), "plan_rows": len(sent)})])
    for n in sent:
        request = f"q{n // 10}"
        moment = at(n / 10 / 490 * 60)
        facts.records([Recorded(moment, "success", f"{n:064x}", f"{text}/{n}", request)])
    counts = {"success": len(sent)}
    facts.records([RunEnded(RUN, at(rows / 10 / 490 * 60), counts, rows // 10, text)])
    for n in range(rows):
        _file(facts, n, text)
    return facts


def as_dict(run: RunStarted) -> dict[str, Any]:
    return {name: getattr(run, name) for name in RunStarted.__slots__}


def _file(facts: Facts, n: int, text: str) -> None:
    path, client = f"{text}/{n} {text}.pdf", f"{text} {n % 900}"
    if n % 20:
        outcome = "error" if n % 999 == 1 else "success"
        kind = FULL[n % len(FULL)]
        ids = f"{n};{n}" if ";" in kind else str(n)
        facts.planned(
            PlanRow(
                "1", "Txn", "801", text, path, kind, ids, "send", "", text,
                idempotency_key=f"{n:064x}", client=client, size_bytes="50000",
            ),
            outcome,
        )  # fmt: skip
        facts.verified(
            _verified(
                path,
                client,
                "ok",
                f"override by {text}: {text}; entity_inactive: {text}" if n % 77 == 7 else "",
            )
        )
        if outcome == "error":
            row = RunLogRow(
                "", "", "", "", "", "", text, path, "", f"{n % 70 + 6000} {text}", "", outcome
            )
            facts.told(row)
            facts.left_open(row)
            facts.refused(row)
        facts.reconciled(
            ReconciliationRow(
                path, "equal", "", sha256="ab", compared="digest" if n % 400 == 1 else "size"
            )
        )
        return
    status = ("missing_mapping", "excluded", "unsupported_file_type", "unrecognized_path")[
        n // 20 % 4
    ]
    reason = f"override by {text}: {text} {n % 500}" if status == "excluded" else f"{text} {n}"
    facts.verified(_verified(path, client, status, reason))


def _verified(path: str, client: str, status: str, reason: str) -> VerificationRow:
    return VerificationRow("1", "Txn", "801", path, path, "", "", status, reason, client)


class Seen(HTMLParser):
    """A page as a browser takes it: its tags with the names of their attributes, links, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        given = dict(attrs)
        for name in ("href", "src"):
            if name in given:
                self.links.append(given[name] or "")
        if given.get("id"):
            self.ids.append(given["id"] or "")
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))

    def handle_data(self, data: str) -> None:
        self.text += data

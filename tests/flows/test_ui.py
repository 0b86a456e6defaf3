"""What the Prefect UI shows of a run."""

from __future__ import annotations

import json
import re
import threading
from datetime import datetime, timezone
from typing import Any

import pytest

from flows.artifacts import NeedsPerson, summary_text
from flows.progress import percent, told
from qbo_attach.core.model import Artifact
from qbo_attach.core.watching import Pace
from qbo_attach.stages.upload import Progress
from tests.flows.case import REALM, Case, artifacts

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(180)]

NOON = datetime(2026, 1, 3, 12, 0, 5, tzinfo=timezone.utc)


def progress(**given: Any) -> Progress:
    values = {"ended": 0, "to_send": 0, "in_doubt": 0, "requests_sent": 0, "wait_s": 0.0}
    return Progress(**{"expected": 0, **values, **given})


def test_a_run_leaves_its_summary_its_table_and_its_progress(case: Case) -> None:
    state = case.run()
    shown = artifacts(state)
    assert set(shown) == {f"{kind}-{REALM}" for kind in ("summary", "needs-person", "progress")}
    summary: str = shown[f"summary-{REALM}"].data
    for heading in ("Files of the tree: 120", "Of these `ok`: 97"):
        assert heading in summary
    assert sums_of(summary) == [120, 97]
    assert "qbo_attach_runlog.csv" in summary
    assert case.log_dir in summary
    assert float(shown[f"progress-{REALM}"].data) == 100.0
    assert "97 attachments" in shown[f"progress-{REALM}"].description
    table = shown[f"needs-person-{REALM}"]
    assert "19 attachments" in table.description
    rows = table.data if isinstance(table.data, list) else json.loads(table.data)
    assert sum(row["attachments"] for row in rows) == 19
    assert all(row["remedy"] and row["reason"] and row["examples"] for row in rows)


def test_a_dry_run_shows_a_summary_of_the_plan(case: Case) -> None:
    shown = artifacts(case.run(dry_run=True))
    assert set(shown) == {f"summary-{REALM}"}
    assert sums_of(shown[f"summary-{REALM}"].data) == [120, 97]


def sums_of(summary: str) -> list[int]:
    """The sums, each compared with its column."""
    found = []
    for table in re.findall(r"\| \| Attachments.*?\*\*sum\*\*.*?\n", summary, re.DOTALL):
        rows = re.findall(r"^\| (\S+) \| \**([\d,]+)\** \|", table, re.MULTILINE)
        counts = [int(number.replace(",", "")) for _, number in rows]
        assert sum(counts[:-1]) == counts[-1]
        found.append(counts[-1])
    return found


def test_a_server_that_cannot_be_reached_costs_the_picture_and_not_the_run(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no server")

    for name in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(f"flows.artifacts.{name}", unreachable)
    for name in ("create_progress_artifact", "update_progress_artifact"):
        monkeypatch.setattr(f"flows.progress.{name}", unreachable)
    state = case.run()
    assert state.name == "NeedsPerson", state.message
    assert case.uploads() == 93


def test_progress_tells_done_rate_limit_requests_time_left_and_when() -> None:
    pace, now = Pace(), progress()
    for second in range(0, 61, 5):
        now = progress(ended=second * 80, requests_sent=second * 8, expected=30_000)
        pace.note(float(second), now.requests_sent, now.ended)
    text = told(now, pace, 490, NOON)
    assert text == (
        "**4,800 of 30,000** attachments · 480 requests a minute of 490 allowed (4,800 "
        "attachments) · 480 requests used · about 5 min left · as of 12:00:05 UTC"
    )
    assert percent(now) == 16.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"wait_s": 44.4, "expected": 9}, "QuickBooks asked to wait 44 s more"),
        ({"ended": 7, "expected": 9, "in_doubt": 2}, "became of 2 in doubt"),
        ({"expected": 9}, "time left: not known yet"),
        ({}, "**0 of 0**"),
    ],
)
def test_progress_says_what_the_run_waits_for(given: dict[str, Any], sentence: str) -> None:
    assert sentence in told(progress(**given), Pace(), 490, NOON)


def test_what_needs_a_person_has_at_most_a_thousand_rows_that_count_all() -> None:
    found = NeedsPerson()
    for number in range(30_000):
        found.add("missing_mapping", f"the mapping has no transaction {number}", f"{number}/a.pdf")
        found.add("missing_mapping", f"the mapping has no transaction {number}", f"{number}/b.pdf")
    found.add("error", "6240 duplicate", "c.pdf")
    rows = found.rows("s3://bucket/log")
    assert len(rows) == 1_000
    assert sum(int(row["attachments"]) for row in rows) == found.total == 60_001
    assert rows[0]["reason"] == "and other reasons"
    assert rows[-1]["what"] == "more"
    assert "s3://bucket/log" in str(rows[-1]["remedy"])
    assert str(rows[1]["examples"]).count("\n") == 1


def test_places_are_links_where_a_browser_can_follow_one() -> None:
    tables = [
        Artifact("a.csv", "/srv/my log/a.csv", "", 3),
        Artifact("b.csv", "s3://b/b.csv", "", 4),
    ]
    text = summary_text(
        "Title", notes=["first"], statuses={}, outcomes={}, logs=tables, log_dir="s3://b"
    )
    assert "[a.csv](file:///srv/my%20log/a.csv) | 3 |" in text
    assert "| `s3://b/b.csv` | 4 |" in text


def test_no_thread_of_the_progress_outlives_its_run(case: Case) -> None:
    case.run()
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_a_run_logs_no_line_a_file(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        case.run()
    lines = [r for r in caplog.records if r.name.startswith(("prefect", "qbo_attach", "httpx"))]
    assert len(lines) < 60  # 120 files

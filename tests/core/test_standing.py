"""How a run log stands, judged from its last segment and its latest run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from qbo_attach.core.chain import Holder, Recorded, RunEnded, RunStarted, SegmentHeader
from qbo_attach.core.standing import LatestRun, standing

NOW = datetime(2026, 3, 7, 12, 0, 0, tzinfo=timezone.utc)
STARTED = RunStarted("R2", "2026-03-07T11:00:00Z", "1", "sandbox", "Acme", "/f", "disk", "0", "", 9)


def header(lease_until: str = "2026-03-07T12:00:30Z") -> SegmentHeader:
    return SegmentHeader(7, "R2", Holder("h", 12), "2026-03-07T11:59:30Z", lease_until, "n")


def told(last: SegmentHeader | None, *records: Any, **how: Any) -> Any:
    run = LatestRun()
    run.take(records)
    known = {"alive": None, "now": NOW, "in_doubt": 0, "in_qbo": 3, **how}
    return standing(realm_id="1", last=last, run=run, **known)


@pytest.mark.parametrize(
    ("lease_until", "alive", "state"),
    [
        ("2026-03-07T12:00:30Z", None, "running"),
        ("2026-03-07T11:59:59Z", True, "running"),
        ("2026-03-07T12:00:30Z", False, "cut_off"),
        ("2026-03-07T11:59:59Z", None, "silent"),
        ("", None, "ended"),
        ("", False, "ended"),
    ],
)
def test_the_state_follows_from_lease_process_and_time(
    lease_until: str, alive: bool | None, state: str
) -> None:
    assert told(header(lease_until), STARTED, alive=alive).state == state


def test_without_a_segment_there_was_no_run() -> None:
    found = told(None)
    assert (found.state, found.run_id) == ("no_run", "")
    assert "qbo-attach plan" in found.next_step


def test_counts_are_those_of_the_latest_run_so_far_and_skips_come_with_its_end() -> None:
    outcome = Recorded("t", "success", "k", "p")
    again = Recorded("t", "not_sent", "k2", "p2")
    found = told(header(), outcome, STARTED, outcome, again)
    assert found.counts == {"success": 1}
    assert found.last_segment_age_s == 30.0
    end = RunEnded("R2", "t2", {"success": 1, "skipped_already_uploaded": 8}, 5)
    ended = told(header(""), STARTED, outcome, end)
    assert ended.counts == {"skipped_already_uploaded": 8, "success": 1}
    assert (ended.ended_at, ended.requests_sent) == ("t2", 5)


@pytest.mark.parametrize(
    ("lease_until", "alive"),
    [
        ("2026-03-07T12:00:30Z", True),
        ("2026-03-07T12:00:30Z", False),
        ("2026-03-07T11:59:59Z", None),
    ],
)
def test_after_an_undo_that_did_not_end_the_next_step_is_the_undo(
    lease_until: str, alive: bool | None
) -> None:
    undo = replace(STARTED, run_id="R3", undoes="R2")
    said = told(header(lease_until), STARTED, undo, alive=alive).next_step
    assert "qbo-attach undo --run R2" in said
    assert "un qbo-attach run" not in said


@pytest.mark.parametrize(
    ("counts", "stopped", "in_doubt", "said"),
    [
        ({"success": 9}, "", 0, "Nothing"),
        ({"success": 8, "error": 1}, "", 0, "1 rows of LOG_DIR/qbo_attach_errors.csv"),
        ({"success": 8, "not_sent": 1, "error": 1}, "", 0, "qbo-attach run again"),
        ({"success": 8}, "", 1, "qbo-attach run again"),
        ({"success": 8, "not_sent": 1}, "throttled", 0, "Mend what stopped it"),
    ],
)
def test_what_to_do_next_follows_from_the_end(
    counts: dict[str, int], stopped: str, in_doubt: int, said: str
) -> None:
    end = RunEnded("R2", "t2", counts, 5, stopped)
    assert said in told(header(""), STARTED, end, in_doubt=in_doubt).next_step

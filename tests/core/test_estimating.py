"""What the next upload would take, reckoned from its plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qbo_attach.cli.estimates import estimate_lines
from qbo_attach.core.chain import GroupFile, Intent, Recorded, RunStarted
from qbo_attach.core.estimating import Measured, Tally, estimate
from qbo_attach.core.tables import PlanRow, VerificationRow

ROW = PlanRow("1", "Txn", "80-1", "a.pdf", "Attach/C/Txn/80-1/a.pdf", "Bill", "1", "send", "")


def plan_row(number: int, **cells: str) -> PlanRow:
    given = {
        "file_path": f"{number}.pdf",
        "sent_file_name": f"{number}.pdf",
        "idempotency_key": str(number),
        "size_bytes": "1000",
        "client": "C",
        **cells,
    }
    return ROW._replace(**given)


def tally_of(*rows: PlanRow, files_per_request: int | None = 10) -> Tally:
    tally = Tally(files_per_request)
    for row in rows:
        tally.planned(row)
    tally.close()
    return tally


def estimated(tally: Tally, **how: Any) -> Any:
    given = {"requests_per_min": 60, "asks_existing": True, "measured": None, **how}
    return estimate(tally, groups_in_doubt=given.pop("groups_in_doubt", []), **given)


def measured(files: int, seconds: int, size_bytes: int) -> Measured:
    """One file a request."""
    run = Measured()
    run.take([RunStarted("R1", "t", "1", "sandbox", "", "", "", "")])
    at = "2026-03-07T12:00:00.000Z"
    for number in range(files):
        file = GroupFile(str(number), f"{number}", f"{number}", "", size_bytes, "", "", "Bill", "1")
        run.take([Intent(f"q{number}", "b", 0, at, at, "tag", (file,))])
        end = f"2026-03-07T12:{seconds // 60:02}:{seconds % 60:02}.000Z"
        run.take([Recorded(end, "success", str(number), f"{number}", f"q{number}")])
    return run


def test_counts_are_by_type_client_and_reason_and_cover_what_is_not_planned() -> None:
    tally = Tally(10)
    tally.planned(plan_row(1))
    tally.planned(plan_row(2, action="existing", reason="id 7 is it", qbo_entity_type="Invoice"))
    tally.planned(plan_row(3, action="refused", reason="refused before: 6000 no such thing"))
    left = VerificationRow("", "Txn", "", "b", "b", "", "", "missing_mapping", "x", "D", "5")
    tally.left(left)
    tally.left(left._replace(status="excluded", reason="junk"))
    tally.left(left._replace(status="ok"))
    tally.close()
    found = estimated(tally)
    assert found.by("total") == {
        "": {"send": 1, "existing": 1, "refused": 1, "missing_mapping": 1, "excluded": 1}
    }
    assert found.by("entity_type")["Bill"] == {"send": 1, "refused": 1}
    assert found.by("client")["D"] == {"missing_mapping": 1, "excluded": 1}
    assert set(found.by("reason")) == {
        "",
        "QBO has it already",
        "refused before: 6000",
        "missing_mapping",
        "junk",
    }
    assert found.bytes_to_send == 1_000
    assert sum(int(row.number) for row in found.rows() if row.by == "client") == 5


def test_reasons_that_are_many_are_told_as_others() -> None:
    rows = [plan_row(n, action="changed", reason=f"reason {n}") for n in range(300)]
    reasons = estimated(tally_of(*rows)).by("reason")
    assert len(reasons) == 101
    assert reasons["(others)"] == {"changed": 200}


@pytest.mark.parametrize(
    ("rows", "per_request", "requests"),
    [
        ([plan_row(n) for n in range(25)], 10, 3),
        ([plan_row(n) for n in range(25)], 1, 25),
        ([plan_row(n) for n in range(25)], None, 3),
        ([plan_row(n, size_bytes="6000000") for n in range(4)], 10, 4),
        ([plan_row(n, sent_file_name="same.pdf") for n in range(4)], 10, 4),
        ([plan_row(n, action="skip") for n in range(4)], 10, 0),
    ],
)
def test_requests_are_packed_as_the_upload_packs_them(
    rows: list[PlanRow], per_request: int | None, requests: int
) -> None:
    assert tally_of(*rows, files_per_request=per_request).upload_requests == requests


def test_reads_count_the_company_the_check_and_the_looks() -> None:
    tally = tally_of(*(plan_row(n, qbo_entity_id=str(n)) for n in range(81)))
    assert estimated(tally).metered_reads == 1 + 2 + 3
    assert estimated(tally, asks_existing=False).metered_reads == 1
    assert estimated(tally_of(), groups_in_doubt=[10, 50]).metered_reads == 1 + 1 + 2
    assert estimated(tally_of()).metered_reads == 0


def test_without_a_measurement_the_rate_is_the_least_and_bandwidth_is_unknown() -> None:
    found = estimated(tally_of(*(plan_row(n) for n in range(100))))
    assert (found.bound, found.bound_known) == ("rate", False)
    assert found.seconds == found.upload_requests + found.metered_reads
    assert "at least" in found.sentences()[1]
    assert "bandwidth unknown" in found.sentences()[1]


def test_a_run_that_the_line_held_back_tells_the_bandwidth() -> None:
    slow = measured(20, 100, 1_000)  # 200 bytes a second, 12 requests a minute of 60
    found = estimated(tally_of(*(plan_row(n) for n in range(100))), measured=slow)
    assert (found.bound, found.bound_known) == ("bandwidth", True)
    assert found.seconds == 500.0
    assert "R1" in found.sentences()[1]


def test_a_run_that_the_rate_held_back_tells_only_what_the_line_carried_at_least() -> None:
    quick = measured(100, 100, 1_000)  # 1,000 bytes a second at 60 requests a minute
    small = tally_of(*(plan_row(n, size_bytes="10") for n in range(100)))
    found = estimated(small, measured=quick)
    assert (found.bound, found.bound_known) == ("rate", True)
    large = tally_of(*(plan_row(n, size_bytes="100000") for n in range(100)))
    found = estimated(large, measured=quick)
    assert (found.bound, found.bound_known) == ("rate", False)


def test_a_short_run_measures_nothing() -> None:
    assert not measured(20, 5, 1_000).tells
    assert not measured(5, 100, 1_000).tells
    assert not replace(measured(20, 100, 1_000), last_at="").tells


def test_nothing_to_send_takes_nothing() -> None:
    found = estimated(tally_of(plan_row(1, action="skip")))
    assert (found.seconds, found.bound, found.bound_known) == (0.0, "nothing", True)
    assert found.sentences() == ("Nothing is to be sent.",)


def test_a_hostile_client_cannot_write_lines_or_steer_the_terminal() -> None:
    lines = list(estimate_lines(estimated(tally_of(plan_row(1, client="x\n  send 9\x1b[2J")))))
    assert "  x\\n  send 9\\x1b[2J: send 1" in lines
    assert not any("\n" in line or "\x1b" in line for line in lines)

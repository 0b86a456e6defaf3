"""What the report says: sums that hold, groups that stay small, rates, draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.chain import Record, Recorded, RunEnded, RunStarted
from qbo_attach.core.masking import masked_options, masked_url
from qbo_attach.core.model import (
    NEEDS_PERSON_OUTCOMES,
    RUN_AGAIN_OUTCOMES,
    Outcome,
    Status,
)
from qbo_attach.core.remedies import MEANINGS, REMEDIES
from qbo_attach.core.report_facts import WHEREABOUTS_OF, Facts, Reconciliation, Whereabouts
from qbo_attach.core.report_groups import OTHERS, Crosstab, Draw, Groups, fault_code
from qbo_attach.core.report_rate import Rate, chart
from qbo_attach.core.report_verdict import bar, sums_of, verdict
from qbo_attach.core.tables import PlanRow, ReconciliationRow, RunLogRow, VerificationRow

BEGIN = datetime(2026, 11, 21, 8, tzinfo=timezone.utc)


def at(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")[:-6] + "Z"


def started(run_id: str, undoes: str = "") -> RunStarted:
    return RunStarted(
        run_id, at(0), "1", "sandbox", "Acme", "/files", "disk", "0.1.0", undoes=undoes
    )


def outcome(path: str, what: str, second: float = 0, request: str = "") -> Recorded:
    return Recorded(at(second), what, f"key of {path}", path, request_id=request)


def planned(path: str, client: str = "A", kind: str = "Bill") -> PlanRow:
    return PlanRow(
        "1", "Txn", "801", path, path, kind, "7", "send", "", path,
        idempotency_key=f"key of {path}", client=client, size_bytes="10",
    )  # fmt: skip


def verified(path: str, status: str, reason: str = "", client: str = "A") -> VerificationRow:
    return VerificationRow("1", "Txn", "801", path, path, "", "", status, reason, client)


def told(what: str, error: str, path: str = "a.pdf") -> RunLogRow:
    return RunLogRow("", "", "", "", "", "", path, path, "", error, "", what)


def facts_of(records: Iterable[Record], plan: Iterable[tuple[PlanRow, str]] = ()) -> Facts:
    facts = Facts()
    facts.records(records)
    for row, what in plan:
        facts.planned(row, what)
    return facts


def test_every_outcome_has_whereabouts() -> None:
    assert set(WHEREABOUTS_OF) == {one.value for one in Outcome}


def test_what_leaves_something_to_do_has_a_remedy_and_all_else_a_meaning() -> None:
    to_do = {s.value for s in Status if s not in (Status.OK, Status.EXCLUDED)}
    to_do |= {o.value for o in NEEDS_PERSON_OUTCOMES | RUN_AGAIN_OUTCOMES}
    assert set(REMEDIES) == to_do
    assert {s.value for s in Status} | {o.value for o in Outcome} <= to_do | set(MEANINGS)


@given(
    st.lists(st.tuples(st.sampled_from(Outcome), st.sampled_from("ABC"))),
    st.lists(
        st.tuples(
            st.sampled_from([s for s in Status if s is not Status.OK]), st.sampled_from("ABC")
        )
    ),
    st.sets(st.integers(0, 20)),
)
def test_every_file_is_counted_once_by_whereabouts_and_by_client(
    plan: list[tuple[Outcome, str]], others: list[tuple[Status, str]], undone: set[int]
) -> None:
    records: list[Record] = [started("r1"), started("u1", undoes="r1")]
    records += [outcome(f"{n}.pdf", Outcome.DELETED) for n in undone]
    facts = facts_of(
        records, ((planned(f"{n}.pdf", client), o.value) for n, (o, client) in enumerate(plan))
    )
    for n, (status, client) in enumerate(others):
        facts.verified(verified(f"other {n}.pdf", status.value, "why", client))
    total = len(plan) + len(others)
    assert facts.whereabouts.total() == total
    assert sum(counts.total() for _, counts in facts.by_client.rows(99)) == total
    assert facts.outcomes.total() == len(plan)


def test_what_an_undo_deleted_is_taken_back_until_a_later_run() -> None:
    undo: list[Record] = [
        started("r1"), started("u1", undoes="r1"), outcome("a.pdf", Outcome.DELETED),
    ]  # fmt: skip
    plan = [(planned("a.pdf"), "success"), (planned("b.pdf"), "success")]
    facts = facts_of(undo, plan)
    assert facts.whereabouts == {Whereabouts.TAKEN_BACK: 1, Whereabouts.IN_QBO: 1}
    assert facts.outcomes == {"success": 2}
    assert [one.path for one in facts.draw.drawn()] == ["b.pdf"]
    assert facts_of([*undo, started("r2")], plan).whereabouts == {Whereabouts.IN_QBO: 2}


def test_the_latest_run_is_never_an_undo_and_ids_of_all_runs_are_kept() -> None:
    facts = facts_of([started("r1"), started("u1", undoes="r1")])
    assert facts.latest is not None
    assert facts.latest.started.run_id == "r1"
    assert list(facts.run_ids) == ["r1", "u1"]


def test_a_run_that_was_cut_off_has_no_end_of_another_run() -> None:
    facts = facts_of([started("r1"), started("r2"), RunEnded("r2", at(60), {"success": 1}, 7)])
    assert [run.ended_at for run in facts.runs] == ["", at(60)]


def test_the_rate_is_of_the_latest_run_that_sent_something() -> None:
    sent: list[Record] = [
        started("r1"),
        outcome("a", "success", 1, "q1"), outcome("b", "success", 1, "q1"),
        outcome("c", "error", 2, "q2"),
        started("r2"), outcome("a", "file_missing", 9),
    ]  # fmt: skip
    found = facts_of(sent).rate
    assert found is not None
    run_id, rate = found
    assert (run_id, rate.requests, rate.files) == ("r1", 2, 3)
    assert facts_of([started("r1")]).rate is None


@given(st.lists(st.integers(0, 3 * 86_400), min_size=1, max_size=300))
def test_a_run_of_days_keeps_its_sums_in_few_spans(moments: list[int]) -> None:
    rate = Rate()
    for moment in moments:
        rate.add(at(moment), requests=1, files=3)
    spans = rate.requests_per_min()
    assert len(spans) <= 97
    assert sum(per_min for _, per_min in spans) * rate.width_s / 60 == pytest.approx(len(moments))
    assert sum(n for _, n in rate.files_per_min()) * rate.width_s / 60 == pytest.approx(
        3 * len(moments)
    )


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=97), st.sampled_from([None, 1.0, 490.0]))
def test_a_chart_stays_within_its_box(rates: list[float], limit: float | None) -> None:
    drawn = chart([(60 * n, rate) for n, rate in enumerate(rates)], 60, limit)
    numbers = [float(n) for n in drawn.area.replace("V", " ").replace("H", " ").strip("MZ").split()]
    assert all(0 <= number <= drawn.width for number in numbers)
    assert all(0 <= y <= drawn.bottom for y, _ in drawn.ticks_y)
    assert 2 <= len(drawn.ticks_y) <= 7
    assert drawn.limit_y is None or 0 <= drawn.limit_y <= drawn.bottom


def test_a_limit_is_drawn_where_it_does_not_flatten_the_curve() -> None:
    points = [(0, 480.0), (60, 470.0)]
    assert chart(points, 60, 490).limit_y is not None
    assert chart(points, 60, 60_000).limit_y is None


def test_reasons_that_differ_in_ids_alone_are_one_and_those_of_other_codes_are_not() -> None:
    groups = Groups()
    groups.add("missing_mapping", "the mapping has no transaction F84912", "a.pdf")
    groups.add("missing_mapping", "the mapping has no transaction 12-99", "b.pdf")
    groups.add("error", "6000 no Bill 7", "c.pdf")
    groups.add("error", "6041 no Bill 7", "d.pdf")
    [one], more = groups.of("missing_mapping", 5)
    assert (one.count, one.same, one.examples, more) == (2, False, ["a.pdf", "b.pdf"], 0)
    assert len(groups.of("error", 5)[0]) == 2


def test_any_number_of_different_reasons_and_labels_stays_small_and_is_counted() -> None:
    groups, table = Groups(exact=True), Crosstab()
    for n in range(6_000):
        groups.add("excluded", f"reason {n}", "a.pdf")
        table.add(f"client {n}", "in_qbo")
    shown, more = groups.of("excluded", 10)
    assert sum(group.count for group in shown) + more == 6_000
    rows = table.rows(10)
    assert len(rows) == 10
    assert rows[-1][0] == OTHERS
    assert sum(counts.total() for _, counts in rows) == 6_000
    assert table.labels == "more than 5,000"


@given(st.permutations(range(60)))
def test_a_draw_does_not_depend_on_the_order_and_takes_every_type(order: list[int]) -> None:
    draw, sorted_draw = Draw("seed", 25), Draw("seed", 25)
    for one, numbers in ((draw, order), (sorted_draw, range(60))):
        for n in numbers:
            kind = "Vendor" if n == 59 else "Bill" if n % 2 else "Invoice"
            one.offer(f"{n}.pdf", f"{n}.pdf", (kind, str(n)), f"key {n}")
    assert draw.drawn() == sorted_draw.drawn()
    assert len({one.path for one in draw.drawn()}) == 25
    assert {one.qbo_entity_type for one in draw.drawn()} == {"Bill", "Invoice", "Vendor"}


def test_decisions_keep_each_persons_words() -> None:
    facts = Facts()
    for who in ("user1", "user2"):
        facts.verified(verified("a.pdf", "excluded", f"override by {who}: scanned twice"))
    assert [group.count for group in facts.decisions.of("excluded", 9)[0]] == [1, 1]


def test_errors_count_by_code_of_the_latest_run_and_of_all_and_remarks_apart() -> None:
    facts = Facts()
    for _ in range(3):
        facts.told(told("error", "6041 Invalid file. Open it."))
    facts.told(told("success", "QBO shows 9 bytes where 10 were sent"))
    asked, twin = (
        told("error", "6041 Invalid file. Open it."),
        told("error", "6041 of another file"),
    )
    for row in (asked, twin, told("in_doubt", "")):
        facts.left_open(row)
    facts.refused(asked)
    assert (facts.faults.counts, facts.faults_of_all) == ({"6041": 1}, {"6041": 3})
    assert facts.open.counts == {"error": 2, "in_doubt": 1}
    facts.verified(verified("b.pdf", "ok", "entity_inactive: Customer 7"))
    assert facts.remarks.counts == {"success": 1, "entity_inactive": 1}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("6000 Business Validation: Bill 7. Mend it.", "6000"),
        ("QBO: 003001 throttled (HTTP 429).", "003001"),
        ("tls no handshake", "tls"),
        ("its answer was lost", ""),
        ("7 files", ""),
        ("", ""),
    ],
)
def test_a_fault_is_known_by_the_code_it_begins_with(error: str, code: str) -> None:
    assert fault_code(error) == code


def compared(state: str, how: str = "digest") -> ReconciliationRow:
    return ReconciliationRow("a.pdf", state, "", sha256="ab", compared=how)


def test_a_sample_without_a_defect_states_its_bound() -> None:
    found = Reconciliation()
    for n in range(170_000):
        found.add(compared("equal", "digest" if n < 400 else "size"))
    assert "400 drawn of 170,000" in found.proof
    assert "at most 0.75% of all" in found.proof
    assert (found.differences, found.contradictions) == (0, 0)


def test_what_was_altered_or_cannot_be_read_counts_as_a_defect_of_the_sample() -> None:
    found = Reconciliation()
    for row in (compared("equal"), compared("altered"), compared("unreadable", "size")):
        found.add(row)
    found.add(ReconciliationRow("", "unknown", ""))
    found.add(compared("altered", "size"))
    assert (found.population, found.draws, found.defects) == (3, 3, 2)
    assert (found.differences, found.contradictions) == (4, 3)
    assert found.proof.endswith("2 differ.")
    assert Reconciliation().proof == "No bytes were compared."


def test_urls_and_options_show_no_secret() -> None:
    assert masked_url("sftp://ann:hunter2@host/files") == "sftp://***@host/files"
    assert (
        masked_url("https://h/t.csv?X-Amz-Signature=abc,s3://b/k") == "https://h/t.csv?***,s3://b/k"
    )
    assert masked_url("/plain/what? a@b/c") == "/plain/what? a@b/c"
    options = {
        "key": "AKID", "secret": "s3cr3t", "endpoint_url": "https://u:pw@store",
        "client_kwargs": {"aws_session_token": "tok", "region_name": "eu"}, "anon": False,
        "hosts": ["https://a:b@c"],
    }  # fmt: skip
    shown = masked_options(options)
    assert not any(word in shown for word in ("AKID", "s3cr3t", "pw", 'tok"', "a:b"))
    assert '"region_name": "eu"' in shown


def concluded(*outcomes: str, ended: bool = True, stopped: str = "", missing: int = 0) -> list[str]:
    """Tone, headline and sentence of a run that came to these outcomes."""
    run = replace(started("r1"), plan_rows=len(outcomes))
    end = RunEnded("r1", at(9), {}, 1, stopped)
    facts = facts_of([run, end] if ended else [run])
    for n, what in enumerate(outcomes):
        facts.planned(planned(f"{n}.pdf"), what)
        facts.verified(verified(f"{n}.pdf", "ok"))
    for _ in range(missing):
        facts.reconciled(compared("missing"))
    return list(verdict(facts, list(sums_of(facts, len(outcomes)))))


def test_the_sentence_on_top_tells_the_worst_that_holds() -> None:
    assert concluded("success", "adopted")[:2] == ["good", "Complete: every file is accounted for"]
    assert concluded("success", "error")[1] == "Complete, but for 1 that need a person"
    assert concluded("success", "error", "in_doubt")[1] == "Not finished: run again"
    assert "cut off" in concluded("success", ended=False)[2]
    assert concluded("success", stopped="Log in again.")[2] == "Log in again."
    assert concluded("success", missing=3)[:2] == ["bad", "QBO differs from the run log in 3"]
    assert verdict(Facts(), [])[1] == "Nothing was sent yet"


def test_a_sum_that_does_not_hold_is_the_sentence_on_top() -> None:
    facts = facts_of([started("r1")])
    facts.verified(verified("a.pdf", "ok"))
    sums = list(sums_of(facts, 2))
    assert [one.holds for one in sums] == [False, False, True, False]
    assert verdict(facts, sums)[0] == "bad"


@given(st.dictionaries(st.sampled_from(list(Whereabouts)), st.integers(0, 10**6)))
def test_the_bar_is_as_wide_as_all_files(counts: dict[Whereabouts, int]) -> None:
    parts = list(bar(counts_of(counts)))
    assert sum(width for _, _, width in parts) == pytest.approx(
        1_000 if any(counts.values()) else 0, abs=0.1
    )


def counts_of(counts: dict[Whereabouts, int]) -> Counter[str]:
    return Counter({one.value: n for one, n in counts.items()})

"""The comparison finds each way in which a run can differ from what was expected."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qbo_attach.core.tables import RunLogRow, VerificationRow
from qbo_attach.sample import ExpectedRow, compare

EXPECTED = [
    ExpectedRow("Attach/C/Txn/80A1/a.pdf", "ok", "success", "Bill", "1", "a.pdf", "aa", ""),
    ExpectedRow("Attach/C/Txn/80A1/b.tiff", "ok", "success", "Bill", "1", "b.tif", "bb", "tiff"),
    ExpectedRow("Attach/C/Txn/80A1/x/a.pdf", "ok", "duplicate_content", "Bill", "1", "", "aa", ""),
    ExpectedRow("Attach/C/Txn/80A1/\udcfc.pdf", "invalid_file_name", "", "", "", "", "cc", ""),
]


class Run:
    """A run that went as expected, to be spoilt."""

    def __init__(self, *, second: bool = False) -> None:
        self.second = second
        self.verification = [
            VerificationRow(
                *("A1", "Txn", "80A1", e.file_path.rpartition("/")[2]),
                # As the table shows it, once written and read.
                e.file_path.encode("utf-8", "backslashreplace").decode(),
                *(e.qbo_entity_type, e.qbo_entity_id, e.status, "why"),
            )
            for e in EXPECTED
        ]
        self.runlog = [self._row(e, e.outcome) for e in EXPECTED if e.outcome]
        if second:
            again = ("skipped_already_uploaded", "skipped_already_uploaded", "duplicate_content")
            self.runlog = self.runlog[:2] + [
                self._row(e, outcome) for e, outcome in zip(EXPECTED[:3], again, strict=True)
            ]
        self.ledger: list[dict[str, object]] = [
            {
                "Id": str(number),
                "FileName": e.sent_file_name,
                "sha256": e.sha256,
                "refs": [{"type": "Bill", "value": "1"}],
            }
            for number, e in enumerate(EXPECTED[:2])
        ]

    @staticmethod
    def _row(e: ExpectedRow, outcome: str) -> RunLogRow:
        return RunLogRow(
            *("2026-01-01T00:00:00Z", "A1", "Txn", "80A1", e.qbo_entity_type, e.qbo_entity_id),
            *(e.file_path.rpartition("/")[2], e.file_path, "200", "", "tid", outcome),
            sha256=e.sha256 if outcome == "success" else "",
            sent_file_name=e.sent_file_name,
        )

    def differences(self) -> list[str]:
        return compare(
            EXPECTED, self.verification, self.runlog, self.ledger, second_run=self.second
        )


@pytest.mark.parametrize("second", [False, True])
def test_a_run_as_expected_has_no_differences(second: bool) -> None:
    assert Run(second=second).differences() == []


def test_a_second_run_that_left_only_its_own_rows_is_as_expected() -> None:
    run = Run(second=True)
    run.runlog = run.runlog[2:]
    assert run.differences() == []


def _spoil_verification(run: Run, place: int, **cells: str) -> None:
    run.verification[place] = run.verification[place]._replace(**cells)


def _spoil_runlog(run: Run, place: int, **cells: str) -> None:
    run.runlog[place] = run.runlog[place]._replace(**cells)


SPOILT: dict[str, tuple[Callable[[Run], object], str]] = {
    "a row missing": (lambda r: r.verification.pop(), "is not in the verification log"),
    "a row twice": (lambda r: r.verification.append(r.verification[0]), "2 rows of verification"),
    "a stranger": (
        lambda r: r.verification.append(r.verification[0]._replace(file_path="Attach/z.pdf")),
        "'Attach/z.pdf' is in the verification log, and not in the sample",
    ),
    "another status": (
        lambda r: _spoil_verification(r, 1, status="missing_mapping"),
        "(tiff) has status missing_mapping (why) instead of ok",
    ),
    "another entity": (
        lambda r: _spoil_verification(r, 0, qbo_entity_id="2"),
        "goes to Bill:2 instead of Bill:1",
    ),
    "no outcome": (lambda r: r.runlog.pop(0), "has no outcome instead of success"),
    "another outcome": (
        lambda r: _spoil_runlog(r, 0, outcome="error", error="6041"),
        "has outcome error (6041) instead of success",
    ),
    "a twin sent": (
        lambda r: _spoil_runlog(r, 2, outcome="success"),
        "has outcome success () instead of duplicate_content",
    ),
    "a refused file in the run log": (
        lambda r: r.runlog.append(
            r.runlog[0]._replace(file_path=EXPECTED[3].file_path, outcome="error")
        ),
        "has outcome error () instead of none",
    ),
    "sent twice": (lambda r: r.runlog.append(r.runlog[0]), "is done 2 times"),
    "a stranger in the run log": (
        lambda r: r.runlog.append(r.runlog[0]._replace(file_path="Attach/z.pdf")),
        "'Attach/z.pdf' is in the run log, and not in the sample",
    ),
    "another sent name": (
        lambda r: _spoil_runlog(r, 1, sent_file_name="b.tiff"),
        "has sent name 'b.tiff' in the run log instead of 'b.tif'",
    ),
    "another digest": (
        lambda r: _spoil_runlog(r, 0, sha256="zz"),
        "has digest 'zz' in the run log instead of 'aa'",
    ),
    "another entity in the run log": (
        lambda r: _spoil_runlog(r, 0, qbo_entity_type="Invoice"),
        "has entity 'Invoice:1' in the run log instead of 'Bill:1'",
    ),
    "lost": (lambda r: r.ledger.pop(), "holds 'b.tif' under Bill:1 (tiff) not at all"),
    "doubled": (lambda r: r.ledger.append(r.ledger[0]), "holds 'a.pdf' under Bill:1 2 times"),
    "other bytes": (
        lambda r: r.ledger[1].update(sha256="zz"),
        "holds 'b.tif' under Bill:1 (tiff) with other bytes",
    ),
    "an extra": (
        lambda r: r.ledger.append({"FileName": "q.pdf", "sha256": "q", "refs": []}),
        "holds 'q.pdf' under no entity, which was not to be sent",
    ),
    "hung on two entities": (
        lambda r: r.ledger[0].update(
            refs=[{"type": "Bill", "value": "1"}, {"type": "Bill", "value": "2"}]
        ),
        "holds 'a.pdf' under Bill;Bill:1;2, which was not to be sent",
    ),
    "refs that are none": (
        lambda r: r.ledger[0].update(refs="Bill"),
        "holds 'a.pdf' under no entity, which was not to be sent",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_the_comparison_says_what_differs(name: str) -> None:
    spoil, sentence = SPOILT[name]
    run = Run()
    spoil(run)
    said = run.differences()
    assert any(sentence in line for line in said), said


def test_a_second_run_that_sent_again_is_a_difference() -> None:
    run = Run(second=True)
    _spoil_runlog(run, 2, outcome="success")
    said = run.differences()
    assert any("instead of skipped_already_uploaded" in line for line in said)
    assert any("is done 2 times" in line for line in said)


def test_an_adopted_file_is_a_difference_unless_answers_were_to_be_lost() -> None:
    run = Run()
    _spoil_runlog(run, 1, outcome="adopted")
    assert run.differences() == [
        "'Attach/C/Txn/80A1/b.tiff' (tiff) has outcome adopted () instead of success."
    ]
    tables = (EXPECTED, run.verification, run.runlog, run.ledger)
    assert compare(*tables, adopted_too=True) == []
    run.runlog.append(run.runlog[1])
    said = compare(*tables, adopted_too=True)
    assert said == ["'Attach/C/Txn/80A1/b.tiff' is done 2 times."]

"""The fault matrix: every fault of the fake company at every place of a run."""

from __future__ import annotations

import pytest

from qbo_attach.fake_qbo.faults import KINDS
from qbo_attach.qbo.multipart import MarkerField
from tests.matrix.cells import CLASSIFIED, Cell, Verdict, cells, judge
from tests.matrix.page import PAGE, render

pytestmark = pytest.mark.timeout(240)  # much at once, on a machine that may be busy


def wrong(results: list[tuple[Cell, Verdict]]) -> dict[tuple[str, str, str, int], tuple[str, ...]]:
    return {(c.table, c.kind, c.place, c.per_request): v.wrong for c, v in results if v.wrong}


@pytest.mark.proof
def test_no_fault_loses_or_doubles_a_file_or_ends_a_run_unexplained_and_docs_tell_the_cells() -> (
    None
):
    results = [(cell, judge(cell)) for cell in cells()]
    assert wrong(results) == {}
    assert PAGE.read_text("utf-8") == render(results), "run python -m tests.matrix"


def test_every_fault_of_the_fake_strikes_uploads_in_nine_cells() -> None:
    struck = [cell.kind for cell in cells() if cell.table == "uploads"]
    assert {kind: struck.count(kind) for kind in KINDS} == dict.fromkeys(KINDS, 9)


def test_what_the_token_endpoint_answers_is_never_a_files_refusal() -> None:
    """A 403 or 400 there says nothing of the file that waits for its token."""
    renewals = [(cell, judge(cell)) for cell in cells() if cell.table == "refreshes"]
    assert [cell.kind for cell, verdict in renewals if verdict.end == CLASSIFIED] == []


@pytest.mark.proof
@pytest.mark.parametrize(
    ("marker", "replay", "items_order"),
    [
        ("tag", "off", "shuffled"),
        ("note", "off", "sent"),
        ("none", "on", "shuffled"),
        ("none", "off", "sent"),
    ],
)
def test_the_same_holds_whatever_the_company_and_the_marker_are(
    marker: MarkerField, replay: str, items_order: str
) -> None:
    switches = {"replay": replay, "items_order": items_order}
    uploads = [cell for cell in cells() if cell.table == "uploads"]
    verdicts = [(cell, judge(cell, marker=marker, switches=switches)) for cell in uploads]
    assert wrong(verdicts) == {}

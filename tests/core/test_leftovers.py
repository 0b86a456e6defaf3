"""Which files are not in QBO, and what a person can decide about them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence

import pytest
from openpyxl import Workbook, load_workbook

from qbo_attach.core.chain import Facts, GroupFile, Intent, Recorded
from qbo_attach.core.entity_types import built_in_entity_types
from qbo_attach.core.errors import NotStartedError, TableError
from qbo_attach.core.exceptions_book import exceptions_book
from qbo_attach.core.history import History
from qbo_attach.core.leftovers import LeftoverRow, Undecideds, find_leftovers
from qbo_attach.core.overrides import Overrides, read_overrides
from qbo_attach.core.tables import PlanRow, VerificationRow

TYPES = built_in_entity_types()


def verified(path: str, status: str = "ok", reason: str = "") -> VerificationRow:
    return VerificationRow("1", "Txn", "80-1", path, path, "Bill", "1", status, reason, "C", "7")


def plan_row(path: str, action: str = "send", reason: str = "") -> PlanRow:
    return PlanRow("1", "Txn", "80-1", path, path, "Bill", "1", action, reason)


def file(path: str) -> GroupFile:
    return GroupFile(f"key {path}", path, path, "", 7, "", "", "Bill", "1")


def history(*outcomes: tuple[str, str], in_doubt: Sequence[str] = ()) -> History:
    folded = History()
    for path, outcome in outcomes:
        done = Recorded("t", outcome, f"key {path}", path, file=file(path), error="6000 no")
        folded.apply(done)
    for path in in_doubt:
        folded.apply(Intent("q", "b", 0, "t", "t", "tag", (file(path),)))
    return folded


def found(plan: list[PlanRow], known: History) -> dict[str, str]:
    rows = [verified(row.file_path) for row in plan]
    return {row.file_path: row.reason for row in find_leftovers(rows, plan, known)}


def test_what_is_done_existing_or_skipped_is_in_qbo() -> None:
    plan = [plan_row("a"), plan_row("b", "existing"), plan_row("c", "skip")]
    assert found(plan, history(("a", "success"))) == {}


def test_what_an_undo_took_back_after_the_plan_is_left_over() -> None:
    skipped = plan_row("a", "skip")._replace(idempotency_key="key a")
    twin = plan_row("b", "duplicate_content", "same content as a")._replace(qbo_attachable_id="9")
    known = History()
    known.apply(Recorded("t", "success", "key a", "a", attachable_id="9", file=file("a")))
    assert found([skipped, twin], known) == {}
    known.apply(Facts("c", 7, "", "", "", key="key a"))  # it is renamed
    assert found([skipped, twin], known) == {}
    known.apply(Recorded("t", "deleted", "key a", "c", attachable_id="9"))
    assert found([skipped, twin], known) == {"a": "not_sent", "b": "not_sent"}


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("send", "not_sent"),
        ("changed", "changed"),
        ("file_missing", "file_missing"),
        ("source_changed", "source_changed"),
    ],
)
def test_what_is_not_there_is_told_by_its_outcome(action: str, reason: str) -> None:
    assert found([plan_row("a", action)], history()) == {"a": reason}


def test_a_changed_file_is_left_over_although_its_older_content_is_there() -> None:
    assert found([plan_row("a", "changed")], history(("a", "success"))) == {"a": "changed"}


def test_refused_and_doubted_files_are_left_over() -> None:
    known = history(("a", "error"), in_doubt=["b"])
    assert found([plan_row("a"), plan_row("b", "look")], known) == {"a": "error", "b": "in_doubt"}


def test_a_duplicate_is_there_if_its_twin_is() -> None:
    plan = [plan_row("a"), plan_row("b", "duplicate_content", "same content as a")]
    assert found(plan, history(("a", "success"))) == {}
    assert found(plan, history()) == {"a": "not_sent", "b": "not_sent"}
    assert found(plan, history(("a", "error"))) == {"a": "error", "b": "error"}
    again = history(("a", "error"), in_doubt=["a"])
    assert found(plan, again) == {"a": "in_doubt", "b": "not_sent"}


def test_every_row_that_is_not_ok_is_left_over_with_its_remedy() -> None:
    rows = [verified("a", "empty_file", "no bytes"), verified("b")]
    (left,) = find_leftovers(rows, [plan_row("b", "skip")], history())
    assert (left.reason, left.detail, left.file_path) == ("empty_file", "no bytes", "a")
    assert left.remedy


def test_a_plan_of_other_rows_is_refused() -> None:
    for plan in ([], [plan_row("other")]):
        with pytest.raises(NotStartedError, match="qbo-attach plan"):
            list(find_leftovers([verified("a")], plan, history()))


HOSTILE = '=HYPERLINK("http://evil")\x1b\x00.pdf'


def book_of(*rows: LeftoverRow) -> bytes:
    undecided = Undecideds()
    for row in rows:
        undecided.add(row)
    return exceptions_book(undecided.all(), rows)


ROWS = (
    LeftoverRow("missing_mapping", "the mapping has no 0012", "a", "C", "Txn", "0012"),
    LeftoverRow("missing_mapping", "the mapping has no 0012", "b", "C", "Txn", "0012"),
    LeftoverRow("ambiguous_mapping", "=1+1", HOSTILE, "C", "List", "5E18"),
    LeftoverRow("empty_file", "no bytes", "c", "C", "Txn", "77"),
)


def test_cells_are_text_and_never_formulas() -> None:
    book = load_workbook(io.BytesIO(book_of(*ROWS)))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells if cell.value is not None} == {"s"}
    assert {cell.number_format for cell in cells if cell.value is not None} == {"@"}
    ids = [row[0].value for row in book["decisions"].iter_rows(min_row=2)]
    assert ids == ["0012", "5E18"]
    assert [row[7].value for row in book["decisions"].iter_rows(min_row=2)] == ["2", "1"]
    assert book["files"].max_row == 1 + len(ROWS)


def decided(data: bytes, *cells: tuple[str, object]) -> bytes:
    """The book with cells filled in by a person."""
    book = load_workbook(io.BytesIO(data))
    for name, value in cells:
        book["decisions"][name] = value
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def overrides(data: bytes) -> Overrides:
    return read_overrides(io.BytesIO(data), "exceptions.xlsx", TYPES)


def test_the_decided_sheet_is_taken_back_and_undecided_rows_wait() -> None:
    assert len(overrides(book_of(*ROWS))) == 0
    taken = overrides(decided(book_of(*ROWS), ("C2", "Bill:12"), ("D2", "Ann")))
    txn = TYPES.legacy("Txn")
    assert txn is not None
    found = taken.of(("0012",), txn)
    assert found is not None
    assert [str(ref) for ref in found.refs] == ["Bill:12"]
    assert "Ann" in found.reason
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ((("C2", "Bill:12"),), "by_whom"),
        ((("A2", 12), ("C2", "Bill:12"), ("D2", "Ann")), "is a number"),
        ((("C2", "Bill"), ("D2", "Ann")), "is no entity in QBO"),
    ],
)
def test_what_is_half_decided_or_spoilt_is_refused_by_row(
    cells: tuple[tuple[str, object], ...], said: str
) -> None:
    with pytest.raises(TableError, match="row 2") as refused:
        overrides(decided(book_of(*ROWS), *cells))
    assert said in str(refused.value)


def test_a_workbook_with_one_sheet_of_any_name_is_taken() -> None:
    book = Workbook()
    for row in (["legacy_id", "entity_refs", "reason", "by_whom"], ["A", "exclude", "old", "Bo"]):
        book.active.append(row)
    saved = io.BytesIO()
    book.save(saved)
    assert len(overrides(saved.getvalue())) == 1


def test_a_workbook_without_such_a_sheet_is_refused() -> None:
    book = Workbook()
    book.active.append(["something", "else"])
    saved = io.BytesIO()
    book.save(saved)
    with pytest.raises(TableError, match="no sheet has the columns"):
        overrides(saved.getvalue())


def test_a_workbook_that_would_unpack_without_bound_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("[Content_Types].xml", b" " * 100_000)
    # Say of the one member that it holds 3 GB: in its own header and in the directory.
    data = packed.getvalue().replace(struct.pack("<I", 100_000), struct.pack("<I", 3_000_000_000))
    with pytest.raises(TableError, match="unpacks to more than"):
        overrides(data)

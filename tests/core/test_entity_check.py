"""What QBO's word on entities does to verified rows."""

from __future__ import annotations

from qbo_attach.core.entity_check import EntityCheck, mapped_entities
from qbo_attach.core.model import EntityRef
from qbo_attach.core.tables import VerificationRow


def row(types: str, ids: str, status: str = "ok", reason: str = "") -> VerificationRow:
    return VerificationRow("", "Txn", "", "a", "a", types, ids, status, reason)


ROWS = [
    row("Bill", "1"),
    row("Bill", "2", reason="override by Ann: x"),
    row("Bill;Invoice", "1;9"),
    row("Bill", "8", status="empty_file", reason="no bytes"),
]


def test_only_entities_of_ok_rows_are_asked_for() -> None:
    assert mapped_entities(ROWS) == {"Bill": {"1", "2"}, "Invoice": {"9"}}


def test_one_missing_entity_of_several_holds_the_attachment_back() -> None:
    counts = {"ok": 3, "empty_file": 1}
    told = list(EntityCheck({EntityRef("Invoice", "9")}).rows(ROWS, counts))
    assert [each.status for each in told] == ["ok", "ok", "entity_missing", "empty_file"]
    assert told[2].reason == "QBO has no Invoice:9"
    assert counts == {"ok": 2, "entity_missing": 1, "empty_file": 1}


def test_an_inactive_entity_is_flagged_beside_what_the_reason_said() -> None:
    counts = {"ok": 3, "empty_file": 1}
    check = EntityCheck((), {EntityRef("Bill", "2"), EntityRef("Bill", "8")})
    told = list(check.rows(ROWS, counts))
    assert [each.status for each in told] == [each.status for each in ROWS]
    assert told[1].reason == "override by Ann: x; entity_inactive: Bill:2"
    assert told[3].reason == "no bytes"
    assert counts == {"ok": 3, "empty_file": 1}

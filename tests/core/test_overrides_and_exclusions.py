"""A person's word on ids and on files."""

from __future__ import annotations

import io

import pytest

from qbo_attach.core.entity_types import LegacyType, built_in_entity_types
from qbo_attach.core.errors import TableError
from qbo_attach.core.exclusions import Exclusions
from qbo_attach.core.model import EntityRef
from qbo_attach.core.overrides import Override, Overrides, read_overrides

TYPES = built_in_entity_types()
HEADER = "legacy_id,entity_refs,reason,by_whom\n"


def read(text: str) -> Overrides:
    return read_overrides(io.BytesIO(text.encode()), "o.csv", TYPES)


def folder(name: str) -> LegacyType:
    found = TYPES.legacy(name)
    assert found is not None
    return found


def test_a_row_gives_refs_in_order_of_type_with_reason_and_author() -> None:
    found = read(HEADER + " 80a ,invoice:34; BILL:12 ;Bill:12,split in two,Ann\n")
    assert found.of(("80A", "A"), folder("Txn")) == Override(
        (EntityRef("Bill", "12"), EntityRef("Invoice", "34")), "override by Ann: split in two"
    )
    assert found.of(("A",), folder("Txn")) is None


def test_exclude_has_no_refs() -> None:
    found = read(HEADER + "A,Exclude,duplicate of B,Ann\n").of(("A",), folder("List"))
    assert found is not None
    assert found.excludes


def test_a_row_for_one_type_goes_before_one_for_any() -> None:
    text = "legacy_entity_type," + HEADER + ",A,Bill:1,r,w\nInvoice,A,Invoice:2,r,w\n"
    found = read(text)
    for name, ref in (("Invoice", "Invoice:2"), ("Txn", "Bill:1")):
        override = found.of(("A",), folder(name))
        assert override is not None
        assert str(override.refs[0]) == ref


def test_the_folders_own_name_goes_before_the_id_without_prefix() -> None:
    found = read(HEADER + "A,Bill:1,r,w\n80A,Bill:2,r,w\n")
    override = found.of(("80A", "A"), folder("Txn"))
    assert override is not None
    assert override.refs == (EntityRef("Bill", "2"),)
    assert found.unused() == ["A"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("A,Bill:1,,w\n", "o.csv, row 2, column reason: is empty"),
        ("A,Bill:1,r,\n", "row 2, column by_whom: is empty"),
        ("\nA,Bil:1,r,w\n", "row 3, column entity_refs: 'Bil:1' is no entity"),
        ("A,Bill,r,w\n", "row 2, column entity_refs: 'Bill' is no entity"),
        ("A,Bill:1;,r,w\n", "row 2, column entity_refs: '' is no entity"),
        ("A,PAYROLL_CHECK:1,r,w\n", "row 2, column entity_refs"),
        ("A,Bill:1,r,w\na,exclude,r,w\n", "row 3, column legacy_id: has a second row"),
        ("A,Bill:1,r\n", "row 2: has 3 cells"),
    ],
)
def test_a_broken_row_is_refused_with_row_and_column(rows: str, message: str) -> None:
    with pytest.raises(TableError) as caught:
        read(HEADER + rows)
    assert message in str(caught.value)


def test_a_type_that_is_not_known_is_refused() -> None:
    with pytest.raises(TableError, match="row 2, column legacy_entity_type: Inbox is not in"):
        read(HEADER.strip() + ",legacy_entity_type\nA,Bill:1,r,w,Inbox\n")


@pytest.mark.parametrize(
    "name", ["Thumbs.db", "THUMBS.DB", ".ds_store", "Desktop.ini", "~$plan.xlsx"]
)
def test_junk_needs_no_setting(name: str) -> None:
    assert Exclusions().rule(name, 10) == "junk"
    assert not Exclusions().surely_passes(name)


@pytest.mark.parametrize(
    "name", ["thumbs.db.pdf", "my desktop.ini", "~plan.xlsx", "a.pdf", "\nThumbs.db"]
)
def test_other_names_are_no_junk(name: str) -> None:
    assert Exclusions().rule(name, 10) == ""


@pytest.mark.parametrize(
    ("name", "size_bytes", "rule"),
    [
        ("draft 1.PDF", 50, "EXCLUDE_NAMES"),
        ("a.TMP", 50, "EXCLUDE_EXTENSIONS"),
        ("a.bak", 50, "EXCLUDE_EXTENSIONS"),
        ("a.pdf", 9, "EXCLUDE_SMALLER_THAN_BYTES"),
        ("a.pdf", 10, ""),
        ("a.pdf", 100, ""),
        ("a.pdf", 101, "EXCLUDE_LARGER_THAN_BYTES"),
        ("a.pdf", None, ""),
        ("Thumbs.db", 1, "junk"),
    ],
)
def test_each_rule_has_its_settings_name(name: str, size_bytes: int | None, rule: str) -> None:
    rules = Exclusions(["draft*"], [".tmp", "BAK"], 10, 100)
    assert rules.rule(name, size_bytes) == rule
    assert not rules.surely_passes(name)


def test_candidates_of_matching_that_are_not_decided_yet_are_passed_over() -> None:
    text = (
        "legacy_id,entity_refs,by_whom,reason,candidate_1\n"
        "A-1,,,chosen among the candidates,Bill:1\nB-1,Bill:2,Ann,chosen among the candidates,Bill:2\n"
    )
    found = read_overrides(io.BytesIO(text.encode()), "c.csv", TYPES)
    assert len(found) == 1
    assert found.unused() == ["B-1"]

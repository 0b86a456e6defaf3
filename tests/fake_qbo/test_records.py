"""Entities that the fake company holds in full, and how queries show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.fake_qbo.entities import Entities, MappingError, read_records
from tests.fake_qbo.asking import Asking

INVOICE = {"Id": "12", "DocNumber": "1001", "TxnDate": "2024-03-01", "TotalAmt": 12.5, "CustomerRef": {"value": "3", "name": "Abbott"}}  # fmt: skip
CUSTOMER = {"Id": "3", "DisplayName": "Abbott", "FullyQualifiedName": "Abbott", "Active": True}
GONE = {"Id": "4", "DisplayName": "Kowalski (deleted)", "Active": False}


def asking() -> Asking:
    records: list[tuple[str, dict[str, Any]]] = [
        ("Invoice", INVOICE), ("Customer", CUSTOMER), ("Customer", GONE),
    ]  # fmt: skip
    return Asking(entities=Entities(None, records))


def test_a_query_answers_the_record_as_it_was_given() -> None:
    assert asking().query("SELECT * FROM Invoice")["Invoice"] == [INVOICE]
    assert asking().query("SELECT * FROM Invoice WHERE DocNumber = '1001'")["maxResults"] == 1
    assert asking().query("SELECT * FROM Bill") == {}


def test_inactive_names_are_left_out_unless_they_are_asked_for() -> None:
    def ids(where: str) -> list[str]:
        found = asking().query(f"SELECT * FROM Customer {where} ORDERBY Id").get("Customer", [])
        return [one["Id"] for one in found]

    assert ids("") == ["3"]
    assert ids("WHERE Active IN (true, false)") == ["3", "4"]
    assert ids("WHERE Active = false") == ["4"]


def test_only_what_is_held_exists() -> None:
    entities = Entities(None, [("Invoice", INVOICE)])
    assert entities.exists("Invoice", "12")
    assert not entities.exists("Invoice", "13")
    assert not entities.exists("Bill", "12")


def test_a_file_of_records_is_read_by_line_and_a_bad_line_is_named(tmp_path: Path) -> None:
    good = json.dumps({"Invoice": INVOICE})
    path = tmp_path / "records.jsonl"
    path.write_text(good)
    assert read_records(str(path)) == [("Invoice", INVOICE)]
    for bad in (
        "{}",
        "nonsense",
        '{"Invoice": {}}',
        '{"Nothing": {"Id": "1"}}',
        '{"Bill": {"Id": 1}}',
    ):
        path.write_text(f"{good}\n{bad}\n")
        with pytest.raises(MappingError, match="line 2: is no record"):
            read_records(str(path))
    with pytest.raises(MappingError, match="cannot be read"):
        read_records(str(tmp_path / "none"))

"""Which folders say what, and whose they are."""

from __future__ import annotations

import pytest

from qbo_attach.core.clients import ClientRules
from qbo_attach.core.entity_types import built_in_entity_types
from qbo_attach.core.errors import SettingError
from qbo_attach.core.layout import DEFAULT_LAYOUT, Layout, Place

TYPES = built_in_entity_types()


def place(template: str, path: str, skip: int = 0) -> Place | None:
    return Layout.parse(template, TYPES).reading(skip).place(path.split("/"))


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("Attach/Acme/Txn/80A", Place("Acme", "Txn", "80A", "txn")),
        ("ATTACH/Acme/txn/80A", Place("Acme", "Txn", "80A", "txn")),
        ("Attach/Acme/LIST/5", Place("Acme", "List", "5", "list")),
        ("Attach/Acme/Bill/5", Place("Acme", "Bill", "5", "txn")),
        ("Attach/Acme/SALESORDER/5", Place("Acme", "SALESORDER", "5", "txn")),
        ("Attach/Acme/Txn/80A/2019/March", Place("Acme", "Txn", "80A", "txn")),
        ("Attach/Acme/Txn/80A//", Place("Acme", "Txn", "80A", "txn")),
        ("Attach/Acme/Txn", None),
        ("Attach/Acme/Txn/", None),
        ("Attach/Acme/Txn/ \u200b", None),
        ("Attach//Txn/80A", None),
        ("Attach/Acme/Inbox/80A", None),
        ("Other/Acme/Txn/80A", None),
        ("", None),
    ],
)
def test_the_default_layout(folder: str, expected: Place | None) -> None:
    assert place(DEFAULT_LAYOUT, folder) == expected


def test_the_tree_may_begin_within_the_leading_literals() -> None:
    assert place(DEFAULT_LAYOUT, "Acme/Txn/80A", 1) == Place("Acme", "Txn", "80A", "txn")


def test_a_template_may_name_one_type_and_no_client() -> None:
    template = "Bills/Bill/{legacy_id}/{file_name}"
    layout = Layout.parse("Files/Bill/{legacy_id}/{file_name}", TYPES)
    assert layout.leading_literals == 1
    assert layout.reading(1).place(["bill", "7"]) == Place("", "Bill", "7", "txn")
    assert Layout.parse(template.replace("/", "\\"), TYPES).folders == (
        "Bills",
        "Bill",
        "{legacy_id}",
    )


def test_the_order_of_folders_is_the_templates() -> None:
    template = "{legacy_id}/{entity_type}/x/{client}/{file_name}"
    assert place(template, "7/Txn/X/Acme") == Place("Acme", "Txn", "7", "txn")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "neither a folder name"),
        ("Attach//{legacy_id}/{file_name}", "neither a folder name"),
        ("Txn/{legacy_id}", "{file_name} must be the last"),
        ("Txn/{file_name}", "{legacy_id} is missing"),
        ("Txn/{legacy_id}/{legacy_id}/{file_name}", "{legacy_id} stands more than once"),
        ("Txn-{legacy_id}/{file_name}", "'Txn-{legacy_id}' is neither"),
        ("{company}/Txn/{legacy_id}/{file_name}", "'{company}' is neither"),
        ("Attach/{legacy_id}/{file_name}", "one folder must be named Txn, List"),
        ("Txn/List/{legacy_id}/{file_name}", "one folder must be named Txn, List"),
    ],
)
def test_a_wrong_template_is_refused_and_says_why(template: str, why: str) -> None:
    with pytest.raises(SettingError) as caught:
        Layout.parse(template, TYPES)
    assert caught.value.variable == "LEGACY_LAYOUT"
    assert why in str(caught.value)


def test_one_client_needs_no_setting() -> None:
    assert ClientRules((), ()).check(["", "Acme"]) == ()


def test_several_clients_are_refused_by_name() -> None:
    with pytest.raises(
        SettingError, match=r"LEGACY_CLIENTS=: the tree has 2 clients \(Acme, Birch\)"
    ):
        ClientRules((), ()).check(["Birch", "Acme"])


def test_many_clients_are_not_all_named() -> None:
    with pytest.raises(SettingError, match="Client 10 and 21 more"):
        ClientRules((), ()).check([f"Client {n:02}" for n in range(1, 32)])


def test_a_star_takes_all_clients_as_one_company_file() -> None:
    rules = ClientRules(("*",), ("Birch",))
    assert rules.check(["Acme", "Birch", "Cedar"]) == ()
    assert [rules.excluded_by(c) for c in ("Acme", "Birch", "")] == ["", "EXCLUDE_CLIENTS", ""]


def test_named_clients_exclude_the_others_by_rule() -> None:
    rules = ClientRules(("acme", "Stra\xdfe"), ())
    assert rules.check(["Acme", "STRASSE", "Cedar"]) == ()
    assert rules.excluded_by("Cedar") == "LEGACY_CLIENTS"
    assert rules.excluded_by("ACME") == ""


def test_excluded_clients_do_not_count_as_several() -> None:
    assert ClientRules((), ("birch",)).check(["Acme", "Birch"]) == ()


def test_a_named_client_that_is_not_there_is_told_or_refused() -> None:
    (note,) = ClientRules(("Acme", "Birhc"), ()).check(["Acme", "Birch"])
    assert "Birhc" in note
    with pytest.raises(SettingError, match="none of these is in the tree: Birch"):
        ClientRules(("Birhc",), ()).check(["Birch"])

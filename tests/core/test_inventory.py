"""The inventory's rows and their order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.entity_types import built_in_entity_types
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.file_types import NOT_UTF8
from qbo_attach.core.identifiers import IdRules
from qbo_attach.core.inventory import Survey, Tree, check_shrink
from qbo_attach.core.layout import DEFAULT_LAYOUT, Layout
from qbo_attach.core.model import ListedFile
from qbo_attach.core.tables import InventoryRow

TYPES = built_in_entity_types()


def tree(*paths: str, template: str = DEFAULT_LAYOUT) -> Tree:
    files = [ListedFile(path, 10, "2023-01-02T03:04:05Z", "tag") for path in paths]
    return Tree(files, Layout.parse(template, TYPES), IdRules())


def rows(*paths: str) -> list[InventoryRow]:
    found = tree(*paths)
    return list(found.rows(found.survey()))


def test_a_row_says_what_the_path_says() -> None:
    (row,) = rows("Attach/Acme/Txn/80ab/2019/scan.pdf")
    assert row == InventoryRow(
        "AB", "Txn", "80ab", "scan.pdf", "Attach/Acme/Txn/80ab/2019/scan.pdf", "Acme", "10",
        "2023-01-02T03:04:05Z", "tag", "",
    )  # fmt: skip


def test_a_list_folder_keeps_its_prefix() -> None:
    (row,) = rows("Attach/Acme/List/80000004-1424241304/card.pdf")
    assert (row.legacy_txnid_norm, row.legacy_entity_type) == ("80000004-1424241304", "List")


def test_what_does_not_fit_is_a_row_too() -> None:
    found = rows("Attach/loose.pdf", "Attach/Acme/Txn/80A/a.pdf", "readme.txt")
    assert [(r.file_path, r.legacy_entity_type, r.file_name) for r in found] == [
        ("Attach/Acme/Txn/80A/a.pdf", "Txn", "a.pdf"),
        ("Attach/loose.pdf", "", "loose.pdf"),
        ("readme.txt", "", "readme.txt"),
    ]


def test_files_dir_may_be_the_attach_folder_or_its_parent() -> None:
    parent = tree("Attach/Acme/Txn/80A/a.pdf", "Attach/Acme/Txn/80B/b.pdf").survey()
    itself = tree("Acme/Txn/80A/a.pdf", "Acme/Txn/80B/b.pdf").survey()
    assert (parent.skip, itself.skip) == (0, 1)
    assert parent.files_by_client == itself.files_by_client == {"Acme": 2}


def test_the_beginning_is_decided_for_the_tree_and_not_for_a_file() -> None:
    # One old copy looks like a tree that begins at a client; it must not get a client of its own.
    found = tree("Attach/Acme/Txn/80A/a.pdf", "Attach/Acme/Txn/80A/b.pdf", "Backup/Txn/80C/c.pdf")
    assert found.survey() == Survey(0, {"Acme": 2}, 1)


def test_a_client_called_attach_is_a_client() -> None:
    found = tree("Attach/Txn/80A/a.pdf", "Birch/Txn/80B/b.pdf")
    assert found.survey() == Survey(1, {"Attach": 1, "Birch": 1}, 0)


def test_a_tree_in_which_nothing_fits_is_all_rows() -> None:
    found = tree("a/b.pdf", "c.pdf")
    assert found.survey() == Survey(0, {}, 2)
    assert len(list(found.rows(found.survey()))) == 2


def test_a_path_that_is_not_utf8_says_so() -> None:
    (row,) = rows("Attach/Acme/Txn/80A/r\udce9sum\udce9.pdf")
    assert (row.problem, row.file_name) == (NOT_UTF8, "r\udce9sum\udce9.pdf")


def test_a_problem_of_the_listing_is_kept() -> None:
    listing = [ListedFile("Attach/Acme", 0, problem="folder cannot be listed: denied")]
    found = Tree(listing, Layout.parse(DEFAULT_LAYOUT, TYPES), IdRules())
    (row,) = found.rows(found.survey())
    assert (row.problem, row.size_bytes, found.problems) == (
        "folder cannot be listed: denied",
        "0",
        1,
    )


NAMES = st.text(
    alphabet=st.one_of(
        st.sampled_from("ab\x00\x01\x02\x03\x04\x05\n .-~\udc80\udcff\U0001f600\uffff"),
        st.characters(exclude_characters="/", exclude_categories=["Cs"]),
    ),
    max_size=4,
)


@given(st.lists(st.lists(NAMES, min_size=1, max_size=5).map("/".join), unique=True, max_size=12))
def test_rows_are_every_path_once_in_the_order_of_components_as_bytes(paths: list[str]) -> None:
    found = [row.file_path for row in rows(*paths)]
    assert found == sorted(paths, key=lambda p: p.encode("utf-8", "surrogateescape").split(b"/"))


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_listing_does_not_matter(rng: random.Random) -> None:
    paths = [
        f"Attach/C{c}/Txn/80{i}/f{n}.pdf" for c in range(2) for i in range(3) for n in range(2)
    ]
    shuffled = list(paths)
    rng.shuffle(shuffled)
    assert rows(*shuffled) == rows(*paths)


def test_a_file_name_is_the_last_component_also_with_escaped_characters() -> None:
    (row,) = rows("Attach/Acme/Txn/80A/x\x02/a\x01b\x02.pdf")
    assert (row.file_name, row.raw_legacy_id) == ("a\x01b\x02.pdf", "80A")


@pytest.mark.parametrize(
    ("before", "now", "unrecognized", "what"),
    [
        ({"A": 10}, {"A": 5}, 0, ""),
        ({"A": 10}, {"A": 4}, 0, "the inventory shrank from 10 to 4 files"),
        ({"A": 100, "B": 3}, {"A": 100, "B": 1}, 0, "client B shrank from 3 to 1 files"),
        ({"A": 100, "B": 3}, {"A": 100}, 0, "client B shrank from 3 to 0 files"),
        ({"A": 100, "": 9}, {"A": 100}, 0, ""),
        ({}, {}, 4, ""),
    ],
)
def test_a_shrunken_tree_or_client_asks_for_leave(
    before: dict[str, int], now: dict[str, int], unrecognized: int, what: str
) -> None:
    survey = Survey(0, now, unrecognized)
    if not what:
        check_shrink(before, survey)
        return
    with pytest.raises(NotStartedError, match=what) as caught:
        check_shrink(before, survey)
    assert "--allow-shrink" in str(caught.value)

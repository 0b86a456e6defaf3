"""Packing groups, matching answers, and what follows from a look."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.model import Attachable, EntityRef, Fault
from qbo_attach.core.naming import folded
from qbo_attach.core.uploading import (
    ANSWERS_WATCHED,
    FILE_OVERHEAD_BYTES,
    LADDER,
    REQUEST_BYTES,
    GroupBytes,
    GroupSize,
    Queue,
    RefusalWatch,
    after_settled_look,
    is_ours,
    match_answer,
)

AT = "2026-01-05T08:00:00Z"


def file(number: int, *, name: str = "", size: int = 10) -> GroupFile:
    sent = name or f"{number}.pdf"
    return GroupFile(
        f"key{number}",
        f"x/{number}/{sent}",
        sent,
        "application/pdf",
        size,
        AT,
        "",
        "Bill",
        f"5{number}",
    )


def shown(number: int, *, tag: bool = True, name: str = "") -> Attachable:
    return Attachable(
        f"9{number}",
        name or f"{number}.pdf",
        10,
        (EntityRef("Bill", f"5{number}"),),
        f"key{number}" if tag else "",
    )


FAULT = Fault("6041", "Invalid file", "no")
ONE, TWO, THREE = file(1), file(2), file(3)


def test_a_fault_goes_to_the_longest_name_that_its_text_has() -> None:
    short, long = file(1, name="scan.pdf"), file(2, name="my scan.pdf")
    of_long, of_short = replace(FAULT, detail="my scan.pdf is bad"), replace(FAULT, code="2010")
    matched = match_answer([short, long], [(None, of_short), (None, of_long)])
    assert matched.refused == {"key1": of_short, "key2": of_long}
    assert matched.guessed == frozenset()


def test_faults_that_name_no_file_are_known_to_be_guessed() -> None:
    named, other = replace(FAULT, detail="2.pdf is bad"), replace(FAULT, code="10000")
    matched = match_answer([ONE, TWO, THREE], [(None, FAULT), (None, named), (None, other)])
    assert matched.guessed == {"key1", "key3"}
    assert matched.refused["key2"] is named


def test_a_fault_that_fits_several_files_is_known_to_be_guessed() -> None:
    one, two = (replace(file(n), qbo_entity_id="12") for n in (1, 2))
    late, locked = replace(FAULT, code="10000"), replace(FAULT, detail="Bill 12 is locked")
    for faults in [(late, locked), (locked, late)]:
        matched = match_answer([one, two], [(None, fault) for fault in faults])
        assert matched.guessed == {"key1", "key2"}


def test_two_faults_that_fit_one_file_are_known_to_be_guessed() -> None:
    both = replace(FAULT, detail="2.pdf is bad"), replace(FAULT, code="10000", detail="not 2.pdf")
    matched = match_answer([ONE, TWO, THREE], [*((None, fault) for fault in both), (None, FAULT)])
    assert matched.guessed == {"key1", "key2", "key3"}


def test_a_fault_that_mentions_an_entity_is_of_the_one_file_there_that_no_name_tells() -> None:
    one, two = (replace(file(n), qbo_entity_id="12") for n in (1, 2))
    named, by_id = replace(FAULT, detail="1.pdf is bad"), replace(FAULT, detail="Bill 12 is locked")
    matched = match_answer([one, two, THREE], [(None, by_id), (None, named), (None, FAULT)])
    assert matched.refused == {"key1": named, "key2": by_id, "key3": FAULT}
    assert not matched.guessed


def test_a_text_that_has_two_names_is_of_neither_file() -> None:
    both = replace(FAULT, detail="1.pdf and 2.pdf")
    matched = match_answer([ONE, TWO, THREE], [(None, both), (None, FAULT), (None, FAULT)])
    assert matched.guessed == {"key1", "key2", "key3"}


# -- queue -----------------------------------------------------------------------------------


def queue(*files: GroupFile) -> Queue:
    made = Queue()
    made.add(files)
    return made


def test_a_group_has_at_most_so_many_files_in_their_order() -> None:
    waiting = queue(ONE, TWO, THREE)
    assert waiting.take(2, REQUEST_BYTES) == (ONE, TWO)
    assert waiting.take(2, REQUEST_BYTES) == (THREE,)
    assert waiting.take(2, REQUEST_BYTES) == ()


def test_one_file_always_goes_however_large() -> None:
    large = file(1, size=REQUEST_BYTES)
    assert queue(large, TWO).take(10, 1) == (large,)


def test_a_group_keeps_within_its_bytes_with_overhead() -> None:
    bound = 2 * (10 + FILE_OVERHEAD_BYTES)
    assert queue(ONE, TWO, THREE).take(10, bound) == (ONE, TWO)
    assert queue(ONE, TWO, THREE).take(10, bound - 1) == (ONE,)


def test_equal_names_never_travel_in_one_group_and_the_later_one_goes_next() -> None:
    twin = file(2, name="1.PDF")
    waiting = queue(ONE, twin, THREE)
    assert waiting.take(10, REQUEST_BYTES) == (ONE, THREE)
    assert waiting.take(10, REQUEST_BYTES) == (twin,)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a.pdf", "A.pdf", "b.pdf", "c.pdf"]), st.integers(0, 60_000_000))
    ),
    st.integers(1, 10),
    st.integers(1, REQUEST_BYTES),
)
def test_every_file_leaves_the_queue_once_in_groups_that_keep_the_bounds(
    waiting: list[tuple[str, int]], most: int, most_bytes: int
) -> None:
    files = [file(n, name=name, size=size) for n, (name, size) in enumerate(waiting)]
    left = queue(*files)
    taken: list[GroupFile] = []
    while left:
        group = left.take(most, most_bytes)
        assert 1 <= len(group) <= most
        assert len({folded(one.sent_file_name) for one in group}) == len(group)
        weight = sum(one.size_bytes + FILE_OVERHEAD_BYTES for one in group)
        assert len(group) == 1 or weight <= min(most_bytes, REQUEST_BYTES)
        taken += group
    assert sorted(one.key for one in taken) == sorted(one.key for one in files)


# -- answers ---------------------------------------------------------------------------------


def test_items_in_any_order_are_matched_by_marker() -> None:
    matched = match_answer([ONE, TWO], [(shown(2, name="else"), None), (shown(1), None)])
    assert {key: made.id for key, made in matched.made.items()} == {"key1": "91", "key2": "92"}
    assert not matched.missing


def test_items_without_a_marker_are_matched_by_name() -> None:
    matched = match_answer([ONE, TWO], [(shown(2, tag=False), None), (shown(1, tag=False), None)])
    assert {key: made.id for key, made in matched.made.items()} == {"key1": "91", "key2": "92"}


def test_the_only_file_without_an_attachable_has_the_only_fault() -> None:
    matched = match_answer([ONE, TWO], [(None, FAULT), (shown(1), None)])
    assert list(matched.made) == ["key1"]
    assert matched.refused == {"key2": FAULT}


def test_a_fault_that_mentions_a_name_or_an_entity_is_that_files() -> None:
    named = replace(FAULT, detail="2.pdf is bad")
    by_id = replace(FAULT, detail="Object 51 not found")
    matched = match_answer([ONE, TWO, THREE], [(None, FAULT), (None, named), (None, by_id)])
    assert matched.refused == {"key1": by_id, "key2": named, "key3": FAULT}


@pytest.mark.parametrize(
    "items",
    [
        [(shown(1), None)],
        [(shown(1), None), (None, FAULT), (None, FAULT)],
        [(shown(1), None), (shown(7, tag=False), None)],
        [(shown(1), None), (shown(1), None), (None, FAULT)],
        [(shown(1), None), (None, None)],
    ],
    ids=["an item short", "a fault too many", "a stranger", "one twice", "an empty item"],
)
def test_an_answer_that_does_not_add_up_leaves_the_rest_in_doubt(
    items: list[tuple[Attachable | None, Fault | None]],
) -> None:
    matched = match_answer([ONE, TWO], items)
    assert list(matched.made) == ["key1"]
    assert matched.refused == {}
    assert matched.missing == (TWO,)


# -- after a settled look ----------------------------------------------------------------------

BOTH = frozenset({"key1", "key2"})


@pytest.mark.parametrize("looks", [1, 2])
def test_nothing_found_of_a_whole_unchanged_group_is_sent_again_identically(looks: int) -> None:
    then = after_settled_look([ONE, TWO], {}, looks=looks, partial=False, unchanged=BOTH)
    assert (then.resend, then.anew, then.give_up, then.adopt) == (True, (), (), {})


@pytest.mark.parametrize(("partial", "unchanged"), [(True, BOTH), (False, frozenset({"key1"}))])
@pytest.mark.parametrize("looks", [1, 2])
def test_a_partial_or_changed_group_is_only_looked_for(
    looks: int, partial: bool, unchanged: frozenset[str]
) -> None:
    then = after_settled_look([ONE, TWO], {}, looks=looks, partial=partial, unchanged=unchanged)
    assert (then.resend, then.anew, then.give_up) == (False, (), ())


@pytest.mark.parametrize("partial", [True, False])
def test_after_three_looks_unchanged_files_go_anew_and_changed_ones_are_given_up(
    partial: bool,
) -> None:
    unchanged = frozenset({"key1"})
    then = after_settled_look([ONE, TWO], {}, looks=3, partial=partial, unchanged=unchanged)
    assert (then.resend, then.anew, then.give_up) == (False, (ONE,), (TWO,))


@pytest.mark.parametrize("looks", [1, 3])
def test_what_is_found_is_adopted_and_the_rest_goes_as_a_new_group(looks: int) -> None:
    found = {"key1": shown(1)}
    then = after_settled_look([ONE, TWO], found, looks=looks, partial=False, unchanged=BOTH)
    assert (then.adopt, then.resend, then.anew) == (found, False, (TWO,))


# -- without a marker --------------------------------------------------------------------------

MOMENT = datetime(2026, 1, 5, 8, tzinfo=timezone.utc)


def test_an_attachable_of_this_entity_name_and_size_made_since_is_ours() -> None:
    theirs = replace(shown(1, tag=False), created_at="2026-01-05T00:00:00-08:00")
    assert is_ours(ONE, theirs, not_before=MOMENT)
    assert not is_ours(ONE, theirs, not_before=MOMENT + timedelta(seconds=1))


@pytest.mark.parametrize(
    "other",
    [
        {"file_name": "2.pdf"},
        {"size_bytes": 11},
        {"size_bytes": None},
        {"refs": (EntityRef("Bill", "99"),)},
        {"created_at": ""},
    ],
)
def test_one_that_differs_in_anything_is_not_ours(other: dict[str, object]) -> None:
    theirs = replace(shown(1, tag=False), created_at=AT)
    assert is_ours(ONE, theirs, not_before=MOMENT)
    assert not is_ours(ONE, replace(theirs, **other), not_before=MOMENT)  # type: ignore[arg-type]


# -- sizes and refusals ------------------------------------------------------------------------


def test_the_ladder_climbs_after_full_answers_and_falls_to_one_for_good() -> None:
    size = GroupSize()
    for step in LADDER:
        assert size.most == step
        size.answered(step, matched=True)
    assert size.most == LADDER[-1]
    size.answered(LADDER[-1], matched=False)
    size.answered(1, matched=True)
    assert size.most == 1


def test_a_group_smaller_than_its_step_does_not_climb() -> None:
    size = GroupSize()
    size.answered(1, matched=True)
    size.answered(1, matched=True)
    assert size.most == LADDER[1]


def test_bytes_follow_the_rate_of_the_line() -> None:
    bytes_ = GroupBytes()
    bytes_.sent(4_000_000, 2.0)
    assert bytes_.most == 60_000_000
    bytes_.sent(10, 1.0)
    assert bytes_.most == 60_000_000


def test_closed_books_stop_at_once() -> None:
    assert RefusalWatch().answered("6210") == "6210"


def test_one_refusal_for_more_than_half_of_the_last_answers_stops() -> None:
    watch = RefusalWatch()
    half = ANSWERS_WATCHED // 2
    said = [watch.answered("") for _ in range(half)] + [watch.answered("610") for _ in range(half)]
    assert set(said) == {""}
    assert watch.answered("610") == "610"


def test_refusals_of_many_kinds_do_not_stop() -> None:
    watch = RefusalWatch()
    assert {watch.answered(str(n % 3)) for n in range(2 * ANSWERS_WATCHED)} == {""}

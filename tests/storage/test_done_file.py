"""Done rows in a file are what they are in memory, whatever happens to them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.core.chain import Done
from qbo_attach.core.done import DoneRows, MemoryRows, by_key, by_path
from qbo_attach.core.segments import encode_done
from qbo_attach.storage import done_file
from qbo_attach.storage.done_file import DoneFile
from qbo_attach.storage.hash_index import HashIndex

PATHS = ["a", 'q"uo\\te', "ü/\u2028", "sent_file_name", 'x","sent_file_name":"y', "\udcff"]
KEYS = [letter * 64 for letter in "abcdef"]


AT = "2026-01-01T00:00:00Z"
STATES = [("Bill", "1", size, AT, "") for size in range(3)] + [("Bill", '1"', 1, AT, "")]


def row(key: str, path: str, size: int = 1) -> Done:
    number = f'9"{size}' if size % 2 else "9"
    name, digest = ("n", "") if size < 2 else (path, key[::-1])
    return Done(key, path, name, "Bill", "1", size, AT, "", digest, number, "success", "r", "d")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("keep", "keep", "line", "forget_key", "forget_path")),
        st.sampled_from(KEYS),
        st.sampled_from(PATHS),
        st.integers(0, 3),
    ),
    max_size=40,
)


def told(rows: DoneRows) -> tuple[object, ...]:
    return (
        rows.keys(),
        rows.paths(),
        [rows.at_key(key) for key in KEYS],
        [rows.at_path(path) for path in PATHS],
        [rows.attachable_id(key) for key in KEYS],
        [[rows.is_exactly(path, state) for state in STATES] for path in PATHS],
        [[rows.sent_exactly(path, state) for state in STATES] for path in PATHS],
        sorted(rows.rows(), key=lambda done: done.key),
    )


def again(lines: Iterable[Done | bytes]) -> DoneFile:
    """A snapshot read back."""
    rows = DoneFile()
    for line in lines:
        rows.keep_line(line if isinstance(line, bytes) else encode_done(line))
    return rows


@given(STEPS, st.sampled_from((1, 300, 1 << 20)))
@settings(max_examples=300, deadline=None)
def test_rows_in_a_file_are_what_they_are_in_memory(
    steps: list[tuple[str, str, str, int]], buffer_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(done_file, "_BUFFER_BYTES", buffer_bytes)
        file, memory = DoneFile(), MemoryRows()
        for what, key, path, size in steps:
            if what == "forget_key":
                file.forget_key(key)
                memory.forget_key(key)
            elif what == "forget_path":
                file.forget_path(path)
                memory.forget_path(path)
            else:
                done = row(key, path, size)
                memory.keep(done)
                if what == "line":
                    file.keep_line(encode_done(done))
                else:
                    file.keep(done)
            assert told(file) == told(memory)
        assert told(again(file.lines()))[2] == told(memory)[2]


def test_of_several_rows_with_one_path_the_last_one_counts_after_a_snapshot_too() -> None:
    rows = DoneFile()
    rows.keep(row(KEYS[0], "a", 1))
    rows.keep(row(KEYS[1], "a", 2))
    for kept in (rows, again(rows.lines())):
        assert by_path(kept)["a"].key == KEYS[1]
        assert set(by_key(kept)) == set(KEYS[:2])
        assert list(by_path(kept)) == ["a"]


@pytest.mark.parametrize("order", [1, -1])
def test_many_rows_are_found_in_any_order(order: int) -> None:
    rows = DoneFile()
    many = [row(f"{number:064}", f"p/{number}", number) for number in range(20_000)]
    for done in many:
        rows.keep(done)
    for done in many[::order]:
        assert rows.at_path(done.path) == done
    for done in many[:: 7 * order]:
        assert rows.at_key(done.key) == done
    assert list(rows.rows()) == many
    assert rows.keys() == rows.paths() == len(many)


def test_a_name_within_a_cell_is_not_taken_for_the_cell() -> None:
    rows, memory = DoneFile(), MemoryRows()
    odd = row(KEYS[0], "a")
    odd.sent_file_name = '","qbo_entity_type":"Bill","qbo_entity_id":"1","size_bytes":7,"x'
    for kept in (rows, memory):
        kept.keep(odd)
        assert not kept.is_exactly("a", ("Bill", "1", 7, AT, ""))
        assert kept.is_exactly("a", ("Bill", "1", 1, AT, ""))
        assert kept.sent_exactly("a", ("Bill", "1", 7, AT, "")) is None
        sent = (odd.sent_file_name, KEYS[0], "", odd.attachable_id)
        assert kept.sent_exactly("a", ("Bill", "1", 1, AT, "")) == sent


def test_a_row_longer_than_a_read_is_read_whole() -> None:
    rows = DoneFile()
    long = row(KEYS[0], "x" * 9_000)
    rows.keep(long)
    list(rows.rows())  # it is on disk now
    rows.keep(row(KEYS[1], "y"))
    assert rows.at_key(KEYS[0]) == long


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), max_size=60))
def test_an_index_keeps_equal_hashes_apart_by_their_numbers(steps: list[tuple[int, bool]]) -> None:
    index = HashIndex()
    held: dict[int, list[int]] = {}
    for number, (hashed, adds) in enumerate(steps, 1):
        if adds:
            index.add(hashed, number)
            held.setdefault(hashed, []).append(number)
        elif held.get(hashed):
            slot = index.slot(hashed)
            held[hashed].remove(index.number(slot))
            index.remove(slot)
        for one, numbers in held.items():
            found = []
            slot = index.slot(one)
            while slot >= 0:
                found.append(index.number(slot))
                slot = index.slot(one, slot)
            assert sorted(found) == sorted(numbers)
    assert len(index) == sum(map(len, held.values()))


def test_an_index_grows() -> None:
    index = HashIndex()
    for number in range(1, 5_001):
        index.add(hash(str(number)), number)
    assert all(index.number(index.slot(hash(str(number)))) == number for number in range(1, 5_001))

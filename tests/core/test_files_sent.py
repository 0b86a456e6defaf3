"""What the chain tells an undo of the attachments that it deletes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.chain import Done, GroupFile, Intent, Record, Recorded
from qbo_attach.core.undoing import FilesSent

AT = "2026-01-05T08:00:00Z"


def file(number: int, client: str = "Acme") -> GroupFile:
    return GroupFile(
        f"k{number}", f"{client}/{number}.pdf", f"{number}.pdf", "application/pdf", 7, AT, "",
        "Bill", "1", "8", "Txn", "80008", client, f"{number}.pdf",
    )  # fmt: skip


def done(of: GroupFile) -> Done:
    return Done(
        of.key, of.path, of.sent_file_name, of.qbo_entity_type, of.qbo_entity_id, of.size_bytes,
        of.modified_at, of.etag, of.sha256, "1", "success", "run", "disk",
    )  # fmt: skip


def intents(files: list[GroupFile]) -> Iterator[Record]:
    for first in range(0, len(files), 3):
        request_id = f"r{first}"
        yield Intent(request_id, "b", 0, AT, AT, "tag", tuple(files[first : first + 3]))


@given(st.integers(0, 20), st.randoms(use_true_random=False))
def test_each_is_found_in_whatever_order_they_are_asked_for(count: int, random: Random) -> None:
    files = [file(number) for number in range(count)]
    asked = random.sample(files, random.randint(0, count))
    known = FilesSent(intents(files), [one.key for one in asked])
    assert [known.of(done(one)) for one in asked] == asked


def test_in_their_order_the_chain_is_read_no_further_than_the_last_one() -> None:
    files = [file(number) for number in range(9)]
    records = intents(files)
    known = FilesSent(records, [one.key for one in files])
    assert [known.of(done(one)) for one in files[:4]] == files[:4]
    assert list(records) == list(intents(files))[2:]


def test_what_was_found_in_qbo_is_told_by_its_outcome() -> None:
    found = Recorded(AT, "already_in_qbo", "k1", "Acme/1.pdf", file=file(1))
    assert FilesSent([found], ["k1"]).of(done(file(1))) == file(1)


def test_one_that_was_sent_again_from_another_client_has_that_ones_ids() -> None:
    first, second = file(1, "Acme"), file(1, "Bolt")
    known = FilesSent(intents([first, file(2), file(3), second]), ["k1"])
    assert known.of(done(second)) == second


def test_one_that_was_moved_after_it_went_is_told_where_it_lies_now() -> None:
    moved = replace(done(file(1)), path="Acme/moved.pdf", modified_at="2026-01-06T08:00:00Z")
    told = FilesSent(intents([file(1), file(2)]), ["k1", "k2"]).of(moved)
    assert told == replace(
        file(1), path=moved.path, file_name="moved.pdf", modified_at=moved.modified_at
    )


def test_one_that_the_chain_does_not_name_is_not_made_up() -> None:
    assert FilesSent(intents([file(1)]), ["k2"]).of(done(file(2))) is None

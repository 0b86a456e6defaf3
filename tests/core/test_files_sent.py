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


def done(of: GroupFile, attachable_id: str = "") -> Done:
    return Done(
        of.key, of.path, of.sent_file_name, of.qbo_entity_type, of.qbo_entity_id, of.size_bytes,
        of.modified_at, of.etag, of.sha256, attachable_id or f"id {of.key}", "success", "run",
        "disk",
    )  # fmt: skip


def went(of: GroupFile, attachable_id: str = "") -> Recorded:
    told = attachable_id or f"id {of.key}"
    return Recorded(AT, "success", of.key, of.path, attachable_id=told)


def chain(files: list[GroupFile]) -> Iterator[Record]:
    """Groups of three, each with its outcomes."""
    for first in range(0, len(files), 3):
        group = tuple(files[first : first + 3])
        yield Intent(f"r{first}", "b", 0, AT, AT, "tag", group)
        yield from map(went, group)


@given(st.integers(0, 20), st.randoms(use_true_random=False))
def test_each_is_found_in_whatever_order_they_are_asked_for(count: int, random: Random) -> None:
    files = [file(number) for number in range(count)]
    asked = random.sample(files, random.randint(0, count))
    known = FilesSent(chain(files), [one.key for one in asked])
    assert [known.of(done(one)) for one in asked] == asked


def test_in_their_order_the_chain_is_read_no_further_than_the_last_one() -> None:
    files = [file(number) for number in range(9)]
    records = chain(files)
    known = FilesSent(records, [one.key for one in files])
    assert [known.of(done(one)) for one in files[:4]] == files[:4]
    assert list(records) == list(chain(files))[6:]


def test_what_was_found_in_qbo_is_told_by_its_outcome() -> None:
    found = Recorded(AT, "adopted", "k1", "Acme/1.pdf", attachable_id="5", file=file(1))
    assert FilesSent([found], ["k1"]).of(done(file(1), "5")) == file(1)


def test_one_that_was_sent_twice_is_told_as_it_went_when_its_attachable_was_made() -> None:
    first, second = file(1, "Acme"), replace(file(1, "Acme"), client="Bolt", match_rule="name")
    records: list[Record] = []
    for attachable_id, one in (("5", first), ("6", second)):
        records.append(Intent(attachable_id, "b", 0, AT, AT, "tag", (one,)))
        records.append(went(one, attachable_id))
    assert FilesSent(records, ["k1"]).of(done(first, "5")) == first
    assert FilesSent(records, ["k1"]).of(done(second, "6")) == second
    assert FilesSent(records, ["k1"]).of(done(second, "7")) is None


def test_one_that_was_moved_after_it_went_is_told_where_it_lies_now() -> None:
    moved = replace(done(file(1)), path="Acme/moved.pdf", modified_at="2026-01-06T08:00:00Z")
    told = FilesSent(chain([file(1), file(2)]), ["k1", "k2"]).of(moved)
    assert told == replace(
        file(1), path=moved.path, file_name="moved.pdf", modified_at=moved.modified_at
    )


def test_one_that_the_chain_does_not_name_is_not_made_up() -> None:
    assert FilesSent(chain([file(1)]), ["k2"]).of(done(file(2))) is None

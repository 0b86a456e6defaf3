"""What an attachment or an attachable is found to be, and that none is forgotten or told twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.accounting import Accounts
from qbo_attach.core.chain import Done, Facts, GroupFile, Intent, Refused
from qbo_attach.core.differences import MARKS, State
from qbo_attach.core.existing import UNKNOWN
from qbo_attach.core.file_types import built_in_file_types
from qbo_attach.core.history import History
from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.core.naming import digest_name, idempotency_key
from qbo_attach.core.reconciliation import Comparison, Proof
from qbo_attach.core.tables import ReconciliationRow, VerificationRow

REALM = "1"
SHA, OTHER_SHA = "ab" * 32, "cd" * 32


def done(
    number: int, name: str = "", *, types: str = "Bill", ids: str = "", **given: object
) -> Done:
    name, ids = name or f"scan {number}.pdf", ids or str(100 + number)
    facts: dict[str, object] = {
        "key": idempotency_key(REALM, types, ids, name),
        "path": f"Attach/A/Txn/80{number}/{name}",
        "sent_file_name": name,
        "qbo_entity_type": types,
        "qbo_entity_id": ids,
        "size_bytes": 1_000 + number,
        "modified_at": "2020-01-01T00:00:00Z",
        "etag": "",
        "sha256": SHA,
        "attachable_id": str(5_000 + number),
        "outcome": "success",
        "run_id": "R",
        "store": "disk",
        **given,
    }
    return Done(**facts)  # type: ignore[arg-type]


def shown(one: Done, **given: object) -> Attachable:
    refs = tuple(
        EntityRef(t, i)
        for t, i in zip(one.qbo_entity_type.split(";"), one.qbo_entity_id.split(";"), strict=True)
    )
    made = Attachable(one.attachable_id, one.sent_file_name, one.size_bytes, refs, tag=one.key)
    return replace(made, **given)  # type: ignore[arg-type]


def verified(one: Done, **given: str) -> VerificationRow:
    row = VerificationRow(
        "1", "Txn", "801", one.path.rpartition("/")[2], one.path, one.qbo_entity_type,
        one.qbo_entity_id, "ok", "", "A", str(one.size_bytes),
    )  # fmt: skip
    return row._replace(**given)


def reconciled(
    dones: Iterable[Done],
    attachables: Iterable[Attachable],
    rows: Iterable[VerificationRow] = (),
    *,
    digests: dict[str, str] | None = None,
    more: Iterable[Facts | Intent | Refused] = (),
) -> dict[str, ReconciliationRow]:
    """Rows by file path, or by attachable id where there is none; each name once."""
    history = History().fold([*dones, *more])
    accounts = Accounts(REALM, history, built_in_file_types())
    for one in attachables:
        accounts.add(one)
    listed = list(rows)
    accounts.settle(lambda: listed)
    comparison = Comparison(accounts)
    if digests is not None:
        ids, _ = comparison.sample(None, 1)
        for one_id in [*ids, *comparison.unclear()]:
            comparison.learn(one_id, digests[one_id])
    told = list(comparison.rows(lambda: listed))
    assert Counter(row.state for row in told) == comparison.counts
    by_name = {row.file_path or row.found_attachable_id: row for row in told}
    assert len(by_name) == len(told)
    return by_name


def states(found: dict[str, ReconciliationRow]) -> dict[str, str]:
    return {name: row.state for name, row in found.items()}


def test_each_state_has_its_mark() -> None:
    assert set(MARKS) == set(State)


ONE = done(1)


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        ({}, "equal", ""),
        ({"file_name": "SCAN 1.PDF"}, "equal", ""),
        (
            {"refs": (EntityRef("Bill", "9"),)},
            "wrong_entity",
            "hangs on Bill:9, was sent to Bill:101",
        ),
        ({"refs": ()}, "wrong_entity", "hangs on nothing"),
        ({"refs": (EntityRef("Bill", "101"), EntityRef("Bill", "9"))}, "wrong_entity", "Bill:9"),
        ({"size_bytes": 7}, "altered", "has 7 bytes, 1001 bytes were sent"),
        ({"size_bytes": None}, "altered", "has no file"),
        ({"file_name": "other.pdf"}, "renamed", "is called other.pdf, was sent as scan 1.pdf"),
        ({"file_name": "other.pdf", "size_bytes": 7}, "altered", "is called other.pdf"),
    ],
)
def test_what_a_person_changed_is_told_as_what_it_is(
    change: dict[str, object], state: str, said: str
) -> None:
    row = reconciled([ONE], [shown(ONE, **change)], [verified(ONE)])[ONE.path]
    assert (row.state, said in row.reason) == (state, True)
    assert row.found_attachable_id == ONE.attachable_id


def test_what_was_there_before_may_hang_on_more_entities() -> None:
    here, there = done(1, outcome="already_in_qbo"), done(2, "scan 1.pdf", outcome="already_in_qbo")
    both = replace(there, attachable_id=here.attachable_id, size_bytes=here.size_bytes)
    refs = (EntityRef("Bill", "101"), EntityRef("Bill", "102"))
    found = reconciled([here, both], [shown(here, refs=refs)])
    assert states(found) == {here.path: "equal", both.path: "equal"}
    moved = reconciled([here, both], [shown(here, refs=refs[:1])])
    assert states(moved) == {here.path: "equal", both.path: "wrong_entity"}


def test_an_attachment_of_several_entities_is_equal_in_any_order() -> None:
    one = done(1, types="Bill;Invoice", ids="12;34")
    refs = (EntityRef("Invoice", "34"), EntityRef("Bill", "12"))
    assert states(reconciled([one], [shown(one, refs=refs)])) == {one.path: "equal"}


def test_what_is_gone_is_missing() -> None:
    row = reconciled([ONE], [], [verified(ONE)])[ONE.path]
    assert (row.state, row.qbo_attachable_id, row.found_attachable_id) == ("missing", "5001", "")


@pytest.mark.parametrize("marker", [ONE.key, ""])
def test_what_is_gone_and_there_under_another_id_is_unrecorded(marker: str) -> None:
    row = reconciled([ONE], [shown(ONE, id="7", tag=marker)])[ONE.path]
    assert (row.state, row.qbo_attachable_id, row.found_attachable_id) == (
        "unrecorded",
        "5001",
        "7",
    )


def test_what_was_replaced_by_another_content_is_altered() -> None:
    instead = shown(ONE, id="7", tag="", size_bytes=3)
    assert states(reconciled([ONE], [instead])) == {ONE.path: "altered"}
    same_size = shown(ONE, id="7", tag="")
    digests = {"7": OTHER_SHA}
    row = reconciled([ONE], [same_size], digests=digests)[ONE.path]
    assert (row.state, row.compared, row.found_sha256) == ("altered", "digest", OTHER_SHA)


def test_a_second_attachable_with_our_marker_is_doubled_wherever_it_hangs() -> None:
    copies = [shown(ONE, id="7"), shown(ONE, id="8", refs=(EntityRef("Invoice", "4"),))]
    found = reconciled([ONE], [shown(ONE), *copies], [verified(ONE)])
    assert states(found) == {ONE.path: "equal", "7": "doubled", "8": "doubled"}
    assert ONE.path in found["7"].reason


def test_without_a_marker_bytes_tell_a_copy_from_a_namesake() -> None:
    copy = shown(ONE, id="7", tag="")
    renamed = shown(ONE, id="8", tag="", file_name="copy.pdf")
    all_shown = [shown(ONE), copy, renamed]
    found = reconciled([ONE], all_shown)
    assert states(found) == {ONE.path: "equal", "7": "doubled", "8": "unknown"}
    same = reconciled([ONE], all_shown, digests={"5001": SHA, "7": SHA, "8": SHA})
    assert states(same) == {ONE.path: "equal", "7": "doubled", "8": "doubled"}
    other = reconciled([ONE], all_shown, digests={"5001": SHA, "7": OTHER_SHA, "8": OTHER_SHA})
    assert states(other) == {ONE.path: "equal", "7": "unknown", "8": "unknown"}
    unread = reconciled([ONE], all_shown, digests={"5001": SHA, "7": UNKNOWN, "8": UNKNOWN})
    assert states(unread) == {ONE.path: "equal", "7": "doubled", "8": "unknown"}


def test_what_is_nobodys_is_unknown() -> None:
    foreign = Attachable("9", "photo.jpg", 12, (EntityRef("Bill", "101"),))
    note = Attachable("10", "", None, (EntityRef("Bill", "101"),), note="call back")
    found = reconciled([ONE], [shown(ONE), foreign, note], [verified(ONE)])
    assert states(found) == {ONE.path: "equal", "9": "unknown", "10": "unknown"}
    assert found["10"].reason == "a note, without a file"


def test_of_what_was_never_sent_it_is_told_whether_qbo_has_it() -> None:
    two, three, four, five = done(2), done(3), done(4), done(5)
    rows = [verified(one) for one in (two, three, four, five)]
    rows[3] = rows[3]._replace(file_path="x/scan 5.tiff", file_name="scan 5.tiff")
    found = reconciled(
        [],
        [
            shown(two, tag=""),
            shown(three, file_name=digest_name("scan 3.pdf", SHA)),
            shown(five, file_name="scan 5.tif"),
            shown(two, id="77", tag=""),
        ],
        rows,
        more=[Refused(four.path, "6041 Invalid", "R")],
    )
    assert states(found) == {
        two.path: "unrecorded",
        three.path: "unrecorded",
        four.path: "not_uploaded",
        "x/scan 5.tiff": "unrecorded",
        "77": "doubled",
    }
    assert found[four.path].reason == "6041 Invalid"


def test_what_is_ours_by_marker_but_changed_and_in_no_log_is_told_as_changed() -> None:
    there = shown(ONE, file_name="renamed.pdf")
    assert states(reconciled([], [there], [verified(ONE)])) == {ONE.path: "renamed"}


def test_equal_content_that_went_under_another_path_needs_nothing_of_its_own() -> None:
    twin = verified(ONE, file_path="Attach/B/twin.pdf", file_name="twin.pdf")
    facts = Facts("Attach/B/twin.pdf", 1_001, "", "", SHA)
    found = reconciled([ONE], [shown(ONE)], [verified(ONE), twin], more=[facts])
    assert states(found) == {ONE.path: "equal", "Attach/B/twin.pdf": "duplicate_content"}


def test_an_unanswered_upload_is_in_doubt_whether_it_arrived_or_not() -> None:
    file = GroupFile(
        ONE.key, ONE.path, "scan 1.pdf", "application/pdf", 1_001, "", "", "Bill", "101"
    )
    intent = Intent("q", "b", 1, "2020-01-01T00:00:00Z", "", "tag", (file,))
    for attachables, said in (([shown(ONE)], "has it as attachable 5001"), ([], "has it not")):
        row = reconciled([], attachables, [verified(ONE)], more=[intent])[ONE.path]
        assert (row.state, said in row.reason) == ("in_doubt", True)


def test_a_file_that_differs_from_what_was_sent_is_changed() -> None:
    for change in ({"size_bytes": "5"}, {"qbo_entity_id": "7"}):
        row = reconciled([ONE], [shown(ONE)], [verified(ONE, **change)])[ONE.path]
        assert row.state == "changed"


@pytest.mark.parametrize(
    ("digest", "state", "found"),
    [(SHA, "equal", SHA), (OTHER_SHA, "altered", OTHER_SHA), (UNKNOWN, "unreadable", "")],
)
def test_bytes_are_compared_with_what_was_sent(digest: str, state: str, found: str) -> None:
    row = reconciled([ONE], [shown(ONE)], digests={"5001": digest})[ONE.path]
    assert (row.state, row.found_sha256) == (state, found)


def test_an_attachment_without_a_digest_in_the_log_is_not_downloaded() -> None:
    one = done(1, sha256="")
    row = reconciled([one], [shown(one)], digests={})[one.path]
    assert (row.state, row.compared) == ("equal", "size")


def test_the_sample_has_each_type_and_size_in_proportion() -> None:
    dones = [
        done(n, f"{n}.{kind}", size_bytes=10 ** (n % 4))
        for n, kind in enumerate(["pdf"] * 800 + ["jpg"] * 160 + ["txt"] * 40)
    ]
    history = History().fold(dones)
    accounts = Accounts(REALM, history, built_in_file_types())
    for one in dones:
        accounts.add(shown(one))
    accounts.settle(list)
    comparison = Comparison(accounts)
    ids, population = comparison.sample(100, 3)
    assert (len(ids), population) == (100, 1_000)
    by_id = {one.attachable_id: one for one in dones}
    kinds = Counter(by_id[one_id].sent_file_name[-3:] for one_id in ids)
    assert kinds == {"pdf": 80, "jpg": 16, "txt": 4}
    sizes = Counter(by_id[one_id].size_bytes for one_id in ids)
    assert all(sizes[10**power] == 25 for power in range(4))
    assert comparison.sample(100, 3)[0] == ids


def test_the_proof_states_its_bound() -> None:
    assert "at most 0.75% of all" in str(Proof(170_000, 400, 0, 0, 1))
    assert "all 12: all have the bytes sent. 2 more have no digest" in str(Proof(12, 12, 0, 2, 1))
    assert Proof(12, 12, 3, 0, 1).upper_bound == 0.25
    assert Proof(170_000, 400, 3, 0, 1).upper_bound == pytest.approx(0.0193, abs=1e-4)


Defects = st.lists(
    st.sampled_from(["none", "gone", "moved", "renamed", "altered", "doubled", "replaced"]),
    max_size=12,
)


@given(Defects, st.integers(0, 3), st.randoms(use_true_random=False))
def test_every_defect_is_found_once_in_any_order(
    defects: list[str], foreign: int, chance: object
) -> None:
    dones = [done(number) for number in range(len(defects))]
    attachables: list[Attachable] = []
    expected: dict[str, str] = {}
    for number, (one, defect) in enumerate(zip(dones, defects, strict=True)):
        expected[one.path] = {
            "gone": "missing",
            "moved": "wrong_entity",
            "renamed": "renamed",
            "altered": "altered",
            "replaced": "unrecorded",
        }.get(defect, "equal")
        change: dict[str, object] = {
            "moved": {"refs": (EntityRef("Bill", "99"),)},
            "renamed": {"file_name": f"new {number}.pdf"},
            "altered": {"size_bytes": 5},
            "replaced": {"id": f"{number}77", "tag": ""},
        }.get(defect, {})  # type: ignore[assignment]
        if defect != "gone":
            attachables.append(shown(one, **change))
        if defect == "doubled":
            attachables.append(shown(one, id=f"{number}88"))
            expected[f"{number}88"] = "doubled"
    for number in range(foreign):
        attachables.append(Attachable(f"{number}99", "theirs.pdf", 4, (EntityRef("Bill", "1"),)))
        expected[f"{number}99"] = "unknown"
    chance.shuffle(attachables)  # type: ignore[attr-defined]
    found = reconciled(dones, attachables * 2, [verified(one) for one in dones])
    assert states(found) == expected

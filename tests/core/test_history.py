"""The folded run log: what each record does, and that a snapshot folds to the same state."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.core.chain import (
    Facts,
    GroupFile,
    Intent,
    Looked,
    Record,
    Recorded,
    Refused,
    RunStarted,
)
from qbo_attach.core.history import History
from qbo_attach.core.segments import decode_segment, encode_segment
from tests.core.test_chain import header

AT = "2026-01-05T08:00:00Z"
STARTED = RunStarted("run", AT, "77", "sandbox", "Company", "files", "disk", "1")


def file(number: int, **facts: str) -> GroupFile:
    made = GroupFile(
        key=f"key{number}",
        path=f"x/{number}.pdf",
        sent_file_name=f"{number}.pdf",
        content_type="application/pdf",
        size_bytes=10 + number,
        modified_at=AT,
        etag="",
        qbo_entity_type="Bill",
        qbo_entity_id=str(number),
    )
    return replace(made, **facts)  # type: ignore[arg-type]  # texts only


def intent(request_id: str, *numbers: int, attempt: int = 1) -> Intent:
    files = tuple(file(n) for n in numbers)
    return Intent(request_id, "b" + request_id, attempt, AT, AT, "tag", files)


def ended(number: int, outcome: str = "success", request_id: str = "r1") -> Recorded:
    return Recorded(
        AT, outcome, f"key{number}", f"x/{number}.pdf", request_id, attachable_id=f"9{number}"
    )


def folded(*records: Record) -> History:
    return History().fold([STARTED, *records])


def test_an_intent_without_outcome_is_in_doubt() -> None:
    history = folded(intent("r1", 1, 2))
    assert history.holds("key1")
    assert history.doubt_of_path == {"x/1.pdf": "r1", "x/2.pdf": "r1"}
    assert history.done == {}


def test_what_was_there_already_has_the_digest_of_who_read_it_alone() -> None:
    known = file(1, sha256="a" * 64)
    found = replace(ended(1, "already_in_qbo"), file=known)
    assert folded(found).done["x/1.pdf"].sha256 == ""
    assert folded(replace(found, sha256="b" * 64)).done["x/1.pdf"].sha256 == "b" * 64
    assert folded(replace(found, outcome="success")).done["x/1.pdf"].sha256 == "a" * 64


def test_an_outcome_takes_its_file_out_of_doubt_and_makes_the_group_partial() -> None:
    history = folded(intent("r1", 1, 2), ended(1))
    assert history.done["x/1.pdf"].attachable_id == "91"
    assert list(history.doubts["r1"].open) == ["key2"]
    assert history.doubts["r1"].partial


def test_a_group_goes_with_its_last_file() -> None:
    history = folded(intent("r1", 1, 2), ended(1), ended(2, "error"))
    assert history.doubts == {}
    assert history.doubt_of_key == {}
    assert list(history.refused) == ["x/2.pdf"]


def test_a_file_that_was_not_sent_is_held_by_nothing() -> None:
    history = folded(intent("r1", 1), ended(1, "not_sent"))
    assert not history.holds("key1")
    assert history.refused == {}


def test_a_success_forgets_an_earlier_refusal() -> None:
    history = folded(intent("r1", 1), ended(1, "error"), intent("r2", 1), ended(1, request_id="r2"))
    assert history.refused == {}
    assert "x/1.pdf" in history.done


def test_a_renewed_intent_keeps_the_moment_of_the_first() -> None:
    later = replace(intent("r1", 1, attempt=2), written_at="2026-01-05T08:03:00Z", send_by="s")
    history = folded(intent("r1", 1), later)
    assert history.doubts["r1"].intent == replace(later, written_at=AT)


def test_a_renewed_intent_keeps_its_looks_and_its_group() -> None:
    look = Looked("r1", AT, 0, settled=True)
    history = folded(intent("r1", 1), look, intent("r1", 1, attempt=2))
    assert history.doubts["r1"].settled_looks == 1
    assert history.doubts["r1"].intent.attempt == 2


def test_an_unsettled_look_does_not_count() -> None:
    history = folded(intent("r1", 1), Looked("r1", AT, 0, settled=False))
    assert history.doubts["r1"].settled_looks == 0


def test_the_rest_of_a_group_that_goes_anew_leaves_the_old_one() -> None:
    history = folded(intent("r1", 1, 2), ended(1, "adopted"), intent("r2", 2))
    assert list(history.doubts) == ["r2"]
    assert history.doubt_of_path == {"x/2.pdf": "r2"}


def test_a_deletion_frees_the_key() -> None:
    history = folded(intent("r1", 1), ended(1), ended(1, "deleted"))
    assert not history.holds("key1")
    assert history.done == {}


def test_facts_with_a_key_move_what_is_done_to_its_new_path() -> None:
    moved = Facts("y/1.pdf", 11, AT, "e", "a" * 64, key="key1")
    history = folded(intent("r1", 1), ended(1), moved)
    assert list(history.done) == ["y/1.pdf"]
    assert history.done_by_key["key1"] is history.done["y/1.pdf"]


def test_facts_without_a_key_are_of_a_file_that_is_not_done() -> None:
    history = folded(Facts("y/1.pdf", 11, AT, "e", "a" * 64))
    assert history.facts["y/1.pdf"].sha256 == "a" * 64
    assert history.done == {}


NUMBERS = st.integers(1, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("intent"), st.lists(NUMBERS, min_size=1, max_size=3, unique=True)),
        st.tuples(
            st.just("end"),
            NUMBERS,
            st.sampled_from(["success", "adopted", "error", "not_sent", "file_missing", "deleted"]),
        ),
        st.tuples(st.just("look"), st.booleans()),
        st.tuples(st.just("facts"), NUMBERS, st.booleans()),
    ),
    max_size=25,
)


def chain_of(steps: list[tuple[object, ...]]) -> list[Record]:
    """Records as a run may write them: outcomes end what is in doubt, and no done key is sent."""
    history = History()
    records: list[Record] = [STARTED]
    history.apply(STARTED)
    for place, step in enumerate(steps):
        made: list[Record] = []
        match step:
            case ("intent", list(numbers)):
                fresh = [n for n in numbers if f"key{n}" not in history.done_by_key]
                made = [intent(f"r{place}", *fresh)] if fresh else []
            case ("end", int(number), str(outcome)):
                request_id = history.doubt_of_key.get(f"key{number}")
                if request_id or (outcome == "deleted" and f"key{number}" in history.done_by_key):
                    made = [ended(number, outcome, request_id or "")]
            case ("look", bool(settled)):
                made = [Looked(r, AT, 0, settled) for r in history.doubts]
            case ("facts", int(number), bool(with_key)):
                is_done = f"key{number}" in history.done_by_key
                if not with_key or is_done:
                    key = f"key{number}" if with_key else ""
                    made = [Facts(f"new/{number}.pdf", 5, AT, "", "c" * 64, key)]
            case _:
                made = [STARTED]
        history.fold(made)
        records += made
    return records


def same_state(one: History, other: History) -> None:
    for name in (
        "done",
        "done_by_key",
        "doubt_of_key",
        "doubt_of_path",
        "refused",
        "facts",
        "store",
    ):
        assert getattr(one, name) == getattr(other, name), name
    assert list(one.doubts) == list(other.doubts)
    for request_id, doubt in one.doubts.items():
        theirs = other.doubts[request_id]
        assert (doubt.open, doubt.settled_looks, doubt.partial) == (
            theirs.open,
            theirs.settled_looks,
            theirs.partial,
        )
        if not doubt.partial:
            assert doubt.intent == theirs.intent


def in_memory(history: History) -> list[Record]:
    """A snapshot's records: of rows in memory none is a line."""
    return [record for record in history.snapshot(0) if not isinstance(record, bytes)]


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_a_snapshot_written_and_read_back_folds_to_the_same_state(
    steps: list[tuple[object, ...]],
) -> None:
    history = History().fold(chain_of(steps))
    data = encode_segment(header(is_snapshot=True), history.snapshot(0))
    _, records = decode_segment(data, "log/1")
    same_state(history, History().fold(records))


@given(STEPS, STEPS)
@settings(max_examples=200, deadline=None)
def test_what_follows_a_snapshot_folds_as_if_there_had_been_none(
    before: list[tuple[object, ...]], after: list[tuple[object, ...]]
) -> None:
    first = chain_of(before)
    rest = chain_of([*before, *[("run",)], *after])[len(first) :]
    whole = History().fold([*first, *rest])
    same_state(whole, History().fold(in_memory(History().fold(first))).fold(rest))


def test_a_history_of_any_size_has_a_short_repr() -> None:
    # asyncio.run formats a task's result: a million rows would be written out.
    history = History()
    history.refused = {str(n): Refused(str(n), "x" * 100, "run") for n in range(1_000)}
    assert len(repr(history)) < 200


def test_the_last_runs_files_dir_is_known_after_a_snapshot() -> None:
    started = RunStarted("run", "2026-01-01T00:00:00Z", "1", "other", "", "/old", "disk", "0")
    folded = History().fold(in_memory(History().fold([started])))
    assert folded.files_dir == "/old"

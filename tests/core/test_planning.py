"""The plan: the table in core/planning's docstring row by row, and what holds for every history."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.core.chain import GroupFile, Intent, Recorded, RunStarted
from qbo_attach.core.file_types import built_in_file_types
from qbo_attach.core.history import History
from qbo_attach.core.model import OF_ITS_TWIN
from qbo_attach.core.naming import folded, idempotency_key
from qbo_attach.core.planned import group_file, new_facts
from qbo_attach.core.planning import CHANGED, MISSING, Planner, UnsettledError
from qbo_attach.core.tables import PlanRow, VerificationRow

REALM = "77"
STORE = "disk"
TYPES = built_in_file_types()
MONDAY, TUESDAY = "2026-01-05T08:00:00.5Z", "2026-01-06T08:00:00.5Z"
A, B, C = "a" * 64, "b" * 64, "c" * 64


def verified(
    path: str,
    *,
    entity: str = "1",
    size: int = 10,
    at: str = MONDAY,
    status: str = "ok",
    etag: str = "",
) -> VerificationRow:
    name = path.rpartition("/")[2]
    return VerificationRow(
        "1-1", "Txn", "801-1", name, path, "Bill", entity, status, "", "", str(size), at, etag
    )


def started(store: str = STORE) -> RunStarted:
    return RunStarted("run", MONDAY, REALM, "sandbox", "Company", "files", store, "1")


def sendable(row: VerificationRow, sha256: str = "", name: str = "") -> GroupFile:
    sent = name or TYPES.sent_name(row.file_name)
    return GroupFile(
        key=idempotency_key(REALM, row.qbo_entity_type, row.qbo_entity_id, sent),
        path=row.file_path,
        sent_file_name=sent,
        content_type="application/pdf",
        size_bytes=int(row.size_bytes),
        modified_at=row.modified_at,
        etag=row.etag,
        qbo_entity_type=row.qbo_entity_type,
        qbo_entity_id=row.qbo_entity_id,
        file_name=row.file_name,
        sha256=sha256,
    )


def outcome(file: GroupFile, name: str = "success", error: str = "") -> Recorded:
    return Recorded(
        MONDAY,
        name,
        file.key,
        file.path,
        attachable_id="9",
        sha256=file.sha256,
        error=error,
        file=file,
    )


def done(*files: GroupFile, store: str = STORE) -> History:
    return History().fold([started(store), *(outcome(file) for file in files)])


def in_doubt(*files: GroupFile) -> History:
    return History().fold([started(), Intent("r1", "b1", 1, MONDAY, MONDAY, "tag", files)])


def planned(
    rows: list[VerificationRow],
    history: History | None = None,
    digests: dict[str, str] | None = None,
    *,
    skip_refused: bool = False,
    store: str = STORE,
) -> dict[str, PlanRow]:
    """The plan by path; only digests that were asked for are given, as the stage does."""
    planner = Planner(REALM, history or History(), TYPES, store, skip_refused)
    survey = planner.survey(lambda: iter(rows))
    wanted = {row.file_path for row in rows if planner.wants_digest(row, survey)}
    given_digests = {path: digest for path, digest in (digests or {}).items() if path in wanted}
    assert wanted <= set(digests or {}), "a digest is wanted that the example does not have"
    plan = list(planner.decide(iter(rows), survey, given_digests))
    return {row.file_path: row for row in plan}


def action(row: VerificationRow, history: History, **more: str) -> str:
    return planned([row], history, more or None)[row.file_path].action


def test_an_attachment_alone_under_its_name_is_sent_unread() -> None:
    row = planned([verified("x/a.pdf")])["x/a.pdf"]
    assert (row.action, row.sent_file_name, row.sha256) == ("send", "a.pdf", "")


def test_rows_that_are_not_ok_have_no_row() -> None:
    assert planned([verified("x/a.pdf", status="missing_mapping")]) == {}


def test_done_with_equal_facts_is_skipped() -> None:
    row = verified("x/a.pdf")
    assert action(row, done(sendable(row))) == "skip"


def test_done_with_an_equal_digest_is_skipped_and_gives_new_facts() -> None:
    row = verified("x/a.pdf")
    history = done(sendable(row, A))
    later = row._replace(modified_at=TUESDAY)
    plan = planned([later], history, {"x/a.pdf": A})["x/a.pdf"]
    assert plan.action == "skip"
    facts = new_facts(plan, history)
    assert facts is not None
    history.apply(facts)
    assert planned([later], history)["x/a.pdf"].action == "skip"


def test_done_with_another_digest_or_size_is_changed() -> None:
    row = verified("x/a.pdf")
    history = done(sendable(row, A))
    assert (
        planned([row._replace(modified_at=TUESDAY)], history, {"x/a.pdf": B})["x/a.pdf"].action
        == "changed"
    )
    assert planned([row._replace(size_bytes="11")], history)["x/a.pdf"].action == "changed"


def test_of_one_moved_after_it_was_adopted_unread_qbo_is_to_be_asked() -> None:
    planner = Planner(REALM, done(sendable(verified("old/a.pdf"))), TYPES, STORE)
    rows = [verified("new/a.pdf")]
    survey = planner.survey(lambda: iter(rows))
    assert planner.entities_to_send(rows, survey, {"new/a.pdf": A}) == {"Bill": {"1"}}


def test_one_adopted_without_a_digest_is_changed_when_its_time_is_another() -> None:
    history = done(sendable(verified("1/a.pdf")))
    row = verified("1/a.pdf", at=TUESDAY)
    assert planned([row], history)["1/a.pdf"].action == "changed"


def test_done_under_another_entity_is_changed() -> None:
    row = verified("x/a.pdf")
    plan = planned([row._replace(qbo_entity_id="2")], done(sendable(row)))["x/a.pdf"]
    assert plan.action == "changed"
    assert "Bill:1" in plan.reason


def test_an_attachment_in_doubt_is_looked_for() -> None:
    row = verified("x/a.pdf")
    assert action(row, in_doubt(sendable(row))) == "look"


def test_one_that_may_be_a_moved_one_in_doubt_waits_for_its_look() -> None:
    old = verified("x/a.pdf")
    renamed, other = verified("y/b.pdf"), verified("y/c.pdf", size=11)
    plan = planned([renamed, other], in_doubt(sendable(old)))
    assert [row.action for row in plan.values()] == ["look", "send"]
    assert "x/a.pdf" in plan["y/b.pdf"].reason
    both = planned([old, renamed], in_doubt(sendable(old)))
    assert [row.action for row in both.values()] == ["look", "send"]


def test_a_refused_one_is_sent_again_unless_it_is_to_be_left() -> None:
    row = verified("x/a.pdf")
    history = History().fold([started(), outcome(sendable(row), "error", "6041 no")])
    assert planned([row], history)["x/a.pdf"].action == "send"
    assert planned([row], history, skip_refused=True)["x/a.pdf"].action == "refused"


def test_twins_of_a_refused_one_are_left_alone_with_it_if_that_is_asked_for() -> None:
    row, twin, other = verified("x/a.pdf"), verified("y/a.pdf"), verified("z/a.pdf")
    history = History().fold([started(), outcome(sendable(row), "error", "6041 no")])
    read = {"x/a.pdf": A, "y/a.pdf": A, "z/a.pdf": B}
    plan = planned([row, twin, other], history, read, skip_refused=True)
    assert [each.action for each in plan.values()] == ["refused", "refused", "send"]
    assert plan["y/a.pdf"].reason == "refused before: 6041 no" + OF_ITS_TWIN
    for unread in (MISSING, CHANGED):
        gone = planned([row, twin], history, read | {"x/a.pdf": unread}, skip_refused=True)
        assert [each.action for each in gone.values()] == ["refused", "send"]


def test_a_done_one_under_a_new_name_is_skipped_only_when_the_old_path_is_gone() -> None:
    old, new = verified("x/a.pdf"), verified("x/b.pdf")
    history = done(sendable(old, A))
    plan = planned([new], history, {"x/b.pdf": A})["x/b.pdf"]
    assert (plan.action, plan.sent_file_name) == ("skip", "a.pdf")
    both = planned([old, new], history)
    assert [both[p].action for p in ("x/a.pdf", "x/b.pdf")] == ["skip", "send"]


def test_one_vanished_file_explains_one_renamed_file_only() -> None:
    history = done(sendable(verified("x/a.pdf"), A))
    rows = [verified("x/b.pdf"), verified("x/c.pdf")]
    plan = planned(rows, history, {"x/b.pdf": A, "x/c.pdf": A})
    assert [plan[p].action for p in ("x/b.pdf", "x/c.pdf")] == ["skip", "send"]


def test_an_equal_twin_of_a_renamed_one_is_a_duplicate() -> None:
    history = done(sendable(verified("x/a.pdf"), A, "a (aaaaaaaa).pdf"))
    rows = [verified("y/a.pdf"), verified("z/A.PDF")]
    plan = planned(rows, history, {"y/a.pdf": A, "z/A.PDF": A})
    assert [row.action for row in plan.values()] == ["skip", "duplicate_content"]


def test_equal_content_under_one_name_is_sent_once_under_the_plain_name() -> None:
    rows = [verified("x/a.pdf"), verified("x/deeper/A.PDF")]
    plan = planned(rows, None, {"x/a.pdf": A, "x/deeper/A.PDF": A})
    assert [row.action for row in plan.values()] == ["send", "duplicate_content"]
    assert plan["x/a.pdf"].sent_file_name == "a.pdf"


def test_differing_content_under_one_name_goes_under_digest_names() -> None:
    rows = [verified("x/a.pdf"), verified("x/deeper/a.pdf")]
    plan = planned(rows, None, {"x/a.pdf": A, "x/deeper/a.pdf": B})
    assert [row.action for row in plan.values()] == ["send", "send"]
    assert [row.sent_file_name for row in plan.values()] == ["a (aaaaaaaa).pdf", "a (bbbbbbbb).pdf"]


def test_a_name_held_by_differing_content_makes_a_digest_name() -> None:
    row = verified("x/a.pdf")
    plan = planned([row, verified("y/a.pdf")], done(sendable(row, A)), {"y/a.pdf": B})
    assert plan["y/a.pdf"].sent_file_name == "a (bbbbbbbb).pdf"


def test_equal_content_of_a_done_one_under_its_name_is_a_duplicate() -> None:
    row = verified("x/a.pdf")
    plan = planned([row, verified("y/a.pdf")], done(sendable(row, A)), {"y/a.pdf": A})
    assert [r.action for r in plan.values()] == ["skip", "duplicate_content"]


def test_a_member_of_a_shared_name_may_be_gone_or_changed_when_it_is_read() -> None:
    rows = [verified("x/a.pdf"), verified("y/a.pdf"), verified("z/a.pdf")]
    plan = planned(rows, None, {"x/a.pdf": MISSING, "y/a.pdf": CHANGED, "z/a.pdf": A})
    assert [r.action for r in plan.values()] == ["file_missing", "source_changed", "send"]


def test_a_digest_name_that_is_taken_by_a_file_of_that_name_becomes_longer() -> None:
    rows = [verified("x/a.pdf"), verified("y/a.pdf"), verified("x/a (aaaaaaaa).pdf")]
    plan = planned(rows, None, {"x/a.pdf": A, "y/a.pdf": B})
    assert plan["x/a.pdf"].sent_file_name == f"a ({'a' * 16}).pdf"
    assert plan["x/a (aaaaaaaa).pdf"].sent_file_name == "a (aaaaaaaa).pdf"


def test_etags_compare_only_within_one_store() -> None:
    row = verified("x/a.pdf", etag="e1")
    other = row._replace(etag="e2")
    assert planned([other], done(sendable(row, A), store="s3://b"))["x/a.pdf"].action == "skip"
    assert planned([other], done(sendable(row, A)), {"x/a.pdf": B})["x/a.pdf"].action == "changed"


def test_times_are_compared_in_whole_seconds_where_one_side_has_nothing_finer() -> None:
    row = verified("x/a.pdf")
    history = done(sendable(row, A))
    whole = row._replace(modified_at="2026-01-05T08:00:00Z")
    assert planned([whole], history)["x/a.pdf"].action == "skip"


# -- for every set of files and every history --------------------------------------------------

NAMES = ("a.pdf", "A.pdf", "b.pdf", "a (aaaaaaaa).pdf", "a (bbbbbbbb).pdf")
CONTENTS = {A: 10, B: 10, C: 12}
Tree = dict[str, tuple[str, str]]
Steps = list[tuple[Tree, Random, str]]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Content and entity by path; each name may stand in several folders of one entity."""
    places = draw(
        st.lists(
            st.tuples(st.sampled_from("12"), st.sampled_from("xyz"), st.sampled_from(NAMES)),
            unique=True,
            max_size=8,
        )
    )
    return {
        f"{entity}/{folder}/{name}": (draw(st.sampled_from(sorted(CONTENTS))), entity)
        for entity, folder, name in places
    }


def rows_of(tree: Tree, at: str) -> list[VerificationRow]:
    return [
        verified(path, entity=entity, size=CONTENTS[sha], at=at)
        for path, (sha, entity) in tree.items()
    ]


def plan_of(rows: list[VerificationRow], tree: Tree, history: History) -> list[PlanRow]:
    planner = Planner(REALM, history, TYPES, STORE)
    survey = planner.survey(lambda: iter(rows))
    digests = {r.file_path: tree[r.file_path][0] for r in rows if planner.wants_digest(r, survey)}
    plan = list(planner.decide(iter(rows), survey, digests))
    if survey.settled:
        assert list(planner.skips(iter(rows))) == plan
    else:
        with pytest.raises(UnsettledError):
            list(planner.skips(iter(rows)))
    return plan


def check(rows: list[VerificationRow], plan: list[PlanRow], history: History) -> None:
    assert [row.file_path for row in plan] == [row.file_path for row in rows]
    send = [row for row in plan if row.action == "send"]
    keys = [row.idempotency_key for row in send]
    assert len(set(keys)) == len(keys)
    assert not any(history.holds(key) for key in keys)
    for row in send:
        assert row.idempotency_key == idempotency_key(
            REALM, row.qbo_entity_type, row.qbo_entity_id, row.sent_file_name
        )


STEPS = st.lists(
    st.tuples(trees(), st.randoms(use_true_random=False), st.sampled_from((MONDAY, TUESDAY))),
    min_size=1,
    max_size=4,
)
FATES = ("success", "success", "error", "in_doubt", "not_sent")


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_no_key_is_ever_sent_twice_over_any_history(steps: Steps) -> None:
    history = History()
    history.apply(started())
    sent: Counter[str] = Counter()
    for number, (tree, random, at) in enumerate(steps):
        rows = rows_of(tree, at)
        random.shuffle(rows)
        plan = plan_of(rows, tree, history)
        check(rows, plan, history)
        for row in plan:
            facts = new_facts(row, history)
            if facts is not None:
                history.apply(facts)
        for place, row in enumerate(plan):
            if row.action != "send":
                continue
            file = replace(group_file(row), sha256=tree[row.file_path][0])
            fate = random.choice(FATES)
            request_id = f"{number}-{place}"
            history.apply(Intent(request_id, "b", 1, at, at, "tag", (file,)))
            if fate == "success":
                sent[file.key] += 1
            if fate != "in_doubt":
                history.apply(replace(outcome(file, fate), request_id=request_id))
        for name, count in sent.items():
            assert count == 1, name


@given(trees(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_each_content_is_sent_once_under_its_name_in_every_order(
    tree: Tree, random: Random
) -> None:
    rows = rows_of(tree, MONDAY)
    random.shuffle(rows)
    plan = plan_of(rows, tree, History())
    check(rows, plan, History())
    sent = Counter(
        (row.qbo_entity_id, folded(row.file_name), tree[row.file_path][0])
        for row in plan
        if row.action == "send"
    )
    assert sent == dict.fromkeys(
        {(entity, folded(p.rpartition("/")[2]), sha) for p, (sha, entity) in tree.items()}, 1
    )


@given(trees(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_a_second_run_after_all_went_well_sends_nothing(tree: Tree, random: Random) -> None:
    history = History()
    history.apply(started())
    rows = rows_of(tree, MONDAY)
    for row in plan_of(rows, tree, history):
        if row.action == "send":
            history.apply(outcome(replace(group_file(row), sha256=tree[row.file_path][0])))
    random.shuffle(rows)
    again = plan_of(rows, tree, history)
    assert {row.action for row in again} <= {"skip", "duplicate_content"}

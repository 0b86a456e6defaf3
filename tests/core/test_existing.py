"""EXISTING=check in the plan: what QBO holds is not sent again, and nothing is taken for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.core.chain import GroupFile, Intent, Recorded, RunStarted
from qbo_attach.core.existing import UNKNOWN, Existing
from qbo_attach.core.file_types import built_in_file_types
from qbo_attach.core.history import History
from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.core.naming import digest_in_name, digest_name, folded, idempotency_key
from qbo_attach.core.planned import group_file, known_outcomes, new_facts, taken_attachables
from qbo_attach.core.planning import Planner
from qbo_attach.core.tables import PlanRow, VerificationRow

REALM = "77"
TYPES = built_in_file_types()
NOW = "2026-01-05T08:00:00.5Z"
A, B, C = "a" * 64, "b" * 64, "c" * 64


def verified(
    path: str, *, entity: str = "1", size: int = 10, types: str = "Bill"
) -> VerificationRow:
    name = path.rpartition("/")[2]
    return VerificationRow(
        "1-1", "Txn", "801-1", name, path, types, entity, "ok", "", "", str(size), NOW, ""
    )


def attachable(
    number: int, name: str, *refs: str, size: int | None = 10, tag: str = ""
) -> Attachable:
    entities = tuple(EntityRef("Bill", ref) for ref in refs or ("1",))
    return Attachable(str(number), name, size, entities, tag)


def plan_with(
    rows: list[VerificationRow],
    held: Iterable[Attachable],
    contents: dict[str, str] | None = None,
    history: History | None = None,
    *,
    skip_refused: bool = False,
) -> dict[str, PlanRow]:
    """The plan by path. `contents`: digests by path of a file, and by id of an attachable."""
    known = contents or {}
    history = history or History()
    planner = Planner(REALM, history, TYPES, "disk", skip_refused)
    survey = planner.survey(lambda: iter(rows))
    digests = {r.file_path: known[r.file_path] for r in rows if planner.wants_digest(r, survey)}
    existing = Existing(REALM, history, planner.entities_to_send(rows, survey, digests))
    for one in held:
        existing.add(one)
    existing.account(lambda _: True)
    planner = replace(planner, existing=existing)
    digests = {r.file_path: known[r.file_path] for r in rows if planner.wants_digest(r, survey)}
    for attachable_id in planner.to_download(rows, survey, digests):
        existing.learn(attachable_id, known[attachable_id])
    assert planner.to_download(rows, survey, digests) == []
    return {row.file_path: row for row in planner.decide(rows, survey, digests)}


def done(row: VerificationRow, sha256: str, attachable_id: str, name: str = "") -> Recorded:
    sent = name or TYPES.sent_name(row.file_name)
    file = GroupFile(
        key=idempotency_key(REALM, row.qbo_entity_type, row.qbo_entity_id, sent),
        path=row.file_path,
        sent_file_name=sent,
        content_type="application/pdf",
        size_bytes=int(row.size_bytes),
        modified_at=row.modified_at,
        etag="",
        qbo_entity_type=row.qbo_entity_type,
        qbo_entity_id=row.qbo_entity_id,
        sha256=sha256,
    )
    return Recorded(
        NOW, "success", file.key, file.path, attachable_id=attachable_id, sha256=sha256, file=file
    )


STARTED = RunStarted("run", NOW, REALM, "sandbox", "Company", "files", "disk", "1")


def test_one_of_equal_name_and_size_at_its_entity_is_there_already_unread() -> None:
    row = verified("x/A.pdf")
    plan = plan_with([row], [attachable(5, "a.PDF")])["x/A.pdf"]
    assert (plan.action, plan.qbo_attachable_id, plan.sent_file_name) == ("existing", "5", "a.PDF")


def test_an_attachable_at_another_entity_is_nothing_to_it() -> None:
    plan = plan_with([verified("x/a.pdf")], [attachable(5, "a.pdf", "2")])
    assert plan["x/a.pdf"].action == "send"


def test_one_of_equal_name_and_another_size_leaves_the_digest_name() -> None:
    plan = plan_with([verified("x/a.pdf")], [attachable(5, "a.pdf", size=11)], {"x/a.pdf": A})
    assert plan["x/a.pdf"].action == "send"
    assert plan["x/a.pdf"].sent_file_name == "a (aaaaaaaa).pdf"


def test_an_attachable_without_a_size_is_no_file_but_holds_its_name() -> None:
    plan = plan_with([verified("x/a.pdf")], [attachable(5, "a.pdf", size=None)], {"x/a.pdf": A})
    assert plan["x/a.pdf"].sent_file_name == "a (aaaaaaaa).pdf"


def test_one_under_its_digest_name_is_there_already() -> None:
    held = [attachable(5, "a (aaaaaaaa).pdf")]
    assert plan_with([verified("x/a.pdf")], held, {"x/a.pdf": A})["x/a.pdf"].action == "existing"
    other = plan_with([verified("x/a.pdf")], held, {"x/a.pdf": B})["x/a.pdf"]
    assert (other.action, other.sent_file_name) == ("send", "a.pdf")


def test_twins_of_a_refused_file_are_duplicates_where_qbo_has_their_content() -> None:
    rows = [verified(f"{folder}/a.pdf") for folder in "xyz"]
    contents = {**{row.file_path: A for row in rows}, "x/new.pdf": B, "5": A}
    refused = replace(done(rows[0], A, ""), outcome="error", error="6000 no")
    history = History().fold([STARTED, refused])
    rows.append(verified("x/new.pdf"))  # for whose sake QBO is asked
    plan = plan_with(rows, [attachable(5, "a.pdf")], contents, history, skip_refused=True)
    assert [row.action for row in plan.values()] == [
        "refused", "existing", "duplicate_content", "send",
    ]  # fmt: skip


def test_an_existing_one_takes_no_key_that_an_attachment_has_by_its_own_name() -> None:
    """In whatever order: a name that looks like another's digest name is a name as well."""
    rows = [verified("x/a (aaaaaaaa).pdf"), verified("x/a.pdf"), verified("x/A.pdf")]
    contents = {row.file_path: digest for row, digest in zip(rows, (B, C, A), strict=True)}
    held = [attachable(1, "a.pdf"), attachable(2, "a.pdf")]
    for order in permutations(rows):
        plan = plan_with(list(order), held, {**contents, "1": A, "2": C})
        keys = [row.idempotency_key for row in plan.values()]
        assert len(set(keys)) == len(keys)


def test_several_of_one_size_are_told_apart_by_their_bytes() -> None:
    rows = [verified("x/a.pdf"), verified("y/a.pdf")]
    contents = {"x/a.pdf": A, "y/a.pdf": B, "5": B}
    plan = plan_with(rows, [attachable(5, "a.pdf")], contents)
    assert [row.action for row in plan.values()] == ["send", "existing"]
    assert plan["x/a.pdf"].sent_file_name == "a (aaaaaaaa).pdf"


def test_one_attachment_and_two_attachables_of_its_name_are_told_apart_by_their_bytes() -> None:
    held = [attachable(5, "a.pdf"), attachable(6, "a.pdf")]
    plan = plan_with([verified("x/a.pdf")], held, {"x/a.pdf": A, "5": B, "6": A})["x/a.pdf"]
    assert (plan.action, plan.qbo_attachable_id) == ("existing", "6")


def test_one_whose_bytes_cannot_be_had_is_equal_to_nothing() -> None:
    held = [attachable(5, "a.pdf"), attachable(6, "a.pdf")]
    contents = {"x/a.pdf": A, "5": UNKNOWN, "6": UNKNOWN}
    plan = plan_with([verified("x/a.pdf")], held, contents)["x/a.pdf"]
    assert (plan.action, plan.sent_file_name) == ("send", "a (aaaaaaaa).pdf")


def test_an_equal_twin_of_one_that_is_there_is_a_duplicate() -> None:
    rows = [verified("x/a.pdf"), verified("y/a.pdf")]
    plan = plan_with(rows, [attachable(5, "a.pdf")], {"x/a.pdf": A, "y/a.pdf": A})
    assert [row.action for row in plan.values()] == ["existing", "duplicate_content"]


def test_what_a_run_made_is_not_taken_for_another_attachment() -> None:
    first = verified("x/a.pdf")
    history = History().fold([STARTED, done(first, A, "5")])
    plan = plan_with(
        [first, verified("y/a.pdf")], [attachable(5, "a.pdf")], {"y/a.pdf": B}, history
    )
    assert plan["x/a.pdf"].action == "skip"
    assert plan["y/a.pdf"].sent_file_name == "a (bbbbbbbb).pdf"


def test_a_copy_of_a_done_one_is_not_taken_for_its_namesake_of_equal_size() -> None:
    first = verified("x/a.pdf")
    history = History().fold([STARTED, done(first, A, "5")])
    held = [attachable(5, "a.pdf"), attachable(6, "a.pdf")]
    contents = {"y/a.pdf": B, "6": A}
    plan = plan_with([first, verified("y/a.pdf")], held, contents, history)
    assert plan["y/a.pdf"].action == "send"


def test_an_attachable_of_several_entities_serves_each_of_them_by_its_content() -> None:
    both = verified("x/a.pdf", entity="1;2", types="Bill;Bill")
    history = History().fold([STARTED, done(both, A, "5")])
    held = [attachable(5, "a.pdf", "1", "2")]
    equal = plan_with([verified("y/a.pdf", entity="2")], held, {"y/a.pdf": A}, history)
    other = plan_with([verified("y/a.pdf", entity="2")], held, {"y/a.pdf": B}, history)
    assert equal["y/a.pdf"].action == "existing"
    assert (other["y/a.pdf"].action, other["y/a.pdf"].sent_file_name) == (
        "send",
        "a (bbbbbbbb).pdf",
    )


def test_an_attachment_of_several_entities_is_there_only_if_it_is_at_all_of_them() -> None:
    both = verified("x/a.pdf", entity="1;2", types="Bill;Bill")
    assert plan_with([both], [attachable(5, "a.pdf", "1")])["x/a.pdf"].action == "send"
    assert plan_with([both], [attachable(5, "a.pdf", "2", "1")])["x/a.pdf"].action == "existing"


def test_what_may_belong_to_an_intent_in_doubt_is_left_to_its_look() -> None:
    doubtful = verified("x/a.pdf")
    file = done(doubtful, A, "").file
    assert file is not None
    for tag, held_name in ((file.key, "renamed.pdf"), ("", "a.pdf")):
        history = History().fold([STARTED, Intent("r1", "b1", 1, NOW, NOW, "tag", (file,))])
        rows = [doubtful, verified("y/a.pdf")]
        held = [attachable(5, held_name, tag=tag)]
        plan = plan_with(rows, held, {"x/a.pdf": A, "y/a.pdf": A}, history)
        assert plan["x/a.pdf"].action == "look"
        assert plan["y/a.pdf"].action != "existing"


def test_an_existing_one_is_an_outcome_once_and_then_done() -> None:
    row = verified("x/a.pdf")
    plan = plan_with([row], [attachable(5, "a.pdf")])["x/a.pdf"]
    history = History().fold([STARTED])
    (record,) = known_outcomes(plan, history, NOW, {})
    assert (record.outcome, record.attachable_id) == ("already_in_qbo", "5")
    history.apply(record)
    assert list(known_outcomes(plan, history, NOW, {})) == []
    again = plan_with([row], [attachable(5, "a.pdf")], None, history)["x/a.pdf"]
    assert again.action == "skip"


def test_what_a_run_has_taken_since_the_plan_is_not_another_attachments() -> None:
    row = verified("x/a.pdf")
    plan = plan_with([row], [attachable(5, "a.pdf")])["x/a.pdf"]
    both = verified("y/a.pdf", entity="1;2", types="Bill;Bill")
    history = History().fold([STARTED, done(both, B, "5")])
    taken = taken_attachables([plan], history)
    assert taken == {"5": B}
    assert list(known_outcomes(plan, history, NOW, taken)) == []
    same = plan._replace(sha256=B)
    assert [record.attachable_id for record in known_outcomes(same, history, NOW, taken)] == ["5"]
    file = done(both, B, "").file
    assert file is not None
    doubtful = History().fold([STARTED, Intent("r1", "b1", 1, NOW, NOW, "none", (file,))])
    assert list(known_outcomes(plan, doubtful, NOW, {})) == []


def test_an_existing_one_in_a_copied_tree_is_read_once_and_skipped() -> None:
    row = verified("x/a.pdf")
    history = History().fold([STARTED])
    history.fold(
        known_outcomes(plan_with([row], [attachable(5, "a.pdf")])["x/a.pdf"], history, NOW, {})
    )
    copied = row._replace(modified_at="2026-02-05T08:00:00.5Z")
    plan = plan_with([copied], [], {"x/a.pdf": A}, history)["x/a.pdf"]
    assert plan.action == "skip"
    facts = new_facts(plan, history)
    assert facts is not None
    history.apply(facts)
    assert plan_with([copied], [], {}, history)["x/a.pdf"].action == "skip"
    edited = copied._replace(modified_at=NOW)
    assert plan_with([edited], [], {"x/a.pdf": B}, history)["x/a.pdf"].action == "changed"


def test_only_entities_to_which_something_is_sent_need_reading() -> None:
    row, twin, new = verified("x/a.pdf"), verified("y/a.pdf"), verified("x/b.pdf", entity="3")
    history = History().fold([STARTED, done(row, A, "5")])
    planner = Planner(REALM, history, TYPES, "disk")
    for rows, entities in (([row, twin], {}), ([row, twin, new], {"Bill": {"3"}})):
        survey = planner.survey(lambda rows=rows: iter(rows))  # type: ignore[misc]
        assert planner.entities_to_send(rows, survey, {"y/a.pdf": A}) == entities


@given(st.text(min_size=1, max_size=30), st.sampled_from((8, 16, 32, 64)))
def test_a_digest_name_shows_its_digest_and_no_other_name_does(stem: str, length: int) -> None:
    name = f"{stem}.pdf"
    assert digest_in_name(digest_name(name, A, length), name) == A[:length]
    assert digest_in_name(name, name) == ""
    assert digest_in_name(digest_name(f"x{name}", A, length), name) == ""


# -- for every tree, and all that may be there before ----------------------------------------------

NAMES = ("a.pdf", "A.pdf", "b.pdf", "a (aaaaaaaa).pdf")
SIZES = {A: 10, B: 10, C: 12}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, tuple[str, str]]:
    places = draw(
        st.lists(
            st.tuples(st.sampled_from("12"), st.sampled_from("xyz"), st.sampled_from(NAMES)),
            unique=True,
            max_size=7,
        )
    )
    return {
        f"{entity}/{folder}/{name}": (draw(st.sampled_from(sorted(SIZES))), entity)
        for entity, folder, name in places
    }


FOREIGN = st.lists(
    st.tuples(st.sampled_from("12"), st.sampled_from(NAMES), st.sampled_from(sorted(SIZES))),
    max_size=3,
)


@given(trees(), FOREIGN, st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_with_a_lost_log_each_content_is_at_qbo_once_under_its_name(
    tree: dict[str, tuple[str, str]],
    foreign: list[tuple[str, str, str]],
    random: Random,
) -> None:
    rows = [verified(path, entity=entity, size=SIZES[sha]) for path, (sha, entity) in tree.items()]
    held: list[Attachable] = []
    contents = {path: sha for path, (sha, _) in tree.items()}

    def make(entity: str, name: str, sha: str) -> None:
        number = len(held) + 1
        contents[str(number)] = sha
        held.append(attachable(number, name, entity, size=SIZES[sha]))

    for entity, name, sha in foreign:
        # One file of equal name, size and entity is taken for the same file, unread; and a name
        # is believed that shows a digest.
        if not ("(" in name and sha != A) and not any(
            (at, folded(path.rpartition("/")[2])) == (entity, folded(name))
            and sha != other
            and SIZES[sha] == SIZES[other]
            for path, (other, at) in tree.items()
        ):
            make(entity, name, sha)
    strangers = len(held)
    first = plan_with(rows, held, contents)
    for row in first.values():
        if row.action == "send" and random.random() < 0.6:
            make(row.qbo_entity_id, row.sent_file_name, tree[row.file_path][0])
    # The log of that run is lost; another one plans from what QBO shows.
    random.shuffle(rows)
    random.shuffle(held)
    plan = plan_with(rows, held, contents)
    assert plan.keys() == tree.keys()
    for row in plan.values():
        if row.action == "existing":
            assert contents[row.qbo_attachable_id] == contents[row.file_path]
        if row.action == "send":
            make(row.qbo_entity_id, row.sent_file_name, contents[row.file_path])
    ours = [one for one in held if int(one.id) > strangers]
    names = [(one.refs[0].id, folded(one.file_name)) for one in ours]
    assert len(set(names)) == len(names)
    by_content = {(one.refs[0].id, contents[one.id], _plain(one.file_name)) for one in held}
    for path, (sha, entity) in tree.items():
        assert (entity, sha, _plain(path.rpartition("/")[2])) in by_content, path
    history = History().fold([STARTED])
    for number, row in enumerate(plan.values()):
        if row.action == "send":
            file = replace(group_file(row), sha256=contents[row.file_path])
            history.apply(
                Recorded(NOW, "success", file.key, file.path, attachable_id=f"n{number}", file=file)
            )
        for record in known_outcomes(row, history, NOW, {}):
            history.apply(replace(record, sha256=contents[row.file_path]))
    again = plan_with(rows, [], contents, history)
    assert {row.action for row in again.values()} <= {"skip", "duplicate_content"}


def _plain(name: str) -> str:
    """A name without what a digest name adds."""
    return folded(name).partition(" (")[0].removesuffix(".pdf")

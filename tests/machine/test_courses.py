"""Courses that the state machine found wrong once, each at its smallest."""

from __future__ import annotations

from tests.machine.invariants import ledger
from tests.machine.machine import Machine

SCAN = (("Bill", "1"), "p", "scan.pdf", 0)


def begun(*files: tuple[tuple[str, str], str, str, int], marker: str = "tag") -> Machine:
    """A machine with these files, after its beginning."""
    machine = Machine()
    machine.begin(
        seed=0,
        files=list(files),
        per_request=3,
        marker=marker,
        sizes_tell=True,
        etags=False,
        replay="on",
        items_order="sent",
        upload_faults="item",
        query_lag_s=0.0,
        clock_offset_s=0.0,
    )
    return machine


def run_once(machine: Machine, *, vanished: str = "stop", by_plan: bool = False) -> None:
    machine.run_in_trouble(
        vanished=vanished,
        by_plan=by_plan,
        phase="",
        count=1,
        steps=30,
        storage_rate=0.0,
        interrupted_after=None,
    )


def test_a_plan_of_a_former_mapping_does_not_send_what_another_run_has_sent() -> None:
    machine = begun(SCAN)
    machine.plan_alone(vanished="stop")
    machine.changed_mapping(index=0, entity=("Bill", "2"))
    run_once(machine)
    run_once(machine, by_plan=True)
    (one,) = ledger(machine.trial)
    assert one.ref_keys() == [("bill", "2")]


def test_what_was_adopted_is_known_again_after_the_tree_has_moved() -> None:
    machine = begun(SCAN)
    machine.faults_of_uploads(["cut_after"])
    run_once(machine)
    machine.renamed_file(index=0, folder="q", name="bill.pdf")
    machine.runs_until_at_rest(vanished="stop", by_plan=False)
    assert len(ledger(machine.trial)) == 1


def test_what_a_person_has_put_back_by_hand_is_not_sent_again() -> None:
    """VANISHED=send; also where the mapping has changed meanwhile, and the person went by it."""
    for entity in (("Bill", "1"), ("Bill", "2")):
        machine = begun(SCAN)
        run_once(machine)
        machine.remote_deletion(index=0)
        machine.changed_mapping(index=0, entity=entity)
        machine.foreign_attachable(index=0, content=None, copies=1)
        machine.runs_until_at_rest(vanished="send", by_plan=False)
        assert [one.requestid for one in ledger(machine.trial)] == [""]


def test_what_a_run_made_a_minute_ago_at_one_entity_does_not_stop_a_namesake_of_two() -> None:
    machine = begun(SCAN)
    run_once(machine)
    machine.new_file(("Bill;Invoice", "1;8"), "q", "scan.pdf", 1)
    run_once(machine)
    assert len(ledger(machine.trial)) == 2


def test_after_a_lost_log_dir_a_changed_file_and_a_twin_of_its_former_content_send_nothing() -> (
    None
):
    machine = begun(SCAN)
    run_once(machine)
    machine.log_dir_lost()
    run_once(machine)
    machine.changed_file(index=0, content=1)
    machine.new_file(("Bill", "1"), "q", "scan.pdf", 0)
    machine.runs_until_at_rest(vanished="stop", by_plan=False)
    assert len(ledger(machine.trial)) == 1


def test_without_a_marker_what_hangs_on_two_entities_is_not_adopted_for_a_namesake_of_one() -> None:
    machine = begun(SCAN, (("Bill;Invoice", "1;8"), "p", "scan.pdf", 0), marker="none")
    machine.faults_of_uploads(["cut_before", "cut_after"])
    run_once(machine)
    refs = sorted(one.ref_keys() for one in ledger(machine.trial))
    assert refs == [[("bill", "1")], [("bill", "1"), ("invoice", "8")]]


def test_an_old_plan_that_sends_nothing_does_not_take_a_renamed_file_for_what_it_was() -> None:
    machine = begun(SCAN)
    run_once(machine)
    machine.plan_alone(vanished="stop")
    machine.renamed_file(index=0, folder="p", name="bill.pdf")
    machine.new_file(("Bill", "1"), "q", "scan.pdf", 1)
    run_once(machine)
    run_once(machine, by_plan=True)
    assert sorted(machine.history.done) == ["1/p/bill.pdf", "1/q/scan.pdf"]

"""Commands for the person who answers for the migration: `reconcile`, `undo`."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from qbo_attach.cli.terminal import (
    Flag,
    Json,
    app,
    one_line,
    plain,
    settings_given,
    stop_on_signals,
)

if TYPE_CHECKING:
    from qbo_attach.core.chain import Done
    from qbo_attach.core.tables import ReconciliationRow
    from qbo_attach.settings import Settings
    from qbo_attach.stages.reconcile import Depth, Reconciled
    from qbo_attach.stages.undo import Undoable


@app.command
def reconcile(
    *,
    sample: int = 400,
    full: Flag = False,
    seed: int | None = None,
    repair: Flag = False,
    one_way: Flag = False,
    verbose: Flag = False,
    json: Json = False,
) -> int:
    """Compare all that QBO holds with what was sent, in LOG_DIR/reconciliation.csv.

    Prints a line a difference, with rclone's marks: `+` only here (missing at QBO, or never sent),
    `-` only at QBO (doubled, unknown, or not in the run log), `*` differs (entity, size, content,
    name), `!` cannot be told, and with --verbose `=` equal. Exit status: 0 no difference, 1
    differences, 3 could not be finished.

    Args:
        sample: so many attachables are downloaded and compared by digest; 0: none.
        full: all are.
        seed: decides which are drawn; without it another sample each time.
        repair: then send what is missing or was never sent, through plan and upload, take over what
            is ours there, and compare again. Deletes nothing.
        one_way: what QBO has of others besides is listed, and is no difference.
        verbose: print what is equal as well.
        json: one JSON object on stdout, and no lines.
    """
    from qbo_attach.core.errors import NotStartedError
    from qbo_attach.stages.reconcile import Depth, run_repair

    if sample < 0:
        raise NotStartedError(f"--sample {sample}: must be a whole number from 0")
    settings = settings_given()
    depth = Depth(None if full else sample, seed)
    tell_row = None if json else _line_teller(verbose=verbose)
    found = _reconciled(settings, depth, tell_row)
    requests = sum(found.requests_sent.values())
    status = 1 if found.differences(one_way=one_way) else 0
    if repair and found.repairable:
        mended = run_repair(settings, found, stop_on_signals)
        requests += mended.requests_sent
        told = ", ".join(f"{name} {n:,}" for name, n in sorted(mended.outcomes.items()))
        print(f"Repair, run {mended.run_id}: {told}", file=sys.stderr)
        for note in (*mended.notes, *filter(None, [mended.stopped])):
            print(f"  {one_line(note)}", file=sys.stderr)
        if mended.stopped:
            return 3
        found = _reconciled(settings, depth, tell_row)
        requests += sum(found.requests_sent.values())
        status = 1 if found.differences(one_way=one_way) else 0
    if json:
        print(json_text.dumps({**_as_json(found), "requests_sent": requests}))
    return status


def _reconciled(
    settings: Settings, depth: Depth, tell_row: Callable[[ReconciliationRow], None] | None
) -> Reconciled:
    from qbo_attach.core.differences import MARKS
    from qbo_attach.stages.reconcile import run_reconcile

    found = run_reconcile(settings, depth, tell_row)
    total = sum(found.result.counts.values())
    read = sum(found.requests_sent.values())
    print(f"reconcile: {total:,} attachments and attachables, {read:,} requests", file=sys.stderr)
    for state, mark in MARKS.items():
        count = found.result.counts.get(state, 0)
        if count:
            print(f"  {mark} {state!s:<18}{count:>9,}", file=sys.stderr)
    for note in found.result.notes:
        print(f"  {one_line(note)}", file=sys.stderr)
    for artifact in found.result.artifacts:
        print(f"{artifact.name}: {plain(artifact.url)}", file=sys.stderr)
    return found


def _line_teller(*, verbose: bool) -> Callable[[ReconciliationRow], None]:
    from qbo_attach.core.differences import MARKS

    def tell_row(row: ReconciliationRow) -> None:
        mark = MARKS[row.state]
        if mark == "=" and not verbose:
            return
        entity = f"{row.found_entity_type}:{row.found_entity_id}".strip(":") or "nothing"
        what = row.file_path or f"{entity}/{row.found_file_name} ({row.found_attachable_id})"
        why = f": {row.reason}" if row.reason else ""
        print(f"{mark} {one_line(what)}\t{row.state}{one_line(why)}")

    return tell_row


def _as_json(found: Reconciled) -> dict[str, object]:
    proof = found.proof
    return {
        "counts": found.result.counts,
        "proof": None
        if proof is None
        else {
            "compared": proof.draws,
            "of": proof.population,
            "without_digest": proof.unprovable,
            "defects": proof.defects,
            "upper_bound": proof.upper_bound,
            "seed": proof.seed,
        },
        "files": {artifact.name: artifact.url for artifact in found.result.artifacts},
    }


@app.command
def undo(
    *,
    run: str,
    entity: list[str] | None = None,
    dry_run: Flag = False,
    yes: Flag = False,
    json: Json = False,
) -> int:
    """Delete from QBO what one run put there, each only if nobody has changed it since.

    What QBO had before (already_in_qbo) is never touched. May be stopped and run again at any
    moment. Exit status: 0 all of it is gone, 1 some was left, 2 not started, 3 stopped: run again.

    Args:
        run: id of the run, as qbo_attach_runlog.csv and the end of a run have it.
        entity: only what hangs on this entity, such as Bill:12; may be given several times.
        dry_run: print what would be deleted, and delete nothing.
        yes: do not ask first. Without a terminal nothing is deleted unless this is given.
        json: one JSON object on stdout, and no lines.
    """
    from qbo_attach.stages.undo import find_undoable, preview_undo, run_undo

    settings = settings_given()
    undoable = find_undoable(settings, run, entity or ())
    if undoable.in_doubt:
        print(
            f"{undoable.in_doubt:,} attachments are in doubt and stay so: run qbo-attach run first "
            "to settle them",
            file=sys.stderr,
        )
    told = (lambda *_: None) if json else _tell_deletion
    if dry_run:
        counts = preview_undo(settings, undoable, told)
        _sum_up(counts)
        print("Nothing was deleted.", file=sys.stderr)
        if json:
            print(json_text.dumps({"run_id": "", "undoes": run, "counts": counts}))
        return 0
    if undoable.keys and not yes:
        _ask(settings, undoable)
    undone = run_undo(settings, undoable, told, stop_on_signals)
    _sum_up(undone.counts)
    if undone.stopped:
        print(f"qbo-attach: {one_line(undone.stopped)}; run it again to go on", file=sys.stderr)
    elif undone.counts.get("deleted"):
        print("The next run sends these files again.", file=sys.stderr)
    if json:
        print(json_text.dumps(undone.as_json()))
    return undone.exit_status


def _tell_deletion(done: Done, what: str, reason: str) -> None:
    why = f": {reason}" if reason else ""
    entity = f"{done.qbo_entity_type}:{done.qbo_entity_id}"
    print(f"{what}\t{one_line(done.path)}\t{entity} ({done.attachable_id}){one_line(why)}")


def _sum_up(counts: dict[str, int]) -> None:
    told = ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))
    print(f"undo: {told or 'nothing is left of this run to delete'}", file=sys.stderr)


def _ask(settings: Settings, undoable: Undoable) -> None:
    """Let a person say yes.

    Raises:
        NotStartedError: nobody is there to ask, or the answer is another one.
    """
    from qbo_attach.core.errors import NotStartedError

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NotStartedError(
            "undo deletes attachables, and there is no terminal to ask in: see with --dry-run what "
            "would go, then give --yes. Nothing was deleted"
        )
    where = one_line(f"{undoable.company} ({settings.realm_id})")
    only = ", ".join(map(str, sorted(undoable.entities)))
    print(
        f"{len(undoable.keys):,} attachables that run {undoable.run_id} made in {where}"
        f"{plain(f', on {only}') if only else ''} will be deleted from QBO, but for those that "
        "somebody has changed since. The next run would send their files again.",
        file=sys.stderr,
    )
    print("Type yes to delete them: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise NotStartedError("nothing was deleted")

"""Plan on a finished log, and a second run end to end."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from benchmarks.bench import PEERS, TIMES, Bench, Goal, Section, at_most, ours
from benchmarks.ground import Company, Workspace, make_finished
from benchmarks.measuring import Command, timed

METHOD = (
    (
        "A verification log of so many `ok` files, and a run log in which all of them are done "
        "(one snapshot in parts of 50,000 rows, as a run leaves it; for the second run also the "
        "intents and outcomes before it, which the report reads). QBO_BASE_URL is a port that "
        "nobody listens on: a single request would fail the run."
    ),
    (
        "`plan`: `qbo-attach plan`. Second run: `qbo-attach run` over real files on the disk, "
        "that is inventory, mapping, verify, plan, upload (of nothing) and report; what is "
        "measured apart as `inventory` is taken off for the figure after the listing."
    ),
    (
        "The bare script (benchmarks/peers/bare_second_run.py) begins with the inventory's table. "
        "It reads mapping and run log into dicts, each once, and writes verification log, plan, "
        "run log table and duplicates by `csv`: no digest, no chain, no page, nothing synced. Its "
        "tables are compared with ours cell by cell, but for the time and name of the run. Our "
        "start-up goes with the inventory that is taken off; the script's, 0.1 s, stays. It is "
        "set beside ours for scale, since seconds move with the machine, and is no figure to reach."
    ),
)

_LARGE = 500_000
_TABLES = {
    "mapping_verification_log.csv": "verified.csv",
    "upload_plan.csv": "planned.csv",
    "qbo_attach_runlog.csv": "told.csv",
    "qbo_attach_dups.csv": "dups.csv",
}
"""Ours, and the bare script's."""
_OF_THE_RUN = ("ts", "run_id")


def measure(bench: Bench) -> Section:
    """Plans of two sizes, then the second run."""
    section = Section("Plan and second run", METHOD)
    for files in (bench.size(170_000, 2_000), bench.size(1_000_000, 10_000)):
        found = bench.compared(
            {"qbo-attach plan": ours(planned(bench, files), "plan")},
            runs=1 if files >= _LARGE else 0,
        )
        section.compare(f"Plan on {files:,} finished rows", found)
    _second_run(bench, section, bench.size(170_000, 1_000))
    return section


def planned(bench: Bench, files: int) -> Workspace:
    """A workspace in which so many files, that need not be there, are done."""
    workspace = Workspace(bench.folder(f"done-{files}"))
    company = Company(files, bench.seed)
    company.write_verified(workspace)
    make_finished(workspace)
    return workspace


def _second_run(bench: Bench, section: Section, files: int) -> None:
    workspace = Workspace(bench.scratch / f"tree-{files}")
    Company(files, bench.seed).make_tree(workspace, size_bytes=1)
    cwd = bench.folder("cwd")
    for stage in ("inventory", "mapping", "verify"):
        timed(ours(workspace, stage), cwd)
    done = make_finished(workspace, whole=True)
    told: list[str] = []
    run = ours(workspace, "run", "--json")
    run = type(run)(run.argv, run.env, run.before, run.ok, printed=told.append)
    us, listing, bare = "qbo-attach run", "... inventory alone", "bare csv + dict + orjson"
    out = bench.folder("bare-second-run")
    found = bench.compared(
        {us: run, listing: ours(workspace, "inventory"), bare: _bare(workspace, out)}
    )
    if problem := difference(workspace.log, out):
        raise RuntimeError(problem)
    section.compare(f"Second run, {files:,} finished files", found)
    summaries = [json.loads(text[text.rindex('{"run_id"') :]) for text in told]
    outcomes = {json.dumps(summary["counts"]["outcome"]) for summary in summaries}
    if outcomes != {json.dumps({"skipped_already_uploaded": done})}:
        raise RuntimeError(f"a second run over {done} finished files came to {outcomes}")
    requests = max(summary["requests_sent"] for summary in summaries)
    after = found[us].wall_s - found[listing].wall_s
    by_cpu = found[us].cpu_s - found[listing].cpu_s
    name = f"Second run of {files:,}, after the listing"
    section.goals += [
        at_most(name, 10, after, " s", decides=bench.decides),
        Goal("... requests", "0", str(requests), requests == 0),
    ]
    section.notes.append(
        f"After the listing {after:.1f} s, {after / found[bare].wall_s:.2f}{TIMES} the bare "
        f"script's time; by CPU {by_cpu / found[bare].cpu_s:.2f}{TIMES}."
    )


def _bare(workspace: Workspace, out: Path) -> Command:
    script = str(PEERS / "bare_second_run.py")
    names = ("attachments_inventory.csv", "mapping_export.csv")
    given = [*(workspace.data / name for name in names), workspace.plan_of("any").parent, out]
    return Command((sys.executable, script, *map(str, given)))


def difference(log: Path, out: Path) -> str:
    """Where the bare script's tables differ from ours; "" if nowhere."""
    for ours_name, bare_name in _TABLES.items():
        pairs = zip_longest(_cells(log / ours_name), _cells(out / bare_name))
        for number, (us, bare) in enumerate(pairs, 1):
            if us != bare:
                return f"{ours_name} and {bare_name} differ in row {number}: {us} and {bare}"
    return ""


def _cells(table: Path) -> Iterator[list[str]]:
    """The rows of a table, without what each run has of its own."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows)
        kept = [at for at, name in enumerate(header) if name not in _OF_THE_RUN]
        yield [header[at] for at in kept]
        for row in rows:
            yield [row[at] for at in kept]

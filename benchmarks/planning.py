"""Plan on a finished log, and a second run end to end."""

from __future__ import annotations

import json

from benchmarks.bench import Bench, Goal, Section, at_most, ours
from benchmarks.ground import Company, Workspace, make_finished
from benchmarks.measuring import timed

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
)


def measure(bench: Bench) -> Section:
    """Plans of two sizes, then the second run."""
    section = Section("Plan and second run", METHOD)
    for files in (bench.size(170_000, 2_000), bench.size(1_000_000, 10_000)):
        found = bench.compared(
            {"qbo-attach plan": ours(planned(bench, files), "plan")},
            runs=1 if files >= 1_000_000 else 0,
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
    found = bench.compared(
        {"qbo-attach run": run, "... inventory alone": ours(workspace, "inventory")}
    )
    section.compare(f"Second run, {files:,} finished files", found)
    summaries = [json.loads(text[text.rindex('{"run_id"') :]) for text in told]
    outcomes = {json.dumps(summary["counts"]["outcome"]) for summary in summaries}
    if outcomes != {json.dumps({"skipped_already_uploaded": done})}:
        raise RuntimeError(f"a second run over {done} finished files came to {outcomes}")
    requests = max(summary["requests_sent"] for summary in summaries)
    after = found["qbo-attach run"].wall_s - found["... inventory alone"].wall_s
    section.goals += [
        at_most(
            f"Second run of {files:,}, after the listing", 10, after, " s", decides=not bench.quick
        ),
        Goal("... requests", "0", str(requests), requests == 0),
    ]

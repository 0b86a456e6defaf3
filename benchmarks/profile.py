"""Where an upload's CPU goes: samples of all threads' stacks, by what the product does there."""

from __future__ import annotations

import json
import sys

from benchmarks.bench import ROOT, Bench, Section, Table
from benchmarks.measuring import Command, timed
from benchmarks.servers import FreshFake
from benchmarks.uploads import UNLIMITED, on_disk

METHOD = (
    "`qbo-attach upload` of files of 50,000 bytes from the disk, no latency, limits off.",
    (
        "A look for every few ms of CPU that the process has used (`ITIMER_PROF`, each tick) at "
        "the stacks of the threads that do not wait. Innermost frame first, the first one of a "
        "room named below is charged with the CPU time that its thread has used since the last "
        "look (benchmarks/sampled.py). `not seen`: of threads that had ended, and before the "
        "first look."
    ),
    (
        "The looks themselves cost some, and each column is one run: take the shares from here, "
        "the time of a file from the tables of Upload."
    ),
)


def measure(bench: Bench) -> Section:
    """Shares of an upload in groups of 10 and of 1, limits off, no latency."""
    section = Section("Where an upload's CPU goes", METHOD)
    ground = on_disk(bench, bench.size(20_000, 200))
    found: dict[str, dict[str, float]] = {}
    shares = bench.folder("cwd") / "shares.json"
    for group in (10,) if bench.quick else (10, 1):
        with FreshFake(bench.scratch) as fake:
            ground.workspace.forget_uploads()
            fake.begin()
            env = ground.workspace.env(
                QBO_BASE_URL=fake.url,
                QBO_REQUESTS_PER_MIN=UNLIMITED,
                FILES_PER_REQUEST=str(group),
                PYTHONPATH=str(ROOT),
            )
            words = (sys.executable, "-m", "benchmarks.sampled", str(shares), "upload")
            timed(Command(words, env), bench.folder("cwd"))
        found[f"group {group}"] = json.loads(shares.read_text())
    names = sorted(
        {n for one in found.values() for n in one}, key=lambda n: -found["group 10"].get(n, 0)
    )
    totals = {kind: sum(one.values()) for kind, one in found.items()}
    rows = [
        (name, *(f"{one.get(name, 0) / totals[kind]:.1%}" for kind, one in found.items()))
        for name in names
    ]
    rows.append(("CPU s in all", *(f"{total:.1f}" for total in totals.values())))
    title = f"Profile of an upload of {ground.files:,} files"
    section.tables.append(Table(title, ("share of CPU", *found), rows))
    return section

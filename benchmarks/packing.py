"""Packing: which group size suits which files on which line."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from benchmarks.bench import TIMES, Bench, Section, Table, ours
from benchmarks.ground import Company, Workspace
from benchmarks.measuring import timed
from benchmarks.servers import FreshFake, slow_line
from benchmarks.uploads import planned, settled
from qbo_attach.core.uploading import FILE_OVERHEAD_BYTES, LADDER, GroupBytes

SIZES = {"5 KB": 5_000, "50 KB": 50_000, "500 KB": 500_000, "5 MB": 5_000_000}
MBITS = (10, 50, 200)
GROUPS = (1, 2, 5, 10, 20, 50)
PER_MINUTE, IN_FLIGHT, DEADLINE_S = 490, 10, 120
ANSWER_S = 0.2
"""What the company takes to answer when it has all bytes."""

METHOD = (
    (
        "A model, checked by measured cells. Files a minute are the least of three: 490 "
        "requests a minute times the group; the line's bytes a second over the file's bytes "
        "(with overhead); and 10 in flight, each taking its bytes' time on the line and 200 ms. "
        "A request takes the time of its bytes on the line, ten times that where the line is the "
        "bound and ten share it, and 200 ms."
    ),
    (
        "The cells that are measured: `qbo-attach upload` through a line of that many Mbit/s "
        "upwards (benchmarks/proxy.py), limits exact, 200 ms, FILES_PER_REQUEST fixed. Files a "
        "minute, from the first request's start to the last answer, and the longest request are "
        "from the run's own table; the fake's ledger has every file once. The first ten requests "
        "leave at once and share the line whatever the bound is: the longest is one of them."
    ),
    (
        "Our bound on a group's bytes (what the measured rate carries in 30 s, 8 MB before the "
        "first answer) applies in both; a file larger than that goes alone."
    ),
)
CELLS = (
    ("5 KB", 10, 10, 800),
    ("5 KB", 10, 20, 1_600),
    ("50 KB", 10, 1, 200),
    ("50 KB", 10, 10, 300),
    ("50 KB", 50, 10, 1_000),
    ("500 KB", 50, 5, 150),
    ("5 MB", 200, 2, 60),
)
"""Size, Mbit/s, group, files."""


@dataclass(frozen=True)
class Modelled:
    """Files a minute, what bounds them, and the longest request."""

    files_a_minute: float
    bound: str
    request_s: float


def modelled(size_bytes: int, mbit_s: float, group: int) -> Modelled:
    """What the model says of a cell."""
    bytes_s = mbit_s * 1e6 / 8
    each = size_bytes + FILE_OVERHEAD_BYTES // 4
    most = GroupBytes(start_bytes=max(1_000_000, int(bytes_s / IN_FLIGHT * GroupBytes().seconds)))
    group = max(1, min(group, most.most // each))
    alone_s = group * each / bytes_s + ANSWER_S
    rates = {
        "requests": PER_MINUTE * group,
        "line": 60 * bytes_s / each,
        "in flight": 60 * IN_FLIGHT * group / alone_s,
    }
    bound = min(rates, key=lambda name: rates[name])
    # As many requests share the line as are in flight at that rate.
    shared = IN_FLIGHT if bound == "line" else 1
    return Modelled(rates[bound], bound, shared * group * each / bytes_s + ANSWER_S)


def measure(bench: Bench) -> Section:
    """The model's tables, then cells that check it."""
    section = Section("Packing", METHOD)
    for name, size in SIZES.items():
        section.tables.append(_modelled_table(name, size))
    cells = CELLS[3:4] if bench.quick else CELLS
    rows = [_checked(bench, name, mbit_s, group, files) for name, mbit_s, group, files in cells]
    columns = (
        "measured", "files a minute", "by the model", "longest request s", "by the model s",
    )  # fmt: skip
    section.tables.append(Table("The model, checked", columns, rows))
    section.notes += _conclusions()
    return section


def _modelled_table(name: str, size: int) -> Table:
    rows = []
    for group in GROUPS:
        row = [str(group)]
        for mbit_s in MBITS:
            found = modelled(size, mbit_s, group)
            row.append(f"{found.files_a_minute:,.0f} ({found.bound}, {found.request_s:.1f} s)")
        rows.append(row)
    columns = ("group", *(f"{mbit_s} Mbit/s" for mbit_s in MBITS))
    return Table(f"Files of {name}: files a minute (bound by, longest request)", columns, rows)


def _checked(bench: Bench, name: str, mbit_s: int, group: int, files: int) -> list[str]:
    files = bench.size(files, files // 4)
    size = SIZES[name]
    workspace = Workspace(bench.scratch / f"pack-{size}-{files}")
    Company(files, bench.seed).make_tree(workspace, size)
    planned(bench, workspace)
    with (
        FreshFake(bench.scratch, latency_ms=int(ANSWER_S * 1_000), limits="exact") as fake,
        slow_line(bench.scratch, fake.begin().url, mbit_s=mbit_s) as url,
    ):
        workspace.forget_uploads()
        command = ours(workspace, "upload", QBO_BASE_URL=url, FILES_PER_REQUEST=str(group))
        timed(command, bench.folder("cwd"))
        settled(fake.now, files, limits=True)
    with (workspace.log / "qbo_attach_runlog.csv").open(newline="") as stream:
        requests = [
            (datetime.fromisoformat(row["ts"][:-1]), int(row["duration_ms"]) / 1_000)
            for row in csv.DictReader(stream)
        ]
    longest_s = max(took_s for _, took_s in requests)
    begun = min(at - timedelta(seconds=took_s) for at, took_s in requests)
    rate = files / (max(requests)[0] - begun).total_seconds() * 60
    model = modelled(size, mbit_s, group)
    return [
        f"{name}, {mbit_s} Mbit/s, group {group}, {files} files",
        f"{rate:,.0f}",
        f"{model.files_a_minute:,.0f}",
        f"{longest_s:.1f}",
        f"{model.request_s:.1f}",
    ]


def _conclusions() -> list[str]:
    """The smallest group of the ladder that gives 95 % of its best, and what follows."""
    needed: dict[tuple[str, int], int] = {}
    for name, size in SIZES.items():
        for mbit_s in MBITS:
            rates = {group: modelled(size, mbit_s, group).files_a_minute for group in LADDER}
            enough = 0.95 * max(rates.values())
            needed[name, mbit_s] = min(group for group, rate in rates.items() if rate >= enough)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{needed[name, mbit_s]} at {mbit_s} Mbit/s" for mbit_s in MBITS)
        for name in SIZES
    )
    steps = ", ".join(f"{b / a:g}{TIMES}" for a, b in pairwise(LADDER))
    longest = max(
        modelled(size, mbit_s, group).request_s
        for size in SIZES.values() for mbit_s in MBITS for group in LADDER
    )  # fmt: skip
    return [
        f"Smallest group of the ladder {LADDER} that gives 95 % of what its best gives: {said}.",
        (
            "**The default of 10**: for the usual scan of 50 KB it turns 490 files a minute "
            "into 4,900 (170,000 in 35 minutes) wherever the line carries 35 Mbit/s; on slower "
            "lines, and for larger files, the line is full with 10 or fewer and more gains "
            "nothing. 20 would gain for small files on fast lines; it is left to `auto`, which "
            "takes it after an answer to every smaller step, because each doubling doubles what "
            "one lost answer puts in doubt, and because nobody has published how QBO answers "
            "large groups."
        ),
        (
            f"**The ladder of `auto`**, {LADDER}: each step ({steps}) is tried by one request, "
            f"so the climb costs {len(LADDER) - 1} requests; it ends at 20, since beyond it only "
            "files of a few KB gain."
        ),
        (
            f"**The byte bound**: no request of the ladder takes longer than {longest:.0f} s by "
            f"the model, of the {DEADLINE_S} s that QBO allows."
        ),
    ]

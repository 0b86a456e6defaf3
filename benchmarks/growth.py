"""Growth: time a row and memory, from ten thousand rows to a million."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench import TIMES, Bench, Section, Table, at_most, ours
from benchmarks.ground import Company, Workspace, make_finished
from benchmarks.measuring import Command, Figures
from benchmarks.planning import planned

_SIZES = ((10_000, 1_000), (100_000, 4_000), (1_000_000, 16_000))
_FEW = 10
NAMES = ("inventory", "verify", "plan, all done", "report")
ROUNDS = 3
METHOD = (
    (
        "Each stage as a command at three sizes: inventory of empty files, a hundred a folder, on "
        "the disk; verify of as many mapping rows as attachments, odd ones included; plan on a "
        "finished run log; report of one that tells every outcome. All sizes take turns in each "
        "round, the largest too: what a shared machine does in one minute and not in the next "
        "then meets all of them."
    ),
    "Start-up is taken off: the CPU and the peak memory of the same command on ten rows.",
)


def measure(bench: Bench) -> Section:
    """All stages at all three sizes."""
    section = Section("Growth", METHOD)
    sizes = [bench.size(full, quick) for full, quick in _SIZES]
    found = _measured(bench, (_FEW, *sizes))
    rows: list[list[str]] = []
    for size in sizes:
        for name in NAMES:
            figures, at_rest = found[name, size], found[name, _FEW]
            each_us = max(0.0, figures.cpu_s - at_rest.cpu_s) / size * 1e6
            above = max(0.0, figures.peak_mib - at_rest.peak_mib)
            section.series.setdefault(name, []).append((size, each_us, above))
            rows.append([name, f"{size:,}", f"{each_us:.1f}", f"{above:.0f}"])
    columns = ("stage", "rows", "µs CPU a row", "MiB above idle")
    section.tables.append(Table("Time a row and memory", columns, sorted(rows, key=_by_stage)))
    section.notes += ["![growth](growth.svg)", *_next_limit(section)]
    for name, points in section.series.items():
        growth = points[-1][1] / points[-2][1] if points[-2][1] else 1.0
        what = f"Time a row of {name}, {sizes[-1]:,} against {sizes[-2]:,}"
        section.goals.append(at_most(what, 1.25, growth, TIMES, decides=bench.decides))
    peak = max(found[name, sizes[-1]].peak_mib for name in NAMES)
    what = f"Peak memory of any of them, {sizes[-1]:,} rows"
    section.goals.append(at_most(what, 400, peak, " MiB", decides=bench.decides, digits=0))
    return section


def _by_stage(row: Sequence[str]) -> tuple[int, int]:
    return NAMES.index(row[0]), int(row[1].replace(",", ""))


def _measured(bench: Bench, sizes: Sequence[int]) -> dict[tuple[str, int], Figures]:
    """Figures by stage and size."""
    stages = {(n, size): c for size in sizes for n, c in _stages(bench, size).items()}
    commands = {f"{name} {size}": command for (name, size), command in stages.items()}
    found = bench.compared(commands, min(ROUNDS, bench.runs))
    return {(name, size): found[f"{name} {size}"] for name, size in stages}


def _stages(bench: Bench, size: int) -> dict[str, Command]:
    tree = Workspace(bench.scratch / f"flat-{size}")
    Company(size, bench.seed, flat=True).make_tree(tree, size_bytes=0)
    joined = Workspace(bench.folder(f"grow-{size}"))
    company = Company(size, bench.seed, odd=True)
    company.write_inventory(joined)
    company.write_mapping(joined, size)
    told = Workspace(bench.folder(f"told-{size}"))
    Company(size, bench.seed).write_verified(told)
    make_finished(told, whole=True)
    commands = (
        ours(tree, "inventory"),
        ours(joined, "verify"),
        ours(planned(bench, size), "plan"),
        ours(told, "report"),
    )
    return dict(zip(NAMES, commands, strict=True))


def _next_limit(section: Section) -> list[str]:
    """Where it ends, by the slope of memory between the two largest sizes."""
    said = []
    for name, points in section.series.items():
        (fewer, _, low), (more, _, high) = points[-2:]
        a_row = (high - low) * (1 << 20) / (more - fewer)
        if a_row > 1:
            said.append(
                f"{name} {a_row:.0f} bytes a row (2 GiB at {(2 << 30) / a_row / 1e6:.0f} million)"
            )
        else:
            said.append(f"{name} none that shows")
    return [
        "**Where the next limit is.** Memory that grows with the rows: " + "; ".join(said) + ". "
        "Inventory holds a packed line for each file, since it writes the table in order of paths; "
        "verify holds the mapping's index and the set of folder names that the prefix rules are "
        "scored over; plan holds a hash for each done path and each name, and report one for each "
        "path that the latest run ended, while the done rows themselves lie in a temporary file. "
        "Nothing holds a row as an object.",
        (
            "Time is a pass or two over each table for each stage, so it grows with the rows "
            "alone; what a run costs beyond that is requests, and those are bound by Intuit: at "
            "490 requests a minute in groups of 10 a million files take 3.4 hours, against some "
            "minutes for all stages before the upload. The company's pace is the next limit in "
            "time, long before ours."
        ),
        (
            "The run log grows by a segment each ten seconds of an upload, and ends in a "
            "snapshot of one row a done file (some 500 bytes each, in parts): at ten million "
            "files it is 5 GB to read at each start, and the snapshot at each end is as much to "
            "write. That, and disk space for it, is the next limit in size; a snapshot that "
            "holds only what changed would move it."
        ),
    ]

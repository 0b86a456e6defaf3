"""Upload: our command against the python-quickbooks loop and bare HTTP clients."""

from __future__ import annotations

from benchmarks import memory
from benchmarks.bench import TIMES, Bench, Goal, Section, Table, at_least, at_most
from benchmarks.servers import s3_server
from benchmarks.uploads import ALLOWED, COLUMNS, Cell, Ground, line, on_disk, on_s3

METHOD = (
    (
        "Files of 50,000 bytes, no two alike, from a disk whose cache is warm, or from "
        "SeaweedFS. The company is the fake one, a process of its own, begun anew before each "
        "run; it reads and digests every byte, and after each run its ledger is compared: every "
        "file once."
    ),
    (
        "Ours is `qbo-attach upload` of a plan that is there: gate, lease, EXISTING's look, "
        "intents and outcomes synced to the disk before and after each group, the snapshot at "
        "the end, and the three tables of the run. `group` is FILES_PER_REQUEST."
    ),
    (
        "Limits off: QBO_REQUESTS_PER_MIN=1000000. Limits exact: the fake refuses the 501st "
        "request in any minute, the 11th in any second and the 11th at once, as Intuit's "
        "documents say; ours runs at its default of 490."
    ),
    (
        "python-quickbooks: the loop people write (benchmarks/peers/quickbooks_loop.py), one "
        "file after another, in an environment of its own; nothing is kept of what was sent. "
        "Of its CPU the start-up is measured with no file and taken off, of ours it is not. Fewer "
        "files where each takes its time: the figures are per file."
    ),
    (
        "bare httpx and aiohttp (benchmarks/peers/bare_http.py): the floor. The same files in "
        "multipart bodies of the least that QBO takes (no marker, no request id), ten at a time, "
        "no digest, no log, no pace, no answer looked at but its status."
    ),
    (
        "Steady state: from the first to the last attachable that the fake made. Whole: from the "
        "command's start to its exit. The figures are of the steady state, ours and the loop's."
    ),
)


def measure(bench: Bench) -> Section:
    """All cells, and memory."""
    section = Section("Upload", METHOD)
    few, many = on_disk(bench, bench.size(2_000, 40)), on_disk(bench, bench.size(20_000, 200))
    start_s = _without_latency(bench, section, few, many)
    for latency_ms in (200,) if bench.quick else (50, 200):
        _with_latency(bench, section, few, latency_ms, start_s)
    _limited(bench, section, few, many, start_s)
    with s3_server(bench.scratch) as s3:
        few_s3 = on_s3(bench, s3, few)
        _from_s3(bench, section, few_s3, few_s3 if bench.quick else on_s3(bench, s3, many))
        memory.measure(bench, section, s3)
    return section


def _table(section: Section, title: str, found: dict[str, Cell], start_s: float) -> None:
    rows = [
        cell.cells(start_s if cell.name.startswith("python-quickbooks") else 0.0)
        for cell in found.values()
    ]
    section.tables.append(Table(title, COLUMNS, rows))


def _without_latency(bench: Bench, section: Section, few: Ground, many: Ground) -> float:
    """CPU of a file against all peers; returns the loop's start-up in CPU seconds."""
    with line(bench, 0) as at:
        nothing = at.quickbooks(few, 0)
        loop = at.quickbooks(few, few.files)
        for group in (1, 10):
            at.ours(few, group)
        for library in ("httpx", "aiohttp"):
            for group in (1, 10):
                at.bare(library, few, group)
        grouped = at.ours(many, 10)
        at.ours(many, 1, at_most=1)
        found = at.measure()
        title = at.title
    start_s = found.pop(nothing).figures.cpu_s
    _table(section, title, found, start_s)
    # Of few files the loop's own CPU is lost in how much its start-up differs.
    ratio = found[grouped].cpu_ms() / max(found[loop].cpu_ms(start_s), 0.001)
    section.goals.append(
        at_most(
            f"CPU a file, all in, {many.files:,} files in groups of 10, of the loop's",
            0.5, ratio, TIMES, decides=bench.decides,
        )
    )  # fmt: skip
    return start_s


def _with_latency(
    bench: Bench, section: Section, few: Ground, latency_ms: int, start_s: float
) -> None:
    with line(bench, latency_ms) as at:
        for group in (1, 10):
            at.ours(few, group)
        at.quickbooks(few, bench.size(200, 5))
        at.bare("httpx", few, 10)
        at.bare("aiohttp", few, 10)
        _table(section, at.title, at.measure(runs=1), start_s)


def _limited(bench: Bench, section: Section, few: Ground, many: Ground, start_s: float) -> None:
    with line(bench, 200, limits=True) as at:
        main = at.ours(many, 10)
        at.ours(few, 10)
        at.ours(few, 1)
        loop = at.quickbooks(few, bench.size(200, 5))
        found = at.measure(runs=1)
        _table(section, at.title, found, start_s)
    facts, peer = found[main].settled, found[loop].settled
    if facts is None or peer is None:
        raise RuntimeError("the ledger was not read")
    decides = bench.decides
    name = f"Files a minute at 200 ms, {many.files:,} files, groups of 10, limits exact, steady"
    share = facts.requests_a_minute / ALLOWED * 100
    refused = sum(cell.settled.refused or 0 for cell in found.values() if cell.settled)
    section.goals += [
        at_least(name, 4_850, facts.files_a_minute, "", decides=decides, digits=0),
        at_least(
            "... of the python-quickbooks loop's",
            17, facts.files_a_minute / peer.files_a_minute, TIMES, decides=decides, digits=1,
        ),
        at_least("Requests used of those allowed", 97, share, " %", decides=decides, digits=1),
        Goal("... answers of 429", "0", str(refused), refused == 0),
    ]  # fmt: skip
    whole = found[main].whole_rate
    section.notes.append(
        f"Over the whole command, from start to exit, ours sends {whole:,.0f} files a minute at "
        f"200 ms with limits, {whole / found[loop].whole_rate:.1f}{TIMES} the loop's. 490 "
        "requests a minute of 10 files are 4,900; the loop, whose every file waits 200 ms, cannot "
        "send more than 300."
    )


def _from_s3(bench: Bench, section: Section, few: Ground, many: Ground) -> None:
    with line(bench, 0) as at:
        for group in (10,) if bench.quick else (1, 10):
            at.ours(few, group)
        _table(section, f"From S3: {at.title}", at.measure(), 0.0)
    if bench.quick:
        return
    with line(bench, 200, limits=True) as at:
        at.ours(many, 10)
        _table(section, f"From S3: {at.title}", at.measure(runs=1), 0.0)

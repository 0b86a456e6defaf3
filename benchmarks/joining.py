"""Verify: our stage against the bare script that does the same join."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

from benchmarks.bench import PEERS, TIMES, Bench, Section, at_most, ours
from benchmarks.ground import Company, Workspace
from benchmarks.measuring import Command, timed
from qbo_attach.core.model import Status

METHOD = (
    (
        "An inventory and a mapping as tables; some 3.5 % of the files and 5 % of the "
        "transactions are odd, so that every verification status occurs that needs no question "
        "to QBO. Mapping rows stand in random order."
    ),
    (
        "Ours is `qbo-attach verify`: reads both tables (any encoding, column order and case), "
        "normalises ids, scores the prefix rules, gives one status and a reason a file, writes "
        "log and skips, synced to the disk, with their digests, and proves the sums."
    ),
    (
        "The bare script (benchmarks/peers/bare_join.py) is `csv` and `dict`: the columns where "
        "it expects them, the same statuses in the plainest way, no reasons, no checks. Its "
        "statuses and entities are compared with ours row by row after the last run."
    ),
    (
        "`two statuses` is the same script that only looks whether the id is there: less than "
        "the same work, shown as the floor."
    ),
)


def measure(bench: Bench) -> Section:
    """The two sizes."""
    section = Section("Verify", METHOD)
    for files, mapped in (
        (bench.size(170_000, 2_000), bench.size(300_000, 3_000)),
        (bench.size(1_000_000, 10_000), bench.size(1_000_000, 10_000)),
    ):
        _compare(bench, section, files, mapped)
    return section


def _compare(bench: Bench, section: Section, files: int, mapped: int) -> None:
    workspace = Workspace(bench.folder(f"join-{files}"))
    company = Company(files, bench.seed, odd=True)
    company.write_inventory(workspace)
    company.write_mapping(workspace, mapped)
    out = workspace.root / "bare.csv"
    tables = [str(workspace.data / f"{n}.csv") for n in ("attachments_inventory", "mapping_export")]
    bare = (sys.executable, str(PEERS / "bare_join.py"), *tables, str(out))
    us, peer, floor = "qbo-attach verify", "bare csv + dict", "... two statuses"
    commands = {
        us: ours(workspace, "verify"),
        floor: Command((*bare, "two")),
        peer: Command((*bare, "all")),
    }
    if not bench.quick:
        timed(commands[us], bench.folder("cwd"))
    found = bench.compared(commands)
    if problem := difference(workspace.log / "mapping_verification_log.csv", out):
        raise RuntimeError(problem)
    section.compare(f"{files:,} attachments, {mapped:,} mapping rows", found)
    decides = bench.decides
    name = f"Verify {files:,} {TIMES} {mapped:,}, of the bare script's time"
    ratio = found[us].wall_s / found[peer].wall_s
    by_cpu = found[us].cpu_s / found[peer].cpu_s
    section.goals += [
        at_most(name, 1.3, ratio, TIMES, decides=decides),
        at_most("... by CPU", 1.3, by_cpu, TIMES, decides=decides),
    ]
    if files >= mapped:
        peak = found[us].peak_mib
        section.goals.append(
            at_most("... peak memory", 400, peak, " MiB", decides=decides, digits=0)
        )
    section.notes.append(
        f"At {files:,} {TIMES} {mapped:,}: {ratio:.2f}{TIMES} the bare script, "
        f"{found[us].wall_s / found[floor].wall_s:.2f}{TIMES} the one with two statuses; by CPU "
        f"{by_cpu:.2f}{TIMES} and "
        f"{found[us].cpu_s / found[floor].cpu_s:.2f}{TIMES}."
    )


def difference(ours_written: Path, bare_written: Path) -> str:
    """Where both tables differ in path, status or entity, or lack a status; "" if nowhere."""
    columns = ("file_path", "status", "qbo_entity_type", "qbo_entity_id")
    seen: Counter[str] = Counter()
    with ours_written.open(newline="") as one, bare_written.open(newline="") as other:
        for us, bare in zip(csv.DictReader(one), csv.DictReader(other), strict=True):
            for column in columns:
                if us[column] != bare[column]:
                    return f"{us} and {bare} differ in {column}"
            seen[us["status"]] += 1
    without_qbo = {status.value for status in Status if status is not Status.ENTITY_MISSING}
    missing = without_qbo - set(seen)
    return f"these statuses do not occur: {', '.join(sorted(missing))}" if missing else ""

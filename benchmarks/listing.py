"""Inventory: our stage against rclone, s5cmd and s3fs, on a disk and on S3."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping

from benchmarks.bench import OURS, PEERS, TIMES, Bench, Goal, Section, at_most, ours
from benchmarks.ground import Company, Workspace
from benchmarks.measuring import Command, Figures, timed
from benchmarks.servers import BUCKET, S3, far_away, fill, s3_server
from qbo_attach.core.tables import INVENTORY

PAGE_DELAY_MS = 80
METHOD = (
    (
        "Files of one byte, 200 clients, 5 transactions to 7 files, each transaction a folder; the "
        "disk's cache is warm (one untimed run)."
    ),
    (
        "Ours is `qbo-attach inventory`: lists, sorts, and writes attachments_inventory.csv "
        "with size, time, client and normalised id, synced to the disk. No earlier table is "
        "there, which it would compare. The peers only print their list (to a file), unsorted, so "
        "they do less. The bare walk (benchmarks/peers/bare_walk.py) only looks at each file: the "
        "floor of one process in Python."
    ),
    (
        "rclone: `lsf -R --files-only --format tsp` (path, size, time as we have); on S3 with "
        "`--fast-list --use-server-modtime --checkers 16`, without which it is 8 times slower. "
        "s5cmd: `ls` of all keys (path, size, time). s3fs: `find(detail=True)`, listings cache "
        "off."
    ),
    (
        "S3 is SeaweedFS on this machine: its own time is in every figure, so CPU is the fairer "
        "number."
    ),
    (
        f"Far away: each answer waits {PAGE_DELAY_MS} ms and then comes from the memory of a "
        "server in front (benchmarks/remembering.py), which one untimed run of each command has "
        "filled. So SeaweedFS, which a page costs some 35 ms of CPU, does not take this machine's "
        "cores, which a far server would not either."
    ),
    "Idle memory is our stage on ten files at the same place.",
)


def measure(bench: Bench) -> Section:
    """Both places; the S3 server lives for this subject alone."""
    section = Section("Inventory", METHOD)
    files = bench.size(170_000, 1_000)
    company = Company(files, bench.seed)
    disk = Workspace(bench.scratch / f"tree-{files}")
    company.make_tree(disk, size_bytes=1)
    idle = idle_mib(bench)
    _on_disk(bench, section, disk, files, idle)
    with s3_server(bench.scratch) as s3:
        fill(bench.tools.s5cmd, s3, disk.files, "files")
        _on_s3(bench, section, s3, files)
    return section


def idle_mib(bench: Bench) -> float:
    """Peak memory of our stage on ten files."""
    tiny = Workspace(bench.scratch / "tree-10")
    Company(10, bench.seed).make_tree(tiny, size_bytes=1)
    return timed(ours(tiny, "inventory"), bench.folder("cwd")).peak_mib


def _on_disk(bench: Bench, section: Section, disk: Workspace, files: int, idle: float) -> None:
    rclone = (bench.tools.rclone, "lsf", "-R", "--files-only", "--format", "tsp", disk.files)
    commands = {
        "qbo-attach inventory": _first(disk, {}),
        "rclone lsf -R": Command(rclone, {"RCLONE_CONFIG": "/dev/null"}),
        "bare os.scandir": Command((sys.executable, str(PEERS / "bare_walk.py"), disk.files)),
    }
    for command in commands.values():
        timed(command, bench.folder("cwd"))
    found = bench.compared(commands)
    section.compare(f"{files:,} files on a disk", found)
    us, peer = found["qbo-attach inventory"], found["rclone lsf -R"]
    decides = bench.decides
    section.goals += [
        at_most(
            f"Inventory of {files:,} files on a disk, of rclone's time",
            0.6, us.wall_s / peer.wall_s, TIMES, decides=decides,
        ),
        at_most("... memory above idle", 50, us.peak_mib - idle, " MiB", decides=decides, digits=0),
    ]  # fmt: skip


def _first(workspace: Workspace, env: Mapping[str, str]) -> Command:
    """Our inventory, each time as the first one."""
    table = workspace.data / INVENTORY
    command = ours(workspace, "inventory", **env)
    return dataclasses.replace(command, before=lambda: table.unlink(missing_ok=True))


def _on_s3(bench: Bench, section: Section, s3: S3, files: int) -> None:
    fill(bench.tools.s5cmd, s3, Workspace(bench.scratch / "tree-10").files, "ten")
    ten = Workspace(bench.scratch / "ten-on-s3", f"s3://{BUCKET}/ten")
    few = Command((*OURS, "inventory"), {**ten.env(), **s3.env})
    idle = timed(few, bench.folder("cwd")).peak_mib
    found = bench.compared(_s3_commands(bench, s3, slow_peers=3))
    section.compare(f"{files:,} files on S3, no delay", found)
    with far_away(bench.scratch, s3.endpoint, delay_ms=PAGE_DELAY_MS) as endpoint:
        commands = _s3_commands(bench, S3(endpoint), slow_peers=1)
        for command in commands.values():
            timed(command, bench.folder("cwd"))
        slow = bench.compared(commands)
    section.compare(f"{files:,} files on S3 far away, {PAGE_DELAY_MS} ms before each answer", slow)
    section.goals += _s3_goals(found, slow, files, idle, decides=bench.decides)


def _s3_commands(bench: Bench, s3: S3, slow_peers: int) -> dict[str, Command]:
    tools, place = bench.tools, f"{BUCKET}/files/"
    workspace = Workspace(bench.folder("on-s3"), f"s3://{BUCKET}/files")
    rclone = [tools.rclone, "lsf", "-R", "--files-only", "--format", "tsp", "--fast-list"]
    rclone += ["--use-server-modtime", "--checkers", "16", f"bench:{place}"]
    s3fs = (sys.executable, str(PEERS / "s3fs_find.py"), place)
    return {
        "qbo-attach inventory": _first(workspace, s3.env),
        "s5cmd ls": Command((tools.s5cmd, "ls", f"s3://{place}*"), s3.env),
        "rclone lsf -R": Command(rclone, s3.env, at_most=slow_peers),
        "s3fs.find": Command(s3fs, s3.env, at_most=slow_peers),
    }


def _s3_goals(
    near: dict[str, Figures], far: dict[str, Figures], files: int, idle: float, *, decides: bool
) -> list[Goal]:
    us, s5cmd = near["qbo-attach inventory"], near["s5cmd ls"]
    slow = far["qbo-attach inventory"].wall_s / far["s5cmd ls"].wall_s
    return [
        at_most(
            f"Inventory of {files:,} files on S3, of s5cmd's CPU",
            1.0, us.cpu_s / s5cmd.cpu_s, TIMES, decides=decides,
        ),
        at_most(
            f"... with {PAGE_DELAY_MS} ms a request, of s5cmd's time",
            0.25, slow, TIMES, decides=decides,
        ),
        at_most("... memory above idle", 50, us.peak_mib - idle, " MiB", decides=decides, digits=0),
    ]  # fmt: skip

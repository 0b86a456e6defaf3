"""Memory of an upload of one large file, above that of a small one."""

from __future__ import annotations

import dataclasses
import shutil

from benchmarks.bench import Bench, Section, Table, at_most, ours
from benchmarks.ground import Workspace, make_files
from benchmarks.servers import BUCKET, S3, FreshFake, fill
from benchmarks.uploads import planned

SIZES = {"1 KB": 1_000, "5 MB": 5_000_000, "95 MB": 95_000_000}


def measure(bench: Bench, section: Section, s3: S3) -> None:
    """One file of each size, from the disk and from S3."""
    sizes = dict(list(SIZES.items())[:2]) if bench.quick else SIZES
    largest = list(sizes)[-1]
    rows = []
    places: dict[str, dict[str, str]] = {"disk": {}, "S3": s3.env}
    for place, env in list(places.items())[bench.quick :]:
        peaks = {name: _peak(bench, s3, size, place, env) for name, size in sizes.items()}
        idle = peaks["1 KB"]
        rows += [(f"{place}, {n}", f"{p:.0f}", f"{p - idle:.0f}") for n, p in peaks.items()]
        above = peaks[largest] - idle
        what = f"Memory for a file of {largest} from {place}, above one of 1 KB"
        section.goals.append(at_most(what, 16, above, " MiB", decides=largest == "95 MB", digits=0))
    columns = ("one file", "peak MiB", "above that of 1 KB")
    section.tables.append(Table("Memory for a large file", columns, rows))


def _peak(bench: Bench, s3: S3, size: int, place: str, env: dict[str, str]) -> float:
    """The median peak of an upload, in MiB."""
    workspace = disk = Workspace(bench.scratch / f"one-{size}")
    make_files(disk, [size], bench.seed)
    if place == "S3":
        fill(bench.tools.s5cmd, s3, disk.files, f"one-{size}")
        workspace = Workspace(bench.scratch / "one-s3", f"s3://{BUCKET}/one-{size}")
        shutil.rmtree(workspace.root, ignore_errors=True)
        shutil.copytree(disk.data, workspace.data)
    planned(bench, workspace, **env)
    with FreshFake(bench.scratch) as fake:
        command = ours(workspace, "upload", QBO_BASE_URL=fake.url, **env)

        def before() -> None:
            workspace.forget_uploads()
            fake.begin()

        command = dataclasses.replace(command, before=before, ok=(0,))
        return bench.compared({"one": command})["one"].peak_mib

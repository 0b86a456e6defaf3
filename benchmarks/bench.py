"""What every subject of the benchmarks gets, and what it gives back."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ground import Workspace
from benchmarks.measuring import Command, Figures, compared
from benchmarks.tools import Tools, installed

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
OURS = (sys.executable, "-m", "qbo_attach.cli")

TIMES = "\u00d7"
"""The sign of a ratio."""

COLUMNS = ("", "wall s", "lowest to highest", "CPU s", "peak MiB", "runs")


@dataclass(frozen=True)
class Bench:
    """One run of the benchmarks.

    `runs`: how often what is small enough is measured. `quick`: everything once, small. `scale`:
    that many times the sizes; other sizes than the figures name decide nothing.
    """

    scratch: Path
    seed: int = 1
    runs: int = 5
    quick: bool = False
    scale: float = 1.0

    def size(self, full: int, quick: int) -> int:
        """Rows or files, by the kind of run."""
        return quick if self.quick else max(10, int(full * self.scale))

    @property
    def decides(self) -> bool:
        """Whether the sizes are those that the figures to reach name."""
        return not self.quick and self.scale == 1.0

    @property
    def tools(self) -> Tools:
        """The peers' programs; installs them at the first use."""
        return installed(self.scratch)

    def folder(self, name: str) -> Path:
        """A folder below the scratch folder."""
        folder = self.scratch / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def compared(self, commands: Mapping[str, Command], runs: int = 0) -> dict[str, Figures]:
        """Time commands in turn; see measuring.compared."""
        return compared(commands, self.folder("cwd"), runs or self.runs)


def ours(workspace: Workspace, *words: str, **env: str) -> Command:
    """A command of ours on a workspace. A run that leaves rows for a person is one that ended."""
    return Command((*OURS, *words), workspace.env(**env), ok=(0, 1))


@dataclass(frozen=True)
class Goal:
    """A figure to reach: `met` is None where this run's sizes do not decide it."""

    what: str
    wanted: str
    found: str
    met: bool | None


@dataclass(frozen=True)
class Table:
    """Cells for the page, as text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Section:
    """What a subject has found out. `method`: sentences by which a reader can check it."""

    title: str
    method: Sequence[str]
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    series: dict[str, list[tuple[int, float, float]]] = field(default_factory=dict)
    """For the plot: by name, (rows, microseconds a row, MiB above idle)."""

    def compare(self, title: str, figures: Mapping[str, Figures]) -> None:
        """Add a table of measured commands."""
        self.tables.append(Table(title, COLUMNS, [cells(n, f) for n, f in figures.items()]))


def cells(name: str, figures: Figures) -> list[str]:
    """A table's row of one command."""
    return [
        name,
        f"{figures.wall_s:.2f}",
        f"{figures.lowest_s:.2f} to {figures.highest_s:.2f}",
        f"{figures.cpu_s:.2f}",
        f"{figures.peak_mib:.0f}",
        str(figures.runs),
    ]


def at_most(
    what: str, bound: float, found: float, unit: str, *, decides: bool, digits: int = 2
) -> Goal:
    """A goal that is met by a figure that is no higher."""
    said = f"{found:,.{digits}f}{unit}"
    return Goal(what, f"≤ {bound:,g}{unit}", said, found <= bound if decides else None)


def at_least(
    what: str, bound: float, found: float, unit: str, *, decides: bool, digits: int = 2
) -> Goal:
    """A goal that is met by a figure that is no lower."""
    said = f"{found:,.{digits}f}{unit}"
    return Goal(what, f"≥ {bound:,g}{unit}", said, found >= bound if decides else None)

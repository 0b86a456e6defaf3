"""Uploads to measure: grounds, commands, and what the fake company's ledger tells after each."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.bench import PEERS, Bench, ours
from benchmarks.ground import REALM, Company, Workspace
from benchmarks.measuring import Command, Figures, timed
from benchmarks.servers import BUCKET, S3, Fake, FreshFake, fake_company, fill

SIZE_BYTES = 50_000
UNLIMITED = "1000000"
ALLOWED = 500
"""Requests a minute that Intuit allows a realm."""

COLUMNS = (
    "", "files", "wall s", "files a minute, whole", "... steady", "requests of 500 a minute",
    "429s", "CPU ms a file", "peak MiB", "runs",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One measured upload. `settled`: facts of the fake's ledger after the last run."""

    name: str
    files: int
    figures: Figures
    settled: Settled | None

    @property
    def whole_rate(self) -> float:
        """Files a minute over the whole command, start-up included."""
        return self.files / self.figures.wall_s * 60

    def cpu_ms(self, start_s: float = 0.0) -> float:
        """CPU of a file, less a start-up."""
        return max(0.0, self.figures.cpu_s - start_s) / self.files * 1_000

    def cells(self, start_s: float) -> list[str]:
        """The table's row."""
        settled = self.settled
        limited = settled if settled and settled.refused is not None else None
        return [
            self.name,
            f"{self.files:,}",
            f"{self.figures.wall_s:.2f}",
            f"{self.whole_rate:,.0f}",
            f"{settled.files_a_minute:,.0f}" if settled else "",
            f"{limited.requests_a_minute / ALLOWED:.1%}" if limited else "",
            str(limited.refused) if limited else "",
            f"{self.cpu_ms(start_s):.2f}",
            f"{self.figures.peak_mib:.0f}",
            str(self.figures.runs),
        ]


@dataclass(frozen=True)
class Settled:
    """What the fake's ledger tells. `refused`: its 429s; None where it had no limits."""

    files_a_minute: float
    requests_a_minute: float
    refused: int | None


def settled(fake: Fake, files: int, *, limits: bool) -> Settled:
    """Rates between the first attachable and the last.

    Raises:
        RuntimeError: not every file is there once.
    """
    ledger: dict[str, Any] = fake.ledger()
    made = ledger["attachables"]
    if len(made) != files or len({one["FileName"] for one in made}) != files:
        raise RuntimeError(f"{len(made)} attachables of {files} files")
    # The peers send no request id: `request` is the fake's own count.
    moments = sorted((one["created_at"], one["request"]) for one in made)
    begun, ended = (datetime.fromisoformat(moments[i][0][:-1]) for i in (0, -1))
    minutes = (ended - begun).total_seconds() / 60
    after_first = sum(request != moments[0][1] for _, request in moments)
    changes = len({request for _, request in moments}) - 1
    refused = fake.refused() if limits else None
    if not minutes or not changes:
        return Settled(0.0, 0.0, refused)
    return Settled(after_first / minutes, changes / minutes, refused)


@dataclass(frozen=True)
class Ground:
    """A planned workspace and how many files it has; `env` of its place."""

    workspace: Workspace
    files: int
    env: dict[str, str]
    place: str


def planned(bench: Bench, workspace: Workspace, **env: str) -> None:
    """All stages before a first upload; the plan asks an empty company what it holds."""
    workspace.forget_uploads()
    with fake_company(bench.scratch) as fake:
        for stage in ("inventory", "mapping", "verify", "plan"):
            command = ours(workspace, stage, QBO_BASE_URL=fake.url, **env)
            timed(command, bench.folder("cwd"))


def on_disk(bench: Bench, files: int) -> Ground:
    """A planned tree on the disk."""
    workspace = Workspace(bench.scratch / f"upload-{files}")
    Company(files, bench.seed).make_tree(workspace, SIZE_BYTES)
    planned(bench, workspace)
    return Ground(workspace, files, {}, "disk")


def on_s3(bench: Bench, s3: S3, ground: Ground) -> Ground:
    """The same tree on S3, planned from there."""
    folder = f"upload-{ground.files}"
    fill(bench.tools.s5cmd, s3, ground.workspace.files, folder)
    workspace = Workspace(bench.folder(f"{folder}-s3"), f"s3://{BUCKET}/{folder}")
    Company(ground.files, bench.seed).write_mapping(workspace, ground.files)
    planned(bench, workspace, **s3.env)
    return Ground(workspace, ground.files, s3.env, "S3")


class Line:
    """The commands of one kind of company (latency, limits), and what they came to."""

    def __init__(self, bench: Bench, fake: FreshFake, *, latency_ms: int, limits: bool) -> None:
        self.commands: dict[str, Command] = {}
        self.files: dict[str, int] = {}
        self.facts: dict[str, Settled] = {}
        self._bench = bench
        self._fake = fake
        self._limits = limits
        self.title = f"{latency_ms} ms, limits {'exact' if limits else 'off'}"

    def ours(self, ground: Ground, group: int, at_most: int = 1_000) -> str:
        """Our upload."""
        name = f"qbo-attach, {ground.place}, {ground.files:,} files, group {group}"
        more = {} if self._limits else {"QBO_REQUESTS_PER_MIN": UNLIMITED}
        command = ours(
            ground.workspace, "upload",
            QBO_BASE_URL=self._fake.url, FILES_PER_REQUEST=str(group), **ground.env, **more,
        )  # fmt: skip

        def before() -> None:
            ground.workspace.forget_uploads()
            self._fake.begin()

        self._add(name, ground.files, command, before, self._settle(name, ground.files), at_most)
        return name

    def _settle(self, name: str, files: int) -> Callable[[str], None]:
        def after(_: str) -> None:
            if files:
                self.facts[name] = settled(self._fake.now, files, limits=self._limits)

        return after

    def quickbooks(self, ground: Ground, files: int) -> str:
        """The python-quickbooks loop over so many files."""
        script = str(PEERS / "quickbooks_loop.py")
        words = (self._bench.tools.quickbooks, script, *self._to(ground), str(files))
        command = Command(words, {"OAUTHLIB_INSECURE_TRANSPORT": "1"})
        name = f"python-quickbooks loop, {files:,} files"
        self._add(name, max(files, 1), command, self._begin, self._settle(name, files), 1_000)
        return name

    def bare(self, library: str, ground: Ground, group: int) -> str:
        """A bare HTTP client."""
        script = str(PEERS / "bare_http.py")
        words = (sys.executable, script, library, *self._to(ground), str(ground.files), str(group))
        name = f"bare {library}, group {group}"
        after = self._settle(name, ground.files)
        self._add(name, ground.files, Command(words), self._begin, after, 1_000)
        return name

    def _to(self, ground: Ground) -> tuple[str, ...]:
        plan = str(ground.workspace.log / "upload_plan.csv")
        return self._fake.url, REALM, plan, ground.workspace.files

    def _begin(self) -> None:
        self._fake.begin()

    def _add(
        self,
        name: str,
        files: int,
        command: Command,
        before: Callable[[], None],
        after: Callable[[str], None],
        at_most: int,
    ) -> None:
        self.files[name] = files
        self.commands[name] = dataclasses.replace(
            command, before=before, printed=after, at_most=at_most
        )

    def measure(self, runs: int = 0) -> dict[str, Cell]:
        """Time them all, in turns."""
        found = self._bench.compared(self.commands, runs)
        return {
            name: Cell(name, self.files[name], figures, self.facts.get(name))
            for name, figures in found.items()
        }


@contextlib.contextmanager
def line(bench: Bench, latency_ms: int, *, limits: bool = False) -> Iterator[Line]:
    """A company of this kind."""
    kind = "exact" if limits else "off"
    with FreshFake(bench.scratch, latency_ms=latency_ms, limits=kind) as fake:
        yield Line(bench, fake, latency_ms=latency_ms, limits=limits)

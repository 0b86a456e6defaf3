"""The commands of a page as its reader meets them: indented blocks, typed one line after another.

A block whose first line is a comment that begins with one of NOT_RUN needs what no test has; it is
read, not run. `# status N` after a command is the exit status that the page promises.
"""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from qbo_attach.core.tables import RUNLOG, RunLogRow
from qbo_attach.settings import Settings
from qbo_attach.storage.artifacts import read_table_at

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "runbook.md"
README = ROOT / "README.md"

NOT_RUN = ("at Intuit", "in the checkout", "on S3", "with Prefect", "in the company's")
PORT = "8700"
"""The fake company's, in every page."""
_RUN_ID = "20261124T073315Z-1a2b3c"
_STATUS = re.compile(r"\s+# status (\d)$")
_BLOCK = re.compile(r"(?:^    .*\n)+", re.MULTILINE)


class Line(NamedTuple):
    """A command, and the exit status that the page promises (0 where it says nothing)."""

    text: str
    status: int = 0


class Block(NamedTuple):
    """Lines that stand together. `needs`: what no test has; "" if they can be run."""

    needs: str
    lines: list[Line]


def blocks(page: Path, *sections: str) -> Iterator[Block]:
    """The command blocks of a page, or of its sections of these names, in that order."""
    text = page.read_text("utf-8")
    if not sections:
        yield from _blocks_of(text)
    for name in sections:
        found = re.search(
            rf"^#+ {re.escape(name)}$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL
        )
        assert found, f"{page.name} has no section {name}"
        yield from _blocks_of(found[1])


def _blocks_of(text: str) -> Iterator[Block]:
    for found in _BLOCK.findall(text):
        first, *_ = lines = [line[4:] for line in found.splitlines()]
        said = first.removeprefix("# ") if first.startswith("# ") else ""
        needs = next((each for each in NOT_RUN if said.startswith(each)), "")
        assert needs or not said, f"{first}: a comment that no test knows"
        yield Block(needs, [_line(line) for line in lines if not line.startswith("#")])


def _line(text: str) -> Line:
    promised = _STATUS.search(text)
    return Line(_STATUS.sub("", text), int(promised[1]) if promised else 0)


@dataclass
class Reader:
    """Types commands into a shell in a folder of their own, in a terminal, and says yes if asked.

    What is exported, and where they went, stays from one line to the next. A fake company is
    started as if in a second terminal. Only the pace is another one than the page's.
    """

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    shown: str = ""
    """What the last command showed."""

    def __post_init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        ours = {name.upper() for name in Settings.model_fields}
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        given = {"PATH": path, "HOME": str(self.folder), "TERM": "xterm", "COLUMNS": "100"}
        self.env = {**kept, **given, "QBO_REQUESTS_PER_MIN": "60000", "QBO_SETTLE_S": "0"}
        self.at = self.folder
        self._company: subprocess.Popen[bytes] | None = None

    def type(self, line: str) -> int:
        """Returns the command's exit status."""
        line = line.replace(PORT, self.port)
        if _RUN_ID in line:
            line = line.replace(_RUN_ID, self._a_run())
        if line.startswith("qbo-attach fake-qbo"):
            return self._serve(line)
        after = self.folder / "after"
        script = f"{line}\nended=$?\npwd > {after}.cwd; env -0 > {after}.env; exit $ended"
        status = self._in_terminal(script)
        self.at = Path(Path(f"{after}.cwd").read_text("utf-8").rstrip("\n"))
        texts = Path(f"{after}.env").read_text("utf-8").split("\0")
        self.env = dict(text.split("=", 1) for text in texts if "=" in text)
        return status

    def close(self) -> None:
        """End the fake company."""
        if self._company is not None:
            self._company.kill()
            self._company.wait()

    def _in_terminal(self, script: str) -> int:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.at, env=self.env, stdin=theirs, stdout=theirs, stderr=theirs,
        ) as process:  # fmt: skip
            os.close(theirs)
            self.shown, answered = "", 0
            while piece := _read(ours):
                self.shown += piece
                if self.shown.count("Type yes") > answered:
                    answered += 1
                    os.write(ours, b"yes\n")
            status = process.wait(60)
        os.close(ours)
        return status

    def _serve(self, line: str) -> int:
        self._company = subprocess.Popen(
            line.split(), cwd=self.at, env=self.env, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 30
        while time.monotonic() < until and self._company.poll() is None:
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", int(self.port))) == 0:
                    return 0
            time.sleep(0.05)
        return 1

    def _a_run(self) -> str:
        """The run that sent most."""
        rows = read_table_at(f"{self.env['LOG_DIR']}/{RUNLOG}", RunLogRow)
        return Counter(r.run_id for r in rows if r.outcome == "success").most_common(1)[0][0]


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65_536).decode(errors="replace")
    except OSError:  # Linux: the other end is closed
        return ""

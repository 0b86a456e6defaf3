"""How much memory a process takes at most."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most that this process has held since its program began, or since `Peak` did.

    Linux counts into `ru_maxrss` what the process held that started this one: a peak that is the
    starter's hides what is looked for. It is asked for on other systems only.
    """
    if _STATUS.exists():
        return _told("VmHWM")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class Peak:
    """What this process takes at most from here on, above what it holds here."""

    def __init__(self) -> None:
        if _STATUS.exists():
            with suppress(OSError):  # not every sandbox lets it be set back
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = peak_bytes()

    def grown_bytes(self) -> int:
        return peak_bytes() - self._before


def _told(field: str) -> int:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{_STATUS} has no {field}")

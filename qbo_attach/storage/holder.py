"""Which process this is, and whether another one is proven gone."""

from __future__ import annotations

import os
import socket
import uuid
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

from qbo_attach.core.chain import Holder


class Life(Enum):
    """What can be said of a holder from here."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


def new_run_id() -> str:
    """A run's id: UTC time, then a few letters so that two runs of one second differ."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"


def this_holder() -> Holder:
    """The holder that this process writes into its segments."""
    pid = os.getpid()
    return Holder(
        host=socket.gethostname(),
        pid=pid,
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        started=_started(pid),
    )


def life_of(holder: Holder) -> Life:
    """Whether the holder's process lives, seen from this host.

    It is judged only where host, boot and pid namespace are this process's own and its start time
    can be read; a pid alone may belong to somebody else by now.
    """
    here = (socket.gethostname(), _boot_id(), _pid_namespace())
    there = (holder.host, holder.boot_id, holder.pid_namespace)
    if here != there or not all(there) or not holder.started:
        return Life.UNKNOWN
    return Life.ALIVE if _started(holder.pid) == holder.started else Life.GONE


def _boot_id() -> str:
    return _text(Path("/proc/sys/kernel/random/boot_id"))


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Start time in clock ticks after boot, field 22 of /proc/PID/stat; "" for no such process.

    A zombie has ended: it sends nothing any more.
    """
    text = _text(Path(f"/proc/{pid}/stat"))
    fields = text.rpartition(")")[2].split()
    ended = not fields or fields[0] in ("Z", "X")
    return "" if ended else fields[19]


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""

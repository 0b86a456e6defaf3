"""How far a run is, in the Prefect UI, while it runs.

One UI artifact a run, changed every few seconds by a thread of its own: an update costs the server
17 to 22 ms (Prefect 3.9.1, SQLite), and none of them may hold up the upload or end it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from datetime import datetime, timezone
from typing import TYPE_CHECKING, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.artifacts import harmless, letters
from qbo_attach.core.watching import Pace, duration, time_left
from qbo_attach.settings import Settings

if TYPE_CHECKING:
    from qbo_attach.stages.upload import Progress, UploadRun

UPDATE_S = 5.0


def percent(progress: Progress) -> float:
    """Share of the expected outcomes that are there; 100 where nothing is to be done."""
    if not progress.expected:
        return 100.0
    return round(min(100.0, 100.0 * progress.ended / progress.expected), 1)


def told(progress: Progress, pace: Pace, limit: int, at: datetime) -> str:
    """One line of Markdown for a person who watches.

    Args:
        progress: where it stands.
        pace: of the last minute.
        limit: requests a minute that the run allows itself (QBO_REQUESTS_PER_MIN).
        at: now, aware.
    """
    requests, attachments = pace.per_minute() or (0.0, 0.0)
    left = max(0, progress.expected - progress.ended)
    left_s = time_left(left, attachments, 0.0)
    parts = [
        f"**{progress.ended:,} of {progress.expected:,}** attachments",
        f"{requests:,.0f} requests a minute of {limit:,} allowed ({attachments:,.0f} attachments)",
        f"{progress.requests_sent:,} requests used",
    ]
    if progress.wait_s >= 1:
        parts.append(f"QuickBooks asked to wait {progress.wait_s:,.0f} s more")
    if progress.in_doubt and progress.in_doubt >= left:
        parts.append(f"asking QuickBooks what became of {progress.in_doubt:,} in doubt")
    elif left and left_s is not None:
        parts.append(f"about {duration(left_s)} left")
    elif left:
        parts.append("time left: not known yet")
    return " · ".join([*parts, f"as of {at:%H:%M:%S} UTC"])


@contextmanager
def shown_progress(run: UploadRun, settings: Settings, every_s: float = UPDATE_S) -> Iterator[None]:
    """Show the run's progress for the time of the block; enter it before the run itself."""
    artifacts: list[UUID] = []
    with harmless():
        made = create_progress_artifact(
            0.0,
            key=f"progress-{settings.realm_id}",
            description="Opening the run log, and asking QuickBooks what it holds",
            _sync=True,  # type: ignore[call-arg]  # Prefect's switch, also for calls from a loop
        )
        artifacts.append(cast("UUID", made))
    if not artifacts:
        yield
        return
    watch = _Watch(run, settings.qbo_requests_per_min, artifacts[0], every_s)
    thread = threading.Thread(
        target=copy_context().run, args=(watch.go_on,), name="progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        watch.ended.set()
        thread.join(10)
        with harmless():
            watch.show_end()


class _Watch:
    def __init__(self, run: UploadRun, limit: int, artifact: UUID, every_s: float) -> None:
        self.ended = threading.Event()
        self._run, self._limit, self._artifact, self._every_s = run, limit, artifact, every_s
        self._pace = Pace()
        self._latest: Progress | None = None

    def go_on(self) -> None:
        """Update until `ended`; a server that does not answer is asked again the next time."""
        while not self.ended.wait(self._every_s):
            progress = self._look()
            if progress is not None:
                self._pace.note(time.monotonic(), progress.requests_sent, progress.ended)
                with suppress(Exception):  # the next update tells more than a line about this one
                    self._show(percent(progress), progress)

    def _look(self) -> Progress | None:
        with suppress(RuntimeError):  # not open yet, or at its end
            self._latest = self._run.progress()
            return self._latest
        return None

    def _show(self, share: float, progress: Progress) -> None:
        text = told(progress, self._pace, self._limit, datetime.now(timezone.utc))
        update_progress_artifact(self._artifact, share, description=text, _sync=True)  # type: ignore[call-arg]

    def show_end(self) -> None:
        """What the run came to: its own words where it stopped."""
        result = self._run.result
        done = sum(result.counts.values())
        requests = sum(result.requests_sent.values())
        counts = ", ".join(f"{name} {n:,}" for name, n in sorted(result.counts.items()))
        at = f"ended {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
        if result.stopped:
            share = percent(self._latest) if self._latest is not None else 0.0
            text = (
                f"**Stopped**: {letters(result.stopped)} · {counts} · {requests:,} requests · {at}"
            )
        elif done or requests:
            share = 100.0
            text = f"**{done:,} attachments**: {counts} · {requests:,} requests · {at}"
        else:
            share, text = 100.0, f"**Nothing to do** · {at}"
        update_progress_artifact(self._artifact, share, description=text, _sync=True)  # type: ignore[call-arg]

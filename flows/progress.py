"""How far a run is, in the Prefect UI, while it runs.

One UI artifact a run, changed every few seconds by a thread of its own: an update costs the server
17 to 22 ms (Prefect 3.9.1, SQLite), and none of them may hold up the upload or end it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from datetime import datetime, timezone
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.artifacts import harmless
from qbo_attach.settings import Settings
from qbo_attach.stages.upload import Progress, UploadRun

UPDATE_S = 5.0
_WINDOW_S = 60.0
"""Rates are those of the last minute: Intuit's limit is one a minute, too."""


class Rates:
    """Requests and attachments a minute, over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()

    def note(self, now: float, progress: Progress) -> None:
        """Remember where the run stood at a moment (monotonic seconds)."""
        self._seen.append((now, progress.requests_sent, progress.ended))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _WINDOW_S:  # noqa: PLR2004 - two make a rate
            self._seen.popleft()

    def per_minute(self) -> tuple[float, float]:
        """Requests a minute, attachments a minute; zeros before two moments are known."""
        if len(self._seen) < 2:  # noqa: PLR2004
            return 0.0, 0.0
        (begin, requests, ended), (end, requests_now, ended_now) = self._seen[0], self._seen[-1]
        minutes = max(end - begin, 1e-9) / 60
        return (requests_now - requests) / minutes, (ended_now - ended) / minutes


def percent(progress: Progress) -> float:
    """Share of the expected outcomes that are there; 100 where nothing is to be done."""
    if not progress.expected:
        return 100.0
    return round(min(100.0, 100.0 * progress.ended / progress.expected), 1)


def told(progress: Progress, rates: Rates, limit: int, at: datetime) -> str:
    """One line of Markdown for a person who watches.

    Args:
        progress: where it stands.
        rates: of the last minute.
        limit: requests a minute that the run allows itself (QBO_REQUESTS_PER_MIN).
        at: now, aware.
    """
    requests, attachments = rates.per_minute()
    left = max(0, progress.expected - progress.ended)
    parts = [
        f"**{progress.ended:,} of {progress.expected:,}** attachments",
        f"{requests:,.0f} requests a minute of {limit:,} allowed ({attachments:,.0f} attachments)",
        f"{progress.requests_sent:,} requests used",
    ]
    if progress.wait_s >= 1:
        parts.append(f"QuickBooks asked to wait {progress.wait_s:,.0f} s more")
    if progress.in_doubt and progress.in_doubt >= left:
        parts.append(f"asking QuickBooks what became of {progress.in_doubt:,} in doubt")
    elif left and attachments:
        parts.append(f"about {duration(60 * left / attachments)} left")
    elif left:
        parts.append("time left: not known yet")
    return " · ".join([*parts, f"as of {at:%H:%M:%S} UTC"])


def duration(seconds: float) -> str:
    """A span as people say it: `40 s`, `12 min`, `2 h 05 min`."""
    if seconds < 90:  # noqa: PLR2004 - from here on a person thinks in minutes
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


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
        self._rates = Rates()
        self._latest: Progress | None = None

    def go_on(self) -> None:
        """Update until `ended`; a server that does not answer is asked again the next time."""
        while not self.ended.wait(self._every_s):
            progress = self._look()
            if progress is not None:
                self._rates.note(time.monotonic(), progress)
                with suppress(Exception):  # the next update tells more than a line about this one
                    self._show(percent(progress), progress)

    def _look(self) -> Progress | None:
        with suppress(RuntimeError):  # not open yet, or at its end
            self._latest = self._run.progress()
            return self._latest
        return None

    def _show(self, share: float, progress: Progress) -> None:
        text = told(progress, self._rates, self._limit, datetime.now(timezone.utc))
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
            text = f"**Stopped**: {result.stopped} · {counts} · {requests:,} requests · {at}"
        elif done or requests:
            share = 100.0
            text = f"**{done:,} attachments**: {counts} · {requests:,} requests · {at}"
        else:
            share, text = 100.0, f"**Nothing to do** · {at}"
        update_progress_artifact(self._artifact, share, description=text, _sync=True)  # type: ignore[call-arg]

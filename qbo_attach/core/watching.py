"""What a person is told of a run that works: how much, how fast, how long still."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass

WINDOW_S = 60.0
"""Rates are those of the last minute: Intuit's limit is one a minute, too."""

_TWO = 2
_MINUTES_FROM_S = 90
_HOURS_FROM_MIN = 60


class Pace:
    """Requests and attachments a minute, over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()

    def note(self, now: float, requests: int, ended: int) -> None:
        """Remember where the run stood at a moment (monotonic seconds)."""
        self._seen.append((now, requests, ended))
        while len(self._seen) > _TWO and now - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()

    def per_minute(self) -> tuple[float, float] | None:
        """Requests and attachments a minute; None before two moments are known."""
        if len(self._seen) < _TWO:
            return None
        (begin, requests, ended), (end, requests_now, ended_now) = self._seen[0], self._seen[-1]
        if end <= begin:
            return None
        minutes = (end - begin) / 60
        return (requests_now - requests) / minutes, (ended_now - ended) / minutes


@dataclass(frozen=True, slots=True)
class View:
    """One look at an upload.

    `ended` of `expected` attachments have their outcome; `in_doubt` are asked for at QBO later.
    Rates are a minute, None while they are not known; `limit_per_min` is QBO_REQUESTS_PER_MIN.
    `wait_s`: how long QBO told us to wait from now, and `wait_reason` its words. `left_s`: until
    the end at this rate, None while that is not known.
    """

    ended: int
    expected: int
    in_doubt: int
    requests_sent: int
    requests_per_min: float | None
    files_per_min: float | None
    limit_per_min: int
    wait_s: float
    wait_reason: str
    left_s: float | None

    @property
    def settling(self) -> bool:
        """Whether all that is left is in doubt, and QBO is asked for it."""
        return bool(self.in_doubt) and self.in_doubt >= self.expected - self.ended

    def as_json(self) -> dict[str, object]:
        """The same as an object; numbers rounded to a tenth."""
        return {
            name: round(value, 1) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def parts(self) -> list[str]:
        """What a line says, part by part, the most important first."""
        said = [f"{self.ended:,} of {self.expected:,}"]
        if self.requests_per_min is not None:
            said.append(f"{self.requests_per_min:,.0f} requests a minute of {self.limit_per_min:,}")
        if self.in_doubt:
            asked = ", asking QBO for them" if self.settling else ""
            said.append(f"{self.in_doubt:,} in doubt{asked}")
        if self.wait_s >= 1:
            why = f" ({self.wait_reason})" if self.wait_reason else ""
            said.append(f"QBO asked to wait {duration(self.wait_s)} more{why}")
        if self.left_s is not None and self.ended < self.expected and not self.settling:
            said.append(f"about {duration(self.left_s)} left")
        return said


def time_left(left: int, files_per_min: float | None, wait_s: float) -> float | None:
    """Seconds until so many attachments have ended at this rate, after the wait."""
    if not files_per_min or files_per_min < 0:
        return None
    return wait_s + 60 * left / files_per_min


def duration(seconds: float) -> str:
    """A span as people say it: `40 s`, `12 min`, `2 h 05 min`."""
    if seconds < _MINUTES_FROM_S:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < _HOURS_FROM_MIN:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"

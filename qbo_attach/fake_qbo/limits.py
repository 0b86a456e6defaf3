"""Rate limits as Intuit prints them, on exact sliding windows.

exact: 500 requests in any 60 s and 10 in any second for each realm, 10 in flight, 40 batches a
minute. slack: a tenth more in the minute (550), half more in the second (15) and in flight (15).
A request that was refused does not count, unless the switch `refusals_count` says so.
"""

from __future__ import annotations

from collections import deque

_BATCHES = 40
_ALLOWED = {"exact": (500, 10, 10), "slack": (550, 15, 15)}


class Limits:
    """The requests of one realm in the last minute, and those in flight."""

    def __init__(self) -> None:
        self._minute: deque[float] = deque()
        self._second: deque[float] = deque()
        self._batches: deque[float] = deque()
        self.in_flight = 0

    def admit(self, mode: str, endpoint: str, now: float, *, refusals_count: bool = False) -> bool:
        """Whether a request that arrives now is served; if so (or else, too), it counts.

        Call `leave` when the answer of one that is served is out.
        """
        if mode == "off":
            self.in_flight += 1
            return True
        a_minute, a_second, at_once = _ALLOWED[mode]
        _forget(self._minute, now - 60)
        _forget(self._second, now - 1)
        _forget(self._batches, now - 60)
        if (
            len(self._minute) >= a_minute
            or len(self._second) >= a_second
            or self.in_flight >= at_once
            or (endpoint == "batch" and len(self._batches) >= _BATCHES)
        ):
            if refusals_count:
                self._minute.append(now)
                self._second.append(now)
            return False
        self._minute.append(now)
        self._second.append(now)
        if endpoint == "batch":
            self._batches.append(now)
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """An admitted request is over."""
        self.in_flight -= 1


def _forget(times: deque[float], until: float) -> None:
    while times and times[0] <= until:
        times.popleft()

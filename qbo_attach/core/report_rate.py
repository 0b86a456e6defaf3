"""A run's rate over time, and the lines of its chart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200)
_SPANS = 96
"""A chart shows at most this many spans; a longer run gets wider ones."""
_LIMIT_SHOWN_TO = 3.0
"""A limit that is farther above the peak would flatten the curve; it is only told."""

WIDTH, HEIGHT = 720, 210
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 16, 28


class Rate:
    """Answered upload requests and ended attachments by spans of time, in bounded memory."""

    def __init__(self) -> None:
        self.requests = 0
        self.files = 0
        self._width = 0
        self._spans: dict[int, list[int]] = {}
        self._first = self._last = 0
        self._second = ("", 0)

    @property
    def width_s(self) -> int:
        """Seconds in a span."""
        return _WIDTHS_S[self._width]

    def add(self, at: str, *, requests: int, files: int) -> None:
        """Count what ended at a moment (UTC, ISO 8601, as the run log has it)."""
        if at[:19] != self._second[0]:
            moment = datetime.fromisoformat(at[:19]).replace(tzinfo=timezone.utc)
            self._second = (at[:19], int(moment.timestamp()))
        span = self._second[1] // self.width_s
        if not self._spans:
            self._first = self._last = span
        self._first, self._last = min(self._first, span), max(self._last, span)
        counts = self._spans.setdefault(span, [0, 0])
        counts[0] += requests
        counts[1] += files
        self.requests += requests
        self.files += files
        while self._last - self._first >= _SPANS and self._width < len(_WIDTHS_S) - 1:
            self._widen()

    def _widen(self) -> None:
        old_width, old = self.width_s, self._spans
        self._width += 1
        self._spans = {}
        for span, counts in old.items():
            wider = self._spans.setdefault(span * old_width // self.width_s, [0, 0])
            wider[0] += counts[0]
            wider[1] += counts[1]
        self._first, self._last = min(self._spans), max(self._spans)

    def requests_per_min(self) -> list[tuple[int, float]]:
        """Start of each span (seconds of Unix time), and requests a minute within it."""
        return self._per_min(0)

    def files_per_min(self) -> list[tuple[int, float]]:
        """The same of attachments."""
        return self._per_min(1)

    def _per_min(self, which: int) -> list[tuple[int, float]]:
        if not self._spans:
            return []
        width = self.width_s
        nothing = [0, 0]
        return [
            (span * width, self._spans.get(span, nothing)[which] * 60 / width)
            for span in range(self._first, self._last + 1)
        ]


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve in the units of its SVG's view box.

    `ticks_y` and `ticks_x` are (place, label); `limit_y` is None where no limit is drawn. `peak`
    and `mean` are a minute.
    """

    area: str
    ticks_y: tuple[tuple[float, str], ...]
    ticks_x: tuple[tuple[float, str], ...]
    limit_y: float | None
    peak: float
    mean: float
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def chart(points: list[tuple[int, float]], width_s: int, limit: float | None = None) -> Chart:
    """Draw a rate as steps.

    Args:
        points: start of each span (seconds of Unix time, one `width_s` after the other) and its
            rate a minute; at least one.
        width_s: seconds in a span.
        limit: a minute; drawn where it is not far above the curve.
    """
    peak = max(rate for _, rate in points)
    shown = limit if limit is not None and limit <= peak * _LIMIT_SHOWN_TO else None
    top, step = _scale(max(peak, shown or 0, 1) * 1.05)
    inner = WIDTH - LEFT - RIGHT
    span = inner / len(points)

    def y(rate: float) -> float:
        return round(HEIGHT - BOTTOM - rate / top * (HEIGHT - BOTTOM - TOP), 1)

    path = [f"M{LEFT} {y(0)}"]
    for number, (_, rate) in enumerate(points):
        path.append(f"V{y(rate)}H{round(LEFT + (number + 1) * span, 1)}")
    path.append(f"V{y(0)}Z")
    ticks_y = tuple((y(step * n), f"{step * n:,.0f}") for n in range(int(top / step + 0.5) + 1))
    return Chart(
        "".join(path),
        ticks_y,
        _times(points, width_s, lambda share: round(LEFT + share * inner, 1)),
        None if shown is None else y(shown),
        peak,
        sum(rate for _, rate in points) / len(points),
    )


def _scale(highest: float) -> tuple[float, float]:
    """The top of an axis and the step between its lines: 1, 2 or 5 of some power of ten."""
    step = 1.0
    while highest / step > 5:  # noqa: PLR2004 - five lines are enough
        leading = int(str(int(step))[0])
        step *= {1: 2.0, 2: 2.5, 5: 2.0}[leading]
    lines = int(highest / step) + (1 if highest % step else 0)
    return step * lines, step


def _times(
    points: list[tuple[int, float]], width_s: int, x: Callable[[float], float]
) -> tuple[tuple[float, str], ...]:
    begin, end = points[0][0], points[-1][0] + width_s
    days = end - begin > 86_400  # noqa: PLR2004 - a day
    form = "%d %b %H:%M" if days else "%H:%M" if end - begin > 300 else "%H:%M:%S"  # noqa: PLR2004
    return tuple(
        (
            x(share),
            datetime.fromtimestamp(begin + share * (end - begin), timezone.utc).strftime(form),
        )
        for share in (0.0, 0.5, 1.0)
    )

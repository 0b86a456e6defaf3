"""The plot of growth: time a row and memory against the number of rows, as SVG by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Series = Mapping[str, Sequence[tuple[int, float, float]]]
"""By name: (rows, microseconds a row, MiB above idle), ascending."""

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 300, 220, 60, 40, 90
_COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b5ea7", "#8a6d1d")


def growth_plot(series: Series) -> str:
    """Two panels side by side: microseconds a row, and MiB above idle; rows on a log scale."""
    counts = sorted({rows for points in series.values() for rows, _, _ in points})
    times = {name: [(n, t) for n, t, _ in points] for name, points in series.items()}
    memory = {name: [(n, m) for n, _, m in points] for name, points in series.items()}
    second = _LEFT + _WIDTH + _GAP
    height = _TOP + _HEIGHT + 45 + 18 * len(series)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{second + _WIDTH + 30}" '
        f'height="{height}" font-family="sans-serif" font-size="12">'
        '<rect width="100%" height="100%" fill="white"/>'
        + _panel("microseconds a row", times, counts, _LEFT)
        + _panel("MiB above idle", memory, counts, second)
        + _legend(list(series))
        + "</svg>\n"
    )


def _panel(
    title: str, lines: Mapping[str, Sequence[tuple[int, float]]], counts: list[int], left: int
) -> str:
    top_value = _rounded_up(max((v for line in lines.values() for _, v in line), default=1.0))
    low, high = math.log10(counts[0]), math.log10(counts[-1])

    def x(rows: int) -> float:
        return left + _WIDTH * ((math.log10(rows) - low) / (high - low) if high > low else 0.5)

    def y(value: float) -> float:
        return _TOP + _HEIGHT * (1 - value / top_value)

    parts = [f'<text x="{left}" y="{_TOP - 14}" font-weight="bold">{title}</text>']
    for step in range(5):
        value = top_value * step / 4
        parts.append(
            f'<line x1="{left}" x2="{left + _WIDTH}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="#ddd"/><text x="{left - 6}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:g}</text>'
        )
    parts += [
        f'<text x="{x(rows):.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{rows:,}</text>'
        for rows in counts
    ]
    for colour, line in zip(_COLOURS, lines.values(), strict=False):
        points = " ".join(f"{x(n):.1f},{y(value):.1f}" for n, value in line)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{x(n):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>'
            for n, value in line
        ]
    return "".join(parts)


def _rounded_up(value: float) -> float:
    """The next of 1, 2, 4, 8 times a power of ten, so that quarters are short numbers."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 4, 8, 10, 20) if step * power >= value)


def _legend(names: list[str]) -> str:
    top = _TOP + _HEIGHT + 44
    return "".join(
        f'<rect x="{_LEFT}" y="{top + 18 * i - 9}" width="12" height="10" fill="{colour}"/>'
        f'<text x="{_LEFT + 18}" y="{top + 18 * i}">{name}</text>'
        for i, (colour, name) in enumerate(zip(_COLOURS, names, strict=False))
    )

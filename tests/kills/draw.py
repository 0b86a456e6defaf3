"""Which trial a number stands for, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.kills.trial import Kill, Trial

_WEIGHTS = {
    ("log.", "disk.", "s3."): 0.35,
    ("client.", "wire.", "body.", "answers.", "session."): 0.35,
    ("settle.",): 0.15,
    ("table.", "report"): 0.15,
}
"""How often a point of each room is drawn, by how their names begin."""
_RUNS_KILLED = (1, 1, 1, 2, 2, 3)

LEAVES_A_DOUBT = Kill("body.whole")
"""Settling has points only in a run that finds something in doubt."""


def drawn(
    seed: int,
    index: int,
    census: Mapping[int, tuple[Mapping[str, int], float]],
    *,
    plain: bool,
    existing: tuple[str, ...],
) -> Trial:
    """The trial of a number; the first ones that are not plain take each named point once.

    Args:
        seed: of all trials.
        index: of this one.
        census: by group size, passes of each point and seconds of a whole run.
        plain: the command line as a person starts it, killed from outside.
        existing: values of EXISTING to draw from.
    """
    chance = random.Random(f"{seed}/{index}")
    group = chance.choice((1, 3, 10))
    passes, seconds = census[group]
    if plain:
        kills = _from_outside(chance, group)
    else:
        names = sorted(passes, key=lambda name: (name.startswith("table."), name))
        first = names[index] if index < len(names) else ""
        kills = _named(chance, passes, seconds, first)
    return Trial(
        seed=seed * 100_000 + index,
        plain=plain,
        group=group,
        marker=chance.choice(("tag", "tag", "note", "none")),
        fail_rate=chance.choice((0.0, 0.2, 0.4)),
        latency_ms=chance.choice((1, 10, 40)),
        replay=chance.choice(("on", "on", "off")),
        existing=chance.choice(existing),
        kills=tuple(kills),
    )


def _from_outside(chance: random.Random, group: int) -> list[Kill]:
    """Kills of a process that knows nothing of points: by the company's count, or by time."""
    kills = [
        Kill("requests", chance.randint(1, 20 // group), chance.uniform(0, 0.15))
        for _ in range(chance.choice(_RUNS_KILLED))
    ]
    if chance.random() < 0.15:
        kills[0] = Kill("delay", 1, chance.uniform(0.3, 2.5))
    return kills


def _named(
    chance: random.Random, passes: Mapping[str, int], seconds: float, first: str
) -> list[Kill]:
    """Kills at named points (the first one at `first`, if given), some by time."""
    kills: list[Kill] = []
    for _ in range(chance.choice(_RUNS_KILLED)):
        if not first and chance.random() < 0.25:
            kills.append(Kill("delay", 1, chance.uniform(0.3, 1.1) * seconds))
            continue
        rooms = chance.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
        point = first or chance.choice([name for name in sorted(passes) if name.startswith(rooms)])
        if point.startswith("settle.") and not kills:
            kills.append(LEAVES_A_DOUBT)
        kills.append(Kill(point, 1 if first else chance.randint(1, passes[point])))
        first = ""
    return kills

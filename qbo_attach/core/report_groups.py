"""Many rows as few groups: by reason, by label; bounded, however many different ones there are."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from dataclasses import dataclass, field

EXAMPLES = 3
OTHERS = "(others)"

_DISTINCT = 400
_LABELS = 5_000
_REASON_CHARACTERS = 300
_WITH_DIGIT = re.compile(r"[^\s,;:()]*\d[^\s,;:()]*")
"""Ids, sizes, numbers: what makes reasons differ that are one for a person."""
_FAULT_CODE = re.compile(r"(?:QBO: )?([0-9]{3,6}|no_connection|tls|cut|unreadable|quota)\b")


def fault_code(error: str) -> str:
    """The code at the beginning of an `error` cell, "" where it begins with none."""
    found = _FAULT_CODE.match(error)
    return found[1] if found else ""


@dataclass(slots=True)
class Group:
    """Rows of one kind and reason. `reason` is the first one's; `same`: it is that of all."""

    what: str
    reason: str
    count: int = 0
    same: bool = True
    examples: list[str] = field(default_factory=list)


class Groups:
    """Rows counted by kind and reason.

    Args:
        exact: every reason is its own; else those that differ in ids and numbers only are one.
    """

    def __init__(self, *, exact: bool = False) -> None:
        self._exact = exact
        self.counts: Counter[str] = Counter()
        """By kind."""
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, what: str, reason: str, example: str) -> None:
        """Count a row."""
        told = reason[:_REASON_CHARACTERS]
        like = told if self._exact else f"{fault_code(told)} {_WITH_DIGIT.sub('#', told)}"
        group = self._groups.get((what, like))
        if group is None:
            if len(self._groups) >= _DISTINCT:
                like = OTHERS
            group = self._groups.setdefault((what, like), Group(what, told))
        group.count += 1
        group.same = group.same and group.reason == told
        if len(group.examples) < EXAMPLES:
            group.examples.append(example)
        self.counts[what] += 1

    def of(self, what: str, most: int) -> tuple[list[Group], int]:
        """The most frequent groups of a kind, and how many rows are in none of these."""
        some = sorted(
            (group for group in self._groups.values() if group.what == what),
            key=lambda group: (-group.count, group.reason),
        )
        return some[:most], sum(group.count for group in some[most:])


class Crosstab:
    """Counts by two labels, such as client and outcome."""

    def __init__(self) -> None:
        self._rows: dict[str, Counter[str]] = {}

    def add(self, label: str, column: str) -> None:
        """Count one."""
        row = self._rows.get(label)
        if row is None:
            if len(self._rows) >= _LABELS:
                label = OTHERS
            row = self._rows.setdefault(label, Counter())
        row[column] += 1

    @property
    def labels(self) -> str:
        """How many different labels were met, in words."""
        over = OTHERS in self._rows
        return f"more than {_LABELS:,}" if over else f"{len(self._rows):,}"

    def rows(self, most: int) -> list[tuple[str, Counter[str]]]:
        """The labels with the most, largest first; those beyond `most` as one row, `(others)`."""
        ordered = sorted(self._rows.items(), key=lambda row: (-row[1].total(), row[0]))
        ordered.sort(key=lambda row: row[0] == OTHERS)
        if len(ordered) <= most:
            return ordered
        rest: Counter[str] = Counter()
        for _, counts in ordered[most - 1 :]:
            rest.update(counts)
        return [*ordered[: most - 1], (OTHERS, rest)]


@dataclass(frozen=True, slots=True, order=True)
class Drawn:
    """An attachment drawn for a person to look at. `order` decides which are drawn."""

    order: int
    path: str
    sent_file_name: str
    qbo_entity_type: str
    qbo_entity_id: str
    key: str


class Draw:
    """Attachments drawn by a seed, every entity type in its turn, in one pass.

    Args:
        seed: decides which; nobody can choose them, and everybody gets the same.
        size: how many.
    """

    def __init__(self, seed: str, size: int) -> None:
        self._seed = seed.encode()
        self._size = size
        self._by_type: dict[str, list[tuple[int, Drawn]]] = {}

    def offer(self, path: str, sent_file_name: str, entity: tuple[str, str], key: str) -> None:
        """One attachment that may be drawn; `entity` is its type and id."""
        order = int.from_bytes(
            hashlib.sha256(self._seed + path.encode("utf-8", "backslashreplace")).digest()[:8],
            "big",
        )
        if entity[0] not in self._by_type and len(self._by_type) >= _DISTINCT:
            return
        heap = self._by_type.setdefault(entity[0], [])
        if len(heap) == self._size and -order < heap[0][0]:
            return
        item = (-order, Drawn(order, path, sent_file_name, *entity, key))
        if len(heap) < self._size:
            heapq.heappush(heap, item)
        else:
            heapq.heapreplace(heap, item)

    def drawn(self) -> list[Drawn]:
        """What was drawn, one of each type after the other until there are enough."""
        lines = [
            sorted((one for _, one in heap), key=lambda one: one.order)
            for _, heap in sorted(self._by_type.items())
        ]
        turns = max(map(len, lines), default=0)
        in_turn = (line[turn] for turn in range(turns) for line in lines if turn < len(line))
        return [one for _, one in zip(range(self._size), in_turn, strict=False)]

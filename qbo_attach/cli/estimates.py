"""An estimate as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qbo_attach.cli.terminal import one_line

if TYPE_CHECKING:
    from qbo_attach.core.estimating import Estimate

_SHOWN = 12
"""Values of one kind at most; all stand in the table."""
_TITLES = {"entity_type": "By entity type", "client": "By client", "reason": "By reason"}


def estimate_lines(found: Estimate) -> Iterator[str]:
    """What would be done with how many attachments of how many bytes, in several ways."""
    yield "What the next upload would do"
    for what, count in _largest(found.by("total").get("", {})):
        size = found.sizes["total", "", what]
        yield f"  {what:<26}{count:>9,}{size:>16,} bytes"
    for by, title in _TITLES.items():
        values = found.by(by)
        yield title
        ordered = sorted(values.items(), key=lambda each: (-sum(each[1].values()), each[0]))
        for value, actions in ordered[:_SHOWN]:
            said = ", ".join(f"{what} {count:,}" for what, count in _largest(actions))
            yield f"  {one_line(value) or '(none)'}: {said}"
        if len(ordered) > _SHOWN:
            yield f"  and {len(ordered) - _SHOWN:,} more in upload_estimate.csv"


def _largest(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))

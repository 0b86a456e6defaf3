"""The sums of a run: every planned attachment has exactly one outcome."""

from __future__ import annotations

import pytest

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.reporting import check_conservation


def test_one_outcome_for_each_planned_attachment_is_good() -> None:
    check_conservation({"success": 3, "error": 1, "skipped_already_uploaded": 2}, 6)
    check_conservation({}, 0)


@pytest.mark.parametrize("planned", [3, 5])
def test_an_outcome_too_many_or_too_few_is_told_with_both_numbers(planned: int) -> None:
    with pytest.raises(NotStartedError, match=f"4 outcomes for {planned} planned"):
        check_conservation({"success": 3, "error": 1}, planned)

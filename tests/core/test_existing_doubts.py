"""What an intent in doubt may have made is nobody else's, although QBO shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qbo_attach.core.chain import Intent
from qbo_attach.core.history import History
from tests.core.test_existing import NOW, STARTED, A, B, attachable, done, plan_with, verified


def in_doubt(path: str) -> tuple[History, str]:
    """A history with this file in doubt, and the file's key."""
    file = done(verified(path), A, "").file
    assert file is not None
    history = History().fold([STARTED, Intent("r1", "b1", 1, NOW, NOW, "tag", (file,))])
    return history, file.key


def test_an_attachable_of_a_name_in_doubt_is_not_taken_for_a_namesake_of_equal_size() -> None:
    """It is most likely what the lost request made, and its content is not known."""
    history, _ = in_doubt("x/a.pdf")
    rows = [verified("x/a.pdf"), verified("y/a.pdf"), verified("z/sent to the same entity.pdf")]
    contents = {"x/a.pdf": A, "y/a.pdf": B}
    plan = plan_with(rows, [attachable(5, "a.pdf")], contents, history)
    assert [plan[row.file_path].action for row in rows] == ["look", "look", "send"]


@pytest.mark.parametrize("field", ["tag", "note"])
def test_an_attachable_with_a_marker_in_doubt_is_not_taken_for_the_file_whose_name_it_got(
    field: str,
) -> None:
    """A person renamed it in QBO before its answer could be settled."""
    history, key = in_doubt("x/a.pdf")
    rows = [verified("x/a.pdf"), verified("x/z.pdf")]
    plain = attachable(5, "z.pdf")
    held = replace(plain, tag=key) if field == "tag" else replace(plain, note=key)
    plan = plan_with(rows, [held], {"x/a.pdf": A, "x/z.pdf": B}, history)
    assert plan["x/a.pdf"].action == "look"
    assert plan["x/z.pdf"].action == "send"

"""SECURITY.md names for each threat the tests that try it, and they are there."""

from __future__ import annotations

import re

from tests.docs.commands import ROOT

SECURITY = ROOT / "SECURITY.md"


def test_every_test_that_is_named_is_there() -> None:
    text = SECURITY.read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", text)
    assert len(named) > 20
    for path, test in named:
        source = (ROOT / path).read_text("utf-8")
        assert not test or re.search(rf"^(?:async )?def {test}\(", source, re.MULTILINE), test


def test_every_threat_of_the_table_is_tried() -> None:
    table = SECURITY.read_text("utf-8").partition("| --- | --- | --- |\n")[2].partition("\n\n")[0]
    rows = table.splitlines()
    assert len(rows) > 10
    for row in rows:
        *_, tried = row.strip("| ").split(" | ")
        assert "::test_" in tried, row

"""Two tables fed by one pass are what each would be by itself."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.core.tables import encode_table
from qbo_attach.storage.files import Store
from qbo_attach.storage.table_writer import Both, open_table

COLUMNS = ("path", "outcome")
TURNS = st.lists(st.tuples(st.booleans(), st.integers(1, 600)), max_size=6)
"""So many rows for both tables, or for the first alone."""


@given(TURNS)
@settings(max_examples=60, deadline=None)
def test_rows_of_both_tables_stand_in_the_order_in_which_they_came(
    turns: list[tuple[bool, int]],
) -> None:
    whole: list[tuple[str, ...]] = []
    some: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        with (
            open_table(store, "whole.csv", COLUMNS) as one,
            open_table(store, "some.csv", COLUMNS) as other,
        ):
            both = Both(one, other)
            for for_both, count in turns:
                for _ in range(count):
                    row = (f"=a, {len(whole)}.pdf", "skipped" if for_both else "success")
                    whole.append(row)
                    if for_both:
                        some.append(row)
                        both.add(row)
                    else:
                        both.flush()
                        one.add(row)
            both.flush()
        for name, table, rows in (("whole.csv", one, whole), ("some.csv", other, some)):
            data = (Path(folder) / name).read_bytes()
            assert data == b"".join(encode_table(COLUMNS, rows))
            artifact = table.artifact(store, name)
            assert (artifact.rows, artifact.sha256) == (len(rows), hashlib.sha256(data).hexdigest())

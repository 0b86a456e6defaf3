"""Which column of a Desktop export is which: an editable list of names.

Of several names for one thing that a table has, the first of the list is taken.
"""

from __future__ import annotations

import functools
import io
import pkgutil

from qbo_attach.core.edited_tables import read_edited_table
from qbo_attach.core.errors import TableError
from qbo_attach.core.matching.types import word_key
from qbo_attach.core.workbooks import Sheet

FIELDS = ("id", "type", "date", "number", "name", "amount")


class Columns:
    """Names of columns, by field, the preferred ones first."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names

    def picks(self, sheet: Sheet, url: str) -> dict[str, int]:
        """Where each field's column stands in a table; fields that it lacks are left out.

        Raises:
            TableError: no column for the id, or one name twice.
        """
        header = [word_key(name) for name in sheet.header]
        found: dict[str, int] = {}
        for field in FIELDS:
            for name in self.names.get(field, ()):
                if header.count(word_key(name)) > 1:
                    raise TableError(url, "this column stands twice", row=1, column=name)
                if word_key(name) in header:
                    found[field] = header.index(word_key(name))
                    break
        if "id" not in found:
            known = ", ".join(self.names.get("id", ()))
            problem = (
                f"no column for the id (one of {known}); found: {', '.join(sheet.header)}; name it "
                "in DESKTOP_COLUMNS_TABLE"
            )
            raise TableError(url, problem, row=1)
        return found


def read_columns(stream: io.BufferedIOBase, url: str) -> Columns:
    """Read the list of column names: `column` (one of FIELDS) and `name`.

    Raises:
        TableError: broken, a column that there is not, or a name for two columns.
    """
    names: dict[str, list[str]] = {}
    meant: dict[str, str] = {}
    for row, (column, name) in read_edited_table(stream, url, ("column", "name")):
        if column not in FIELDS:
            problem = f"is {column!r}; allowed are {', '.join(FIELDS)}"
            raise TableError(url, problem, row=row, column="column")
        if not word_key(name) or meant.setdefault(word_key(name), column) != column:
            problem = f"{name!r} is empty, or stands for another column in an earlier row"
            raise TableError(url, problem, row=row, column="name")
        names.setdefault(column, []).append(name)
    return Columns(names)


@functools.cache
def built_in_columns() -> Columns:
    """The list that the package ships."""
    name = "data/desktop_columns.csv"
    data = pkgutil.get_data("qbo_attach.core", name) or b""
    return read_columns(io.BytesIO(data), name)

"""What QBO takes: file types, names and sizes.

`data/file_types.csv` is Intuit's list of approved types with the content types as Intuit prints
them, odd spellings included (developer.intuit.com, entity Attachable), and three extensions that
are other names of approved ones and are sent under those. FILE_TYPES_TABLE may name an edited copy.
Extensions are compared without case.
"""

from __future__ import annotations

import functools
import io
import pkgutil
import unicodedata
from typing import NamedTuple

from qbo_attach.core.edited_tables import read_edited_table
from qbo_attach.core.errors import TableError

MAX_REQUEST_BYTES = 100_000_000
"""Of one upload request, with all its parts (fault 6030 beyond)."""

REQUEST_OVERHEAD_BYTES = 4_096
"""Kept free for boundaries, headers and metadata of a request that carries one file."""

MAX_FILE_BYTES = MAX_REQUEST_BYTES - REQUEST_OVERHEAD_BYTES
MAX_NAME_CHARACTERS = 1_000
"""Of `Attachable.FileName`."""


NOT_UTF8 = "the path is not UTF-8"
"""Written as an inventory row's `problem`: in a table such a path can only stand escaped."""


class FileTypeRow(NamedTuple):
    """A row of the table: files with `extension` are sent with `sent_extension`."""

    extension: str
    sent_extension: str
    content_type: str


class FileTypes:
    """The table, by extension in lower case, without the dot."""

    def __init__(self, rows: dict[str, FileTypeRow]) -> None:
        self.by_extension = rows

    def __contains__(self, extension: str) -> bool:
        return extension in self.by_extension

    def of(self, file_name: str) -> FileTypeRow | None:
        """The row for this name, or None: QBO does not take it."""
        return self.by_extension.get(extension_of(file_name))

    def sent_name(self, file_name: str) -> str:
        """The name to send: as it is, but for an extension that QBO knows under another name.

        Raises:
            ValueError: QBO does not take this type.
        """
        row = self._row(file_name)
        if row.extension == row.sent_extension:
            return file_name
        return file_name[: file_name.rfind(".") + 1] + row.sent_extension

    def content_type(self, file_name: str) -> str:
        """The content type to send.

        Raises:
            ValueError: QBO does not take this type.
        """
        return self._row(file_name).content_type

    def _row(self, file_name: str) -> FileTypeRow:
        row = self.of(file_name)
        if row is None:
            raise ValueError(f"{file_name!r} has no extension that QBO takes")
        return row


def extension_of(file_name: str) -> str:
    """What follows the last dot, in lower case; "" without a dot."""
    dot = file_name.rfind(".")
    return file_name[dot + 1 :].lower() if dot >= 0 else ""


def name_problem(file_name: str) -> str:
    """Why QBO could not store a file under this name; "" if it can."""
    if len(file_name) > MAX_NAME_CHARACTERS:
        return f"the name has {len(file_name)} characters; QBO allows {MAX_NAME_CHARACTERS}"
    if file_name.isprintable():
        return ""
    for char in file_name:
        category = unicodedata.category(char)
        if category == "Cc":
            return f"the name has the control character U+{ord(char):04X}"
        if category == "Cs":
            return NOT_UTF8
    return ""


def read_file_types(stream: io.BufferedIOBase, url: str) -> FileTypes:
    """Read the table.

    Raises:
        TableError: broken, an empty cell, or an extension that stands twice.
    """
    rows: dict[str, FileTypeRow] = {}
    for row_number, cells in read_edited_table(stream, url, FileTypeRow._fields):
        extension, sent, kind = cells
        row = FileTypeRow(extension.lower().lstrip("."), sent.lower().lstrip("."), kind)
        for column, cell in zip(FileTypeRow._fields, row, strict=True):
            if not cell:
                raise TableError(url, "is empty", row=row_number, column=column)
        if row.extension in rows:
            problem = f"{row.extension} stands twice"
            raise TableError(url, problem, row=row_number, column="extension")
        rows[row.extension] = row
    return FileTypes(rows)


@functools.cache
def built_in_file_types() -> FileTypes:
    """The table that the package ships."""
    name = "data/file_types.csv"
    data = pkgutil.get_data("qbo_attach.core", name) or b""
    return read_file_types(io.BytesIO(data), name)

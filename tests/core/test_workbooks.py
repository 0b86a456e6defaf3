"""A workbook that is broken or made to harm ends in one sentence, in little time and memory."""

from __future__ import annotations

import io
import tracemalloc
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from openpyxl import Workbook

from qbo_attach.core.errors import TableError
from qbo_attach.core.workbooks import read_sheets

SHEET = "xl/worksheets/sheet1.xml"
_NAMESPACE = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def sheet_of(cell: bytes, before: bytes = b"") -> bytes:
    row = b'<row r="1">' + cell + b"</row>"
    return (
        before + b"<worksheet " + _NAMESPACE + b"><sheetData>" + row + b"</sheetData></worksheet>"
    )


def workbook(members: dict[str, bytes], sizes: dict[str, int] | None = None) -> io.BytesIO:
    """A workbook with members exchanged; `sizes`: what it says that they unpack to."""
    book = Workbook()
    book.active.append(["TxnID", "Date"])
    whole, changed = io.BytesIO(), io.BytesIO()
    book.save(whole)
    with ZipFile(whole) as source, ZipFile(changed, "w", ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, members.get(name) or source.read(name))
        for member in target.infolist():
            member.file_size = (sizes or {}).get(member.filename, member.file_size)
    return io.BytesIO(changed.getvalue())


def refused(book: io.BytesIO) -> str:
    with pytest.raises(TableError) as error:
        [list(sheet.rows) for sheet in read_sheets(book, "d.xlsx")]
    assert str(error.value).startswith("d.xlsx")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_bomb_is_refused_by_what_it_says_and_unpacked_no_further_than_that() -> None:
    zeros = b" " * 50_000_000
    assert "unpacks to more than" in refused(workbook({}, {SHEET: 2_100_000_000}))
    lying = workbook({SHEET: sheet_of(b"", zeros)}, {SHEET: 10})
    del zeros
    tracemalloc.start()
    refused(lying)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


LAUGHS = b"".join(
    b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10 if n else b"a" * 100) for n in range(10)
)


@pytest.mark.parametrize(
    "sheet",
    [
        sheet_of(b'<c r="A1" t="inlineStr"><is><t>&a9;</t></is></c>', b"<!DOCTYPE x [" + LAUGHS + b"]>"),
        sheet_of(
            b'<c r="A1" t="inlineStr"><is><t>&a;</t></is></c>',
            b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        ),
        sheet_of(b'<c r="A1" t="n"><v>no number</v></c>'),
        sheet_of(b'<c r="A1" t="s"><v>99</v></c>'),
        b"<worksheet><sheetData><row",
    ],
    ids=["expanding entities", "another file's text", "no number", "no such text", "cut off"],
)  # fmt: skip
def test_a_sheet_made_to_harm_or_broken_is_refused_in_one_sentence(sheet: bytes) -> None:
    assert "is not readable as a workbook" in refused(workbook({SHEET: sheet}))


@pytest.mark.parametrize("member", ["xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml"])
def test_other_broken_parts_are_refused_as_well(member: str) -> None:
    assert "is not readable as a workbook" in refused(workbook({member: b"<"}))

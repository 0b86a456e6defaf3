"""Cases of odd file names: those that are sent as they are, and those that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qbo_attach.core.model import Status
from qbo_attach.sample.company import BILL, INVOICE
from qbo_attach.sample.planned import Case, Desk

_LATIN_1 = b"M\xfcller 2014.pdf".decode("utf-8", "surrogateescape")

_SENT = (
    (
        "punctuation",
        (
            "two  spaces #1 50%+tax & more.pdf",
            "it's [final]; really, {yes} ~1.pdf",
            "%41 %2F not decoded.pdf",
            "=1+1.pdf",
            "+plus.pdf",
            "-minus.pdf",
            "@at.pdf",
            "'quoted'.pdf",
            " leading space.pdf",
        ),
    ),
    (
        "non_ascii",
        ("Änderung Maß.pdf", "領収書 平成三十年.png", "receipt 🧾👍🏽.jpg", "חשבונית 12.pdf"),
    ),
    ("dots", ("v1.2.3....pdf", ".hidden.txt", "..two.pdf")),
    ("upper_case_extension", ("SCAN.PDF", "SHEET.XlsX")),
    ("jpeg", ("photo.jpeg",)),
)

_SENT_WHERE_HELD = (
    ("reserved_marks", ('the "big" one.pdf', "what? a*b <c> d|e f:g.pdf")),
    ("long_name", ("Long " + "name " * 44 + "x.pdf",)),
)

_REFUSED_WHERE_HELD = (
    ("dot_at_end", Status.UNSUPPORTED_FILE_TYPE, ("report.pdf.",)),
    ("control_character", Status.INVALID_FILE_NAME, ("bell\x07.pdf", "tab\there.pdf")),
    ("new_line", Status.INVALID_FILE_NAME, ("two\nlines.pdf",)),
    ("not_utf8", Status.INVALID_FILE_NAME, (_LATIN_1,)),
)


def name_cases(desk: Desk) -> Iterator[Case]:
    """Plan the cases of file names, each under an entity of its own."""
    for odd, cases in ((False, _SENT), (True, _SENT_WHERE_HELD)):
        for name, file_names in cases:
            entity = desk.company.entity(BILL)
            folder = desk.folder(entity)
            files = (desk.file(folder, file_name, entity, name) for file_name in file_names)
            yield Case(name, tuple(files), odd)
    name = "tiff"
    entity = desk.company.entity(INVOICE)
    file = desk.file(desk.folder(entity), "fax.tiff", entity, name)
    yield Case(name, (replace(file, sent_file_name="fax.tif"),))
    for name, status, file_names in _REFUSED_WHERE_HELD:
        folder = desk.folder(desk.company.entity(BILL))
        files = (desk.file(folder, file_name, None, name) for file_name in file_names)
        yield Case(name, tuple(file.refused(status) for file in files), odd=True)

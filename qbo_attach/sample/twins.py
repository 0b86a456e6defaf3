"""Cases of names that meet, and of bytes that are equal, under one entity (docs/design.md, 5.1).

Names meet when they are equal by casefold(NFC). Of names that meet, equal bytes are sent once,
by the first in the order of the inventory; if more than one content remains, each is sent under a
name with the start of its digest.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import replace

from qbo_attach.sample.company import BILL, CHECK, INVOICE
from qbo_attach.sample.planned import Case, Desk, PlannedFile, inventory_order


def twin_cases(desk: Desk) -> Iterator[Case]:
    """Plan the cases `two_clients`, `twins_*` and `copy_renamed`."""
    yield _two_clients(desk)
    entity = desk.company.entity(BILL)
    folder = desk.folder(entity)
    files = [
        desk.file(place, "scan.pdf", entity, "twins_equal")
        for place in (folder, f"{folder}/2019", f"{folder}/2020")
    ]
    yield Case("twins_equal", _sent_once(files))

    entity = desk.company.entity(INVOICE)
    folder = desk.folder(entity)
    places = (folder, f"{folder}/b", f"{folder}/a")
    files = [desk.file(place, "scan.pdf", entity, "twins_mixed") for place in places]
    equal = _sent_once([files[0], files[1]])
    yield Case("twins_mixed", tuple(_by_digest(file) for file in (*equal, files[2])))

    yield _different(desk, "twins_different", ("2021/scan.pdf", "2022/scan.pdf"))
    yield _different(desk, "twins_case", ("Receipt.pdf", "receipt.PDF"), odd=True)
    composed = unicodedata.normalize("NFC", "Beleg für März.pdf")
    decomposed = unicodedata.normalize("NFD", composed)
    yield _different(desk, "twins_unicode", (composed, decomposed), odd=True)
    yield _copy_renamed(desk)


def _two_clients(desk: Desk) -> Case:
    """One company file's transaction whose attachments lie under two clients."""
    name = "two_clients"
    entity = desk.company.entity(CHECK)
    one, two = (desk.folder(entity, client=client) for client in desk.company.clients[:2])
    own = [
        desk.file(one, "ours.pdf", entity, name),
        desk.file(two, "theirs.pdf", entity, name),
    ]
    both = [desk.file(folder, "both.pdf", entity, name) for folder in (one, two)]
    return Case(name, (*own, *_sent_once(both)))


def _sent_once(files: list[PlannedFile]) -> tuple[PlannedFile, ...]:
    """Give files of one name equal bytes."""
    first = min(files, key=lambda file: inventory_order(file.path))
    return tuple(file if file is first else file.duplicate_of(first) for file in files)


def _by_digest(file: PlannedFile) -> PlannedFile:
    return replace(file, by_digest=bool(file.sent_file_name))


def _different(desk: Desk, name: str, paths: tuple[str, str], *, odd: bool = False) -> Case:
    entity = desk.company.entity(BILL)
    folder = desk.folder(entity)
    files = []
    for path in paths:
        place, _, file_name = f"{folder}/{path}".rpartition("/")
        files.append(_by_digest(desk.file(place, file_name, entity, name)))
    return Case(name, tuple(files), odd)


def _copy_renamed(desk: Desk) -> Case:
    name = "copy_renamed"
    entity = desk.company.entity(INVOICE)
    folder = desk.folder(entity)
    file = desk.file(folder, "contract signed.pdf", entity, name)
    copy = replace(
        file,
        path=f"{folder}/contract signed - Copy.pdf",
        sent_file_name="contract signed - Copy.pdf",
    )
    return Case(name, (file, copy))

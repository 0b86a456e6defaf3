"""Every awkward case of the sample, each in its own small function.

| Case | What it holds | What a first run makes of it |
| --- | --- | --- |
| `id_prefix` | raw id with the prefix `80`, as nearly all have | sent |
| `id_without_prefix` | raw id without it | sent |
| `id_lower_case` | raw id in lower case | sent |
| `id_with_dash` | TxnID form, `80A1B2C3-1439202892` | sent |
| `id_like_a_number` | TxnID `1E-1439202892`, which is no number of a spreadsheet | sent |
| `id_prefix_twice` | raw id `8080...`, of which one `80` is dropped | sent |
| `id_with_spaces` | spaces before and after a raw id (odd) | sent |
| `id_spelled_in_mapping` | the mapping has the id in lower case, with spaces | sent |
| `two_clients` | one legacy id under two clients of one company file | sent; a twin is not |
| `concrete_type_folder` | folder `Bill`; the id is a bill and an invoice | sent to the bill |
| `equal_mapping_rows` | the mapping row stands twice, and in another spelling | sent |
| `list_customer` | attachment of a customer, under `List` | sent |
| `list_vendor` | attachment of a vendor, under `List` | sent |
| `same_id_two_types` | one QBO id and one file name under a customer and a bill | both sent |
| `missing_mapping` | the mapping does not have the id | `missing_mapping` |
| `duplicate_mapping` | two rows of one type name different QBO ids | `duplicate_mapping` |
| `ambiguous_mapping` | the id is a bill and an invoice, the folder is `Txn` | `ambiguous_mapping` |
| `ambiguous_identifier` | the mapping has the id with and without `80` | `ambiguous_identifier` |
| `unsupported_entity_type` | a paycheck | `unsupported_entity_type` |
| `unsupported_file_type` | zip, msg, heic, eml | `unsupported_file_type` |
| `no_extension` | a name without a dot | `unsupported_file_type` |
| `dot_at_end` | `report.pdf.` has an empty extension (odd) | `unsupported_file_type` |
| `empty_file` | no bytes | `empty_file` |
| `control_character` | BEL or TAB in a name (odd) | `invalid_file_name` |
| `new_line` | LF in a name (odd) | `invalid_file_name` |
| `not_utf8` | bytes of Latin-1 in a name (odd) | `invalid_file_name` |
| `unrecognized_path` | files too high in the tree | `unrecognized_path` |
| `junk` | Thumbs.db, .DS_Store, desktop.ini, ~$x.xlsx | `excluded` |
| `deeper_folder` | folders below the entity's folder | sent |
| `twins_equal` | one name thrice in subfolders, equal bytes | first sent, `duplicate_content` |
| `twins_different` | one name twice, different bytes | both sent by digest |
| `twins_mixed` | one name thrice, two of them equal | two sent by digest, one not |
| `twins_case` | names equal but for case, different bytes (odd) | both sent by digest |
| `twins_unicode` | one name composed and decomposed, different bytes (odd) | both sent by digest |
| `copy_renamed` | equal bytes under two different names | both sent |
| `punctuation` | space # % + & ; ' [ ] and a leading = + - @ ' | sent |
| `reserved_marks` | `"` `?` `*` `<` `>` `:` and a pipe, which Windows does not hold (odd) | sent |
| `non_ascii` | ä, Japanese, emoji, right-to-left | sent |
| `dots` | dots in a row before the extension, and at the start of a name | sent |
| `long_name` | 230 characters (odd) | sent |
| `upper_case_extension` | `SCAN.PDF` | sent |
| `tiff` | `fax.tiff` goes as `fax.tif` | sent |
| `jpeg` | `photo.jpeg` | sent |
| `file_too_large` | 101 MiB, sparse; only on request, on a local disk | `file_too_large` |

Odd: where a store cannot hold such names, or not apart from one another, the whole case is left
out and `Sample.left_out` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from qbo_attach.core.model import Status
from qbo_attach.sample.company import BILL, CHECK, CUSTOMER, INVOICE, PAYCHECK, VENDOR
from qbo_attach.sample.names import name_cases
from qbo_attach.sample.planned import Case, Desk
from qbo_attach.sample.twins import twin_cases

TOO_LARGE_BYTES = 101 * 1024 * 1024
"""Above the 100 MB that one upload request may have, however a megabyte is counted."""


def awkward_cases(desk: Desk) -> Iterator[Case]:
    """Plan every case but `file_too_large`; their mapping rows are in the company after it."""
    for make in (_identifiers, _spaces_around_id, _mappings, _lists, _unmapped, _contents, _paths):
        yield from make(desk)
    yield from twin_cases(desk)
    yield from name_cases(desk)


def too_large(desk: Desk) -> Case:
    """Plan the file that no upload request can hold."""
    entity = desk.company.entity(BILL)
    name = "file_too_large"
    file = desk.file(desk.folder(entity), "plans.pdf", entity, name)
    return Case(
        name, (replace(file.refused(Status.FILE_TOO_LARGE), size_bytes=TOO_LARGE_BYTES),), odd=True
    )


def _identifiers(desk: Desk) -> Iterator[Case]:
    """Raw ids that are mapped, each in another spelling."""
    company = desk.company
    spell: dict[str, Callable[[str], str]] = {
        "id_prefix": lambda legacy_id: f"80{legacy_id}",
        "id_without_prefix": lambda legacy_id: legacy_id,
        "id_lower_case": lambda legacy_id: f"80{legacy_id.lower()}",
    }
    for name, raw_id in spell.items():
        entity = company.entity(BILL)
        folder = desk.folder(entity, raw_id=raw_id(entity.legacy_id))
        yield Case(name, (desk.file(folder, f"{name}.pdf", entity, name),))
    for name, legacy_id in (
        ("id_with_dash", f"{company.legacy_id()}-{company.seconds()}"),
        ("id_like_a_number", f"1E-{company.seconds()}"),
        ("id_prefix_twice", f"80{company.legacy_id()}"),
    ):
        entity = company.entity(INVOICE, legacy_id)
        yield Case(name, (desk.file(desk.folder(entity), f"{name}.pdf", entity, name),))
    name = "id_spelled_in_mapping"
    legacy_id = company.legacy_id()
    entity = company.entity(CHECK, f" {legacy_id.lower()} ")
    folder = desk.folder(entity, raw_id=f"80{legacy_id}")
    yield Case(name, (desk.file(folder, f"{name}.pdf", entity, name),))


def _spaces_around_id(desk: Desk) -> Iterator[Case]:
    name = "id_with_spaces"
    entity = desk.company.entity(BILL)
    folder = desk.folder(entity, raw_id=f" 80{entity.legacy_id} ")
    yield Case(name, (desk.file(folder, f"{name}.pdf", entity, name),), odd=True)


def _mappings(desk: Desk) -> Iterator[Case]:
    """Ids that the mapping has more than once."""
    company = desk.company
    name = "concrete_type_folder"
    bill = company.entity(BILL)
    company.entity(INVOICE, bill.legacy_id)
    folder = desk.folder(bill, level="Bill")
    yield Case(name, (desk.file(folder, f"{name}.pdf", bill, name),))

    name = "equal_mapping_rows"
    entity = company.entity(CHECK)
    spelled = replace(entity, desktop_spelling=not entity.desktop_spelling)
    company.mapping += [entity, spelled]
    yield Case(name, (desk.file(desk.folder(entity), f"{name}.pdf", entity, name),))

    name = "duplicate_mapping"
    entity = company.entity(BILL)
    company.entity(BILL, entity.legacy_id)
    yield _refused(desk, name, Status.DUPLICATE_MAPPING, desk.folder(entity))

    name = "ambiguous_mapping"
    entity = company.entity(BILL)
    company.entity(INVOICE, entity.legacy_id)
    yield _refused(desk, name, Status.AMBIGUOUS_MAPPING, desk.folder(entity))

    name = "ambiguous_identifier"
    entity = company.entity(BILL)
    company.entity(BILL, f"80{entity.legacy_id}")
    yield _refused(desk, name, Status.AMBIGUOUS_IDENTIFIER, desk.folder(entity))


def _lists(desk: Desk) -> Iterator[Case]:
    company = desk.company
    for name, kind in (("list_customer", CUSTOMER), ("list_vendor", VENDOR)):
        entity = company.entity(kind)
        yield Case(name, (desk.file(desk.folder(entity), f"{name}.pdf", entity, name),))
    name = "same_id_two_types"
    customer = company.entity(CUSTOMER)
    # A bill whose id in QBO equals the customer's: ids are unique only within a type.
    bill = company.entity(BILL, qbo_id=customer.qbo_id)
    yield Case(
        name,
        tuple(desk.file(desk.folder(e), "contract.pdf", e, name) for e in (customer, bill)),
    )


def _unmapped(desk: Desk) -> Iterator[Case]:
    company = desk.company
    folder = f"Attach/{company.client()}/Txn/80{company.legacy_id()}"
    yield _refused(desk, "missing_mapping", Status.MISSING_MAPPING, folder)
    folder = desk.folder(company.entity(PAYCHECK))
    yield _refused(desk, "unsupported_entity_type", Status.UNSUPPORTED_ENTITY_TYPE, folder)


def _refused(desk: Desk, name: str, status: Status, folder: str) -> Case:
    return Case(name, (desk.file(folder, f"{name}.pdf", None, name).refused(status),))


def _contents(desk: Desk) -> Iterator[Case]:
    """Files that are refused for themselves, under an entity that is well mapped."""
    folder = desk.folder(desk.company.entity(INVOICE))
    for name, file_names in (
        ("unsupported_file_type", ("old.zip", "mail.msg", "photo.HEIC", "mail.eml")),
        ("no_extension", ("README",)),
    ):
        files = (desk.file(folder, file_name, None, name) for file_name in file_names)
        yield Case(name, tuple(f.refused(Status.UNSUPPORTED_FILE_TYPE) for f in files))
    name = "empty_file"
    file = desk.file(folder, "nothing.pdf", None, name).refused(Status.EMPTY_FILE)
    yield Case(name, (replace(file, content="empty", size_bytes=0),))
    name = "junk"
    files = (
        desk.file(folder, file_name, None, name)
        for file_name in ("Thumbs.db", ".DS_Store", "desktop.ini", "~$estimate.xlsx")
    )
    yield Case(name, tuple(replace(f.refused(Status.EXCLUDED), content="binary") for f in files))


def _paths(desk: Desk) -> Iterator[Case]:
    company = desk.company
    name = "unrecognized_path"
    client = company.client()
    places = ("Attach", f"Attach/{client}", f"Attach/{client}/Txn")
    files = (desk.file(place, "loose scan.pdf", None, name) for place in places)
    yield Case(name, tuple(f.refused(Status.UNRECOGNIZED_PATH) for f in files))
    name = "deeper_folder"
    entity = company.entity(INVOICE)
    folder = desk.folder(entity)
    files = (
        desk.file(f"{folder}/{deeper}", file_name, entity, name)
        for deeper, file_name in (("2019", "page 1.pdf"), ("2019/March/scans", "page 2.pdf"))
    )
    yield Case(name, tuple(files))

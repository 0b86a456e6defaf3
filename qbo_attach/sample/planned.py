"""Files of the sample before they are written, with the result that each is made to have."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from qbo_attach.core.model import Outcome, Status
from qbo_attach.sample.company import LIST_KINDS, PREFIX, Company, Entity

CONTENT = {
    "pdf": "pdf",
    "png": "png",
    "jpg": "jpg",
    "jpeg": "jpg",
    "tif": "tif",
    "tiff": "tif",
    "xlsx": "xlsx",
    "docx": "docx",
    "txt": "txt",
    "csv": "csv",
    "eml": "eml",
    "zip": "zip",
}
"""What stands in a file with this extension, by name in `formats.KINDS`; else `binary`."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to write, and what a first run makes of it.

    `content`, `label` and `size_bytes` decide the bytes. `sent_file_name` is the name before a
    digest is put in; `by_digest` says that one is. `path` is relative to FILES_DIR; bytes that
    are not UTF-8 are surrogate escapes.
    """

    path: str
    content: str
    label: str
    size_bytes: int
    modified_s: int
    note: str = ""
    status: Status = Status.OK
    outcome: str = Outcome.SUCCESS.value
    entity: Entity | None = None
    sent_file_name: str = ""
    by_digest: bool = False

    def refused(self, status: Status) -> PlannedFile:
        """Give the same file with a status other than `ok`, hence without an outcome."""
        return replace(self, status=status, outcome="", entity=None, sent_file_name="")

    def duplicate_of(self, sent: PlannedFile) -> PlannedFile:
        """Give the same file with the bytes of `sent`, which stands for it."""
        return replace(
            self,
            content=sent.content,
            label=sent.label,
            size_bytes=sent.size_bytes,
            outcome=Outcome.DUPLICATE_CONTENT.value,
            sent_file_name="",
            by_digest=False,
            note=f"{self.note}; sent as {sent.path}",
        )


class Case(NamedTuple):
    """An awkward case: files that are written together, or not at all.

    `odd`: some stores cannot hold these names, or not apart; then the case is left out.
    """

    name: str
    files: tuple[PlannedFile, ...]
    odd: bool = False


def inventory_order(path: str) -> list[bytes]:
    """Key by which tables are sorted: the path's components as bytes (docs/design.md, 4)."""
    return path.encode("utf-8", "surrogateescape").split(b"/")


class Desk:
    """Where files are planned: it numbers them, and draws sizes, dates and names.

    Args:
        company: whose files they are.
        seed: decides what is drawn.
        size_kb: smallest and largest size in KiB; between them all orders of magnitude are
            equally frequent.
    """

    def __init__(self, company: Company, seed: int, size_kb: tuple[float, float]) -> None:
        self.company = company
        # A sample is to be repeatable, not secret.
        self.random = random.Random(f"files {seed}")  # noqa: S311
        self._seed = seed
        self._size_kb = size_kb
        self._number = 0

    def folder(self, entity: Entity, *, client: str = "", raw_id: str = "", level: str = "") -> str:
        """Give an entity's folder, as Desktop's tree names it unless told otherwise."""
        is_list = entity.kind in LIST_KINDS
        raw = raw_id or (entity.legacy_id if is_list else PREFIX + entity.legacy_id)
        level = level or ("List" if is_list else "Txn")
        return f"Attach/{client or self.company.client()}/{level}/{raw}"

    def file(self, folder: str, name: str, entity: Entity | None, note: str = "") -> PlannedFile:
        """Plan a file that is sent under its own name, with bytes of its own."""
        self._number += 1
        extension = name.rpartition(".")[2].lower() if "." in name else ""
        low, high = self._size_kb
        return PlannedFile(
            path=f"{folder}/{name}",
            content=CONTENT.get(extension, "binary"),
            label=f"sample {self._seed} file {self._number}",
            size_bytes=int(1024 * low * (high / low) ** self.random.random()),
            modified_s=self.company.seconds(),
            note=note,
            entity=entity,
            sent_file_name=name,
        )


_NAMES = (
    ("Invoice {n}.pdf", 24),
    ("scan{n:05}.pdf", 16),
    ("Packing slip {n}.pdf", 8),
    ("receipt_{n}.png", 12),
    ("IMG_{n:06}.jpg", 6),
    ("fax {n}.tif", 3),
    ("estimate-{n}.xlsx", 10),
    ("notes {n}.txt", 8),
    ("export_{n}.csv", 3),
    ("Letter {n}.docx", 3),
)


def ordinary_files(desk: Desk, count: int) -> Iterator[PlannedFile]:
    """Plan files without anything awkward: mostly one to an entity, at most four."""
    patterns = [pattern for pattern, _ in _NAMES]
    weights = [weight for _, weight in _NAMES]
    number = 1000
    left = count
    while left:
        entity = desk.company.any_entity()
        folder = desk.folder(entity)
        here = min(left, desk.random.choices((1, 2, 3, 4), (60, 25, 10, 5))[0])
        for pattern in desk.random.choices(patterns, weights, k=here):
            number += 1
            yield desk.file(folder, pattern.format(n=number), entity)
        left -= here

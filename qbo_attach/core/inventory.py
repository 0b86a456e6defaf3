"""The inventory: every listed file as one row, in the order of path components as UTF-8 bytes.

A tree is held as one packed byte string a file, whose plain byte order is the order of the table:
the path with its separators as 0x01, then 0x00 and the other facts. Bytes 0x00 to 0x02 that are
part of a name stand escaped, in an order that is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.file_types import NOT_UTF8
from qbo_attach.core.identifiers import IdRules
from qbo_attach.core.layout import Layout, Place, Reading
from qbo_attach.core.model import ListedFile
from qbo_attach.core.tables import InventoryRow

_NOWHERE = Place("", "", "", "")
_SEPARATOR, _END, _ESCAPE = "\x01", "\0", "\x02"
_ESCAPES = {"\0": "\x02\x03", _SEPARATOR: "\x02\x04", _ESCAPE: "\x02\x05"}
_PACKING = str.maketrans({**_ESCAPES, "/": _SEPARATOR})


@dataclass(frozen=True, slots=True)
class Survey:
    """What a tree is, under one reading of the template.

    `skip` of the template's leading literals lie above FILES_DIR; `files_by_client` counts the
    files whose path fits, `unrecognized` the others.
    """

    skip: int
    files_by_client: dict[str, int]
    unrecognized: int

    @property
    def files(self) -> int:
        """All files."""
        return sum(self.files_by_client.values()) + self.unrecognized


class Tree:
    """All files of one listing, sorted.

    Holds some 120 bytes a file; `survey` and `rows` go over them without keeping more.
    """

    def __init__(self, listing: Iterable[ListedFile], layout: Layout, id_rules: IdRules) -> None:
        self._layout = layout
        self._id_rules = id_rules
        self._packed = [_pack(file) for file in listing]
        self._packed.sort()

    def __len__(self) -> int:
        return len(self._packed)

    @property
    def problems(self) -> int:
        """Files that the listing met a problem with."""
        return sum(not packed.endswith(b"\0") for packed in self._packed)

    def survey(self) -> Survey:
        """Decide where in the template the tree begins, and count its clients.

        It begins where most files fit; among equals, where most of the template is in the tree.
        """
        best, clients_of_best = 0, Counter[str]()
        for skip in range(self._layout.leading_literals + 1):
            clients = self._clients(self._layout.reading(skip))
            if not skip or clients.total() > clients_of_best.total():
                best, clients_of_best = skip, clients
            if clients.total() == len(self):
                break
        return Survey(best, dict(clients_of_best), len(self) - clients_of_best.total())

    def _clients(self, reading: Reading) -> Counter[str]:
        """Files by client, of those that fit this reading."""
        clients: Counter[str] = Counter()
        for folder, files in groupby(self._packed, _packed_folder):
            place = reading.place(_components(folder))
            if place is not None:
                clients[place.client] += sum(1 for _ in files)
        return clients

    def rows(self, survey: Survey) -> Iterator[InventoryRow]:
        """The table's rows, in order."""
        reading = self._layout.reading(survey.skip)
        for packed_folder, files in groupby(self._packed, _packed_folder):
            folders = _components(packed_folder)
            folder = "".join(f"{name}/" for name in folders)
            place = reading.place(folders) or _NOWHERE
            norm = self._id_rules.normalize(place.raw_legacy_id, place.entity_class)
            for packed in files:
                text = packed[len(packed_folder) :].decode("utf-8", "surrogateescape")
                name, size, modified_at, etag, problem = text.split(_END, 4)
                if _ESCAPE in name:
                    name = _unescaped(name)
                yield InventoryRow(
                    norm,
                    place.legacy_entity_type,
                    place.raw_legacy_id,
                    name,
                    folder + name,
                    place.client,
                    size,
                    modified_at,
                    etag,
                    problem,
                )


def check_shrink(before: Mapping[str, int], now: Survey) -> None:
    """Stop where files have gone that the last inventory had, since that is rarely meant.

    Args:
        before: files by client in the last inventory; files that did not fit under "".
        now: the tree of today.

    Raises:
        NotStartedError: the tree, or a client's part of it, has less than half its files.
    """
    parts = [("the inventory", sum(before.values()), now.files)]
    for client, files in sorted(before.items()):
        if client:
            parts.append((f"client {client}", files, now.files_by_client.get(client, 0)))
    for what, files_before, files in parts:
        if 2 * files < files_before:
            raise NotStartedError(
                f"{what} shrank from {files_before:,} to {files:,} files. Check FILES_DIR; if this "
                "is meant, run again with --allow-shrink"
            )


def _pack(file: ListedFile) -> bytes:
    path, problem = file.path, file.problem
    if path.isprintable():
        path = path.replace("/", _SEPARATOR)
    else:
        problem = problem or _not_utf8(path)
        path = path.translate(_PACKING)
    text = f"{path}\0{file.size_bytes}\0{file.modified_at}\0{file.etag}\0{problem}"
    return text.encode("utf-8", "surrogateescape")


def _packed_folder(packed: bytes) -> bytes:
    """The folder with its closing separator; b"" for the root."""
    return packed[: packed.rfind(b"\x01", 0, packed.index(b"\0")) + 1]


def _components(packed_folder: bytes) -> list[str]:
    text = packed_folder.decode("utf-8", "surrogateescape")
    parts = text.split(_SEPARATOR)[:-1]
    return [_unescaped(part) for part in parts] if _ESCAPE in text else parts


def _unescaped(text: str) -> str:
    for char, escape in _ESCAPES.items():
        text = text.replace(escape, char)
    return text


def _not_utf8(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        return NOT_UTF8
    return ""

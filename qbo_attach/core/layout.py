"""How a file's folder says what it hangs on: the template LEGACY_LAYOUT.

A template is a path of placeholders and literal folder names, for instance
`Attach/{client}/{entity_type}/{legacy_id}/{file_name}`. `{file_name}` stands last; files may lie
in folders below the place that it names and still belong to their entity. `{entity_type}` stands
for a folder `Txn`, `List` or a type of the entity types table; a template without it has one such
name as a literal. Literals and types are compared without case.

The tree may begin inside the template's leading literals: FILES_DIR is `Attach` itself or its
parent. Which of them is decided once for a tree, by the number of files that fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qbo_attach.core.entity_types import EntityTypes
from qbo_attach.core.errors import SettingError
from qbo_attach.core.identifiers import canonical_legacy_id
from qbo_attach.core.naming import folded

DEFAULT_LAYOUT = "Attach/{client}/{entity_type}/{legacy_id}/{file_name}"

_SETTING = "LEGACY_LAYOUT"
_CLIENT, _TYPE, _ID, _NAME = "{client}", "{entity_type}", "{legacy_id}", "{file_name}"
_ALLOWED = (
    f"a path such as {DEFAULT_LAYOUT}: folder names and the placeholders {_CLIENT}, {_TYPE}, {_ID} "
    f"and {_NAME}, each a whole folder name; "
)


class Place(NamedTuple):
    """What a folder says: client, legacy type (`Txn`, `List`, or the folder's own name), raw id.

    `entity_class` is that of the type: `txn` or `list`.
    """

    client: str
    legacy_entity_type: str
    raw_legacy_id: str
    entity_class: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A parsed template: its text, its folders in order, and how many literals lead it."""

    template: str
    folders: tuple[str, ...]
    leading_literals: int
    type_literal: str
    types: EntityTypes

    @classmethod
    def parse(cls, template: str, types: EntityTypes) -> Layout:
        """Read a template.

        Raises:
            SettingError: it is no such template; says why.
        """
        parts = template.replace("\\", "/").strip("/").split("/")
        _check(template, parts)
        literals = [part for part in parts if "{" not in part]
        typed = [part for part in literals if types.legacy(part)]
        if _TYPE in parts:
            type_literal = ""
        elif len(typed) == 1:
            type_literal = typed[0]
        else:
            allowed = f"without {_TYPE}, one folder must be named Txn, List or as an entity type"
            raise SettingError(_SETTING, template, _ALLOWED + allowed)
        leading = 0
        while "{" not in parts[leading] and parts[leading] != type_literal:
            leading += 1
        return cls(template, tuple(parts[:-1]), leading, type_literal, types)

    def reading(self, skip: int) -> Reading:
        """The layout of a tree that begins after `skip` of the leading literals."""
        return Reading(self, skip)


class Reading:
    """A layout, ready to read the folders of a tree.

    Args:
        layout: the template.
        skip: how many of its leading literals lie above the tree.
    """

    def __init__(self, layout: Layout, skip: int) -> None:
        folders = layout.folders[skip:]
        self._depth = len(folders)
        self._client = folders.index(_CLIENT) if _CLIENT in folders else None
        self._id = folders.index(_ID)
        self._type = folders.index(_TYPE) if _TYPE in folders else None
        self._literals = [(i, f, folded(f)) for i, f in enumerate(folders) if "{" not in f]
        self._types = layout.types
        # Neighbours share their type: remember the last one.
        self._type_name = layout.type_literal
        self._legacy_type = layout.types.legacy(layout.type_literal)

    def place(self, folders: Sequence[str]) -> Place | None:
        """What a path's folders say; None if they do not fit.

        They do not if they are too few, differ in a literal, or have an empty client or id or an
        unknown type.
        """
        if len(folders) < self._depth:
            return None
        for index, literal, literal_folded in self._literals:
            if folders[index] != literal and folded(folders[index]) != literal_folded:
                return None
        if self._type is not None and folders[self._type] != self._type_name:
            self._type_name = folders[self._type]
            self._legacy_type = self._types.legacy(self._type_name)
        if self._legacy_type is None:
            return None
        client = "" if self._client is None else folders[self._client]
        raw_id = folders[self._id]
        if self._client is not None and not client.strip():
            return None
        # Only a name that begins oddly can be empty in its canonical spelling.
        if not raw_id[:1].isalnum() and not canonical_legacy_id(raw_id):
            return None
        name = self._legacy_type.name if self._legacy_type.generic else self._type_name
        return Place(client, name, raw_id, self._legacy_type.entity_class)


def _check(template: str, parts: list[str]) -> None:
    def refuse(why: str) -> SettingError:
        return SettingError(_SETTING, template, _ALLOWED + why)

    for part in parts:
        known = part in {_CLIENT, _TYPE, _ID, _NAME}
        if not part or (not known and ("{" in part or "}" in part)):
            raise refuse(f"{part!r} is neither a folder name nor a placeholder")
        if known and parts.count(part) > 1:
            raise refuse(f"{part} stands more than once")
    if parts[-1] != _NAME:
        raise refuse(f"{_NAME} must be the last")
    if _ID not in parts:
        raise refuse(f"{_ID} is missing")

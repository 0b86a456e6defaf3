"""What a folder joins: from a legacy type and a raw id to entities in QBO, or to a status.

The folder decides, not the file; so each decision is made once for all files of a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from qbo_attach.core.entity_types import CLASS_WORD, EntityTypes, LegacyType, type_key
from qbo_attach.core.errors import SettingError
from qbo_attach.core.identifiers import (
    LIST,
    TXN,
    IdRules,
    RuleScores,
    canonical_legacy_id,
    drop_prefix,
)
from qbo_attach.core.mapping import Mapped, MappingIndex
from qbo_attach.core.model import EntityRef, Status
from qbo_attach.core.overrides import Overrides

_OK = Status.OK.value
_TYPES_SETTING = "INCLUDE_ENTITY_TYPES"


class Decision(NamedTuple):
    """What the files of a folder get, unless a file's own name or size forbids.

    `status` is a value of Status, as text.
    """

    norm: str
    status: str
    reason: str
    qbo_entity_type: str = ""
    qbo_entity_id: str = ""
    match_rule: str = ""


_make_decision: Callable[[tuple[str, ...]], Decision] = partial(tuple.__new__, Decision)


class IncludedTypes:
    """INCLUDE_ENTITY_TYPES: names of Desktop or QBO types, `Txn` or `List`; none means all."""

    def __init__(self, names: Sequence[str], types: EntityTypes) -> None:
        """Resolve the names.

        Raises:
            SettingError: the table of entity types does not know a name.
        """
        self.keys: set[str] = set()
        self._classes: set[str] = set()
        for name in names:
            legacy = types.legacy(name)
            ref_type = types.entity_ref_type(name)
            if legacy is None and not types.knows_qbo(name):
                allowed = "each must be Txn, List or a name in the table of entity types"
                raise SettingError(_TYPES_SETTING, name, allowed)
            self.keys |= {type_key(name)} | ({type_key(ref_type)} if ref_type else set())
            if legacy is not None:
                self._classes.add(legacy.entity_class)
            elif ref_type:
                self._classes.add(types.class_of_ref(ref_type))

    def wants(self, folder: LegacyType, names: set[str]) -> bool:
        """Whether a folder is wanted.

        Args:
            folder: its type.
            names: keys of the types that the mapping gives it; empty where it gives none.
        """
        if not self.keys:
            return True
        generic = "TXN" if folder.entity_class == TXN else "LIST"
        if generic in self.keys or not self.keys.isdisjoint(folder.names | names):
            return True
        # A Txn or List folder that the mapping does not have could be of a wanted type.
        return folder.generic and not names and folder.entity_class in self._classes


class Joiner:
    """Decides for folders. Counts the prefix rules' hits on the way (`scores`)."""

    def __init__(
        self,
        mapping: MappingIndex,
        types: EntityTypes,
        id_rules: IdRules,
        overrides: Overrides,
        included: IncludedTypes,
    ) -> None:
        self._mapping = mapping
        self._types = types
        self._id_rules = id_rules
        self._overrides = overrides
        self._included = included
        self.scores = {c: RuleScores(c, id_rules.prefix(c)) for c in (TXN, LIST)}
        by_mapping_alone = not overrides and not included.keys
        self._plain = {c: by_mapping_alone and s.is_two_rules for c, s in self.scores.items()}
        # To ask for each folder whether the mapping has its id with the prefix, too, would cost as
        # much as to ask for the id.
        self._both = {c: mapping.with_and_without(s.prefix) for c, s in self.scores.items()}
        # Neighbours share their type: remember the last one, and what holds for its class.
        self._type_name = ""
        self._folder: LegacyType | None = None
        self._of_class = self.scores[TXN], self._plain[TXN], self._both[TXN]

    def norm(self, legacy_entity_type: str, raw_legacy_id: str) -> str:
        """The normalized id of a folder; "" if these are not a type and an id."""
        folder = self._types.legacy(legacy_entity_type)
        return self._id_rules.normalize(raw_legacy_id, folder.entity_class) if folder else ""

    def decide(self, legacy_entity_type: str, raw_legacy_id: str) -> Decision | None:
        """The decision for a folder, or None if these are not a type and an id."""
        if legacy_entity_type != self._type_name:
            self._type_name = legacy_entity_type
            self._folder = self._types.legacy(legacy_entity_type)
            one = self._folder.entity_class if self._folder else TXN
            self._of_class = self.scores[one], self._plain[one], self._both[one]
        folder = self._folder
        kept = canonical_legacy_id(raw_legacy_id)
        if folder is None or not kept:
            return None
        mapping = self._mapping
        scores, is_plain, both = self._of_class
        norm = drop_prefix(kept, scores.prefix)
        dropped = kept != norm
        if is_plain and not (dropped and norm in both):
            # The short way for nearly all folders.
            only = mapping.only(norm, folder)
            if only is not None:
                scores.count_met(raw_legacy_id, dropped=dropped)
                ref_type, qbo_id, match_rule = only
                return _make_decision((norm, _OK, "", ref_type, qbo_id, match_rule))
        rows = mapping.matching(norm, folder)
        rows_if_kept = mapping.matching(kept, folder) if dropped else []
        known = {kept: bool(rows_if_kept), norm: bool(rows)}
        scores.count(
            raw_legacy_id,
            kept,
            lambda i: known[i] if i in known else bool(mapping.matching(i, folder)),
        )
        override = self._overrides.of((kept, norm), folder)
        if override is not None:
            names = {type_key(ref.type) for ref in override.refs}
            if override.excludes or not self._included.wants(folder, names):
                reason = override.reason if override.excludes else _TYPES_SETTING
                return Decision(norm, Status.EXCLUDED.value, reason)
            return _joined(norm, override.refs, override.reason)
        names = set().union(
            *({type_key(r.ref_type or r.qbo_type), *r.names} for r in rows + rows_if_kept)
        )
        if not self._included.wants(folder, names):
            return Decision(norm, Status.EXCLUDED.value, _TYPES_SETTING)
        return self._from_mapping(folder, norm, kept, rows, rows_if_kept)

    def _from_mapping(
        self,
        folder: LegacyType,
        norm: str,
        kept: str,
        rows: list[Mapped],
        rows_if_kept: list[Mapped],
    ) -> Decision:
        if not rows:
            return self._unmapped(folder, norm, kept, rows_if_kept)
        entities = sorted({row.entity for row in rows})
        if rows_if_kept:
            other = " and ".join(sorted({row.entity for row in rows_if_kept}))
            reason = (
                f"the mapping has both {norm} ({' and '.join(entities)}) and {kept} ({other}); "
                "MAPPING_OVERRIDES can say which is meant"
            )
            return Decision(norm, Status.AMBIGUOUS_IDENTIFIER.value, reason)
        supported = [row for row in rows if row.ref_type]
        if not supported:
            return Decision(norm, Status.UNSUPPORTED_ENTITY_TYPE.value, _unsupported(rows, folder))
        if _contradict(rows):
            reason = f"the mapping has {norm} more than once: {' and '.join(entities)}"
            return Decision(norm, Status.DUPLICATE_MAPPING.value, reason)
        if len(entities) > 1:
            reason = (
                f"{norm} is {' and '.join(entities)} in the mapping; MAPPING_OVERRIDES can say "
                "which is meant, or both"
            )
            return Decision(norm, Status.AMBIGUOUS_MAPPING.value, reason)
        ref = EntityRef(supported[0].ref_type, supported[0].qbo_id)
        return _joined(norm, (ref,), "")._replace(match_rule=supported[0].match_rule)

    def _unmapped(
        self, folder: LegacyType, norm: str, kept: str, rows_if_kept: list[Mapped]
    ) -> Decision:
        word = CLASS_WORD[folder.entity_class] if folder.generic else folder.name
        if not folder.generic and not folder.entity_ref_type:
            reason = f"QBO has no entity for {folder.name} that an attachment could hang on"
            return Decision(norm, Status.UNSUPPORTED_ENTITY_TYPE.value, reason)
        reason = f"the mapping has no {word} {norm}"
        if rows_if_kept:
            reason += f", but {kept}, with its prefix ({rows_if_kept[0].entity})"
        elif others := self._mapping.of(norm):
            reason += f", but this id as {others[0].legacy_type} ({others[0].entity})"
        return Decision(norm, Status.MISSING_MAPPING.value, reason)


def _joined(norm: str, refs: tuple[EntityRef, ...], reason: str) -> Decision:
    types = ";".join(ref.type for ref in refs)
    return Decision(norm, Status.OK.value, reason, types, ";".join(ref.id for ref in refs))


def _unsupported(rows: list[Mapped], folder: LegacyType) -> str:
    names = " and ".join(sorted({row.qbo_type for row in rows}))
    return (
        f"an attachment cannot hang on {names}, which the mapping gives for this {folder.name}; "
        "ENTITY_TYPES_TABLE may say otherwise"
    )


def _contradict(rows: list[Mapped]) -> bool:
    """Whether rows of one legacy type, or of one type in QBO, name different entities."""
    entities_by_type: dict[str, set[str]] = {}
    for row in rows:
        entity_key = type_key(row.ref_type or row.qbo_type)
        entity = f"{entity_key} {row.qbo_id}"
        # For a row that says only Txn or List its type in QBO is the type.
        keys = {entity_key} if row.generic else {type_key(row.legacy_type), entity_key}
        for key in keys:
            entities_by_type.setdefault(key, set()).add(entity)
    return any(len(entities) > 1 for entities in entities_by_type.values())

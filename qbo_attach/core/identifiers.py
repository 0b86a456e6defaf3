"""Legacy ids: two steps, so that each side of the join is treated alike and nothing twice.

1. `canonical_legacy_id` undoes what typing and copying do to an id. It is idempotent and applies
   to folder names and mapping cells alike.
2. A prefix is dropped, once, from the name of a folder only (`LEGACY_ID_PREFIX` below a
   transaction type, `LEGACY_LIST_PREFIX` below a list type); never from a mapping cell nor from an
   id that lost it already.

Whether the prefix really heads the folders of this tree is not believed but measured:
`RuleScores` counts for each rule how many distinct folder names the mapping knows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from qbo_attach.core.errors import SettingError

TXN = "txn"
LIST = "list"
PREFIX_SETTING = {TXN: "LEGACY_ID_PREFIX", LIST: "LEGACY_LIST_PREFIX"}
DEFAULT_ID_PREFIX = "80"
NO_PREFIX = "none"
"""How a setting says that nothing is dropped, since an empty variable means its default."""


def canonical_legacy_id(text: str) -> str:
    """An id in its one spelling: NFKC, no white space or invisible characters, `-` for any dash.

    Letters become upper case. Idempotent.
    """
    if text.isascii():
        if text.replace("-", "").isalnum():
            return text.upper()
        return "".join(text.split()).upper()
    # Upper-casing can undo NFKC and the other way round: go on until nothing changes.
    while True:
        step = _canonical_step(text)
        if step == text:
            return step
        text = step


def _canonical_step(text: str) -> str:
    kept = []
    for char in unicodedata.normalize("NFKC", text).upper():
        category = unicodedata.category(char)
        if category == "Pd" or char == "\N{MINUS SIGN}":
            kept.append("-")
        elif category != "Cf" and not char.isspace():
            kept.append(char)
    return "".join(kept)


def normalize_legacy_id(raw: str, prefix: str = DEFAULT_ID_PREFIX) -> str:
    """Both steps, for the raw name of a folder: canonical, then the prefix dropped once.

    A name that is the prefix and nothing else keeps it: an empty id names nothing.
    """
    return drop_prefix(canonical_legacy_id(raw), prefix)


def drop_prefix(canonical: str, prefix: str) -> str:
    """The second step alone."""
    return canonical.removeprefix(prefix) or canonical


@dataclass(frozen=True, slots=True)
class IdRules:
    """The prefixes to drop from folder names, in canonical spelling; "" drops none."""

    txn_prefix: str = DEFAULT_ID_PREFIX
    list_prefix: str = ""

    @classmethod
    def of(cls, txn_prefix: str, list_prefix: str) -> IdRules:
        """The rules from the settings' values; `none` says no prefix."""
        prefixes = (canonical_legacy_id(p) for p in (txn_prefix, list_prefix))
        return cls(*("" if prefix == NO_PREFIX.upper() else prefix for prefix in prefixes))

    def prefix(self, entity_class: str) -> str:
        """The prefix for folders of this class (`txn`, `list`)."""
        return self.list_prefix if entity_class == LIST else self.txn_prefix

    def normalize(self, raw: str, entity_class: str) -> str:
        """`normalize_legacy_id` with the prefix of this class."""
        return normalize_legacy_id(raw, self.prefix(entity_class))


@dataclass(slots=True)
class RuleScores:
    """How well each prefix rule fits, over the distinct folder names of one class.

    The rules are: drop the prefix that is set, drop none, and drop `80` (transactions only).
    `hits` has, for each prefix, how many of the `ids` distinct names the mapping knows.
    """

    entity_class: str
    prefix: str
    hits: dict[str, int] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        rivals = ["", DEFAULT_ID_PREFIX] if self.entity_class == TXN else [""]
        self.hits = dict.fromkeys([self.prefix, *rivals], 0)

    def count(self, raw: str, canonical: str, is_known: Callable[[str], bool]) -> None:
        """Count a folder name, once however often it comes.

        Args:
            raw: the name.
            canonical: its canonical spelling.
            is_known: tells of an id whether the mapping has it, of the folder's type.
        """
        if raw in self._seen:
            return
        self._seen.add(raw)
        for prefix in self.hits:
            if is_known(drop_prefix(canonical, prefix)):
                self.hits[prefix] += 1

    def count_met(self, raw: str, *, dropped: bool) -> None:
        """Count a name that the mapping has under the rule that is set.

        Args:
            raw: the name.
            dropped: whether it has the prefix; then the mapping must lack it with the prefix.
        """
        if raw in self._seen:
            return
        self._seen.add(raw)
        self.hits[self.prefix] += 1
        if not dropped and self.prefix:
            self.hits[""] += 1

    @property
    def is_two_rules(self) -> bool:
        """Whether only the prefix and none are compared, as `count_met` needs it."""
        return set(self.hits) <= {self.prefix, ""}

    @property
    def ids(self) -> int:
        """How many distinct folder names were counted."""
        return len(self._seen)

    def sentence(self) -> str:
        """The scores, for the log."""
        rates = ", ".join(f"{_rule(p)} {self._rate(p)}" for p in self.hits)
        setting = f"{PREFIX_SETTING[self.entity_class]}={self.prefix or NO_PREFIX}"
        return f"{setting}; distinct {self.entity_class} ids that the mapping has: {rates}."

    def check(self) -> None:
        """Stop where another rule fits better than the one that is set.

        Raises:
            SettingError: names the setting, the scores and the better value.
        """
        best = max(self.hits, key=lambda p: (self.hits[p], p == self.prefix))
        if self.hits[best] > self.hits[self.prefix]:
            setting = PREFIX_SETTING[self.entity_class]
            raise SettingError(
                setting,
                self.prefix or NO_PREFIX,
                f"{self._rate(self.prefix)} of the distinct {self.entity_class} ids are in the "
                f"mapping under this rule, {self._rate(best)} with {_rule(best)}; "
                f"set {setting}={best or NO_PREFIX} and verify again",
            )

    def _rate(self, prefix: str) -> str:
        hits = self.hits[prefix]
        share = hits / self.ids if self.ids else 0.0
        return f"{share:.1%} ({hits} of {self.ids})"


def _rule(prefix: str) -> str:
    return f"{prefix} dropped" if prefix else "nothing dropped"

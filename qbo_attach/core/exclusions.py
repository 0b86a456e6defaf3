"""EXCLUDE_*: which files a person's configuration leaves out, and by which rule.

The rule's name stands as the reason of each row in mapping_verification_skips.csv: the name of the
setting, or `junk` for the files that systems leave behind, which need no setting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from qbo_attach.core.file_types import extension_of

JUNK_NAMES = ("Thumbs.db", "desktop.ini", ".DS_Store", "._*", "~$*")
JUNK = "junk"


def _pattern(names: Sequence[str]) -> re.Pattern[str] | None:
    """One pattern for all names; each translation is anchored at the end by itself."""
    if not names:
        return None
    return re.compile("|".join(translate(name) for name in names), re.IGNORECASE)


_JUNK = re.compile("|".join(translate(name) for name in JUNK_NAMES), re.IGNORECASE)

_JUNK_INITIALS = frozenset(c for n in JUNK_NAMES for c in (n[0].lower(), n[0].upper()))


class Exclusions:
    """The rules that need a file's name and size only.

    Args:
        names: fnmatch patterns for file names, compared without case.
        extensions: with or without the dot, in any case.
        smaller_than_bytes: files below it are out; 0 turns it off.
        larger_than_bytes: files above it are out; 0 turns it off.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        extensions: Sequence[str] = (),
        smaller_than_bytes: int = 0,
        larger_than_bytes: int = 0,
    ) -> None:
        self._names = _pattern(names)
        self._extensions = frozenset(ext.lower().lstrip(".") for ext in extensions)
        self._smaller_than_bytes = smaller_than_bytes
        self._larger_than_bytes = larger_than_bytes
        self._only_junk = not (names or extensions or smaller_than_bytes or larger_than_bytes)

    def surely_passes(self, file_name: str) -> bool:
        """The short way for nearly all names: True where no rule can meet this one."""
        return self._only_junk and file_name[:1] not in _JUNK_INITIALS

    def rule(self, file_name: str, size_bytes: int | None) -> str:
        """The rule that leaves this file out, or "". An unknown size (None) meets no rule."""
        if _JUNK.match(file_name):
            return JUNK
        if self._names and self._names.match(file_name):
            return "EXCLUDE_NAMES"
        if self._extensions and extension_of(file_name) in self._extensions:
            return "EXCLUDE_EXTENSIONS"
        if size_bytes is None:
            return ""
        if size_bytes < self._smaller_than_bytes:
            return "EXCLUDE_SMALLER_THAN_BYTES"
        if 0 < self._larger_than_bytes < size_bytes:
            return "EXCLUDE_LARGER_THAN_BYTES"
        return ""

"""Which clients of a tree belong to this run.

A client is the folder of one company file, and ids are unique only within one. Therefore several
clients for one realm are refused unless LEGACY_CLIENTS declares them one company file: by `*`, or
by their names; then all other clients are excluded, under the rule `LEGACY_CLIENTS`.
EXCLUDE_CLIENTS takes clients out before that. Names are compared by casefold(NFC).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qbo_attach.core.errors import SettingError
from qbo_attach.core.naming import folded

_NAMED_AT_MOST = 10


class ClientRules:
    """LEGACY_CLIENTS and EXCLUDE_CLIENTS, for look-ups."""

    def __init__(self, legacy_clients: Sequence[str], exclude_clients: Sequence[str]) -> None:
        self._setting = ",".join(legacy_clients)
        self._all = "*" in legacy_clients
        self._named = {folded(name): name for name in legacy_clients if name != "*"}
        self._excluded = frozenset(folded(name) for name in exclude_clients)

    def excluded_by(self, client: str) -> str:
        """The rule that excludes this client, or ""; a file without a client has none."""
        if not client:
            return ""
        name = folded(client)
        if name in self._excluded:
            return "EXCLUDE_CLIENTS"
        if self._named and not self._all and name not in self._named:
            return "LEGACY_CLIENTS"
        return ""

    def check(self, found: Iterable[str]) -> tuple[str, ...]:
        """Check the clients of a tree; sentences about names that it does not have.

        Raises:
            SettingError: several clients without leave, or none of the named ones.
        """
        names = sorted({name for name in found if name})
        kept = [name for name in names if not self.excluded_by(name)]
        if self._all:
            return ()
        if not self._named:
            if len(kept) > 1:
                raise SettingError(
                    "LEGACY_CLIENTS",
                    self._setting,
                    f"the tree has {len(kept)} clients ({_some(kept)}), and ids are unique only "
                    "within one; name those that are one company file, separated by commas, or "
                    "set * if all are",
                )
            return ()
        if names and not kept:
            raise SettingError(
                "LEGACY_CLIENTS", self._setting, f"none of these is in the tree: {_some(names)}"
            )
        here = {folded(name) for name in names}
        missing = [name for key, name in self._named.items() if key not in here]
        if not missing:
            return ()
        return (f"LEGACY_CLIENTS names clients that the tree does not have: {_some(missing)}.",)


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")

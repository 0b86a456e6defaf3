"""The attachments that are in QBO, by path and by idempotency key, wherever their rows are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from qbo_attach.core.chain import Done

State = tuple[str, str, int, str, str]
"""Entity type, entity id, size in bytes, modification time and etag, as `Done` has them."""


Sent = tuple[str, str, str, str]
"""Sent file name, idempotency key, sha256 and attachable id, as `Done` has them."""


class DoneRows(Protocol):
    """Rows of done attachments, one a key. Where several have one path, the last one counts."""

    def keys(self) -> int:
        """How many keys have a row."""

    def paths(self) -> int:
        """How many paths have a row."""

    def at_path(self, path: str) -> Done | None:
        """The attachment at this path."""

    def at_key(self, key: str) -> Done | None:
        """The attachment under this key."""

    def is_exactly(self, path: str, state: State) -> bool:
        """Whether the attachment at this path is in this state, to the letter."""

    def sent_exactly(self, path: str, state: State) -> Sent | None:
        """What the attachment at this path was sent as, if `is_exactly` holds."""

    def attachable_id(self, key: str) -> str:
        """The id of the attachable under this key; "" where there is none."""

    def keep(self, done: Done) -> None:
        """Take a row in the place of its key's and its path's."""

    def forget_key(self, key: str) -> None:
        """Nothing is under this key any more."""

    def forget_path(self, path: str) -> None:
        """Nothing is at this path any more."""

    def rows(self) -> Iterator[Done]:
        """The row of each key."""

    def lines(self) -> Iterator[Done | bytes]:
        """The row of each key for a snapshot, as it is or as a segment's line.

        The last one of a path comes after its others.
        """


class MemoryRows:
    """Rows in memory: for logs that are short, and for tests."""

    def __init__(self) -> None:
        self._by_path: dict[str, Done] = {}
        self._by_key: dict[str, Done] = {}

    def keys(self) -> int:
        """See DoneRows."""
        return len(self._by_key)

    def paths(self) -> int:
        """See DoneRows."""
        return len(self._by_path)

    def at_path(self, path: str) -> Done | None:
        """See DoneRows."""
        return self._by_path.get(path)

    def at_key(self, key: str) -> Done | None:
        """See DoneRows."""
        return self._by_key.get(key)

    def is_exactly(self, path: str, state: State) -> bool:
        """See DoneRows."""
        done = self._by_path.get(path)
        return done is not None and state == (
            done.qbo_entity_type,
            done.qbo_entity_id,
            done.size_bytes,
            done.modified_at,
            done.etag,
        )

    def sent_exactly(self, path: str, state: State) -> Sent | None:
        """See DoneRows."""
        done = self._by_path.get(path)
        if done is None or not self.is_exactly(path, state):
            return None
        return done.sent_file_name, done.key, done.sha256, done.attachable_id

    def attachable_id(self, key: str) -> str:
        """See DoneRows."""
        done = self._by_key.get(key)
        return "" if done is None else done.attachable_id

    def keep(self, done: Done) -> None:
        """See DoneRows."""
        self._by_path[done.path] = done
        self._by_key[done.key] = done

    def forget_key(self, key: str) -> None:
        """See DoneRows."""
        self._by_key.pop(key, None)

    def forget_path(self, path: str) -> None:
        """See DoneRows."""
        self._by_path.pop(path, None)

    def rows(self) -> Iterator[Done]:
        """See DoneRows."""
        return iter(self._by_key.values())

    def lines(self) -> Iterator[Done | bytes]:
        """See DoneRows."""
        yield from sorted(self._by_key.values(), key=lambda done: done.path)


class DoneView(Mapping[str, Done]):
    """Done rows as a mapping, by one of their two names."""

    def __init__(
        self,
        find: Callable[[str], Done | None],
        count: Callable[[], int],
        rows: Callable[[], Iterator[Done]],
        name: Callable[[Done], str],
    ) -> None:
        self._find = find
        self._count = count
        self._rows = rows
        self._name = name

    def __getitem__(self, name: str) -> Done:
        """The row of this name; KeyError if there is none."""
        done = self._find(name)
        if done is None:
            raise KeyError(name)
        return done

    def __contains__(self, name: object) -> bool:
        """Whether there is a row of this name."""
        return self._find(str(name)) is not None

    def __iter__(self) -> Iterator[str]:
        """The names; each once, if several rows have it."""
        for done in self._rows():
            name = self._name(done)
            if self._find(name) == done:
                yield name

    def __len__(self) -> int:
        """How many names there are."""
        return self._count()


def by_path(rows: DoneRows) -> Mapping[str, Done]:
    """Done rows by path."""
    return DoneView(rows.at_path, rows.paths, rows.rows, lambda done: done.path)


def by_key(rows: DoneRows) -> Mapping[str, Done]:
    """Done rows by idempotency key."""
    return DoneView(rows.at_key, rows.keys, rows.rows, lambda done: done.key)

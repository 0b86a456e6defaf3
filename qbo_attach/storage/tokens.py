"""Where OAuth tokens rest: one private file for all realms, and a lease beside it.

The lease is a chain of files, `<file>.lease.<number>`, each created once; who created the highest
number holds it, until `<file>.lease.<number>.end` is there or nothing has happened for
`LEASE_S`. Numbers are never used twice, so that two who find a lease abandoned cannot both win.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

from qbo_attach.core.credentials import Tokens, decode_realms, encode_realms
from qbo_attach.core.errors import StorageError
from qbo_attach.storage.files import Store, absolute_url
from qbo_attach.storage.urls import scheme_of, split

LEASE_S = 60.0
"""A lease that stands this long without an end is abandoned: a refresh takes seconds."""


class TokenFile:
    """The tokens of several realms in one file. Safe among processes and hosts.

    Within one process, tasks and threads take turns by a lock of their own. On a disk the file has
    mode 0600, and a folder that is made for it 0700; elsewhere it is as private as its bucket.

    Args:
        url: the file: a path or an fsspec URL.
        monotonic: tells seconds that only grow, to see whether a lease was abandoned.
        options: fsspec options.
    """

    def __init__(
        self,
        url: str,
        monotonic: Callable[[], float],
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.url = absolute_url(url)
        self._folder, self._name = split(self.url)
        self._store = Store(self._folder, options)
        self._monotonic = monotonic
        self._lease_name = re.compile(re.escape(self._name) + r"\.lease\.(\d{8})(\.end)?")
        self._held: int | None = None
        self._seen: tuple[int, float] | None = None
        self._lock = threading.Lock()

    def load(self, realm_id: str) -> Tokens | None:
        """The tokens saved last; None if there never were any for this realm.

        Raises:
            StorageError: the file cannot be read, or is none of ours.
        """
        return self._realms().get(realm_id)

    def save(self, realm_id: str, tokens: Tokens) -> None:
        """Put tokens into the file, in one step, durable when this returns.

        Raises:
            StorageError: the file cannot be written; the old one still stands.
            RuntimeError: the lease is not held.
        """
        if self._held is None:
            raise RuntimeError("tokens are saved only under the lease")
        realms = self._realms()
        realms[realm_id] = tokens
        with self._store.writing(self._name, private=True) as stream:
            stream.write(encode_realms(realms))

    def try_lease(self) -> bool:
        """Take the lease; False if another holds it. Ask again a little later.

        Raises:
            StorageError: the place cannot be written.
        """
        with self._lock:
            if self._held is not None:
                return False
            self._make_private_folder()
            newest, ended = self._newest()
            if newest and not ended and not self._abandoned(newest):
                return False
            holder = f"{socket.gethostname()} {os.getpid()} {uuid4().hex}".encode()
            if not self._store.create_once(self._lease(newest + 1), holder):
                return False
            self._held = newest + 1
            self._seen = None
            return True

    def release(self) -> None:
        """End our lease, and tidy up those before it."""
        with self._lock:
            number, self._held = self._held, None
        if number is None:
            return
        self._store.create_once(self._lease(number) + ".end", b"end\n")
        for name in self._store.list_names(""):
            found = self._lease_name.fullmatch(name)
            if found and int(found.group(1)) < number:
                self._store.remove(name)

    def _make_private_folder(self) -> None:
        """On a disk, before the store would make one that others may look into."""
        if scheme_of(self._folder):
            return
        try:
            Path(self._folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                self._folder, f"{error.strerror}; choose another place for QBO_TOKENS"
            ) from None

    def _realms(self) -> dict[str, Tokens]:
        if self._store.info(self._name) is None:
            return {}
        try:
            return decode_realms(self._store.read_bytes(self._name))
        except ValueError:
            raise StorageError(
                self.url, "is not a file of tokens; remove it, then run qbo-attach login"
            ) from None

    def _newest(self) -> tuple[int, bool]:
        """The highest lease number (0: none) and whether that lease has ended."""
        found = [self._lease_name.fullmatch(name) for name in self._store.list_names("")]
        leases = [(int(match.group(1)), bool(match.group(2))) for match in found if match]
        return max(leases, default=(0, True))

    def _abandoned(self, number: int) -> bool:
        """Whether a lease has been the newest, by our own clock, for the whole time it may last."""
        now = self._monotonic()
        if self._seen is None or self._seen[0] != number:
            self._seen = (number, now)
        return now - self._seen[1] >= LEASE_S

    def _lease(self, number: int) -> str:
        return f"{self._name}.lease.{number:08d}"

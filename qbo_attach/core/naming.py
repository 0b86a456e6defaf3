"""What an attachment is called in QBO, and the key that names its upload's effect."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from unicodedata import normalize

DIGEST_NAME_LENGTHS = (8, 16, 32, 64)
"""Hex digits of the digest in a digest name; the longer ones only where a shorter is taken."""


def folded(file_name: str) -> str:
    """A name as it is compared: equal but for case or Unicode form means equal."""
    if file_name.isascii():
        return file_name.lower()
    return normalize("NFC", normalize("NFC", file_name).casefold())


def idempotency_key(realm_id: str, types: str, ids: str, sent_file_name: str) -> str:
    """Names an upload's effect: sha256 of realm, entity type, entity id and sent file name.

    `types` and `ids` as in a table's cells, `Bill;Invoice` and `12;34` for several refs.
    """
    text = "\0".join((realm_id, types, ids, folded(sent_file_name)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_name(file_name: str, sha256: str, length: int = DIGEST_NAME_LENGTHS[0]) -> str:
    """`scan.pdf` as `scan (3f2a9c1b).pdf`, within QBO's 1,000 characters."""
    stem, dot, extension = file_name.rpartition(".")
    if not dot:
        stem, extension = file_name, ""
    mark = f" ({sha256[:length]})"
    room = 1_000 - len(mark) - len(dot) - len(extension)
    return f"{stem[:room]}{mark}{dot}{extension}"


def digest_names(file_name: str, sha256: str) -> Iterator[str]:
    """Digest names in the order they are tried: longer ones, then numbered ones, without end."""
    for length in DIGEST_NAME_LENGTHS:
        yield digest_name(file_name, sha256, length)
    number = 2
    while True:
        yield digest_name(file_name, f"{sha256}-{number}", len(sha256) + 1 + len(str(number)))
        number += 1


_MARK = re.compile(r" \(([0-9a-f]{8,}(?:-[0-9]+)?)\)(?:\.[^.]*)?\Z")


def digest_in_name(name: str, file_name: str) -> str:
    """What a digest name shows of the digest, 8 hex digits or more; "" if `name` is none.

    Args:
        name: as it is at QBO.
        file_name: the name that it may be the digest name of.
    """
    found = _MARK.search(folded(name))
    if found is None:
        return ""
    mark = found[1]
    return mark if folded(digest_name(file_name, mark, len(mark))) == folded(name) else ""

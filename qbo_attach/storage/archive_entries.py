"""What a zip archive's central directory says: entries as rows of a listing, and what is wrong."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone

from qbo_attach.core.model import ListedFile
from qbo_attach.storage.place import moment_text

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_OTHER_METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz", 98: "ppmd"}
_ENCRYPTED, _UTF8 = 0x1, 0x800
"""Flags of an entry; APPNOTE.TXT 4.4.4, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT"""
_DOS = frozenset({0, 10, 14})
"""Systems (APPNOTE.TXT 4.4.2: FAT, NTFS, VFAT) on which no name holds a backslash: in an entry
made there it parts folders, as .NET wrote it up to 4.6."""
_UNIX = frozenset({3, 19})
"""Systems (Unix, macOS) that give an entry the mode of its file."""
_LEADS_OUT = re.compile(r"[A-Za-z]:|[/\\]|(.*[/\\])?\.{1,2}([/\\]|$)", re.DOTALL)


class Directory:
    """What an archive's central directory says: each path's entry, and what is wrong with it."""

    def __init__(self, infos: Sequence[zipfile.ZipInfo], facts: ListedFile) -> None:
        self.facts = facts
        self.entries: dict[str, zipfile.ZipInfo] = {}
        self.twice: set[str] = set()
        for info in infos:
            path = _path(info)
            if path.endswith("/") and not info.file_size:
                continue  # a folder's own entry
            before = self.entries.setdefault(path, info)
            if (before.CRC, before.file_size) != (info.CRC, info.file_size):
                self.twice.add(path)

    def row(self, path: str, shown: str) -> ListedFile:
        """A member as a listing shows it, under the path `shown`."""
        info = self.entries[path]
        problem = (
            "stands in the archive more than once, with different contents; keep one"
            if path in self.twice
            else _problem(path, info)
        )
        etag = f"{info.CRC:08x}-{info.file_size}"
        return ListedFile(shown, info.file_size, _modified_at(info), etag, problem)


def _path(info: zipfile.ZipInfo) -> str:
    """An entry's path: UTF-8 where it says so or is so, else the code page of MS-DOS (cp437).

    (Older archivers of macOS and Linux write UTF-8 and do not say so; text in cp437 is hardly ever
    UTF-8 by chance.)
    """
    path = info.orig_filename if "\0" in info.orig_filename else info.filename
    if not info.flag_bits & _UTF8 and not path.isascii():
        with suppress(UnicodeError):
            path = path.encode("cp437").decode()
    if info.create_system in _DOS:
        path = path.replace("\\", "/")
    return path.removeprefix("./") or "(no name)"


def _problem(path: str, info: zipfile.ZipInfo) -> str:
    """Why a member is not read; "" for one that can be."""
    mode = info.external_attr >> 16 if info.create_system in _UNIX else 0
    if _LEADS_OUT.match(path):
        return "its path leads out of the archive; pack it under another"
    if path.endswith("/"):
        return "is a folder that holds bytes; pack it anew"
    if stat.S_ISLNK(mode):
        return "symbolic link, not followed; pack the file itself"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "not a regular file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted; unpack it with its password"
    if info.compress_type not in _METHODS:
        method = _OTHER_METHODS.get(info.compress_type, "unknown")
        return f"is compressed by method {info.compress_type} ({method}); pack it with deflate"
    if info.header_offset < 0:
        return "lies before the archive's beginning, which is cut off; copy the archive again"
    return ""


def _modified_at(info: zipfile.ZipInfo) -> str:
    try:
        return moment_text(datetime(*info.date_time, tzinfo=timezone.utc))
    except ValueError:  # an archiver that had no time
        return ""

"""Places as people write them, made absolute: plain paths, fsspec URLs, chains of URLs."""

from __future__ import annotations

import os
import re

from qbo_attach.core.errors import StorageError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(://|::)")
"""A scheme has two letters at least: one letter and a colon is a Windows drive."""
_DRIVE = re.compile(r"[A-Za-z]:([\\/]|$)")
_LOCAL = frozenset({"file", "local"})


def scheme_of(url: str) -> str:
    """The scheme of a URL, or of a chain's first link, in lower case; "" for a plain path."""
    match = _SCHEME.match(url)
    return match[1].lower() if match else ""


def absolute_url(url: str) -> str:
    """Resolve a place once, at the edge, so that it means the same in every process.

    A plain path (with `~`, relative, with a drive letter) and `file://` give a plain absolute
    path; any other scheme keeps its URL, with the scheme in lower case, `s3a` as `s3`, and no
    slash at the end. In a chain (`zip://inner::path`) the last link is resolved. Nothing is
    percent-decoded: fsspec does not either.

    Raises:
        StorageError: empty, no bucket in an S3 URL, or a Windows path on another system.
    """
    if not url.strip():
        raise StorageError("(empty)", "no place is given; name a folder or a URL")
    scheme = scheme_of(url)
    if not scheme:
        return _absolute_path(url)
    first, *rest = url.split("::")
    if rest:  # the links before the last may be bare schemes; the last one is a place
        rest[-1] = _resolved_link(rest[-1]) if "://" in rest[-1] else _absolute_path(rest[-1])
    return "::".join([_resolved_link(first) if "://" in first else first, *rest])


def is_absolute(url: str) -> bool:
    """Whether a place means the same in every working directory and for every user."""
    scheme = scheme_of(url)
    if scheme and "::" in url:
        return is_absolute(url.rsplit("::", 1)[1])
    if scheme in _LOCAL:
        url = url.split("://", 1)[1]
    elif scheme:
        return True
    return url.startswith(("/", "\\\\")) or bool(_DRIVE.match(url))


def join(url: str, path: str) -> str:
    """The URL of a path below a place; in a chain it belongs to the first link with a path."""
    links = url.split("::") if scheme_of(url) else [url]
    at = next((i for i, link in enumerate(links) if "://" in link), len(links) - 1)
    link = links[at]
    links[at] = f"{link}{path}" if link.endswith("/") else f"{link}/{path}"
    return "::".join(links)


def split(url: str) -> tuple[str, str]:
    """A file's URL as its folder's URL and its name: the reverse of `join` for one name."""
    links = url.split("::") if scheme_of(url) else [url]
    at = next((i for i, link in enumerate(links) if "://" in link), len(links) - 1)
    folder, slash, name = links[at].rpartition("/")
    if not slash or not name:
        raise StorageError(url, "names no file")
    links[at] = folder + slash if folder in {"", *_bare(folder)} else folder
    return "::".join(links), name


def archive_of(url: str) -> tuple[str, str] | None:
    """A place in a zip archive as the archive's URL and the folder in it; None for other places.

    `/data/Attach.zip` and `s3://bucket/Attach.zip` mean all of the archive, `zip://Attach::` before
    them that folder of it.

    Raises:
        StorageError: `zip://` without an archive behind it, or an archive in an archive.
    """
    scheme = scheme_of(url)
    first, *rest = url.split("::") if scheme else [url]
    if scheme != "zip":
        return (url, "") if not rest and url.lower().endswith(".zip") else None
    if not rest:
        raise StorageError(url, "names no archive; give its path or URL alone, /data/Attach.zip")
    outer = "::".join(rest)
    if scheme_of(outer) == "zip":
        raise StorageError(url, "is an archive in an archive; unpack the outer one")
    return outer, first.partition("://")[2]


def _bare(folder: str) -> set[str]:
    """A folder of only a scheme (`memory:/`) needs its slash back."""
    return {folder} if folder.endswith(":/") else set()


def _resolved_link(link: str) -> str:
    scheme, _, path = link.partition("://")
    scheme = scheme.lower()
    if scheme in _LOCAL:
        return _absolute_path(path)
    if scheme in {"s3", "s3a"}:
        scheme = "s3"
        if not path.strip("/"):
            raise StorageError(link, "names no bucket; write s3://bucket/folder")
    return f"{scheme}://{path.rstrip('/')}"


def _absolute_path(path: str) -> str:
    if os.name == "nt" and re.match(r"/[A-Za-z]:", path):
        path = path[1:]
    if os.name != "nt" and _DRIVE.match(path):
        raise StorageError(path, "is a Windows path, and this machine does not run Windows")
    absolute = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111  # pathlib keeps ".."
    return absolute.replace("\\", "/") if os.name == "nt" else absolute

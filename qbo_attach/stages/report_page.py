"""report.html and report.md: one page for people and auditors, and a short text for tickets.

Both are made from the same values. The page holds no script and loads nothing: its policy allows
its own style alone. Text that came from files, tables or QBO is escaped, and what could steer its
direction or hide in it is shown as an escape.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qbo_attach.core.model import Artifact
from qbo_attach.core.watching import duration
from qbo_attach.storage.files import Store

PAGE = "report.html"
TICKET = "report.md"

_STYLE = "report.css"
_CUT = 160
_MARKDOWN = re.compile(r"([\\`*\[\]<>#!|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_BEGINS_BLOCK = re.compile(r"^(\s*)([-=]|\d+\.)")


def visible(value: object) -> object:
    """Text whose control characters, direction marks and the like are shown, not obeyed."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)


def cut(text: str) -> str:
    """A long text without its middle."""
    return text if len(text) <= _CUT else f"{text[: _CUT // 2]} … {text[-_CUT // 2 :]}"


def breakable(word: str) -> Markup:
    """Text that may be broken after each `_`, so that tables fit a phone."""
    return Markup("_<wbr>").join(str(visible(word)).split("_"))


def address(name: str) -> str:
    """A file's name as a relative address; no scheme, host or query can be read into it."""
    return quote(name, errors="surrogateescape")


def size_text(size_bytes: int) -> str:
    """Bytes as people say them."""
    size, units = float(size_bytes), ["bytes", "KB", "MB", "GB", "TB"]
    while size >= 1_000 and len(units) > 1:  # noqa: PLR2004 - decimal units
        size /= 1_000
        units.pop(0)
    return f"{size:,.0f} {units[0]}" if units[0] == "bytes" else f"{size:,.1f} {units[0]}"


def plain_markdown(value: object) -> object:
    """Text as Markdown shows it letter by letter: no markup, link or HTML in it counts."""
    shown = visible(value)
    if not isinstance(shown, str):
        return shown
    return _BEGINS_BLOCK.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", shown))


@cache
def _pages() -> Environment:
    pages = Environment(
        loader=PackageLoader("qbo_attach.stages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
    )
    pages.filters.update(
        cut=cut, breakable=breakable, bytes=size_text, span=duration, address=address
    )
    return pages


@cache
def _tickets() -> Environment:
    return Environment(  # noqa: S701 - Markdown, escaped as such
        loader=PackageLoader("qbo_attach.stages"),
        undefined=StrictUndefined,
        finalize=plain_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render_page(context: Mapping[str, Any]) -> str:
    """The page, from what report_context.page_context made."""
    style = _pages().get_template(_STYLE).render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        _pages().get_template(PAGE).render(context, style=Markup(style), style_sha256=digest)  # noqa: S704 - ours
    )


def render_ticket(context: Mapping[str, Any]) -> str:
    """The text for tickets, from the same."""
    return _tickets().get_template(TICKET).render(context)


def write_page(log: Store, context: Mapping[str, Any]) -> tuple[Artifact, Artifact]:
    """Write report.html and report.md into LOG_DIR.

    Raises:
        StorageError: they cannot be written.
    """
    return (
        _write(log, PAGE, render_page(context)),
        _write(log, TICKET, render_ticket(context)),
    )


def _write(log: Store, name: str, text: str) -> Artifact:
    data = text.encode("utf-8", "backslashreplace")
    with log.writing(name) as stream:
        stream.write(data)
    return Artifact(name, log.child_url(name), hashlib.sha256(data).hexdigest(), 0)

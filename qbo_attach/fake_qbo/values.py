"""Requests and replies as values. What a reply does to its connection is part of the value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from qbo_attach.fake_qbo.vault import Content

JSON = dict[str, Any]

NEVER = float("inf")
"""As `delay_s`: the answer does not come while the connection stands."""


@dataclass(frozen=True, slots=True)
class Head:
    """All of a request but its body.

    `path` is percent-decoded, `query` as sent; header names are in lower case; `base_url` is what
    the client reached us by, such as `http://127.0.0.1:8080`. `xml` says that the answer goes out
    as XML; it is settled when the request is known whole.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    base_url: str = "http://fake-qbo"
    xml: bool = False

    def parameters(self) -> dict[str, str]:
        """The query's parameters; the last of equal names counts."""
        return _pairs(self.query)


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request, for `FakeCompany.handle`."""

    head: Head
    body: bytes = b""


@dataclass(slots=True)
class Reply:
    """An answer and how it travels.

    Either `payload` (a JSON object, written as JSON or XML as the client asked), `body`, or
    `content` (stored bytes, streamed) holds the body.

    Attributes:
        delay_s: wait so long before the first byte; NEVER: until the client goes.
        spread_s: send the body in pieces spread over this time.
        start: the first byte of `content` that is sent.
        cut: "" for none; `answer`: close the connection instead of answering; `body`: announce
            the whole body, send half of it, then close.
        fault: kind of the scripted fault that made this reply, for the log.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    payload: JSON | None = None
    body: bytes = b""
    content: Content | None = None
    start: int = 0
    delay_s: float = 0.0
    spread_s: float = 0.0
    cut: str = ""
    fault: str = ""


def form_pairs(body: bytes) -> dict[str, str]:
    """Fields of an application/x-www-form-urlencoded body."""
    return _pairs(body.decode("utf-8", "replace"))


def _pairs(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=1000))
    except ValueError:
        return {}

"""A fake company with a clock that is moved by hand, and how to ask it without a socket."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.options import REALM, Behaviour
from qbo_attach.fake_qbo.values import Head, Reply, Request

File = tuple[str, bytes, dict[str, Any]]
"""A name, the bytes, and what else the metadata says."""


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def ref(kind: str, value: str) -> dict[str, Any]:
    return {"AttachableRef": [{"EntityRef": {"type": kind, "value": value}}]}


def multipart(files: Iterable[File]) -> bytes:
    body = bytearray()
    for number, (name, data, more) in enumerate(files, 1):
        meta = json.dumps({"FileName": name, **more}).encode()
        for role, kind, content in (
            ("metadata", "application/json", meta),
            ("content", "application/pdf", data),
        ):
            body += (
                f'--B\r\nContent-Disposition: form-data; name="file_{role}_{number:02}"\r\n'
                f"Content-Type: {kind}\r\n\r\n"
            ).encode() + content + b"\r\n"  # fmt: skip
    return bytes(body + b"--B--\r\n")


class Asking:
    """A company in memory and its client, in one."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        switches = {k: options.pop(k) for k in list(options) if hasattr(Behaviour, k)}
        self.company = FakeCompany(
            clock=self.clock, behaviour=Behaviour().changed(switches), **options
        )

    def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        realm: str = REALM,
        headers: dict[str, str] | None = None,
        **parameters: str,
    ) -> Reply:
        full = path if path.startswith("/") else f"/v3/company/{realm}/{path}"
        sent = {"authorization": "Bearer t", "accept": "application/json", **(headers or {})}
        head = Head(method, full, urlencode(parameters), sent, "http://fake")
        return self.company.handle(Request(head, body))

    def upload(
        self,
        *files: File,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        **parameters: str,
    ) -> Reply:
        kind = {"content-type": "multipart/form-data; boundary=B", **(headers or {})}
        body = multipart(files) if raw is None else raw
        return self.call("POST", "upload", body, headers=kind, **parameters)

    def post(self, path: str, sent: object, **parameters: str) -> Reply:
        kind = {"content-type": "application/json"}
        return self.call("POST", path, json.dumps(sent).encode(), headers=kind, **parameters)

    def query(self, statement: str) -> dict[str, Any]:
        answer: dict[str, Any] = said(self.call("GET", "query", query=statement))
        assert "QueryResponse" in answer, answer
        found: dict[str, Any] = answer["QueryResponse"]
        return found

    def names(self, statement: str) -> list[str]:
        return [row["FileName"] for row in self.query(statement).get("Attachable", [])]

    def ledger(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.company.ledger()["attachables"]
        return rows


def said(reply: Reply) -> Any:
    return json.loads(reply.body)


def items(reply: Reply) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = said(reply)["AttachableResponse"]
    return found


def codes(reply: Reply) -> list[str]:
    """The fault code of each item, "" for an attachable."""
    return [i["Fault"]["Error"][0]["code"] if "Fault" in i else "" for i in items(reply)]


def code(reply: Reply) -> str:
    """The fault code of a whole answer."""
    answer = said(reply)
    if "Fault" in answer:
        return str(answer["Fault"]["Error"][0]["code"])
    return str(answer["fault"]["error"][0]["code"])

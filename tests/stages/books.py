"""What people and accidents do to the attachables of a fake company."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from qbo_attach.fake_qbo.ledger import Attachable
from tests.stages.case import Case


class Books:
    """The company's attachables, as somebody with a browser would spoil them."""

    def __init__(self, case: Case) -> None:
        self._company = case.fake.company
        self._realm = case.fake.realm
        there = [ref["EntityRef"] for ref in elsewhere()]
        self._free = iter(
            one
            for one in self._company.state.ledger.all()
            if len(one.refs) == 1 and [ref["EntityRef"] for ref in one.refs] != there
        )

    def one(self) -> Attachable:
        """An attachable that nothing was done to yet."""
        return next(self._free)

    def delete(self, one: Attachable) -> str:
        with self._company.lock:
            self._company.state.delete(one)
        return one.id

    def seed(self, name: str, data: bytes, refs: list[Any], **fields: Any) -> str:
        body = {"FileName": name, "AttachableRef": refs, **fields}
        body["content_base64"] = base64.b64encode(data).decode()
        with self._company.lock:
            return str(self._company.control.seed(body, self._realm)["Id"])

    def copy(self, one: Attachable, **fields: Any) -> str:
        data = b"".join(self._company.state.vault.read(one.sha256))
        return self.seed(one.fields["FileName"], data, one.refs, **fields)

    def change(self, one: Attachable, **how: Any) -> str:
        with self._company.lock:
            changed = replace(one, sync_token=one.sync_token + 1, **how)
            self._company.state.save(changed)
        return one.id

    def alter(self, one: Attachable, data: bytes) -> str:
        """Other bytes under the same record: no person can do it, a broken upload could."""
        spare = self.seed("spare.txt", data, one.refs)
        made = self._company.state.ledger.get(self._realm, spare)
        assert made is not None
        self.delete(made)
        return self.change(one, size=made.size, sha256=made.sha256)


def elsewhere() -> list[Any]:
    return [{"EntityRef": {"type": "Invoice", "value": "123"}}]

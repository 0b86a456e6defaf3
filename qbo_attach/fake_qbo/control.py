"""/_fake/...: what tests and people ask a fake company, and what they make it do."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

from qbo_attach.fake_qbo.answers import Refused
from qbo_attach.fake_qbo.faults import rules_from
from qbo_attach.fake_qbo.ledger import Attachable, as_ledger_row
from qbo_attach.fake_qbo.metadata import read_attachable
from qbo_attach.fake_qbo.values import JSON, Head, Reply
from qbo_attach.fake_qbo.vault import Content

if TYPE_CHECKING:
    from qbo_attach.fake_qbo.company import FakeCompany


class Control:
    """The endpoints below /_fake. They are neither counted nor limited, and need no token.

    - GET ledger[?realm=]
    - GET, POST, DELETE faults: the plan's rules, more of them, none
    - GET, POST settings: the switches of `Behaviour`
    - POST attachables: seed one as if a person had made it; DELETE attachables/{id}
    - GET attachables/{id}/bytes
    - GET, POST late: how many late commits are to come; let all come now
    - POST tokens: {"expire": "access"} or {"revoke": "refresh"}, "" for every kind
    """

    def __init__(self, company: FakeCompany) -> None:
        self._company = company

    def answer(self, head: Head, body: bytes) -> Reply:
        """Answer a control request; what is wrong with it is told in one sentence under 400."""
        words = head.path.split("/")[2:]
        try:
            return self._answered(head, words, body)
        except (ValueError, Refused) as error:
            return _json({"error": str(error)}, 400)

    def _answered(self, head: Head, words: list[str], body: bytes) -> Reply:
        method = head.method
        if words[0] == "attachables":
            return self._attachables(head, words[1:], body)
        if words == ["ledger"] and method == "GET":
            return _json(self._company.ledger(head.parameters().get("realm")))
        if words == ["tokens"] and method == "POST":
            return self._tokens(_object(body))
        switches = {"faults": self._faults, "settings": self._settings, "late": self._late}
        if len(words) == 1 and words[0] in switches:
            return switches[words[0]](method, body)
        return _json({"error": f"there is no {method} {head.path}"}, 404)

    def _faults(self, method: str, body: bytes) -> Reply:
        plan = self._company.plan
        if method == "POST":
            plan.add(rules_from(json.loads(body)))
        elif method == "DELETE":
            plan.clear()
        rules = [{name: getattr(rule, name) for name in rule.__slots__} for rule in plan.rules]
        return _json({"faults": rules, "fail_rate": plan.fail_rate, "struck": plan.counts})

    def _settings(self, method: str, body: bytes) -> Reply:
        state = self._company.state
        if method == "POST":
            state.behaviour = state.behaviour.changed(_object(body))
        return _json(state.behaviour.as_json())

    def _late(self, method: str, _body: bytes) -> Reply:
        state = self._company.state
        if method == "POST":
            return _json({"committed": state.settle(everything=True)})
        return _json({"pending": state.pending_count()})

    def _tokens(self, asked: JSON) -> Reply:
        oauth = self._company.oauth
        if "revoke" in asked:
            return _json({"ended": oauth.end(str(asked["revoke"]), revoke=True)})
        return _json({"ended": oauth.end(str(asked.get("expire", "access")))})

    def _attachables(self, head: Head, words: list[str], body: bytes) -> Reply:
        state = self._company.state
        state.settle()
        realm = head.parameters().get("realm", state.realms[0])
        if not words and head.method == "POST":
            return _json(self.seed(_object(body), realm))
        one = self._of_any_realm(words[0]) if words else None
        if one is None:
            return _json({"error": f"there is no attachable {'/'.join(words)}"}, 404)
        if head.method == "DELETE":
            state.delete(one)
            return _json(as_ledger_row(one))
        if words[1:] == ["bytes"] and one.size is not None:
            headers = {"Content-Type": "application/octet-stream"}
            return Reply(headers=headers, content=Content(one.size, one.sha256))
        return _json(as_ledger_row(one))

    def _of_any_realm(self, one_id: str) -> Attachable | None:
        state = self._company.state
        found = (state.ledger.get(realm, one_id) for realm in state.realms)
        return next((one for one in found if one is not None), None)

    def seed(self, sent: JSON, realm: str) -> JSON:
        """Make an attachable that no upload made.

        `sent` is an Attachable object with its bytes under `content_base64` or `text` (neither: a
        note without a file), and perhaps `created_at` in Unix seconds.

        Raises:
            Refused: the object would be refused from a client, too.
            ValueError: the bytes are not base64.
        """
        state = self._company.state
        judged = read_attachable(sent, state)
        data: bytes | None = None
        if "content_base64" in sent:
            data = base64.b64decode(str(sent["content_base64"]), validate=True)
        elif "text" in sent:
            data = str(sent["text"]).encode("utf-8")
        digest = ""
        if data is not None:
            digest = hashlib.sha256(data).hexdigest()
            state.vault.keep(Content(len(data), digest, data=data))
        at = float(sent.get("created_at", state.now()))
        one = Attachable(
            realm=realm,
            id=state.ledger.new_id(),
            fields=judged.fields,
            refs=judged.refs,
            size=None if data is None else len(data),
            sha256=digest,
            key=f"{state.random.getrandbits(128):032x}",
            created_at=at,
            updated_at=at,
        )
        state.save(one)
        return as_ledger_row(one)


def _object(body: bytes) -> JSON:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004  # a wrong value to us
    return found


def _json(payload: JSON, status: int = 200) -> Reply:
    text = json.dumps(payload, separators=(",", ":"))
    return Reply(status, {"Content-Type": "application/json"}, body=text.encode())

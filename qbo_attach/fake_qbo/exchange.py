"""One request on its way through the company: counted, limited, read, judged, answered."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from qbo_attach.fake_qbo import effects
from qbo_attach.fake_qbo.answers import (
    Refused,
    encode,
    forbidden,
    stamped,
    throttled,
    unauthorized,
    wants_xml,
)
from qbo_attach.fake_qbo.batches import run_batch
from qbo_attach.fake_qbo.encoding import EncodingError, Inflater
from qbo_attach.fake_qbo.faults import AFTER, BEFORE, Asked, Rule
from qbo_attach.fake_qbo.multipart import MultipartError, MultipartReader, Part, boundary_of
from qbo_attach.fake_qbo.service import Call, serve, serve_file
from qbo_attach.fake_qbo.uploads import Upload, digest_of, file_names, pairs_of
from qbo_attach.fake_qbo.values import Head, Reply

if TYPE_CHECKING:
    from qbo_attach.fake_qbo.company import FakeCompany

_MAX_BODY = 10 * 2**20
_CONTROL_MAX_BODY = 256 * 2**20
_MAX_REQUESTID = 50
_MAX_BATCH_REQUESTID = 36

_ENDPOINTS = {
    "/oauth2/v1/tokens/bearer": "token",
    "/v2/oauth2/tokens/revoke": "revoke",
    "/oauth2/v1/tokens/revoke": "revoke",
    "/connect/oauth2": "authorize",
    "/.well-known/openid_configuration": "discovery",
    "/.well-known/openid_sandbox_configuration": "discovery",
}
_RESOURCES = frozenset(
    {"upload", "attachable", "download", "query", "batch", "companyinfo", "preferences", "cdc"}
)
_WRITES = frozenset({"upload", "attachable", "batch"})


def route(path: str) -> tuple[str, str, str, str]:
    """Endpoint, realm, resource and id of a path; the realm is "" outside the API."""
    if path.startswith("/v3/company/"):
        words = path.split("/")
        resource = words[4].lower() if len(words) > 4 else ""  # noqa: PLR2004
        one_id = words[5] if len(words) > 5 else ""  # noqa: PLR2004
        endpoint = resource if resource in _RESOURCES else "entity"
        return endpoint, words[3], resource, one_id
    if path.startswith("/_fake/"):
        return "fake", "", "", ""
    if path.startswith("/intuit-qbo-files/"):
        return "file", "", "", ""
    return _ENDPOINTS.get(path.rstrip("/"), "unknown"), "", "", ""


class Exchange:
    """One request. Feed it the body, take the answer, close it."""

    def __init__(self, company: FakeCompany, head: Head) -> None:
        self.head = head
        self.endpoint, self.realm, self.resource, self.id = route(head.path)
        self._company = company
        self._state = company.state
        self._reader: MultipartReader | None = None
        self._parts: list[Part] = []
        self._keep_parts = False
        self._body = bytearray()
        self._inflater: Inflater | None = None
        self._received = 0
        self._length = 0
        self._problem: Refused | None = None
        self._admitted = False
        self._throttled = False
        self._cut: Rule | None = None
        self._asked = Asked(0, self.endpoint, 0, self.realm)
        if self.endpoint != "fake":
            self._count()
        self._settle_format(head.headers.get("content-type", ""))
        if self.endpoint == "upload" and not self._throttled:
            self._begin_form()
        self._begin_decoding(head.headers.get("content-encoding", "").strip().lower())

    def __enter__(self) -> Exchange:  # noqa: PYI034  # typing.Self needs Python 3.11
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def _count(self) -> None:
        state = self._state
        state.number += 1
        nth = state.requests.get(self.endpoint, 0) + 1
        state.requests[self.endpoint] = nth
        self._asked = Asked(state.number, self.endpoint, nth, self.realm)
        state.settle()
        self._cut = self._company.plan.at_body(self._asked)
        if self.realm:
            limits = self._company.limits_of(self.realm)
            behaviour = state.behaviour
            self._admitted = limits.admit(
                behaviour.limits,
                self.endpoint,
                state.now(),
                refusals_count=behaviour.refusals_count,
            )
            self._throttled = not self._admitted

    def _settle_format(self, sent: str) -> None:
        """Whether the answer goes out as XML, by what the client asked for and sent."""
        xml = wants_xml(self.head, sent, self._state.behaviour.unasked_format)
        self.head = replace(self.head, xml=xml)

    def _begin_decoding(self, coding: str) -> None:
        if coding in ("", "identity"):
            return
        try:
            self._inflater = Inflater(coding)
        except EncodingError as error:
            self._problem = self._problem or Refused("500", str(error))

    def _begin_form(self) -> None:
        headers = self.head.headers
        behaviour = self._state.behaviour
        length = headers.get("content-length", "")
        if self.head.method != "POST":
            self._problem = Refused("500", f"Operation {self.head.method} upload is not supported.")
        elif behaviour.require_content_length and not length:
            self._problem = Refused("6020", "The Content-Length header is missing")
        elif length.isdecimal() and int(length) > behaviour.max_request_bytes:
            self._problem = self._oversize()
        else:
            try:
                boundary = boundary_of(headers.get("content-type", ""))
            except MultipartError as error:
                self._problem = Refused("500", str(error))
            else:
                self._reader = MultipartReader(boundary, self._state.vault)

    def _oversize(self) -> Refused:
        behaviour = self._state.behaviour
        detail = f"The request is larger than {behaviour.max_request_bytes} bytes"
        return Refused("6030", detail, status=behaviour.oversize_status)

    def feed(self, data: bytes) -> bool:
        """Take a piece of the body. False: the connection is to be cut now, without an answer."""
        self._received += len(data)
        if self._cut is not None and self._received >= self._cut.after_bytes:
            return False
        if self._throttled or self._problem is not None:
            return True
        try:
            for piece in (data,) if self._inflater is None else self._inflater.pieces(data):
                if not self._took(piece):
                    break
        except EncodingError as error:
            self._problem = Refused("2010", str(error))
        return True

    def _took(self, piece: bytes) -> bool:
        """Take a decoded piece of the body; False: no more is wanted."""
        self._length += len(piece)
        if self.endpoint == "upload":
            self._feed_form(piece)
            return self._problem is None
        allowed = _CONTROL_MAX_BODY if self.endpoint == "fake" else _MAX_BODY
        if self._length > allowed:
            self._problem = Refused("2050", f"The body is larger than {allowed} bytes", status=413)
            return False
        self._body += piece
        return True

    def _feed_form(self, data: bytes) -> None:
        if self._length > self._state.behaviour.max_request_bytes:
            self._problem = self._oversize()
        elif self._reader is not None:
            try:
                self._reader.feed(data)
            except MultipartError as error:
                self._problem = Refused("2010", str(error))

    def answer(self) -> Reply:
        """The reply to the whole request; its effect happens here."""
        with self._company.lock:
            state = self._state
            reply = self._reply()
            if self.endpoint != "fake":
                if self.realm:
                    reply.delay_s += state.behaviour.latency_ms / 1000
                reply.delay_s += self._company.plan.latency_s(self._asked)
            return encode(reply, self.head, state.trace(), state.now())

    def close(self) -> None:
        """The answer is out, or the client is gone."""
        with self._company.lock:
            if self._reader is not None and not self._keep_parts:
                self._reader.discard()
            if self._admitted:
                self._admitted = False
                self._company.limits_of(self.realm).leave()

    def _reply(self) -> Reply:
        now = self._state.now()
        if self.endpoint == "fake":
            return self._company.control.answer(self.head, bytes(self._body))
        if self._throttled:
            behaviour = self._state.behaviour
            return throttled(now, form=behaviour.throttle_form, retry_after=behaviour.retry_after)
        if self.realm:
            problem = self._company.oauth.bearer_problem(self.head, self.realm)
            if problem == "realm" or (not problem and self.realm not in self._state.realms):
                return forbidden(now)
            if problem:
                return unauthorized(problem, now)
        self._finish_body()
        rule = self._company.plan.choose(self._asked)
        if rule is not None and rule.moment == BEFORE:
            return effects.before(rule, now)
        try:
            reply = self._served(rule)
        except Refused as refused:
            reply = self._refusal(refused)
        if rule is not None and (rule.moment == AFTER or rule.kind == "cut_during"):
            return effects.after(rule, reply, self.head, now)
        if rule is not None and not reply.fault:
            reply.fault = rule.kind
        return reply

    def _refusal(self, refused: Refused) -> Reply:
        state = self._state
        payload = stamped({"Fault": refused.fault}, state.now())
        requestid = self.head.parameters().get("requestid", "")
        of_the_id = refused.fault["Error"][0]["code"] in ("600", "2130")
        if state.behaviour.replay_refusals and self._writes() and requestid and not of_the_id:
            state.remember(self.realm, requestid, self._digest(), payload, refused.status)
        return Reply(refused.status, payload=payload)

    def _writes(self) -> bool:
        return self.endpoint in _WRITES and self.head.method == "POST"

    def _finish_body(self) -> None:
        # The Java SDK says gzip of a GET, too, which has no body.
        if self._inflater is not None and self._received and self._problem is None:
            try:
                self._inflater.finish()
            except EncodingError as error:
                self._problem = Refused("2010", str(error))
        if self._reader is None or self._problem is not None:
            return
        try:
            self._parts = self._reader.finish()
        except MultipartError as error:
            self._problem = Refused("2010", str(error))
            return
        metadata = (p.content_type for p in self._parts if "metadata" in p.name.lower())
        self._settle_format(next(metadata, ""))
        if any(rule.file_name for rule in self._company.plan.rules):
            asked = self._asked
            names = file_names(pairs_of(self._parts))
            self._asked = Asked(asked.number, asked.endpoint, asked.nth, asked.realm, names)

    def _served(self, rule: Rule | None) -> Reply:
        if self._problem is not None:
            raise self._problem
        if self.realm:
            return self._called(rule)
        oauth = self._company.oauth
        body = bytes(self._body)
        if self.endpoint == "token":
            return oauth.token(self.head, body)
        if self.endpoint == "revoke":
            return oauth.revoke(body)
        if self.endpoint == "authorize":
            return oauth.authorize(self.head)
        if self.endpoint == "discovery":
            return oauth.discovery(self.head)
        if self.endpoint == "file":
            return serve_file(self.head, self._state)
        return Reply(404, {"Content-Type": "text/html"}, body=b"<html><h1>Not Found</h1></html>")

    def _called(self, rule: Rule | None) -> Reply:
        """A call of the API, once for each requestid."""
        state = self._state
        requestid = self.head.parameters().get("requestid", "")
        if not self._writes() or not requestid:
            return self._executed(rule, requestid, "")
        longest = _MAX_BATCH_REQUESTID if self.endpoint == "batch" else _MAX_REQUESTID
        if len(requestid) > longest:
            raise Refused("2130", f"The request id has more than {longest} characters")
        digest = self._digest()
        known = state.remembered(self.realm, requestid)
        if known is not None:
            if state.behaviour.replay_body == "refuse" and known.digest != digest:
                raise Refused("600", "The request id was used with another body")
            return Reply(known.status, payload=known.payload())
        behaviour = state.behaviour
        if (
            behaviour.replay == "on"
            and behaviour.replay_pending == "600"
            and state.pending(self.realm, requestid)
        ):
            raise Refused("600", "A request with this id is still being worked on")
        return self._executed(rule, requestid, digest)

    def _digest(self) -> str:
        if self.endpoint == "upload":
            return digest_of(self._parts)
        return hashlib.sha256(self._body).hexdigest()

    def _executed(self, rule: Rule | None, requestid: str, digest: str) -> Reply:
        if self.endpoint == "upload":
            return self._uploaded(rule, requestid, digest)
        state = self._state
        number = self._asked.number
        body = bytes(self._body)
        call = Call(self.realm, self.resource, self.id, self.head, body, requestid, number)
        batch = self.endpoint == "batch"

        def commit(_at: float) -> Reply:
            reply = run_batch(call, state, rule) if batch else serve(call, state)
            # One that died on the way has left no answer behind.
            died = rule is not None and rule.kind == "cut_during"
            if digest and reply.payload is not None and not died:
                state.remember(self.realm, requestid, digest, reply.payload)
            return reply

        if rule is not None and rule.kind == "late_commit" and self.head.method == "POST":
            return self._postponed(rule, requestid, commit)
        return commit(state.now())

    def _uploaded(self, rule: Rule | None, requestid: str, digest: str) -> Reply:
        state = self._state
        pairs = pairs_of(self._parts)[: state.behaviour.max_files or None]
        if not pairs:
            raise Refused("6041", "The request has no part named file_content_...")
        number = self._asked.number
        upload = Upload(self.realm, requestid, number, self.head.base_url, digest, pairs)
        items = upload.items(state, rule)
        refused = next((i.refused for i in items if i.refused is not None), None)
        none_made = all(item.refused is not None for item in items)
        if refused is not None and none_made and state.behaviour.upload_faults == "http":
            return Reply(400, payload=stamped({"Fault": refused}, state.now()))

        def commit(at: float) -> Reply:
            return Reply(payload=upload.commit(items, state, at))

        if rule is not None and rule.kind == "late_commit":
            return self._postponed(rule, requestid, commit)
        if rule is not None and rule.kind == "cut_during":
            applied = rule.item or len(items) // 2
            # It died on the way: the company does not know that it answered this request.
            upload.remembers = False
            return Reply(payload=upload.commit(items[:applied], state, state.now()))
        return commit(state.now())

    def _postponed(self, rule: Rule, requestid: str, commit: Callable[[float], object]) -> Reply:
        """Let the effect come later, and answer as the rule says."""
        state = self._state
        self._keep_parts = True

        def come(at: float) -> None:
            with contextlib.suppress(Refused):
                commit(at)
            if self._reader is not None:
                self._reader.discard()

        state.later(state.now() + rule.seconds, self.realm, requestid, come)
        return effects.late(rule, state.now())

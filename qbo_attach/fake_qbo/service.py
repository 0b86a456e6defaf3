"""The endpoints below /v3/company/{realm} other than /upload and /batch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from qbo_attach.fake_qbo.answers import Refused, stamped
from qbo_attach.fake_qbo.entities import QUERYABLE, api_type
from qbo_attach.fake_qbo.ledger import Attachable
from qbo_attach.fake_qbo.metadata import read_attachable, read_object
from qbo_attach.fake_qbo.queries import (
    changed_since,
    company_info,
    preferences,
    run_query,
    show,
)
from qbo_attach.fake_qbo.state import ADDRESS_VALID_S, State
from qbo_attach.fake_qbo.values import JSON, Head, Reply
from qbo_attach.fake_qbo.vault import Content

_RANGE = re.compile(r"bytes=(\d{1,18})-")
_INACTIVE = (
    "Object Not Found : Something you're trying to use has been made inactive. "
    "Check the fields with accounts, customers, items, vendors or employees."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a realm: the words of its path after the realm, its parameters, its body."""

    realm: str
    resource: str
    id: str
    head: Head
    body: bytes
    requestid: str
    number: int

    def parameter(self, name: str) -> str:
        """A query parameter; node-quickbooks writes a second `?` where `&` belongs."""
        return self.head.parameters().get(name, "").split("?", 1)[0]


def serve(call: Call, state: State) -> Reply:
    """Answer a call.

    Raises:
        Refused: with the fault to answer.
    """
    handler = _HANDLERS.get((call.head.method, call.resource))
    if handler is not None:
        return handler(call, state)
    if call.head.method == "GET" and call.id:
        return _read_entity(call, state)
    if any(resource == call.resource for _, resource in _HANDLERS) or call.head.method != "GET":
        raise Refused("500", f"Operation {call.head.method} {call.resource} is not supported.")
    return Reply(404, {"Content-Type": "text/html"}, body=b"<html><h1>Not Found</h1></html>")


def _answer(payload: JSON, state: State) -> Reply:
    return Reply(payload=stamped(payload, state.now()))


# Attachables.


def _found(state: State, realm: str, one_id: str) -> Attachable:
    if not one_id.isdigit():
        raise Refused("2030", f"Invalid ID: {one_id}", "Id")
    one = state.ledger.get(realm, one_id)
    if one is None:
        raise Refused("610", _INACTIVE)
    return one


def _read_attachable(call: Call, state: State) -> Reply:
    one = _found(state, call.realm, call.id)
    return _answer({"Attachable": show(one, state, call.head.base_url)}, state)


def _write_attachable(call: Call, state: State) -> Reply:
    sent = read_object(call.body, call.head.headers.get("content-type", ""), "2010")
    operation = call.parameter("operation")
    payload = write_attachable(call, sent, operation, state)
    return _answer(payload, state)


def write_attachable(call: Call, sent: JSON, operation: str, state: State) -> JSON:
    """Create, update in full, or delete; gives `{"Attachable": ...}`."""
    inner = sent.get("Attachable")
    body: JSON = inner if isinstance(inner, dict) else sent
    if operation == "delete":
        return {"Attachable": _delete(call.realm, body, state)}
    judged = read_attachable(body, state)
    if judged.id:
        old = _found(state, call.realm, judged.id)
        if not judged.sync_token:
            raise Refused("2020", "Required parameter SyncToken is missing in the request")
        if judged.sync_token != str(old.sync_token):
            raise Refused("5010", _stale())
        # A full update: a writable field that was left out is cleared, FileName too.
        one = replace(
            old,
            fields=judged.fields,
            refs=judged.refs,
            sync_token=old.sync_token + 1,
            updated_at=state.now(),
        )
    else:
        if not judged.fields.get("Note") and not judged.fields.get("FileName"):
            raise Refused("2020", "Required parameter Note or FileName is missing in the request")
        one = _made(call, judged.fields, judged.refs, state)
    state.save(one)
    return {"Attachable": show(one, state, call.head.base_url)}


def _made(call: Call, fields: dict[str, str], refs: list[JSON], state: State) -> Attachable:
    now = state.now()
    return Attachable(
        realm=call.realm,
        id=state.ledger.new_id(),
        fields=fields,
        refs=refs,
        size=None,
        sha256="",
        key="",
        created_at=now,
        updated_at=now,
        requestid=call.requestid,
        request=call.number,
        visible_at=now + state.behaviour.query_lag_s,
    )


def _stale() -> str:
    return (
        "Stale Object Error : You and another user were working on this at the same time. "
        "The other user finished before you did, so your work was not saved."
    )


def _delete(realm: str, sent: JSON, state: State) -> JSON:
    """An id alone is enough; a SyncToken, if it is sent, must be the attachable's."""
    one = _found(state, realm, str(sent.get("Id") or ""))
    if sent.get("SyncToken") not in (None, "", str(one.sync_token)):
        raise Refused("5010", _stale())
    state.delete(one)
    return {"domain": "QBO", "status": "Deleted", "Id": one.id}


def _download(call: Call, state: State) -> Reply:
    one = _found(state, call.realm, call.id)
    if one.size is None:
        raise Refused("610", "Object Not Found : the attachable has no file")
    address = state.download_address(one, call.head.base_url)
    return Reply(headers={"Content-Type": "text/plain;charset=utf-8"}, body=address.encode())


def serve_file(head: Head, state: State) -> Reply:
    """GET of a download address: the bytes, without a bearer token, for as long as it is good.

    The store behind it answers errors in XML of its own, and takes no second way of proving who
    asks.
    """
    if "authorization" in head.headers:
        return _store_error(400, "InvalidArgument", "Only one auth mechanism allowed")
    signed = head.parameters()
    date = signed.get("X-Amz-Date", "")
    words = head.path.split("/", 5)
    one = state.ledger.get(words[2], words[4]) if len(words) > 5 else None  # noqa: PLR2004
    good = date.isdecimal() and signed.get("X-Amz-Signature") == state.signature(
        head.path, int(date)
    )
    if not good:
        return _store_error(403, "SignatureDoesNotMatch", "The signature does not match")
    if state.now() >= int(date) + ADDRESS_VALID_S:
        return _store_error(403, "AccessDenied", "Request has expired")
    if one is None or one.size is None:
        return _store_error(404, "NoSuchKey", "The specified key does not exist.")
    kind = one.fields.get("ContentType", "application/octet-stream")
    etag = f'"{one.sha256[:32]}"'
    headers = {"Content-Type": _header_text(kind), "ETag": etag, "Accept-Ranges": "bytes"}
    content = Content(one.size, one.sha256)
    asked = _RANGE.fullmatch(head.headers.get("range", ""))
    if asked is None:
        return Reply(headers=headers, content=content)
    start = int(asked[1])
    if start >= one.size:
        return _store_error(416, "InvalidRange", "The requested range is not satisfiable")
    headers["Content-Range"] = f"bytes {start}-{one.size - 1}/{one.size}"
    return Reply(206, headers, content=content, start=start)


def _store_error(status: int, code: str, message: str) -> Reply:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
    return Reply(status, {"Content-Type": "application/xml"}, body=text.encode())


def _header_text(text: str) -> str:
    return "".join(c for c in text if " " <= c <= "~") or "application/octet-stream"


# Queries.


def _run_query(call: Call, state: State) -> Reply:
    statement = call.parameter("query") if call.head.method == "GET" else _statement(call)
    return _answer(run_query(statement, call.realm, call.head.base_url, state), state)


def _statement(call: Call) -> str:
    text = call.body.decode("utf-8", "replace")
    if "x-www-form-urlencoded" in call.head.headers.get("content-type", ""):
        return parse_qs(text).get("query", [text])[0]
    return text or call.parameter("query")


# The company.


def _read_company(call: Call, state: State) -> Reply:
    return _answer({"CompanyInfo": company_info(call.realm, state.behaviour.company_name)}, state)


def _read_preferences(_call: Call, state: State) -> Reply:
    return _answer({"Preferences": preferences(state.behaviour.book_close_date)}, state)


def _read_entity(call: Call, state: State) -> Reply:
    kind = api_type(call.resource)
    if kind not in QUERYABLE:
        return Reply(404, {"Content-Type": "text/html"}, body=b"<html><h1>Not Found</h1></html>")
    if not state.entities.exists(kind, call.id):
        raise Refused("610", _INACTIVE)
    return _answer({kind: state.entities.record(kind, call.id)}, state)


def _read_changes(call: Call, state: State) -> Reply:
    since = call.parameter("changedSince")
    answers: list[JSON] = [
        changed_since(since, call.realm, call.head.base_url, state)
        if name.strip() == "Attachable"
        else {}
        for name in call.parameter("entities").split(",")
    ]
    return _answer({"CDCResponse": [{"QueryResponse": answers}]}, state)


Handler = Callable[[Call, State], Reply]
_HANDLERS: dict[tuple[str, str], Handler] = {
    ("GET", "attachable"): _read_attachable,
    ("POST", "attachable"): _write_attachable,
    ("GET", "download"): _download,
    ("GET", "attachable-thumbnail"): _download,
    ("GET", "query"): _run_query,
    ("POST", "query"): _run_query,
    ("GET", "companyinfo"): _read_company,
    ("GET", "preferences"): _read_preferences,
    ("GET", "cdc"): _read_changes,
}

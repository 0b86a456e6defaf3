"""The endpoints below /v3/company/{realm} other than /upload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from qbo_attach.fake_qbo import query as q
from qbo_attach.fake_qbo.answers import MESSAGES, Refused, fault, offset_time, stamped
from qbo_attach.fake_qbo.entities import QUERYABLE, api_type
from qbo_attach.fake_qbo.entities import as_entity as plain_entity
from qbo_attach.fake_qbo.ledger import Attachable, as_entity
from qbo_attach.fake_qbo.metadata import read_attachable, read_object
from qbo_attach.fake_qbo.state import ADDRESS_VALID_S, State
from qbo_attach.fake_qbo.values import JSON, Head, Reply
from qbo_attach.fake_qbo.vault import Content

_MAX_BATCH = 30
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


def show(one: Attachable, state: State, base_url: str) -> JSON:
    """An attachable with a download address signed just now."""
    address = state.download_address(one, base_url) if one.size is not None else ""
    return as_entity(one, address)


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
        return {"Attachable": _delete(call.realm, str(body.get("Id") or ""), state)}
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


def _delete(realm: str, one_id: str, state: State) -> JSON:
    one = _found(state, realm, one_id)
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
    asked = head.parameters()
    date = asked.get("X-Amz-Date", "")
    words = head.path.split("/", 5)
    one = state.ledger.get(words[2], words[4]) if len(words) > 5 else None  # noqa: PLR2004
    good = date.isdecimal() and asked.get("X-Amz-Signature") == state.signature(head.path, int(date))
    if not good:
        return _store_error(403, "SignatureDoesNotMatch", "The signature does not match")
    if state.now() >= int(date) + ADDRESS_VALID_S:
        return _store_error(403, "AccessDenied", "Request has expired")
    if one is None or one.size is None:
        return _store_error(404, "NoSuchKey", "The specified key does not exist.")
    kind = one.fields.get("ContentType", "application/octet-stream")
    headers = {"Content-Type": _header_text(kind), "ETag": f'"{one.sha256[:32]}"'}
    return Reply(headers=headers, content=Content(one.size, one.sha256))


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
    return _answer(run_query(statement, call, state), state)


def _statement(call: Call) -> str:
    text = call.body.decode("utf-8", "replace")
    if "x-www-form-urlencoded" in call.head.headers.get("content-type", ""):
        return parse_qs(text).get("query", [text])[0]
    return text or call.parameter("query")


def run_query(statement: str, call: Call, state: State) -> JSON:
    """The `QueryResponse` of a statement.

    Raises:
        Refused: 4000 or 4001.
    """
    try:
        query = q.parse(statement)
        return _run(query, call, state)
    except q.QueryError as error:
        raise Refused(error.code, error.detail) from error


def _run(query: q.Query, call: Call, state: State) -> JSON:
    name = query.entity
    if name.lower() == "attachable":
        query.where = [_with_types(condition) for condition in query.where]
        rows = q.select(query, _candidates(query, call.realm, state), _ATTACHABLE)
        return q.answer(query, rows, lambda one: show(one, state, call.head.base_url), "Attachable")
    if name == "QbdtEntityIdMapping" and state.behaviour.qbdt != "absent":
        return _run_mapping(query, state)
    if name in ("CompanyInfo", "Preferences"):
        entity = company_info(call.realm) if name == "CompanyInfo" else preferences()
        return q.answer(query, q.select(query, [entity], _PLAIN), lambda one: one, name)
    if name in QUERYABLE:
        rows = q.select(query, _entity_rows(query, state), _PLAIN)
        return q.answer(query, rows, lambda one: one, name)
    raise q.QueryError("4001", f"QueryValidationError: invalid context declaration: {name}")


def _with_types(condition: q.Condition) -> q.Condition:
    """Types of entities are compared without case: Intuit's sample asks for `purchase`."""
    if condition.name.casefold() != "attachableref.entityref.type":
        return condition
    return replace(condition, values=tuple(api_type(value) for value in condition.values))


def _candidates(query: q.Query, realm: str, state: State) -> list[Attachable]:
    """Attachables that may match, by an index where the query allows one."""
    ids = query.equal_values("Id")
    tags = query.equal_values("Tag")
    kinds = query.equal_values("AttachableRef.EntityRef.Type")
    values = query.equal_values("AttachableRef.EntityRef.value")
    if ids is not None:
        found = [state.ledger.get(realm, one_id) for one_id in dict.fromkeys(ids)]
        rows = [one for one in found if one is not None]
    elif tags is not None:
        rows = state.ledger.with_tag(realm, tags)
    elif values is not None:
        # Type and value must hold for one and the same ref: the index says so.
        rows = state.ledger.with_ref(realm, kinds or list(state.behaviour.attachable_types), values)
    else:
        rows = state.ledger.all(realm)
    if state.behaviour.query_lag_s:
        now = state.now()
        rows = [one for one in rows if one.visible_at <= now]
    return rows


def _text_field(name: str) -> q.Getter:
    return lambda one: (one.fields.get(name, ""),)


def _of_refs(get: Callable[[JSON], object]) -> q.Getter:
    return lambda one: [get(ref) for ref in one.refs] or [""]


_ATTACHABLE: dict[str, q.Getter] = {
    **{
        name.lower(): _text_field(name)
        for name in ("FileName", "Note", "Tag", "ContentType", "Category")
    },
    **{name.lower(): _text_field(name) for name in ("PlaceName", "Lat", "Long")},
    "id": lambda one: (one.id,),
    "size": lambda one: (one.size or 0,),
    "metadata.createtime": lambda one: (offset_time(one.created_at),),
    "metadata.lastupdatedtime": lambda one: (offset_time(one.updated_at),),
    "attachableref.entityref.value": _of_refs(lambda r: r.get("EntityRef", {}).get("value", "")),
    "attachableref.entityref.type": _of_refs(lambda r: r.get("EntityRef", {}).get("type", "")),
    "attachableref.includeonsend": _of_refs(lambda r: r.get("IncludeOnSend", False)),
    "attachableref.inactive": _of_refs(lambda r: r.get("Inactive", False)),
    "attachableref.norefonly": _of_refs(lambda r: r.get("NoRefOnly", False)),
}


def _plain(name: str) -> q.Getter:
    def get(entity: JSON) -> list[object]:
        found: object = entity
        for word in name.split("."):
            inner = {k.lower(): v for k, v in found.items()} if isinstance(found, dict) else {}
            found = inner.get(word, "")
        return [found]

    return get


_PLAIN: dict[str, q.Getter] = {
    name: _plain(name)
    for name in (
        *("id", "docnumber", "displayname", "name", "txndate", "totalamt", "active", "companyname"),
        *("metadata.createtime", "metadata.lastupdatedtime"),
    )
}


def _entity_rows(query: q.Query, state: State) -> list[JSON]:
    ids = state.entities.ids(query.entity)
    if ids is None:
        ids = query.equal_values("Id") or []
    return [plain_entity(query.entity, one) for one in ids]


def _run_mapping(query: q.Query, state: State) -> JSON:
    if state.behaviour.qbdt_needs_type and query.equal_values("QbdtEntityType") is None:
        detail = "QueryValidationError: qbdtEntityType is required for QbdtEntityIdMapping"
        raise q.QueryError("4001", detail)
    mapped = state.entities.mapped if state.behaviour.qbdt == "on" else []
    rows = q.select(query, mapped, _MAPPING)
    names = ("QboEntityId", "QbdtExportableId", "QboEntityType", "QbdtEntityType")
    if state.behaviour.qbdt_casing == "camel":
        names = ("qboEntityId", "qbdtExportableId", "qboEntityType", "qbdtEntityType")
    return q.answer(
        query, rows, lambda row: dict(zip(names, row, strict=True)), "QbdtEntityIdMapping"
    )


def _column(index: int) -> q.Getter:
    return lambda row: (row[index],)


_MAPPING = {
    name: _column(index)
    for index, name in enumerate(
        ("qboentityid", "qbdtexportableid", "qboentitytype", "qbdtentitytype")
    )
}


# The company.


def company_info(realm: str) -> JSON:
    """CompanyInfo of a realm."""
    return {
        "CompanyName": f"Fake Company {realm}",
        "LegalName": f"Fake Company {realm}",
        "CompanyStartDate": "2015-06-05",
        "FiscalYearStartMonth": "January",
        "Country": "US",
        "SupportedLanguages": "en",
        "domain": "QBO",
        "sparse": False,
        "Id": "1",
        "SyncToken": "4",
        "MetaData": {
            "CreateTime": "2015-06-05T13:55:54-07:00",
            "LastUpdatedTime": "2020-01-02T03:04:05-07:00",
        },
    }


def preferences() -> JSON:
    """A company's preferences, those that matter to documents."""
    return {
        "OtherPrefs": {"NameValue": [{"Name": "SalesFormsPrefs.DefaultItem", "Value": "1"}]},
        "CurrencyPrefs": {"MultiCurrencyEnabled": False, "HomeCurrency": {"value": "USD"}},
        "domain": "QBO",
        "sparse": False,
        "Id": "1",
        "SyncToken": "1",
        "MetaData": {
            "CreateTime": "2015-06-05T13:55:54-07:00",
            "LastUpdatedTime": "2020-01-02T03:04:05-07:00",
        },
    }


def _read_company(call: Call, state: State) -> Reply:
    return _answer({"CompanyInfo": company_info(call.realm)}, state)


def _read_preferences(_call: Call, state: State) -> Reply:
    return _answer({"Preferences": preferences()}, state)


def _read_entity(call: Call, state: State) -> Reply:
    kind = api_type(call.resource)
    if kind not in QUERYABLE:
        return Reply(404, {"Content-Type": "text/html"}, body=b"<html><h1>Not Found</h1></html>")
    if not state.entities.exists(kind, call.id):
        raise Refused("610", _INACTIVE)
    return _answer({kind: plain_entity(kind, call.id)}, state)


def _read_changes(call: Call, state: State) -> Reply:
    since = q.Condition("metadata.lastupdatedtime", ">=", (call.parameter("changedSince"),))
    answers: list[JSON] = []
    for name in call.parameter("entities").split(","):
        if name.strip() != "Attachable":
            answers.append({})
            continue
        query = q.Query("Attachable", where=[since], limit=q.MAX_RESULTS)
        rows = q.select(query, state.ledger.all(call.realm), _ATTACHABLE)
        shown = q.answer(query, rows, lambda o: show(o, state, call.head.base_url), "Attachable")
        answers.append(shown["QueryResponse"])
    return _answer({"CDCResponse": [{"QueryResponse": answers}]}, state)


# Batches.


def _run_batch(call: Call, state: State) -> Reply:
    sent = read_object(call.body, call.head.headers.get("content-type", ""), "2010")
    items = sent.get("BatchItemRequest")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Refused("2020", "Required parameter BatchItemRequest is missing in the request")
    if len(items) > _MAX_BATCH:
        raise Refused("1040", f"{MESSAGES['1040']}: at most {_MAX_BATCH} items are allowed")
    return _answer({"BatchItemResponse": [_run_item(item, call, state) for item in items]}, state)


def _run_item(item: JSON, call: Call, state: State) -> JSON:
    marker = str(item.get("bId", ""))
    try:
        if isinstance(item.get("Query"), str):
            return {**run_query(item["Query"], call, state), "bId": marker}
        if isinstance(item.get("Attachable"), dict):
            operation = str(item.get("operation", ""))
            return {**write_attachable(call, item["Attachable"], operation, state), "bId": marker}
    except Refused as refused:
        return {"Fault": refused.fault, "bId": marker}
    detail = "Operation in this batch item is not supported."
    return {"Fault": fault("500", detail), "bId": marker}


Handler = Callable[[Call, State], Reply]
_HANDLERS: dict[tuple[str, str], Handler] = {
    ("GET", "attachable"): _read_attachable,
    ("POST", "attachable"): _write_attachable,
    ("GET", "download"): _download,
    ("GET", "query"): _run_query,
    ("POST", "query"): _run_query,
    ("GET", "companyinfo"): _read_company,
    ("GET", "preferences"): _read_preferences,
    ("GET", "cdc"): _read_changes,
    ("POST", "batch"): _run_batch,
}

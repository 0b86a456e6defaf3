"""What can be asked by query: attachables, the mapping table, the company and its entities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qbo_attach.fake_qbo import query as q
from qbo_attach.fake_qbo.answers import Refused, offset_time
from qbo_attach.fake_qbo.entities import QUERYABLE, api_type
from qbo_attach.fake_qbo.ledger import Attachable, as_entity
from qbo_attach.fake_qbo.state import State
from qbo_attach.fake_qbo.values import JSON


def show(one: Attachable, state: State, base_url: str) -> JSON:
    """An attachable with a download address signed just now."""
    address = state.download_address(one, base_url) if one.size is not None else ""
    return as_entity(one, address)


def run_query(statement: str, realm: str, base_url: str, state: State) -> JSON:
    """The `QueryResponse` of a statement.

    Raises:
        Refused: 4000 or 4001.
    """
    try:
        query = q.parse(statement)
        return _run(query, realm, base_url, state)
    except q.QueryError as error:
        raise Refused(error.code, error.detail) from error


def _run(query: q.Query, realm: str, base_url: str, state: State) -> JSON:
    name = query.entity
    if name.lower() == "attachable":
        query.where = [_with_types(condition) for condition in query.where]
        rows = q.select(query, _candidates(query, realm, state), _ATTACHABLE)
        return q.answer(query, rows, lambda one: show(one, state, base_url), "Attachable")
    if name == "QbdtEntityIdMapping" and state.behaviour.qbdt != "absent":
        return _run_mapping(query, state)
    if name in ("CompanyInfo", "Preferences"):
        told = state.behaviour
        info = company_info(realm, told.company_name)
        entity = info if name == "CompanyInfo" else preferences(told.book_close_date)
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
        *("fullyqualifiedname", "paymentrefnum"),
        *("metadata.createtime", "metadata.lastupdatedtime"),
    )
}


def _entity_rows(query: q.Query, state: State) -> list[JSON]:
    ids = state.entities.ids(query.entity)
    if ids is None:
        ids = query.equal_values("Id") or []
    rows = [state.entities.record(query.entity, one) for one in ids]
    if any(condition.name.casefold() == "active" for condition in query.where):
        return rows
    # Inactive names are left out unless they are asked for.
    return [row for row in rows if row.get("Active", True)]


def _run_mapping(query: q.Query, state: State) -> JSON:
    if state.behaviour.qbdt_needs_type and query.equal_values("QbdtEntityType") is None:
        detail = "QueryValidationError: qbdtEntityType is required for QbdtEntityIdMapping"
        raise q.QueryError("4001", detail)
    mapped = state.entities.mapped if state.behaviour.qbdt == "on" else []
    rows = q.select(query, mapped, _MAPPING)
    names = ("QboEntityId", "QbdtExportableId", "QboEntityType", "QbdtEntityType")
    if state.behaviour.qbdt_casing == "camel":
        names = ("qboEntityId", "qbdtExportableId", "qboEntityType", "qbdtEntityType")
    most = state.behaviour.qbdt_page_rows
    query.limit = min(query.limit, most) if most else len(rows)
    query.start = query.start if most else 1
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


def company_info(realm: str, name: str = "") -> JSON:
    """CompanyInfo of a realm."""
    name = name or f"Fake Company {realm}"
    return {
        "CompanyName": name,
        "LegalName": name,
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


def preferences(book_close_date: str = "") -> JSON:
    """A company's preferences, those that matter to documents."""
    closing = {"BookCloseDate": book_close_date} if book_close_date else {}
    return {
        "AccountingInfoPrefs": {"CustomerTerminology": "Customers", **closing},
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


def changed_since(time: str, realm: str, base_url: str, state: State) -> JSON:
    """The `QueryResponse` of the attachables that were written since a time."""
    since = q.Condition("metadata.lastupdatedtime", ">=", (time,))
    query = q.Query("Attachable", where=[since], limit=q.MAX_RESULTS)
    rows = q.select(query, state.ledger.all(realm), _ATTACHABLE)
    answer: JSON = q.answer(query, rows, lambda one: show(one, state, base_url), "Attachable")
    found: JSON = answer["QueryResponse"]
    return found

"""QBO's wire as values: requests out, replies in. Pure: no network, clock, file or log.

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/attachable
https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from qbo_attach.core.model import Attachable, Fault
from qbo_attach.qbo.envelopes import (
    attachable_from_json,
    fault_from_json,
    fault_from_xml,
    get,
    load_json,
    short,
    text_of,
)
from qbo_attach.qbo.faults import CUT, UNREADABLE, InDoubtError, error_for
from qbo_attach.qbo.multipart import UploadLayout

MINOR_VERSION = 75
"""Lower ones are ignored since 2025-08-01.
https://blogs.intuit.com/2025/01/21/changes-to-our-accounting-api-that-may-impact-your-application
"""
REQUEST_ID_CHARS = 50
"""https://blogs.intuit.com/2015/04/06/15346/"""
PAGE_ROWS = 1_000
"""MAXRESULTS at most."""
IDS_PER_QUERY = 40
"""Ids or markers in one IN list."""

_GET_QUERY_CHARS = 1_500
"""A longer statement goes as the body of a POST: addresses have a limit on the way."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to send: `path` lies below the base address; `query` is not yet encoded."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = (("Accept", "application/json"),)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header by its name in any case, or ""."""
        wanted = name.lower()
        return next((v for k, v in self.headers.items() if k.lower() == wanted), "")

    @property
    def intuit_tid(self) -> str:
        """Intuit's number of this exchange, for their support."""
        return self.header("intuit_tid")


@dataclass(frozen=True, slots=True)
class ItemAnswer:
    """QBO's word on one file of a group: exactly one of both is there."""

    attachable: Attachable | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class UploadAnswer:
    """QBO's word on a group. Items stand in any order and may be fewer than the files.

    `server_date` is the `Date` header as sent, or "".
    """

    items: tuple[ItemAnswer, ...]
    status: int
    intuit_tid: str
    server_date: str


@dataclass(frozen=True, slots=True)
class QueryPage:
    """Rows of one query answer; `total` is the count of a `count(*)`, else None."""

    rows: tuple[dict[str, Any], ...]
    total: int | None = None


def upload_request(
    realm_id: str, layout: UploadLayout, request_id: str, minor_version: int = MINOR_VERSION
) -> Request:
    """An upload without its body, which is streamed by the layout.

    Raises:
        ValueError: a request id that QBO does not take.
    """
    if not 0 < len(request_id) <= REQUEST_ID_CHARS:
        raise ValueError(f"request id {request_id!r}: 1 to {REQUEST_ID_CHARS} characters")
    return Request(
        "POST",
        f"/v3/company/{realm_id}/upload",
        (("minorversion", str(minor_version)), ("requestid", request_id)),
        (
            ("Accept", "application/json"),
            ("Content-Type", layout.content_type),
            ("Content-Length", str(layout.content_length)),
        ),
    )


def query_request(realm_id: str, statement: str, minor_version: int = MINOR_VERSION) -> Request:
    """A query: by GET, or by POST where the statement is long."""
    path, version = f"/v3/company/{realm_id}/query", ("minorversion", str(minor_version))
    if len(statement) <= _GET_QUERY_CHARS:
        return Request("GET", path, (("query", statement), version))
    headers = (("Accept", "application/json"), ("Content-Type", "application/text"))
    return Request("POST", path, (version,), headers, statement.encode())


def get_request(realm_id: str, path: str, minor_version: int = MINOR_VERSION) -> Request:
    """A read of one thing, by its path below the company."""
    version = (("minorversion", str(minor_version)),)
    return Request("GET", f"/v3/company/{realm_id}/{path}", version)


def delete_request(
    realm_id: str, attachable: Attachable, minor_version: int = MINOR_VERSION
) -> Request:
    """A delete of one attachable, as it was when it was read (`sync_token`)."""
    return Request(
        "POST",
        f"/v3/company/{realm_id}/attachable",
        (("operation", "delete"), ("minorversion", str(minor_version))),
        (("Accept", "application/json"), ("Content-Type", "application/json")),
        json.dumps(delete_body(attachable)).encode(),
    )


def delete_body(attachable: Attachable) -> dict[str, str]:
    """What a delete says of its attachable; a stale SyncToken is refused (5010)."""
    return {"Id": attachable.id, "SyncToken": attachable.sync_token or "0"}


def download_request(
    realm_id: str, attachable_id: str, minor_version: int = MINOR_VERSION
) -> Request:
    """A read of the short-lived address of an attachable's bytes."""
    return Request(
        "GET",
        f"/v3/company/{realm_id}/download/{attachable_id}",
        (("minorversion", str(minor_version)),),
        (("Accept", "text/plain"),),
    )


def quoted(value: str) -> str:
    r"""A value in a query: in single quotes, a quote or backslash in it after a backslash."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_list(values: Sequence[str]) -> str:
    """The list behind IN."""
    return "(" + ",".join(map(quoted, values)) + ")"


def select_page(
    entity: str,
    where: str = "",
    *,
    start: int = 1,
    rows: int = PAGE_ROWS,
    order: str = "",
    columns: str = "*",
) -> str:
    """One page of rows; `start` counts from 1; `order` is a field, or "" for QBO's own."""
    clauses = [
        f"SELECT {columns} FROM {entity}",  # noqa: S608  # QBO's query language; values are quoted
        f"WHERE {where}" if where else "",
        f"ORDERBY {order}" if order else "",
        f"STARTPOSITION {start} MAXRESULTS {rows}",
    ]
    return " ".join(filter(None, clauses))


def checked(reply: Reply) -> dict[str, Any]:
    """The JSON object of an answer that holds no fault.

    Raises:
        QboError: by the recovery of what it holds instead; a 200 that cannot be read is in doubt.
    """
    record = load_json(reply.body)
    fault = fault_from_json(record, reply.status, reply.intuit_tid)
    if fault is None and record is None:
        fault = fault_from_xml(reply.body, reply.status, reply.intuit_tid)
    good = 200 <= reply.status < 300  # noqa: PLR2004
    if fault is None and good and record is not None:
        return record
    if fault is None:
        fault = _bare_fault(reply, good=good)
    elif not fault.code and not good:
        fault = _with_code(fault, str(reply.status))
    raise error_for(fault, retry_after_s=retry_after_s(reply))


def _bare_fault(reply: Reply, *, good: bool) -> Fault:
    """A fault for an answer in which QBO did not name one."""
    if not good:
        shown = short(reply.body[:300].decode("utf-8", "replace"))
        text = shown if shown and not shown.startswith("<") else "no reason given"
        cut = shown.startswith("{") and load_json(reply.body) is None
        return Fault(
            str(reply.status),
            text,
            type=CUT if cut else "",
            status=reply.status,
            intuit_tid=reply.intuit_tid,
        )
    what = "its answer cannot be read" if reply.body.strip() else "its answer is empty"
    return Fault(UNREADABLE, what, status=reply.status, intuit_tid=reply.intuit_tid)


def _with_code(fault: Fault, code: str) -> Fault:
    return Fault(
        code, fault.message, fault.detail, fault.element, fault.type, fault.status, fault.intuit_tid
    )


def read_upload_answer(reply: Reply) -> UploadAnswer:
    """The items of an upload's answer, each with an Attachable that has an Id, or a fault.

    An item that is neither is left out: the file it belonged to is unanswered.

    Raises:
        QboError: by recovery; no item at all that can be read is in doubt.
    """
    record = checked(reply)
    listed = get(record, "AttachableResponse")
    items = tuple(
        answer
        for item in (listed if isinstance(listed, list) else ())
        if (answer := _item(item, reply)) is not None
    )
    if not items:
        raise InDoubtError(_bare_fault(reply, good=True))
    return UploadAnswer(items, reply.status, reply.intuit_tid, reply.header("Date"))


def _item(item: object, reply: Reply) -> ItemAnswer | None:
    fault = fault_from_json(item, reply.status, reply.intuit_tid)
    if fault is not None:
        return ItemAnswer(fault=fault)
    attachable = attachable_from_json(get(item, "Attachable"))
    return None if attachable is None else ItemAnswer(attachable=attachable)


def read_query_answer(reply: Reply, entity: str) -> QueryPage:
    """The rows of a page; an empty `QueryResponse` is a page without rows.

    Raises:
        QboError: by recovery; an answer without `QueryResponse` is in doubt.
    """
    response = get(checked(reply), "QueryResponse")
    if not isinstance(response, dict):
        raise InDoubtError(_bare_fault(reply, good=True))
    rows = get(response, entity)
    total = text_of(get(response, "totalCount"))
    return QueryPage(
        tuple(row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else (),
        int(total) if total.isascii() and total.isdigit() else None,
    )


def read_attachable_answer(reply: Reply) -> Attachable:
    """The one Attachable of an answer.

    Raises:
        QboError: by recovery; an answer without one is in doubt.
    """
    attachable = attachable_from_json(get(checked(reply), "Attachable"))
    if attachable is None:
        raise InDoubtError(_bare_fault(reply, good=True))
    return attachable


def read_download_answer(reply: Reply) -> str:
    """The presigned address (valid for 15 minutes) of an attachable's bytes. It is a secret.

    Raises:
        QboError: by recovery; an answer that is no address is in doubt.
    """
    text = reply.body.decode("utf-8", "replace").strip().strip('"')
    if reply.status == 200 and text.startswith(("https://", "http://")) and " " not in text:  # noqa: PLR2004
        return text
    checked(reply)
    raise InDoubtError(_bare_fault(reply, good=True))


def retry_after_s(reply: Reply) -> float | None:
    """Seconds QBO tells us to wait: `Retry-After` in seconds, or as a date beside its `Date`."""
    told = reply.header("Retry-After").strip()
    if told.isascii() and told.isdigit() and len(told) < 10:  # noqa: PLR2004
        return float(told)
    until, now = server_time(told), server_time(reply.header("Date"))
    return None if until is None or now is None else max(0.0, (until - now).total_seconds())


def server_time(header: str) -> datetime | None:
    """A `Date` header as aware UTC, or None."""
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment

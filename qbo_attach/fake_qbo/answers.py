"""The shapes QuickBooks Online answers in: times, error envelopes, JSON and XML."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from xml.sax.saxutils import escape, quoteattr

from qbo_attach.fake_qbo.values import JSON, Head, Reply

_ZONE = timezone(timedelta(hours=-7))
_NAMESPACE = "http://schema.intuit.com/finance/v3"

MESSAGES = {
    "120": "Authorization Failure",
    "500": "Unsupported Operation",
    "600": "Duplicate Request ID",
    "610": "Object Not Found",
    "1040": "Batch Size Exceeded",
    "2010": "Request has invalid or unsupported property",
    "2020": "Required param missing, need to supply the required value for the API",
    "2030": "Invalid ID",
    "2040": "Invalid String",
    "2050": "Invalid String Length",
    "2130": "Invalid Request Id Format",
    "2500": "Invalid Reference Id",
    "4000": "Error parsing query",
    "4001": "Invalid query",
    "5010": "Stale Object Error",
    "5020": "Permission Denied Error",
    "6000": "A business validation error has occurred while processing your request",
    "6020": "Content-Length header is missing",
    "6030": "Upload request is too large",
    "6040": "Metadata is not an Attachable",
    "6041": "Invalid uploaded file",
    "6050": "Entity type is unsupported for Attachable",
    "6190": "Invalid Company Status",
    "6200": "Account Period Closed, Cannot Update Through Services API",
    "6210": "Account Period Closed",
    "10000": "An application error has occurred while processing your request",
}


class Refused(Exception):  # noqa: N818  # not an error of ours but an answer of the company
    """The company refuses a request, or one item of it, with a fault."""

    def __init__(self, code: str, detail: str, element: str = "", status: int = 400) -> None:
        super().__init__(f"{code} {detail}")
        self.status = status
        self.fault = fault(code, detail, element)


def fault(code: str, detail: str = "", element: str = "") -> JSON:
    """The `Fault` object of one error."""
    kind = "SystemFault" if code == "10000" else "ValidationFault"
    message = MESSAGES.get(code, "An error has occurred")
    error = {"Message": message, "Detail": detail or message, "code": code, "element": element}
    return {"Error": [error], "type": kind}


def offset_time(now: float, digits: str = "seconds") -> str:
    """A time as QBO writes it: `2020-09-29T06:33:46-07:00`."""
    return datetime.fromtimestamp(now, _ZONE).isoformat(timespec=digits)


def stamped(payload: JSON, now: float) -> JSON:
    """A payload with the `time` that closes every answer."""
    return {**payload, "time": offset_time(now, "milliseconds")}


def fault_reply(code: str, detail: str, now: float, status: int = 400) -> Reply:
    """An application error as the service itself answers it."""
    return Reply(status, payload=stamped({"Fault": fault(code, detail)}, now))


def gateway_reply(status: int, code: str, message: str, detail: str, now: float) -> Reply:
    """An error of the gateway: lower-case keys, a numeric time, always JSON."""
    kind = "AUTHENTICATION" if code == "3200" else "SERVICE"
    error = {
        "message": f"message={message}; errorCode={int(code):06d}; statusCode={status}",
        "detail": detail,
        "code": code,
        "element": None,
    }
    payload: JSON = {
        "warnings": None,
        "intuitObject": None,
        "fault": {"error": [error], "type": kind},
        "report": None,
        "queryResponse": None,
        "batchItemResponse": [],
        "attachableResponse": [],
        "syncErrorResponse": None,
        "requestId": None,
        "time": int(now * 1000),
        "status": None,
        "cdcresponse": [],
    }
    headers = {"Content-Type": "application/json"}
    if status == 401:  # noqa: PLR2004  # as the gateway does
        headers["WWW-Authenticate"] = 'Bearer realm="Intuit", error="invalid_token"'
    return Reply(status, headers, body=_dumps(payload))


def unauthorized(detail: str, now: float) -> Reply:
    """401 with code 3200."""
    return gateway_reply(401, "3200", "AuthenticationFailed", detail, now)


def forbidden(now: float) -> Reply:
    """403 with code 3100."""
    detail = "The application is not authorized for this company"
    return gateway_reply(403, "3100", "ApplicationAuthorizationFailed", detail, now)


def throttled(now: float, *, form: str = "xml", status: int = 429, retry_after: str = "") -> Reply:
    """The throttle answer: XML though JSON was asked, as recorded, or JSON."""
    detail = "The request limit was reached.  Try again later"
    if form == "json":
        reply = gateway_reply(status, "3001", "ThrottleExceeded", detail, now)
    else:
        text = (
            f'<IntuitResponse time="{offset_time(now, "milliseconds")}" xmlns="{_NAMESPACE}">'
            '<Fault type="SERVICE">\n<Error code="3001"><Message>message=ThrottleExceeded; '
            f"errorCode=003001; statusCode={status}</Message>\n<Detail>{detail}</Detail></Error>"
            "</Fault></IntuitResponse>"
        )
        reply = Reply(status, {"Content-Type": "application/xml"}, body=text.encode())
    if retry_after:
        reply.headers["Retry-After"] = retry_after
    return reply


def server_error(status: int, now: float) -> Reply:
    """A 5xx: 500 of the service as JSON, the others of the front as HTML."""
    if status == 500:  # noqa: PLR2004  # the service's own
        return fault_reply("10000", "", now, status=500)
    words = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}
    title = f"{status} {words.get(status, 'Error')}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>"
        "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, {"Content-Type": "text/html"}, body=page.encode())


def encode(reply: Reply, head: Head, trace: str, now: float) -> Reply:
    """Write the payload as the client asked for it, and add the headers that every answer has."""
    encode_body(reply, head)
    own, reply.headers = reply.headers, _common(trace, now)
    reply.headers.update(own)
    return reply


def encode_body(reply: Reply, head: Head) -> None:
    """Turn the payload into the body, as JSON or XML."""
    if reply.payload is None:
        return
    if head.xml:
        reply.body = _xml(reply.payload)
        reply.headers.setdefault("Content-Type", "application/xml;charset=utf-8")
    else:
        reply.body = _dumps(reply.payload)
        good = reply.status == 200  # noqa: PLR2004
        kind = "application/json;charset=utf-8" if good else "application/json"
        reply.headers.setdefault("Content-Type", kind)
    reply.payload = None


def _common(trace: str, now: float) -> dict[str, str]:
    return {
        "Server": "nginx",
        "Date": formatdate(now, usegmt=True),
        "intuit_tid": trace,
        "x-spanid": trace[-16:],
        "x-amzn-trace-id": f"Root={trace}",
        "Qbo-Version": "1950.145",
        "Service-Time": "total=12, db=3",
        "Cache-Control": "max-age=0, no-cache, no-store, must-revalidate, private",
        "Expires": "0",
        "Strict-Transport-Security": "max-age=15552000",
    }


def wants_xml(head: Head, sent: str, unasked: str) -> bool:
    """Whether the answer goes out as XML.

    Args:
        head: whose `Accept` decides where it names JSON or XML.
        sent: type of what was sent: of the body, or of an upload's first metadata.
        unasked: the switch `unasked_format`, for an `Accept` that names neither. Intuit's PHP SDK
            asks for `*/*` when it uploads and queries, and reads XML only; .NET's, when it is set
            to XML, asks for nothing.
    """
    accept, sent = head.headers.get("accept", "").lower(), sent.lower()
    if "json" in accept or "format=json" in head.query:
        return False
    if "xml" in accept or unasked == "xml":
        return True
    return unasked == "sent" and ("xml" in sent or sent.startswith("application/text"))


def _dumps(payload: JSON) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


_ATTRIBUTES = frozenset(
    {"domain", "sparse", "status", "type", "name", "code", "element", "bId"}
    | {"startPosition", "maxResults", "totalCount"}
)


def _xml(payload: JSON) -> bytes:
    body = {k: v for k, v in payload.items() if k != "time"}
    inner = "".join(_element(name, value) for name, value in body.items())
    time = quoteattr(str(payload.get("time", "")))
    text = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        f'<IntuitResponse xmlns="{_NAMESPACE}" time={time}>{inner}</IntuitResponse>'
    )
    return text.encode("utf-8", "xmlcharrefreplace")


def _element(name: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if not isinstance(value, dict):
        return f"<{name}>{_xml_text(value)}</{name}>"
    flat = {k: v for k, v in value.items() if not isinstance(v, (dict, list))}
    attributes = "".join(
        f" {k}={quoteattr(_xml_text(v, quoted=False))}" for k, v in flat.items() if k in _ATTRIBUTES
    )
    if name == "EntityRef":
        return f"<{name}{attributes}>{_xml_text(value.get('value', ''))}</{name}>"
    inner = "".join(
        _element(k, v) for k, v in value.items() if not (k in flat and k in _ATTRIBUTES)
    )
    return f"<{name}{attributes}>{inner}</{name}>"


def _xml_text(value: object, *, quoted: bool = True) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    kept = "".join(c for c in text if c >= " " or c in "\t\n\r")
    return escape(kept) if quoted else kept

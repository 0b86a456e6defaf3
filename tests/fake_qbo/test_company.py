"""The company as a whole: whatever comes in, an answer of a known kind goes out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.faults import KINDS, Rule
from qbo_attach.fake_qbo.values import Head, Request
from tests.fake_qbo.asking import Asking, multipart, ref

_PATHS = [
    *(f"/v3/company/1234567890/{name}" for name in ("upload", "attachable", "attachable/9", "attachable/x", "query", "batch", "cdc", "download/1", "companyinfo/1", "preferences", "invoice/3", "")),
    "/v3/company/", "/v3/company/2/query", "/oauth2/v1/tokens/bearer", "/v2/oauth2/tokens/revoke",
    "/connect/oauth2", "/intuit-qbo-files/1/attachments/2/x", "/_fake/faults", "/_fake/settings",
    "/_fake/attachables", "/_fake/attachables/1/bytes", "/_fake/tokens", "/_fake/", "/", "",
]  # fmt: skip
_BODIES = [b"", b"{}", b"[]", b"null", b"3", b'{"Id":', b'{"Id": 5, "SyncToken": {}}', b'{"token": 4}', b"<a/>", b"<", b"\xff\x00", b'{"BatchItemRequest": [{"Attachable": {"AttachableRef": [[]]}}]}', b'{"expire": []}', b'{"FileName": "a", "content_base64": 3}', b'{"FileName": "a", "created_at": "x"}', b'{"faults": [3]}', b"grant_type=refresh_token&refresh_token=%ff", multipart([("a.pdf", b"x", {})])]  # fmt: skip
_KINDS = ["application/json", "application/xml", "multipart/form-data; boundary=B", "application/x-www-form-urlencoded", ""]  # fmt: skip
_QUERIES = ["", "requestid=r", "query=select+*+from+Attachable", "operation=delete", "X-Amz-Date=1", "X-Amz-Date=%C2%B2", "changedSince=x&entities=Attachable", "a=%ff&&=&", "client_id=a&response_type=code&redirect_uri=http://x&answer=connect"]  # fmt: skip


@settings(max_examples=500)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]),
    path=st.sampled_from(_PATHS),
    body=st.sampled_from(_BODIES) | st.binary(max_size=30),
    kind=st.sampled_from(_KINDS),
    query=st.sampled_from(_QUERIES),
    accept=st.sampled_from(["application/json", "text/xml", "*/*"]),
    coding=st.sampled_from(["", "", "gzip", "deflate", "br"]),
)
def test_no_request_makes_the_company_stumble(
    method: str, path: str, body: bytes, kind: str, query: str, accept: str, coding: str
) -> None:
    asking = Asking()
    headers = {"authorization": "Bearer t", "content-type": kind, "accept": accept}
    headers["content-encoding"] = coding
    reply = asking.company.handle(Request(Head(method, path, query, headers), body))
    assert reply.status in (200, 302, 400, 401, 403, 404)
    assert reply.payload is None


@given(
    kind=st.sampled_from(sorted(KINDS)),
    endpoint=st.sampled_from(["query", "attachable", "batch", "token", "download"]),
)
def test_every_fault_can_strike_every_endpoint(kind: str, endpoint: str) -> None:
    asking = Asking(rules=[Rule(kind, endpoint=endpoint, seconds=1.0)])
    calls = {
        "query": lambda: asking.call("GET", "query", query="select * from Attachable"),
        "attachable": lambda: asking.post("attachable", {"Note": "n"}),
        "batch": lambda: asking.post("batch", {"BatchItemRequest": []}),
        "download": lambda: asking.call("GET", "download/1"),
        "token": lambda: asking.call(
            "POST",
            "/oauth2/v1/tokens/bearer",
            b"grant_type=refresh_token&refresh_token=x&client_id=c",
        ),
    }
    calls[endpoint]()
    assert asking.company.ledger()["faults"] == {kind: 1}


def test_two_companies_of_one_seed_are_equal_to_the_letter() -> None:
    def told(seed: int) -> list[object]:
        asking = Asking(seed=seed, fail_rate=0.3)
        replies = [
            asking.upload((f"{n}.pdf", b"x", ref("Bill", "1")), requestid=f"r{n}")
            for n in range(30)
        ]
        return [(r.status, r.headers, r.body, r.cut) for r in replies] + [asking.company.ledger()]

    assert told(7) == told(7)
    assert told(7) != told(8)


def test_the_company_reads_no_clock_but_the_one_it_is_given() -> None:
    company = FakeCompany(clock=lambda: 86_400.0)
    reply = company.handle(
        Request(
            Head("GET", "/v3/company/1234567890/companyinfo/1", "", {"authorization": "Bearer t"})
        )
    )
    assert reply.headers["Date"] == "Fri, 02 Jan 1970 00:00:00 GMT"
    assert b'"time":"1970-01-01T17:00:00.000-07:00"' in reply.body

"""Wire: any bytes become a value or a QboError; requests are as QBO wants them."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.model import Attachable, Fault, Recovery
from qbo_attach.qbo import wire
from qbo_attach.qbo.envelopes import masked
from qbo_attach.qbo.faults import FAULTS, STATUSES, InDoubtError, QboError, error_for, remedy
from qbo_attach.qbo.qbdt import mapping_row
from qbo_attach.qbo.wire import Reply

KEYS = st.sampled_from(
    [
        "AttachableResponse",
        "Attachable",
        "Fault",
        "fault",
        "Error",
        "error",
        "code",
        "Id",
        "Size",
        "QueryResponse",
        "AttachableRef",
        "EntityRef",
        "value",
        "type",
        "MetaData",
        "totalCount",
    ]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)
XML = st.lists(
    st.sampled_from(
        [
            "<Fault>",
            "</Fault>",
            "<Error/>",
            "</Error>",
            "<!DOCTYPE",
            "&a;",
            "x",
            "\x00",
            "<IntuitResponse>",
            "<?xml?>",
            "\ufeff",
            "</IntuitResponse>",
            "<Message>",
            "</Message>",
        ]
    ),
    max_size=12,
).map("".join)
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | XML.map(lambda text: text.encode())
)
HEADERS = st.dictionaries(
    st.sampled_from(["Date", "date", "Retry-After", "intuit_tid", "Content-Type"]),
    st.text(max_size=30) | st.just("Tue, 24 Nov 2026 04:00:00 GMT") | st.just("99999999999999"),
)


def error_of(read: Callable[[Reply], object], reply: Reply) -> QboError | None:
    try:
        read(reply)
    except QboError as error:
        return error
    return None


@given(st.integers(100, 599), HEADERS, BODIES)
def test_any_reply_is_a_value_or_a_qbo_error(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    reply = Reply(status, headers, body)
    for read in (
        wire.read_upload_answer,
        wire.read_attachable_answer,
        wire.read_download_answer,
        lambda r: wire.read_query_answer(r, "Attachable"),
    ):
        error = error_of(read, reply)
        assert str(error) if error else 200 <= status < 300
        assert status < 500 or (error and error.recovery is Recovery.IN_DOUBT)


@given(BODIES)
def test_an_upload_answer_holds_exactly_one_word_an_item(body: bytes) -> None:
    try:
        answer = wire.read_upload_answer(Reply(200, {}, body))
    except QboError:
        return
    assert answer.items
    for item in answer.items:
        assert (item.attachable is None) != (item.fault is None)
        assert item.attachable is None or item.attachable.id


def test_deep_or_huge_bodies_end_quickly() -> None:
    """And take no more memory than some copies of them."""
    bodies = [b"[" * 500_000, b'{"a":' * 100_000, b"<a>" * 100_000, b"9" * 500_000]
    bodies += [b"Token expired: " * 30_000, b"https://a?" * 45_000, b"Bearer " * 50_000]
    for body in bodies:
        tracemalloc.start()
        began = time.process_time()
        with pytest.raises(InDoubtError):
            wire.read_upload_answer(Reply(200, {}, body))
        took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert took < 3, body[:20]
        assert peak < 75_000_000, body[:20]
        for status in (400, 500):
            with pytest.raises(QboError):
                wire.read_upload_answer(Reply(status, {}, body))


def test_xml_that_expands_itself_is_not_expanded() -> None:
    entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]><Fault><Error>&e12;</Error></Fault>'
    with pytest.raises(InDoubtError):
        wire.read_upload_answer(Reply(200, {}, bomb.encode()))


def test_every_rule_has_a_remedy_of_one_sentence() -> None:
    for code, rule in (*FAULTS.items(), *STATUSES.items()):
        assert rule.remedy.endswith("."), code
        assert remedy(Fault(str(code), "m", status=400))


@pytest.mark.parametrize("status", [401, 429])
def test_what_comes_before_any_effect_is_not_done_whatever_its_code(status: int) -> None:
    error = error_for(Fault("600", "odd", status=status))
    assert error.recovery is Recovery.NOT_DONE


def test_an_error_says_code_reason_status_and_remedy_in_one_line() -> None:
    text = str(error_for(Fault("6190", "Invalid Company Status", status=200)))
    assert text == (
        "QBO: 6190 Invalid Company Status (HTTP 200). "
        "The company's subscription has ended: renew it in QBO."
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"retry-after": " 7 "}, 7.0),
        (
            {
                "Retry-After": "Tue, 24 Nov 2026 04:01:00 GMT",
                "Date": "Tue, 24 Nov 2026 04:00:00 GMT",
            },
            60.0,
        ),
        ({"Retry-After": "Tue, 24 Nov 2026 04:01:00 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({}, None),
    ],
)
def test_the_wait_we_are_told(headers: dict[str, str], expected: float | None) -> None:
    assert wire.retry_after_s(Reply(429, headers)) == expected


def test_values_in_a_query_are_quoted() -> None:
    assert wire.quoted("Amy's") == r"'Amy\'s'"
    assert wire.quoted("a\\' OR 1") == r"'a\\\' OR 1'"
    assert wire.in_list(["7", "8"]) == "('7','8')"


def test_a_long_query_goes_as_the_body_of_a_post() -> None:
    short = wire.query_request("1", "SELECT * FROM Bill")
    long = wire.query_request("1", "SELECT * FROM Bill WHERE Id IN " + "x" * 2_000)
    assert (short.method, short.query[0]) == ("GET", ("query", "SELECT * FROM Bill"))
    assert (long.method, long.body[:6]) == ("POST", b"SELECT")
    assert ("Content-Type", "application/text") in long.headers


def test_a_page_is_asked_for_in_the_documented_order_of_clauses() -> None:
    assert (
        wire.select_page("Attachable", "Tag = 'a'", start=1_001, rows=1_000, order="Id")
        == "SELECT * FROM Attachable WHERE Tag = 'a' ORDERBY Id STARTPOSITION 1001 MAXRESULTS 1000"
    )


def test_query_answers_without_rows_have_no_rows() -> None:
    empty = Reply(200, {}, b'{"QueryResponse":{},"time":"t"}')
    count = Reply(200, {}, b'{"QueryResponse":{"totalCount":6},"time":"t"}')
    assert wire.read_query_answer(empty, "Bill").rows == ()
    assert wire.read_query_answer(count, "").total == 6
    with pytest.raises(InDoubtError):
        wire.read_query_answer(Reply(200, {}, b"{}"), "Bill")


def test_a_request_id_has_at_most_fifty_characters() -> None:
    from qbo_attach.qbo.multipart import UploadPart, lay_out

    layout = lay_out([UploadPart("a.pdf", "application/pdf", 1, ())], "b")
    assert ("requestid", "r" * 50) in wire.upload_request("1", layout, "r" * 50).query
    with pytest.raises(ValueError, match="request id"):
        wire.upload_request("1", layout, "r" * 51)


def test_a_delete_names_the_version_it_deletes() -> None:
    request = wire.delete_request("1", Attachable("9", "a.pdf", 1, sync_token="3"))
    assert json.loads(request.body) == {"Id": "9", "SyncToken": "3"}


def test_mapping_fields_are_read_in_any_case() -> None:
    assert mapping_row({"qboEntityId": 25, "QBDTEXPORTABLEID": "4-1", "qboentitytype": "BILL"}) == {
        "QboEntityId": "25",
        "QbdtExportableId": "4-1",
        "QboEntityType": "BILL",
        "QbdtEntityType": "",
    }


def test_secrets_are_masked_wherever_they_stand() -> None:
    text = masked(
        "Token expired: AB016055 Bearer abcdefgh.ijkl refresh_token=AB11 code=XYZ "
        "https://s3.example/a.pdf?X-Amz-Signature=beef eyJhbGciOiJkaXIi.x.y"
    )
    for secret in ("AB016055", "abcdefgh", "AB11", "XYZ", "beef", "eyJh"):
        assert secret not in text
    assert masked("errorCode=003001; statusCode=429") == "errorCode=003001; statusCode=429"

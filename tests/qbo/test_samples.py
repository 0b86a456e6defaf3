"""Recorded-like replies to an upload: each becomes a value or an error of one class."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbo_attach.core.model import EntityRef
from qbo_attach.qbo.faults import (
    InDoubtError,
    NotDoneError,
    QboError,
    RefusedError,
    StopError,
    recovery,
)
from qbo_attach.qbo.wire import Reply, UploadAnswer, read_upload_answer

SAMPLES = Path(__file__).parent / "samples"

EXPECTED: dict[str, str | tuple[type[QboError], str]] = {
    # Items as their ids, or their fault's code and recovery.
    "upload_one/200": "5000000000000503624",
    "upload_three_one_refused/200": "11 6000:refused 12",
    "upload_all_refused_subscription/200": " ".join(["6190:stop"] * 5),
    "upload_item_without_id/200": "12",
    # 200 without what was hoped for.
    "upload_no_readable_item/200": (InDoubtError, "unreadable"),
    "upload_no_items/200": (InDoubtError, "unreadable"),
    "fault_on_top_business/200": (RefusedError, "6000"),
    "fault_on_top_system/200": (InDoubtError, ""),
    "fault_on_top_throttle/200": (NotDoneError, "3001"),
    "empty/200": (InDoubtError, "unreadable"),
    "blank/200": (InDoubtError, "unreadable"),
    "garbage/200": (InDoubtError, "unreadable"),
    "truncated/200": (InDoubtError, "unreadable"),
    "json_of_another_shape/200": (InDoubtError, "unreadable"),
    "xml_success/200": (InDoubtError, "unreadable"),
    # Before any effect.
    "gateway_unauthorized/401": (NotDoneError, "3200"),
    "user_lost_admin/401": (StopError, "120"),
    "gateway_forbidden/403": (StopError, "3100"),
    "throttle_xml/429": (NotDoneError, "3001"),
    "throttle_json/429": (NotDoneError, "3001"),
    "throttle_bare/429": (NotDoneError, "429"),
    "throttle_under_forbidden/403": (NotDoneError, "3001"),
    "throttle_under_forbidden_without_code/403": (NotDoneError, "3001"),
    "wrong_cluster/400": (NotDoneError, "130"),
    "company_locked/400": (NotDoneError, "140"),
    "no_permission/400": (StopError, "5020"),
    "moved/302": (StopError, "302"),
    # Refused as a whole.
    "forbidden_by_somebody/403": (RefusedError, "403"),
    "unsupported_operation/400": (RefusedError, "500"),
    "query_invalid/400": (RefusedError, "4001"),
    "stale_object/400": (RefusedError, "5010"),
    "books_closed/400": (RefusedError, "6210"),
    "too_large/400": (RefusedError, "6030"),
    "too_large_bare/413": (RefusedError, "413"),
    "unknown_code/400": (RefusedError, "98765"),
    "unknown_address/404": (RefusedError, "404"),
    # After any effect there may have been.
    "duplicate_request_id/400": (InDoubtError, "600"),
    "timed_out_by_proxy/408": (InDoubtError, "408"),
    "system_fault/500": (InDoubtError, "10000"),
    "refusal_after_all/500": (InDoubtError, "6000"),
    "bad_gateway/502": (InDoubtError, "502"),
    "unavailable/503": (InDoubtError, "503"),
    "gateway_timeout/504": (InDoubtError, "504"),
}


def sample(case: str) -> Reply:
    name, _, status = case.partition("/")
    (path,) = (SAMPLES / name).glob(f"{status}.*")
    return Reply(int(status), {"intuit_tid": "1-5f73"}, path.read_bytes())


def shown(answer: UploadAnswer) -> str:
    return " ".join(
        item.attachable.id
        if item.attachable
        else f"{item.fault.code}:{recovery(item.fault)}"
        if item.fault
        else "?"
        for item in answer.items
    )


def test_every_sample_has_its_expected_reading() -> None:
    found = {f"{path.parent.name}/{path.stem}" for path in SAMPLES.glob("*/*")}
    assert found == set(EXPECTED)


@pytest.mark.parametrize("case", EXPECTED)
def test_a_reply_is_read_as_expected(case: str) -> None:
    expected = EXPECTED[case]
    if isinstance(expected, str):
        assert shown(read_upload_answer(sample(case))) == expected
        return
    with pytest.raises(QboError) as raised:
        read_upload_answer(sample(case))
    assert (type(raised.value), raised.value.fault.code) == expected
    assert raised.value.fault.intuit_tid == "1-5f73"
    assert raised.value.recovery is recovery(raised.value.fault)


def test_an_attachable_is_read_with_all_that_tells_it_apart() -> None:
    (item,) = read_upload_answer(sample("upload_one/200")).items
    attachable = item.attachable
    assert attachable is not None
    assert attachable.refs == (EntityRef("Invoice", "75"),)
    assert (attachable.file_name, attachable.size_bytes, attachable.tag, attachable.sync_token) == (
        "no_detail.xml",
        538,
        "k1",
        "0",
    )
    assert attachable.created_at == "2026-09-29T06:33:46-07:00"


def test_neither_tokens_nor_presigned_addresses_come_out_of_a_reply() -> None:
    with pytest.raises(NotDoneError) as raised:
        read_upload_answer(sample("gateway_unauthorized/401"))
    assert "AB0160" not in str(raised.value) + repr(raised.value.fault)
    assert "Signature" not in repr(read_upload_answer(sample("upload_one/200")))


@pytest.mark.parametrize("case", ["too_large/400", "too_large_bare/413"])
def test_too_large_says_that_a_group_may_be_split(case: str) -> None:
    with pytest.raises(RefusedError) as raised:
        read_upload_answer(sample(case))
    assert raised.value.too_large

"""/upload: what is stored, what is refused, and how it is said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.fake_qbo.entities import Entities, MappingError, read_mapping
from tests.fake_qbo.asking import Asking, File, code, codes, items, ref, said

PDF = ("a.pdf", b"%PDF-1.4", ref("Invoice", "75"))


def test_an_upload_answers_as_the_recorded_one_did() -> None:
    asking = Asking()
    reply = asking.upload(PDF, requestid="r1")
    one = items(reply)[0]["Attachable"]
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json;charset=utf-8"
    assert reply.headers["intuit_tid"].startswith("1-")
    assert one["Id"].isdecimal()
    assert len(one["Id"]) == 19
    assert one["SyncToken"] == "0"
    assert one["Size"] == 8
    assert one["FileAccessUri"] == f"/v3/company/1234567890/download/{one['Id']}"
    assert one["AttachableRef"] == [
        {"EntityRef": {"value": "75", "type": "Invoice"}, "IncludeOnSend": False}
    ]
    row = asking.ledger()[0]
    assert row["sha256"] == hashlib.sha256(b"%PDF-1.4").hexdigest()
    assert row["refs"] == [{"type": "Invoice", "value": "75"}]
    assert row["requestid"] == "r1"


def test_many_files_travel_in_one_request_and_keep_their_names() -> None:
    asking = Asking()
    names = ["Ünï.pdf", "日本語.txt", 'quo"te.png', "a;b.pdf"] + [f"{n}.pdf" for n in range(120)]
    reply = asking.upload(*[(name, name.encode(), {}) for name in names])
    assert [i["Attachable"]["FileName"] for i in items(reply)] == names
    assert [r["sha256"] for r in asking.ledger()] == [
        hashlib.sha256(n.encode()).hexdigest() for n in names
    ]


def test_a_refused_file_is_a_fault_inside_200_and_leaves_the_others() -> None:
    asking = Asking(entities=Entities([]))
    reply = asking.upload(
        PDF, ("b.pdf", b"b", {}), ("c.exe", b"c", {}), ("d.pdf", b"d", ref("Budget", "1"))
    )
    assert reply.status == 200
    assert codes(reply) == ["6000", "", "6041", "6050"]
    assert "The entity Invoice 75 that you are trying to link does not exist" in reply.body.decode()
    assert [r["FileName"] for r in asking.ledger()] == ["b.pdf"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"FileName": "x" * 1001 + ".pdf"}, "2050"),
        ({"Note": "x" * 2001}, "2050"),
        ({"FileName": "a\x01.pdf"}, "2040"),
        ({"AttachableRef": [{"EntityRef": {"type": "Invoice"}}]}, "2020"),
        ({"AttachableRef": "no"}, "6040"),
        ({"AttachableRef": [3]}, "6040"),
        ({"Note": {"a": 1}}, "2010"),
    ],
)
def test_metadata_that_is_not_right_is_refused_by_its_code(
    more: dict[str, object], expected: str
) -> None:
    asking = Asking()
    assert codes(asking.upload(("a.pdf", b"x", more))) == [expected]
    assert asking.ledger() == []


def raw(*parts: tuple[str, str, bytes]) -> bytes:
    return b"".join(
        f"--B\r\nContent-Disposition: form-data; {name}\r\nContent-Type: {kind}\r\n\r\n".encode() + data + b"\r\n"
        for name, kind, data in parts
    ) + b"--B--"  # fmt: skip


def test_parts_pair_by_any_suffix_in_any_order() -> None:
    asking = Asking()
    meta = b'{"FileName":"%s.pdf"}'
    reply = asking.upload(
        raw=raw(
            ('name="file_content_zz1_zz2"', "application/pdf", b"second"),
            ('name="file_metadata_0"', "application/json", meta % b"first"),
            ('name="note"', "text/plain", b"ignored"),
            ('name="file_metadata_zz1_zz2"', "application/json", meta % b"second"),
            ('name="file_content_0"', "application/pdf", b"first"),
        )
    )
    assert {i["Attachable"]["FileName"]: i["Attachable"]["Size"] for i in items(reply)} == {
        "second.pdf": 6,
        "first.pdf": 5,
    }


def test_without_metadata_the_part_names_an_unlinked_attachable() -> None:
    asking = Asking()
    reply = asking.upload(raw=raw(('name="file_content_01"; filename="a.jpg"', "image/jpg", b"x")))
    one = items(reply)[0]["Attachable"]
    assert (one["FileName"], one["ContentType"]) == ("a.jpg", "image/jpeg")
    assert "AttachableRef" not in one


def test_metadata_may_be_xml() -> None:
    asking = Asking()
    xml = (
        b'<?xml version="1.0"?><Attachable xmlns="http://schema.intuit.com/finance/v3"><AttachableRef>'
        b'<EntityRef type="Bill">12</EntityRef></AttachableRef><AttachableRef><EntityRef type="Vendor">3'
        b"</EntityRef></AttachableRef><FileName>x.pdf</FileName></Attachable>"
    )
    asking.upload(
        raw=raw(
            ('name="file_metadata_0"', "application/xml", xml),
            ('name="file_content_0"', "application/pdf", b"x"),
        )
    )
    row = asking.ledger()[0]
    assert row["FileName"] == "x.pdf"
    assert row["refs"] == [{"type": "Bill", "value": "12"}, {"type": "Vendor", "value": "3"}]


@pytest.mark.parametrize(
    "meta",
    [
        b"",
        b"no",
        b"[1]",
        b'{"FileName": ',
        b"\xff\xfe",
        b"<a",
        b"[" * 5000,
        b'<!DOCTYPE a [<!ENTITY b "c">]><a/>',
    ],
)
def test_metadata_that_cannot_be_read_is_refused_and_nothing_is_stored(meta: bytes) -> None:
    asking = Asking()
    reply = asking.upload(
        raw=raw(
            ('name="file_metadata_0"', "application/json", meta),
            ('name="file_content_0"; filename="a.pdf"', "application/pdf", b"x"),
        )
    )
    assert codes(reply)[0] in ("6040", "500")
    assert asking.ledger() == []


def test_two_parts_of_one_name_and_a_part_alone_are_refused() -> None:
    asking = Asking()
    content = ('name="file_content_1"; filename="a.pdf"', "application/pdf", b"x")
    assert codes(asking.upload(raw=raw(content, content))) == ["6041"]
    assert codes(asking.upload(raw=raw(('name="file_metadata_1"', "application/json", b"{}")))) == [
        "6041"
    ]
    assert code(asking.upload(raw=raw(('name="x"', "text/plain", b"x")))) == "6041"
    assert asking.ledger() == []


def test_a_body_that_is_no_form_gets_the_documented_fault() -> None:
    asking = Asking()
    reply = asking.upload(raw=b"{}", headers={"content-type": "application/json"})
    assert (reply.status, code(reply)) == (400, "500")
    assert "Operation Cannot consume content type is not supported" in reply.body.decode()
    assert code(asking.upload(raw=b"--B\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--")) == "2010"


@pytest.mark.parametrize(("status", "length"), [(400, True), (413, False)])
def test_a_request_beyond_the_limit_is_refused_with_6030(status: int, length: bool) -> None:
    asking = Asking(max_request_bytes=1000, oversize_status=status)
    reply = asking.upload(
        ("a.pdf", b"x" * 1000, {}), headers={"content-length": "1500"} if length else {}
    )
    assert (reply.status, code(reply)) == (status, "6030")
    assert asking.ledger() == []


@pytest.mark.parametrize(
    ("switch", "value", "name", "data", "kind"),
    [
        ("empty_files", "refuse", "a.pdf", b"", "application/pdf"),
        ("octet_stream", "refuse", "a.pdf", b"x", "application/octet-stream"),
        ("text_files", "refuse", "a.txt", b"x", "text/plain"),
    ],
)
def test_open_questions_about_files_can_be_answered_either_way(
    switch: str, value: str, name: str, data: bytes, kind: str
) -> None:
    body = raw((f'name="file_content_1"; filename="{name}"', kind, data))
    assert codes(Asking().upload(raw=body)) == [""]
    assert codes(Asking(**{switch: value}).upload(raw=body)) == ["6041"]


def test_open_questions_about_answers_can_be_answered_either_way() -> None:
    bad: File = ("a.exe", b"x", {})
    assert Asking(upload_faults="http").upload(bad).status == 400
    together = Asking(one_bad_part="all")
    assert codes(together.upload(bad, PDF)) == ["6041", "6041"]
    assert together.ledger() == []
    body = raw(
        ('name="file_metadata_1"', "application/json", b'{"FileName":"m.pdf"}'),
        ('name="file_content_1"; filename="p.pdf"', "application/pdf", b"x"),
    )
    assert items(Asking().upload(raw=body))[0]["Attachable"]["FileName"] == "m.pdf"
    assert (
        items(Asking(filename_wins="part").upload(raw=body))[0]["Attachable"]["FileName"] == "p.pdf"
    )
    assert code(Asking(require_content_length=True).upload(PDF)) == "6020"
    shuffled = Asking(items_order="shuffled").upload(*[(f"{n}.pdf", b"x", {}) for n in range(20)])
    names = [i["Attachable"]["FileName"] for i in items(shuffled)]
    assert names != sorted(names, key=lambda n: int(n[:-4]))


def test_a_requestid_is_answered_again_without_effect() -> None:
    asking = Asking()
    first = asking.upload(PDF, requestid="r")
    again = asking.upload(PDF, requestid="r")
    other = asking.upload(("b.pdf", b"other", {}), requestid="r")
    assert said(first) == said(again) == said(other)
    assert len(asking.ledger()) == 1


def test_replay_can_be_off_forgetful_or_strict() -> None:
    off = Asking(replay="off")
    forgetful = Asking(replay_retention_s=60.0)
    strict = Asking(replay_body="refuse")
    for asking in (off, forgetful, strict):
        asking.upload(PDF, requestid="r")
    forgetful.upload(PDF, requestid="r")
    assert len(forgetful.ledger()) == 1
    forgetful.clock.now += 61
    for asking in (off, forgetful, strict):
        asking.upload(PDF, requestid="r")
    assert [len(a.ledger()) for a in (off, forgetful, strict)] == [2, 2, 1]
    assert code(strict.upload(("b.pdf", b"other", {}), requestid="r")) == "600"
    assert code(strict.upload(PDF, requestid="x" * 51)) == "2130"


def test_realms_have_their_own_attachables_and_their_own_requestids() -> None:
    asking = Asking(realms=("1", "2"))
    for realm in ("1", "2"):
        asking.call(
            "POST",
            "upload",
            raw(('name="file_content_1"; filename="a.pdf"', "application/pdf", b"x")),
            realm=realm,
            headers={"content-type": "multipart/form-data; boundary=B"},
            requestid="r",
        )
    assert [r["realm"] for r in asking.ledger()] == ["1", "2"]
    assert asking.call("GET", "companyinfo/3", realm="3").status == 403


MAPPING = "legacy_txnid_norm,legacy_entity_type,qbo_entity_type,qbo_entity_id\nA-1,Bill,Bill,12\n'00B-2,Txn,SalesReceipt,34\n"
INTUIT = [
    {
        "QboEntityId": "12",
        "QbdtExportableId": "A-1",
        "QboEntityType": "BILL",
        "QbdtEntityType": "BILL",
    }
]


def test_entities_are_those_of_the_mapping_table(tmp_path: Path) -> None:
    table = tmp_path / "mapping.csv"
    table.write_text(MAPPING)
    asking = Asking(entities=Entities(read_mapping(str(table))))
    reply = asking.upload(
        ("a.pdf", b"x", ref("bill", "12")),
        ("b.pdf", b"x", ref("Bill", "34")),
        ("c.pdf", b"x", ref("SalesReceipt", "34")),
    )
    assert codes(reply) == ["", "6000", ""]
    rows = asking.query("select * from QbdtEntityIdMapping")["QbdtEntityIdMapping"]
    assert rows[0] == INTUIT[0]
    assert rows[1]["QboEntityType"] == "CASH_SALE"
    assert rows[1]["QbdtEntityType"] == "CASHSALE"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(INTUIT),
        json.dumps({"QueryResponse": {"QbdtEntityIdMapping": INTUIT}}),
        MAPPING.replace(",", ";"),
        "\ufeff" + MAPPING,
    ],
)
def test_a_mapping_table_is_read_in_every_form(text: str, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text(text)
    assert read_mapping(str(table))[0].exportable_id == "A-1"


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "[1]", "{"])
def test_a_mapping_table_that_is_none_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text(text)
    with pytest.raises(MappingError, match=str(table)):
        read_mapping(str(table))
    with pytest.raises(MappingError, match="cannot be read"):
        read_mapping(str(tmp_path / "none"))


any_json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["FileName", "AttachableRef", "EntityRef", "type", "value", "Note", "Attachable"]), x, max_size=4), max_leaves=12)  # fmt: skip


@given(any_json)
def test_any_metadata_ends_in_an_item_and_never_in_a_crash(meta: object) -> None:
    asking = Asking()
    body = raw(
        ('name="file_metadata_1"', "application/json", json.dumps(meta).encode()),
        ('name="file_content_1"; filename="a.pdf"', "application/pdf", b"x"),
    )
    reply = asking.upload(raw=body)
    assert len(codes(reply)) == 1

"""/attachable, /download, /query, /batch and the small ones."""

from __future__ import annotations

import json
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.fake_qbo.entities import Entities, Mapped
from qbo_attach.fake_qbo.query import QueryError, parse
from tests.fake_qbo.asking import Asking, code, items, ref, said


def filled() -> Asking:
    asking = Asking()
    for number in range(1, 8):
        kind = "Invoice" if number % 2 else "Bill"
        asking.upload(
            (
                f"f{number}.pdf",
                b"x" * number,
                {**ref(kind, str(number % 3)), "Tag": f"t{number}", "Note": f"it's {number}"},
            )
        )
        asking.clock.now += 60
    return asking


def test_an_update_replaces_the_whole_object_so_a_missing_file_name_is_lost() -> None:
    asking = Asking()
    one = items(asking.upload(("a.pdf", b"x", {"Note": "n"})))[0]["Attachable"]
    reply = asking.post(
        "attachable", {"Id": one["Id"], "SyncToken": "0", "sparse": True, **ref("Bill", "1")}
    )
    updated = said(reply)["Attachable"]
    assert "FileName" not in updated
    assert "Note" not in updated
    assert updated["SyncToken"] == "1"
    assert updated["Size"] == 1
    assert updated["AttachableRef"][0]["EntityRef"]["type"] == "Bill"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"Id": "5", "SyncToken": "0"}, "610"),
        ({"Id": "x", "SyncToken": "0"}, "2030"),
        ({"SyncToken": "0"}, "2020"),
        ({"Id": "ID", "SyncToken": "9"}, "5010"),
        ({"Id": "ID"}, "2020"),
        ([], "2010"),
    ],
)
def test_a_write_that_is_not_right_is_refused(sent: object, expected: str) -> None:
    asking = Asking()
    one = items(asking.upload(("a.pdf", b"x", {})))[0]["Attachable"]
    text = json.dumps(sent).replace("ID", one["Id"])
    reply = asking.post("attachable", json.loads(text))
    assert (reply.status, code(reply)) == (400, expected)


def test_a_note_is_made_without_bytes_and_has_no_download() -> None:
    asking = Asking()
    one = said(
        asking.post("attachable", {"Note": "call back", **ref("Customer", "1")}, requestid="r")
    )["Attachable"]
    again = said(
        asking.post("attachable", {"Note": "call back", **ref("Customer", "1")}, requestid="r")
    )["Attachable"]
    assert one["Id"] == again["Id"]
    assert "Size" not in one
    assert code(asking.call("GET", f"download/{one['Id']}")) == "610"


def test_a_deleted_attachable_is_gone_and_listed_apart() -> None:
    asking = Asking()
    one = items(asking.upload(("a.pdf", b"x", ref("Bill", "1"))))[0]["Attachable"]
    reply = asking.post("attachable", {"Id": one["Id"]}, operation="delete")
    assert said(reply)["Attachable"] == {"domain": "QBO", "status": "Deleted", "Id": one["Id"]}
    assert code(asking.call("GET", f"attachable/{one['Id']}")) == "610"
    assert asking.names("select * from Attachable where AttachableRef.EntityRef.value = '1'") == []
    assert [r["Id"] for r in asking.company.ledger()["deleted"]] == [one["Id"]]


def test_a_download_address_gives_the_bytes_for_15_minutes_and_takes_no_bearer() -> None:
    asking = Asking()
    one = items(asking.upload(("a b/é.pdf", b"bytes", {})))[0]["Attachable"]
    reply = asking.call("GET", f"download/{one['Id']}")
    assert reply.headers["Content-Type"].startswith("text/plain")
    parts = urlsplit(reply.body.decode())

    def fetch(query: str, **headers: str) -> tuple[int, bytes]:
        from urllib.parse import unquote

        from qbo_attach.fake_qbo.values import Head, Request

        got = asking.company.handle(Request(Head("GET", unquote(parts.path), query, headers)))
        content = got.content
        return got.status, b"".join(
            asking.company.state.vault.read(content.sha256)
        ) if content else got.body

    assert fetch(parts.query) == (200, b"bytes")
    assert fetch(parts.query, authorization="Bearer t")[0] == 400
    assert fetch(parts.query.replace("Signature=", "Signature=0"))[0] == 403
    asking.clock.now += 901
    assert b"expired" in fetch(parts.query)[1]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7]),
        ("where Id > '5000000000000500005'", [6, 7]),
        ("where Tag in ('t2', 't7', 'none')", [2, 7]),
        (r"where Note = 'it\'s 3'", [3]),
        ("where Note LIKE '%S 4%'", [4]),
        ("where FileName like 'f%5%pdf'", [5]),
        ("where AttachableRef.EntityRef.Type = 'invoice'", []),
        (
            "where AttachableRef.EntityRef.Type = 'Invoice' and AttachableRef.EntityRef.value = '1'",
            [1, 7],
        ),
        (
            "where AttachableRef.EntityRef.Type = 'invoice' and AttachableRef.EntityRef.value in ('0', '2')",
            [3, 5],
        ),
        ("where AttachableRef.EntityRef.value = '1'", [1, 4, 7]),
        ("where AttachableRef.IncludeOnSend = true", []),
        ("where Size >= 6", [6, 7]),
        ("where Size >= '6' and Size < 7", [6]),
        (
            "where MetaData.CreateTime > '2027-01-15T00:04:00-08:00' orderby MetaData.CreateTime desc",
            [7, 6],
        ),
        ("orderby FileName desc, Id startposition 2 maxresults 3", [6, 5, 4]),
        ("order by Size maxresults 2;", [1, 2]),
        ("startposition 99", []),
        ("maxresults 0", []),
    ],
)
def test_attachables_are_found(where: str, found: list[int]) -> None:
    if "'invoice'" in where and "and" not in where:
        found = [1, 3, 5, 7]
    assert filled().names(f"select * from Attachable {where}") == [f"f{n}.pdf" for n in found]


def test_answers_to_queries_have_the_recorded_shapes() -> None:
    asking = filled()
    assert asking.query("select count(*) from attachable where Size > 3") == {"totalCount": 4}
    assert asking.query("select * from Attachable where Tag = 'none'") == {}
    page = asking.query("select Id, FileName from Attachable startposition 3 maxresults 2")
    assert (page["startPosition"], page["maxResults"]) == (3, 2)
    assert page["Attachable"][0] == {
        "FileName": "f3.pdf",
        "Id": "5000000000000500003",
        "sparse": True,
    }


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("", "4000"),
        ("select", "4000"),
        ("select * from Attachable where", "4000"),
        ("select * from Attachable where Tag = 'a' or Tag = 'b'", "4000"),
        ("select * from Attachable where (Tag = 'a')", "4000"),
        ("select * from Attachable where Tag = 'a", "4000"),
        ("select * from Attachable where Tag in ()", "4000"),
        ("select * from Attachable group by Tag", "4000"),
        ("select * from Custmoer", "4001"),
        ("select * from invoice", "4001"),
        ("select * from Attachable where Colour = 'red'", "4001"),
        ("select * from Attachable maxresults 1001", "4001"),
        ("select * from Attachable startposition 0", "4001"),
    ],
)
def test_a_statement_outside_the_grammar_is_refused(statement: str, expected: str) -> None:
    reply = Asking().call("GET", "query", query=statement)
    assert (reply.status, code(reply)) == (400, expected)


words = st.sampled_from(["select", "*", "from", "Attachable", "where", "Tag", "=", "'a'", "'", "in", "(", ")", ",", "and", "orderby", "Id", "maxresults", "9", "count", "\\", "%", "like", "\0", "é"])  # fmt: skip


@given(st.lists(words, max_size=14).map(" ".join) | st.text(max_size=60))
def test_any_statement_ends_in_a_query_or_a_refusal(statement: str) -> None:
    try:
        query = parse(statement)
    except QueryError as error:
        refused = error.code
    else:
        refused = "" if query.entity else "none"
    assert refused in ("", "4000", "4001")


@pytest.mark.parametrize(
    "kind", ["application/text", "text/plain", "application/x-www-form-urlencoded"]
)
def test_a_statement_may_be_posted(kind: str) -> None:
    body = b"select count(*) from Attachable"
    if "form" in kind:
        body = b"query=select+count(*)+from+Attachable"
    reply = filled().call("POST", "query", body, headers={"content-type": kind})
    assert said(reply)["QueryResponse"] == {"totalCount": 7}


def test_a_long_statement_with_many_parts_of_like_is_quick() -> None:
    asking = Asking()
    asking.post("attachable", {"Note": "ab" * 1000})
    assert asking.query("select * from Attachable where Note like '" + "%a" * 900 + "%z'") == {}


def test_queries_see_a_new_attachable_only_after_the_lag() -> None:
    asking = Asking(query_lag_s=30.0)
    asking.upload(("a.pdf", b"x", {"Tag": "k"}))
    assert asking.names("select * from Attachable where Tag = 'k'") == []
    asking.clock.now += 31
    assert asking.names("select * from Attachable where Tag = 'k'") == ["a.pdf"]


def test_the_mapping_table_can_be_missing_in_either_way_and_spelt_in_either_way() -> None:
    rows = [Mapped("1", "A-1", "BILL", "BILL"), Mapped("2", "B-1", "INVOICE", "INVOICE")]
    statement = "select * from QbdtEntityIdMapping where qbdtEntityType = 'INVOICE'"
    assert (
        Asking(entities=Entities(rows)).query(statement)["QbdtEntityIdMapping"][0]["QboEntityId"]
        == "2"
    )
    assert (
        Asking(entities=Entities(rows), qbdt_casing="camel").query(statement)[
            "QbdtEntityIdMapping"
        ][0]["qboEntityId"]
        == "2"
    )
    assert Asking(entities=Entities(rows), qbdt="empty").query(statement) == {}
    assert code(Asking(qbdt="absent").call("GET", "query", query=statement)) == "4001"
    picky = Asking(entities=Entities(rows), qbdt_needs_type=True)
    assert picky.query(statement)["maxResults"] == 1
    assert code(picky.call("GET", "query", query="select * from QbdtEntityIdMapping")) == "4001"


def test_the_company_its_preferences_and_its_entities_can_be_read() -> None:
    asking = Asking(entities=Entities([Mapped("7", "A-1", "CUSTOMER", "CUSTOMER")]))
    assert said(asking.call("GET", "companyinfo/1234567890"))["CompanyInfo"]["Id"] == "1"
    assert asking.query("select * from CompanyInfo")["maxResults"] == 1
    assert asking.query("select * from Preferences")["maxResults"] == 1
    assert (
        asking.query("select * from Customer where Active = true")["Customer"][0]["DisplayName"]
        == "Customer 7"
    )
    assert said(asking.call("GET", "customer/7"))["Customer"]["Id"] == "7"
    assert code(asking.call("GET", "customer/8")) == "610"
    assert asking.call("GET", "nothing/8").status == 404
    assert code(asking.call("DELETE", "attachable/8")) == "500"


def test_a_batch_answers_each_item_by_its_mark() -> None:
    asking = Asking()
    sent = [
        {"bId": "1", "operation": "create", "Attachable": {"Note": "n"}},
        {"bId": "2", "operation": "delete", "Attachable": {"Id": "9"}},
        {"bId": "3", "Query": "select count(*) from Attachable"},
        {"bId": "4", "operation": "create", "Invoice": {}},
    ]
    answers = {
        i["bId"]: i
        for i in said(asking.post("batch", {"BatchItemRequest": sent}))["BatchItemResponse"]
    }
    assert answers["1"]["Attachable"]["Note"] == "n"
    assert answers["2"]["Fault"]["Error"][0]["code"] == "610"
    assert answers["3"]["QueryResponse"] == {"totalCount": 1}
    assert answers["4"]["Fault"]["Error"][0]["code"] == "500"
    assert code(asking.post("batch", {"BatchItemRequest": sent * 8})) == "1040"
    assert code(asking.post("batch", {})) == "2020"
    assert code(asking.post("batch", {"BatchItemRequest": sent}, requestid="x" * 37)) == "2130"


def test_changes_since_a_time_are_told() -> None:
    asking = filled()
    reply = asking.call(
        "GET", "cdc", entities="Attachable,Invoice", changedSince="2027-01-15T00:04:00-08:00"
    )
    first, second = said(reply)["CDCResponse"][0]["QueryResponse"]
    assert [a["FileName"] for a in first["Attachable"]] == ["f5.pdf", "f6.pdf", "f7.pdf"]
    assert second == {}


def test_xml_is_answered_where_it_is_asked_for() -> None:
    asking = filled()
    reply = asking.call(
        "GET",
        "query",
        query="select * from Attachable maxresults 1",
        headers={"accept": "application/xml"},
    )
    tree = ET.fromstring(reply.body)
    names = {"q": "http://schema.intuit.com/finance/v3"}
    assert tree.find("q:QueryResponse", names).attrib == {"startPosition": "1", "maxResults": "1"}  # type: ignore[union-attr]
    entity = tree.find(".//q:EntityRef", names)
    assert entity is not None
    assert (entity.attrib, entity.text) == ({"type": "Invoice"}, "1")
    fault = asking.call("GET", "attachable/1", headers={"accept": "application/xml"})
    error = ET.fromstring(fault.body).find(".//q:Error", names)
    assert error is not None
    assert error.attrib["code"] == "610"

"""Answers in XML, as clients read them that know no other form."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from qbo_attach.fake_qbo.faults import Rule
from tests.fake_qbo.asking import Asking, ref

NS = "http://schema.intuit.com/finance/v3"
XML = f"{{{NS}}}"
ASKED = {"accept": "application/xml", "content-type": "application/xml"}
HOSTILE = "<a> & \"b\" ]]> 'c' é日 \x7f"


def tree(asking: Asking, method: str, path: str, body: str = "", **parameters: str) -> ET.Element:
    reply = asking.call(method, path, body.encode(), headers=ASKED, **parameters)
    assert reply.headers["Content-Type"] == "application/xml;charset=utf-8"
    root = ET.fromstring(reply.body)
    assert root.tag == f"{XML}IntuitResponse"
    assert root.get("time")
    return root


def made(asking: Asking, **more: Any) -> str:
    record = {"FileName": "a.pdf", "text": "x", **ref("Bill", "3"), **more}
    return str(asking.company.control.seed(record, "1234567890")["Id"])


def test_an_attachable_has_its_fields_as_elements_and_its_refs_type_as_an_attribute() -> None:
    asking = Asking()
    one_id = made(asking, Note=HOSTILE, Tag="t")
    one = tree(asking, "GET", f"attachable/{one_id}")[0]
    assert (one.get("domain"), one.get("sparse")) == ("QBO", "false")
    assert one.findtext(f"{XML}Note") == HOSTILE
    assert one.findtext(f"{XML}Size") == "1"
    entity = one.find(f"{XML}AttachableRef/{XML}EntityRef")
    assert entity is not None
    assert (entity.text, entity.attrib) == ("3", {"type": "Bill"})
    assert one.findtext(f"{XML}AttachableRef/{XML}IncludeOnSend") == "false"
    assert one.findtext(f"{XML}MetaData/{XML}CreateTime")


def test_a_batch_in_xml_is_answered_item_by_item_with_its_marks() -> None:
    asking = Asking()
    made(asking)
    sent = (
        f'<IntuitBatchRequest xmlns="{NS}">'
        '<BatchItemRequest bId="1" operation="create"><Attachable><Note>n</Note></Attachable>'
        '</BatchItemRequest><BatchItemRequest bId="2"><Query>select * from Attachable where Note = '
        "''</Query></BatchItemRequest>"
        '<BatchItemRequest bId="3" operation="delete"><Attachable><Id>9</Id></Attachable>'
        "</BatchItemRequest></IntuitBatchRequest>"
    )
    first, second, third = tree(asking, "POST", "batch", sent)
    assert [item.get("bId") for item in (first, second, third)] == ["1", "2", "3"]
    assert first.findtext(f"{XML}Attachable/{XML}Note") == "n"
    page = second.find(f"{XML}QueryResponse")
    assert page is not None
    assert page.get("maxResults") == "1"
    error = third.find(f"{XML}Fault/{XML}Error")
    assert error is not None
    assert error.get("code") == "610"


def test_pages_counts_changes_and_the_company_have_their_elements() -> None:
    asking = Asking()
    for number in range(3):
        made(asking, FileName=f"{number}.pdf")
    page = tree(asking, "GET", "query", query="select * from Attachable maxresults 2")[0]
    assert (page.tag, page.attrib) == (f"{XML}QueryResponse", {"startPosition": "1", "maxResults": "2"})  # fmt: skip
    assert [row.findtext(f"{XML}FileName") for row in page] == ["0.pdf", "1.pdf"]
    count = tree(asking, "GET", "query", query="select count(*) from Attachable")[0]
    assert count.attrib == {"totalCount": "3"}
    changes = tree(asking, "GET", "cdc", entities="Attachable", changedSince="2020-01-01")
    assert len(changes.findall(f"{XML}CDCResponse/{XML}QueryResponse/{XML}Attachable")) == 3
    company = tree(asking, "GET", "companyinfo/1234567890")
    assert company.findtext(f"{XML}CompanyInfo/{XML}CompanyName") == "Fake Company 1234567890"


@pytest.mark.parametrize("kind", ["refused", "fault_200", "500_before", "fault_200_after"])
def test_scripted_faults_come_in_xml_too(kind: str) -> None:
    asking = Asking(rules=[Rule(kind, code="6000")])
    error = tree(asking, "GET", "query", query="select * from Attachable").find(f"{XML}Fault/{XML}Error")  # fmt: skip
    assert error is not None
    assert error.get("code") == ("10000" if kind == "500_before" else "6000")
    assert error.findtext(f"{XML}Message")


def test_a_truncated_answer_is_half_of_the_form_that_was_asked_for() -> None:
    asking = Asking(rules=[Rule("truncated_200")])
    reply = asking.call("GET", "companyinfo/1", headers=ASKED)
    assert reply.body.startswith(b"<?xml")
    with pytest.raises(ET.ParseError):
        ET.fromstring(reply.body)

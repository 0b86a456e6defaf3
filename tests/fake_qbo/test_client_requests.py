"""The raw requests of client libraries, replayed at the running fake over a bare socket."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
import socket
from collections.abc import Iterator
from urllib.request import urlopen
from xml.etree import ElementTree as ET

import pytest

from qbo_attach.fake_qbo import running
from qbo_attach.fake_qbo.server import RunningFake
from tests.fake_qbo import clients
from tests.fake_qbo.clients import UPLOADS, File

XML = "{http://schema.intuit.com/finance/v3}"
NAMES = ["plain.pdf", "Ünï & 日本.pdf", "a;b 'c'.pdf"]
CONTENTS = {
    "text": b"just text",
    "binary": random.Random(3).randbytes(70_000),
    "line ends": b"\r\n\n\r--\r\n--\n\r\n" * 200,
    "ends with a line end": b"x\r\n",
    "looks like a part": b'\r\n--0b1c7a3e-52f4-4d0e-9c55-3f6d2a1b8e9\r\nContent-Disposition: form-data; name="x"\r\n\r\n--\n',
    "looks like base64": b"YWJj\r\n" * 50,
    "big": random.Random(4).randbytes(3_000_000),
}  # fmt: skip


@pytest.fixture(scope="module")
def fake() -> Iterator[RunningFake]:
    with running() as served:
        yield served


def host_of(fake: RunningFake) -> str:
    return fake.base_url.removeprefix("http://")


def exchange(fake: RunningFake, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; status, headers in lower case, and body of the answer."""
    host, port = host_of(fake).split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        stream = connection.makefile("rb")
        head, gap, body = request.partition(b"\r\n\r\n")
        connection.sendall(head + gap)
        if b"Expect: 100-continue" in head:
            assert stream.readline().startswith(b"HTTP/1.1 100")
            assert stream.readline() == b"\r\n"
        connection.sendall(body)
        status = int(stream.readline().split(b" ")[1])
        headers: dict[str, str] = {}
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, stream.read(int(headers["content-length"]))


def kept(fake: RunningFake, one_id: str) -> dict[str, object]:
    rows: list[dict[str, object]] = fake.ledger()["attachables"]
    return next(row for row in rows if row["Id"] == one_id)


def ids_of(body: bytes) -> list[str]:
    """Ids in an upload's answer, JSON or XML."""
    if body.startswith(b"<"):
        items = ET.fromstring(body).iterfind(f"{XML}AttachableResponse/{XML}Attachable/{XML}Id")
        return [str(item.text) for item in items]
    return [item["Attachable"]["Id"] for item in json.loads(body)["AttachableResponse"]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("client", UPLOADS)
def test_a_clients_upload_is_stored_byte_for_byte_with_its_name_and_ref(
    fake: RunningFake, client: str, name: str
) -> None:
    for what, data in CONTENTS.items():
        sent = File(name, "application/pdf", data, ("Bill", "9"))
        status, headers, body = exchange(fake, UPLOADS[client](host_of(fake), [sent]))
        assert status == 200, (what, body)
        assert body.startswith(b"<") is (client in clients.XML_ONLY), headers
        (one_id,) = ids_of(body)
        row = kept(fake, one_id)
        assert row["sha256"] == hashlib.sha256(data).hexdigest(), what
        assert (row["FileName"], row["Size"]) == (name, len(data))
        refs = [] if client in clients.UNLINKED else [{"type": "Bill", "value": "9"}]
        assert row["refs"] == refs
        fake.company.state.replies.clear()  # the SDKs' request ids here are always the same


@pytest.mark.parametrize("coding", ["gzip", ""])
def test_the_java_sdks_files_in_one_request_stay_apart(fake: RunningFake, coding: str) -> None:
    """As one gzip member each, if they are compressed."""
    files = [
        File(f"{n}.pdf", "application/pdf", data, ("Invoice", str(n)))
        for n, data in enumerate(CONTENTS.values())
    ]
    _, _, body = exchange(fake, clients.java(coding)(host_of(fake), files))
    rows = [kept(fake, one) for one in ids_of(body)]
    digests = [hashlib.sha256(f.data).hexdigest() for f in files]
    assert [row["sha256"] for row in rows] == digests
    assert [row["refs"] for row in rows] == [[{"type": "Invoice", "value": str(n)}] for n in range(7)]  # fmt: skip
    fake.company.state.replies.clear()


def test_an_address_in_an_answer_leads_back_though_the_client_named_no_port(
    fake: RunningFake,
) -> None:
    sent = File("a.pdf", "application/pdf", b"bytes")
    _, _, body = exchange(fake, clients.php(host_of(fake), [sent]))
    address = str(ET.fromstring(body).findtext(f".//{XML}TempDownloadUri"))
    assert address.startswith(fake.base_url)
    with urlopen(address) as answer:
        assert answer.read() == b"bytes"


def made(fake: RunningFake, name: str) -> str:
    record = {"FileName": name, "text": "x", "AttachableRef": [{"EntityRef": {"type": "Bill", "value": "3"}}]}  # fmt: skip
    return str(fake.company.control.seed(record, fake.realm)["Id"])


LONG = "select * from Attachable where FileName in ('q.pdf'" + ", 'none of these'" * 20 + ")"
QUERIES = {
    "java, short": lambda host: clients.java_query("select * from Attachable where FileName = 'q.pdf'", host),
    "java, long": lambda host: clients.java_query(LONG, host),
    "dotnet, json": lambda host: clients.dotnet_query(LONG, host, accept=True),
    "dotnet, xml": lambda host: clients.dotnet_query(LONG, host, accept=False),
    "php": lambda host: clients.php_query(LONG, host),
    "quickbooks-ruby": lambda host: clients.ruby_query(LONG, host),
}  # fmt: skip


@pytest.mark.parametrize("client", QUERIES)
def test_a_clients_query_is_answered_in_the_form_it_reads(fake: RunningFake, client: str) -> None:
    one_id = made(fake, "q.pdf")
    status, headers, body = exchange(fake, QUERIES[client](host_of(fake)))
    assert status == 200, body
    if client in ("dotnet, xml", "php", "quickbooks-ruby"):
        assert headers["content-type"].startswith("application/xml")
        page = ET.fromstring(body).find(f"{XML}QueryResponse")
        assert page is not None
        assert page.get("startPosition") == "1"
        assert one_id in [row.findtext(f"{XML}Id") for row in page]
        assert page.get("maxResults") == str(len(page))
        return
    rows = json.loads(body)["QueryResponse"]["Attachable"]
    assert one_id in [row["Id"] for row in rows]


def test_php_reads_counts_finds_nothing_updates_and_deletes_in_xml(fake: RunningFake) -> None:
    host = host_of(fake)
    one_id = made(fake, "php.pdf")
    _, _, body = exchange(fake, clients.php_query("select count(*) from Attachable", host))
    page = ET.fromstring(body).find(f"{XML}QueryResponse")
    assert page is not None
    assert int(page.get("totalCount", "")) >= 1
    _, _, body = exchange(fake, clients.php_query("select * from Attachable where Id = '1'", host))
    empty = ET.fromstring(body).find(f"{XML}QueryResponse")
    assert empty is not None
    assert (empty.attrib, len(empty)) == ({}, 0)
    _, _, body = exchange(fake, clients.php_call("GET", f"attachable/{one_id}", host))
    assert ET.fromstring(body).findtext(f"{XML}Attachable/{XML}FileName") == "php.pdf"
    ref = '<ns0:AttachableRef><ns0:EntityRef type="Vendor">8</ns0:EntityRef></ns0:AttachableRef>'
    record = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ns0:Attachable {clients.NS.replace("xmlns", "xmlns:ns0")}>'
        f"<ns0:Id>{one_id}</ns0:Id><ns0:SyncToken>0</ns0:SyncToken>{ref}<ns0:FileName>php.pdf"
        "</ns0:FileName><ns0:Note>nöte</ns0:Note></ns0:Attachable>\n"
    )
    update = clients.php_call("POST", "attachable?operation=update", host, record.encode())
    _, _, body = exchange(fake, update)
    assert ET.fromstring(body).findtext(f"{XML}Attachable/{XML}SyncToken") == "1"
    assert kept(fake, one_id)["refs"] == [{"type": "Vendor", "value": "8"}]
    assert kept(fake, one_id)["Note"] == "nöte"
    now = record.replace("<ns0:SyncToken>0<", "<ns0:SyncToken>1<")
    delete = clients.php_call("POST", "attachable?operation=delete", host, now.encode())
    _, _, body = exchange(fake, delete)
    gone = ET.fromstring(body).find(f"{XML}Attachable")
    assert gone is not None
    assert gone.get("status") == "Deleted"


def test_faults_are_said_in_xml_to_clients_that_read_no_json(fake: RunningFake) -> None:
    host = host_of(fake)
    refused = File("a.exe", "application/x-msdownload", b"MZ")
    status, _, body = exchange(fake, clients.php(host, [refused]))
    error = ET.fromstring(body).find(f"{XML}AttachableResponse/{XML}Fault/{XML}Error")
    assert error is not None
    assert (status, error.get("code")) == (200, "6041")
    status, _, body = exchange(fake, clients.php_query("select * from Nope", host))
    error = ET.fromstring(body).find(f"{XML}Fault/{XML}Error")
    assert error is not None
    assert (status, error.get("code")) == (400, "4001")
    assert error.findtext(f"{XML}Message") == "Invalid query"


def test_quickbooks_ruby_deletes_by_xml_and_then_finds_nothing(fake: RunningFake) -> None:
    one_id = made(fake, "ruby.pdf")
    _, _, body = exchange(fake, clients.ruby_delete(one_id, host_of(fake)))
    found = ET.fromstring(body).find(f"{XML}Attachable[@status='Deleted']/{XML}Id")
    assert found is not None
    assert found.text == one_id
    by_name = "select * from attachable where FileName = 'ruby.pdf'"
    status, _, body = exchange(fake, clients.ruby_query(by_name, host_of(fake)))
    assert (status, len(ET.fromstring(body)[0])) == (200, 0)


def test_a_download_without_accept_is_told_an_address_that_gives_the_bytes(
    fake: RunningFake,
) -> None:
    one_id = made(fake, "d.pdf")
    _, headers, body = exchange(fake, clients.java_download(one_id, host_of(fake)))
    assert headers["content-type"].startswith("text/plain")
    with urlopen(body.decode()) as answer:
        assert answer.read() == b"x"


@pytest.mark.parametrize(
    ("unasked", "xml"), [("sent", [False, True]), ("json", [False, False]), ("xml", [True, True])]
)
def test_what_is_answered_where_nothing_was_asked_for_is_a_switch(
    fake: RunningFake, unasked: str, xml: list[bool]
) -> None:
    old = fake.company.state.behaviour
    fake.company.state.behaviour = old.changed({"unasked_format": unasked})
    try:
        host = host_of(fake)
        target = f"/v3/company/{clients.REALM}/companyinfo/1"
        plain = clients.message("GET", target, [f"Host: {host}", "Authorization: Bearer t"])
        texts = clients.php_query("select * from Attachable", host)
        answers = [exchange(fake, request)[2] for request in (plain, texts)]
        assert [body.startswith(b"<") for body in answers] == xml
    finally:
        fake.company.state.behaviour = old


@pytest.mark.parametrize(
    ("coding", "body", "code"),
    [
        ("gzip", b"no gzip at all", "2010"),
        ("gzip", gzip.compress(b"cut short" * 100)[:-12], "2010"),
        ("deflate", b"\xff\xff\xff", "2010"),
        ("br", b"x", "500"),
    ],
    ids=["not gzip", "cut short", "not deflate", "unknown"],  # gzip writes the time of day
)
def test_a_body_that_is_not_encoded_as_it_says_is_refused(
    fake: RunningFake, coding: str, body: bytes, code: str
) -> None:
    before = len(fake.ledger()["attachables"])
    headers = [f"Host: {host_of(fake)}", "Accept: application/json", "Authorization: Bearer t", "Content-Type: multipart/form-data; boundary=B", f"Content-Encoding: {coding}"]  # fmt: skip
    target = f"/v3/company/{clients.REALM}/upload"
    status, _, answer = exchange(fake, clients.message("POST", target, headers, body))
    assert (status, json.loads(answer)["Fault"]["Error"][0]["code"]) == (400, code)
    assert len(fake.ledger()["attachables"]) == before


def test_a_small_body_that_inflates_beyond_the_limit_is_refused_not_unpacked(
    fake: RunningFake,
) -> None:
    old = fake.company.state.behaviour
    fake.company.state.behaviour = old.changed({"max_request_bytes": 1_000_000})
    try:
        bomb = File("a.pdf", "application/pdf", bytes(200_000_000))
        request = clients.java()(host_of(fake), [bomb])
        assert len(request) < 1_000_000
        status, _, body = exchange(fake, request)
        assert (status, re.findall(rb'"code":"(\d+)"', body)) == (400, [b"6030"])
    finally:
        fake.company.state.behaviour = old

"""The upload body, byte for byte, and read back by a parser that is not ours."""

from __future__ import annotations

import email
import email.policy
import json
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.model import EntityRef
from qbo_attach.qbo.multipart import UploadLayout, UploadPart, header_name, lay_out, overhead_bytes

REF = EntityRef("Invoice", "75")


def body_of(layout: UploadLayout, files: list[bytes]) -> bytes:
    pieces = [piece for pair in zip(layout.heads, files, strict=True) for piece in pair]
    return b"".join([*pieces, layout.tail])


def parsed(layout: UploadLayout, body: bytes) -> list[Message]:
    head = f"MIME-Version: 1.0\r\nContent-Type: {layout.content_type}\r\n\r\n".encode()
    whole = email.message_from_bytes(head + body, policy=email.policy.compat32)
    assert not whole.defects
    parts = whole.get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, Message)]


def test_a_group_of_two_is_laid_out_byte_for_byte() -> None:
    parts = [
        UploadPart("no_detail.xml", "text/xml", 5, (REF,), "k1"),
        UploadPart('Rechnung "ä".pdf', "application/pdf", 0, (REF, EntityRef("Bill", "2")), "k2"),
    ]
    layout = lay_out(parts, "B", "tag")
    assert body_of(layout, [b"<a/>\n", b""]) == (
        b"--B\r\n"
        b'Content-Disposition: form-data; name="file_metadata_01"; filename="attachment.json"\r\n'
        b"Content-Type: application/json; charset=UTF-8\r\n"
        b"Content-Transfer-Encoding: binary\r\n"
        b"\r\n"
        b'{"AttachableRef":[{"EntityRef":{"type":"Invoice","value":"75"},"IncludeOnSend":false}],'
        b'"FileName":"no_detail.xml","ContentType":"text/xml","Tag":"k1"}\r\n'
        b"--B\r\n"
        b'Content-Disposition: form-data; name="file_content_01"; filename="no_detail.xml"\r\n'
        b"Content-Type: text/xml\r\n"
        b"Content-Transfer-Encoding: binary\r\n"
        b"\r\n"
        b"<a/>\n"
        b"\r\n--B\r\n"
        b'Content-Disposition: form-data; name="file_metadata_02"; filename="attachment.json"\r\n'
        b"Content-Type: application/json; charset=UTF-8\r\n"
        b"Content-Transfer-Encoding: binary\r\n"
        b"\r\n"
        b'{"AttachableRef":[{"EntityRef":{"type":"Invoice","value":"75"},"IncludeOnSend":false},'
        b'{"EntityRef":{"type":"Bill","value":"2"},"IncludeOnSend":false}],'
        b'"FileName":"Rechnung \\"\\u00e4\\".pdf","ContentType":"application/pdf","Tag":"k2"}\r\n'
        b"--B\r\n"
        b'Content-Disposition: form-data; name="file_content_02"; '
        b'filename="Rechnung %22\xc3\xa4%22.pdf"\r\n'
        b"Content-Type: application/pdf\r\n"
        b"Content-Transfer-Encoding: binary\r\n"
        b"\r\n"
        b"\r\n--B--\r\n"
    )


names = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\r\n;%\0\x85\u2028='),
    min_size=1,
    max_size=60,
)
parts_and_files = st.lists(
    st.tuples(names, st.binary(max_size=300), st.text(max_size=20)), min_size=1, max_size=5
)


@given(parts_and_files, st.sampled_from(["tag", "note", "none"]))
def test_no_name_and_no_byte_breaks_the_framing(
    rows: list[tuple[str, bytes, str]], field: str
) -> None:
    """Python's own mail parser finds the parts, names and bytes that were put in."""
    parts = [
        UploadPart(name, "application/pdf", len(data), (EntityRef("Bill", entity),), "key")
        for name, data, entity in rows
    ]
    layout = lay_out(parts, "0123456789abcdef" * 4, field)  # type: ignore[arg-type]
    body = body_of(layout, [data for _, data, _ in rows])
    assert len(body) == layout.content_length
    found = parsed(layout, body)
    assert len(found) == 2 * len(rows)
    for number, (name, data, entity) in enumerate(rows, 1):
        described, content = found[2 * number - 2 : 2 * number]
        assert described.get_param("name", header="content-disposition") == (
            f"file_metadata_{number:02d}"
        )
        record = json.loads(str(described.get_payload()))
        assert record["FileName"] == name
        assert record["AttachableRef"][0]["EntityRef"]["value"] == entity
        assert [key for key in ("Tag", "Note") if key in record] == (
            [] if field == "none" else [field.capitalize()]
        )
        assert content.keys() == [
            "Content-Disposition",
            "Content-Type",
            "Content-Transfer-Encoding",
        ]
        assert content.get_param("name", header="content-disposition") == (
            f"file_content_{number:02d}"
        )
        assert content.get_payload(decode=True) == data


@given(names)
def test_a_header_name_stands_in_one_line_and_can_be_told_back(name: str) -> None:
    shown = header_name(name)
    assert shown.splitlines() == [shown]
    assert '"' not in shown
    assert "\\" not in shown
    if "%" not in name:
        assert unquote(shown) == name


@given(parts_and_files, st.text("abcXYZ019-_", min_size=1, max_size=70))
def test_overhead_is_never_less_than_what_a_file_adds(
    rows: list[tuple[str, bytes, str]], boundary: str
) -> None:
    parts = [
        UploadPart(name, "text/plain", len(data), (EntityRef("Bill", entity),), "key")
        for name, data, entity in rows
    ]
    layout = lay_out(parts, boundary, "note")
    packed = sum(part.size_bytes + overhead_bytes(part) for part in parts)
    assert layout.content_length <= packed


def test_equal_parts_and_boundary_give_equal_bytes() -> None:
    parts = [UploadPart(f"{n}.pdf", "application/pdf", n, (REF,), f"k{n}") for n in range(5)]
    assert lay_out(parts, "b") == lay_out(list(parts), "b")
    assert lay_out(parts, "b") != lay_out(parts[::-1], "b")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file_name": "a\udc80.pdf"}, "is not UTF-8"),
        ({"content_type": "text/plain\r\nX-Evil: 1"}, "cannot stand in a header"),
        ({"content_type": ""}, "cannot stand in a header"),
    ],
)
def test_what_cannot_be_sent_is_refused(change: dict[str, str], said: str) -> None:
    fields = {"file_name": "a.pdf", "content_type": "text/plain"} | change
    part = UploadPart(size_bytes=1, refs=(REF,), **fields)
    with pytest.raises(ValueError, match=said):
        lay_out([part], "b")


@pytest.mark.parametrize("boundary", ["", "b" * 71, "a b", 'a"', "a\r\nb"])
def test_a_boundary_that_needs_quoting_is_refused(boundary: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        lay_out([UploadPart("a.pdf", "text/plain", 1, (REF,))], boundary)


def test_a_group_needs_a_file() -> None:
    with pytest.raises(ValueError, match="at least one"):
        lay_out([], "b")

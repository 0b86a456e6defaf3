"""The multipart reader: what real clients send, and what nobody should."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.fake_qbo.multipart import (
    MultipartError,
    MultipartReader,
    Part,
    boundary_of,
    parameters,
)
from qbo_attach.fake_qbo.vault import MemoryVault

META = b'{"FileName":"a.pdf"}'
BINARY = bytes(range(256)) + b"\r\n--\r\n\n--Bx\r\n--B-\r\n"


def read(body: bytes, boundary: bytes = b"B", step: int = 0) -> list[Part]:
    reader = MultipartReader(boundary, MemoryVault())
    step = step or len(body) or 1
    for at in range(0, len(body), step):
        reader.feed(body[at : at + step])
    return reader.finish()


def bodies(parts: list[Part]) -> dict[str, bytes]:
    return {part.name: part.content.load() for part in parts}


def form(
    newline: bytes, *, first: bytes = b"", last: bytes = b"\r\n--B--\r\n", content: bytes = BINARY
) -> bytes:
    lines = [
        first + b"--B",
        b'Content-Disposition: form-data; name="file_metadata_01"; filename="attachment.json"',
        b"Content-Type: application/json",
        b"",
        META,
        b"--B",
        b'Content-Disposition: form-data; name="file_content_01"; filename="a.pdf"',
        b"Content-Type: application/pdf",
        b"",
        content,
    ]
    return newline.join(lines) + last


CLIENTS = {
    "crlf": form(b"\r\n"),
    "lf": form(b"\n", last=b"\n--B--\n"),
    "leading blank line": form(b"\r\n", first=b"\r\n"),
    "leading blanks": form(b"\r\n", first=b"  "),
    "a preamble": form(b"\r\n", first=b"This is a multi-part message.\r\n"),
    "crlf, but the metadata ends with lf": form(b"\r\n").replace(META + b"\r\n", META + b"\n"),
    "lf, but the metadata ends with crlf": form(b"\n", last=b"\n--B--\n").replace(META + b"\n", META + b"\r\n"),
    "boundary at the end without dashes": form(b"\r\n", last=b"\r\n--B"),
    "boundary line at the end without dashes": form(b"\r\n", last=b"\r\n--B\r\n"),
    "crlf, but a bare lf before the last boundary": form(b"\r\n", last=b"\n--B--\r\n"),
    "no closing delimiter": form(b"\r\n", last=b""),
    "an epilogue": form(b"\r\n", last=b"\r\n--B--\r\nnothing\r\n--B\r\n"),
    "blanks after the boundary": form(b"\r\n").replace(b"--B\r\n", b"--B \t\r\n"),
    "trailing semicolon": form(b"\r\n").replace(b'"a.pdf"\r\n', b'"a.pdf";\r\n'),
    "unquoted name": form(b"\r\n").replace(b'"file_content_01"', b"file_content_01"),
    "lower-case headers": form(b"\r\n").replace(b"Content-Disposition", b"content-disposition"),
    "folded header": form(b"\r\n").replace(b'; filename="a', b';\r\n  filename="a'),
    "long content-length": form(b"\r\n").replace(b"Content-Type: application/pdf", b"Content-Length: 9\r\nContent-Type: application/pdf"),
}  # fmt: skip


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("name", CLIENTS)
def test_every_known_way_of_writing_a_form_gives_the_same_bytes(name: str, step: int) -> None:
    parts = read(CLIENTS[name], step=step)
    assert bodies(parts) == {"file_metadata_01": META, "file_content_01": BINARY}
    assert parts[1].file_name == "a.pdf"
    assert parts[1].content.sha256 == hashlib.sha256(BINARY).hexdigest()


@pytest.mark.parametrize("step", [0, 1, 5])
def test_base64_is_decoded_by_its_header_wrapped_lines_included(step: int) -> None:
    header = b"Content-Type: application/pdf\r\n"
    wrapped = base64.encodebytes(BINARY).replace(b"\n", b"\r\n")
    body = form(b"\r\n", content=wrapped).replace(
        header, header + b"Content-Transfer-Encoding: BASE64\r\n"
    )
    assert bodies(read(body, step=step))["file_content_01"] == BINARY


@pytest.mark.parametrize("text", [b"a", b"abc!", b"ab==cd", b"=abc", b"YWJj\0"])
def test_content_that_is_not_the_base64_it_says_is_broken_not_stored_as_something_else(
    text: bytes,
) -> None:
    header = b"Content-Type: application/pdf\r\n"
    body = form(b"\r\n", content=text).replace(
        header, header + b"Content-Transfer-Encoding: base64\r\n"
    )
    assert [p.broken for p in read(body)] == [False, True]


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r\n\r\n", b"\n\n"])
def test_base64_may_end_with_either_line_end(ends: bytes, step: int) -> None:
    header = b"Content-Type: application/pdf\r\n"
    body = form(b"\r\n", content=b"YWJjZA==", last=ends + b"--B--\r\n").replace(
        header, header + b"Content-Transfer-Encoding: base64\r\n"
    )
    assert bodies(read(body, step=step))["file_content_01"] == b"abcd"


def test_a_files_own_bytes_end_only_with_the_line_end_of_its_form() -> None:
    """Though metadata may end with either: what a file holds is nobody's to judge."""
    content = b"a\n--B\nb\r--B\r\nc"
    assert bodies(read(form(b"\r\n", content=content)))["file_content_01"] == content


def test_base64_without_its_padding_is_decoded() -> None:
    header = b"Content-Type: application/pdf\r\n"
    body = form(b"\r\n", content=b"YWJjZA").replace(
        header, header + b"Content-Transfer-Encoding: base64\r\n"
    )
    assert bodies(read(body))["file_content_01"] == b"abcd"


def test_a_part_without_content_does_not_swallow_the_next() -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n--B\r\n'
        b'Content-Disposition: form-data; name="b"\r\n\r\n\r\n--B--'
    )
    assert bodies(read(body)) == {"a": b"", "b": b""}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--B",
        b"--B\r\nno header line\r\n\r\nx\r\n--B--",
        b"--B\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--",
        b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--",
        b'--B\r\nContent-Disposition: form-data; name="a"\r\n',
        b"--B\r\n" + b"x: " + b"y" * 100_000,
        b"-" * 100_000,
        (b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 4_100) + b"--B--",
    ],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_form_is_refused_or_empty(body: bytes) -> None:
    if body == b"--B":
        assert read(body) == []
        return
    with pytest.raises(MultipartError):
        read(body)


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; boundary="a b;c"', b"a b;c"),
        ("Multipart/Form-Data; charset=utf-8; BOUNDARY=x;", b"x"),
        ("multipart/mixed;boundary=---------------Py", b"---------------Py"),
    ],
)
def test_the_boundary_is_found_quoted_or_not(header: str, boundary: bytes) -> None:
    assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    "header", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary="]
)
def test_a_content_type_without_a_boundary_is_refused(header: str) -> None:
    with pytest.raises(MultipartError):
        boundary_of(header)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('form-data; name="x"; filename="a;b.pdf"', "a;b.pdf"),
        (r'form-data; name="x"; filename="a\"b.pdf"', 'a"b.pdf'),
        (r'form-data; name="x"; filename="C:\tmp\b.pdf"', r"C:\tmp\b.pdf"),
        ("form-data; name=x; filename*=UTF-8''%e2%82%ac.pdf; filename=e.pdf", "€.pdf"),
        ("form-data; name=x; filename*=nonsense''%ff; filename=e.pdf", "e.pdf"),
    ],
)
def test_file_names_are_read_as_clients_write_them(header: str, name: str) -> None:
    assert parameters(header)[1]["filename"] == name


boundary_st = st.text("abAB0-'", min_size=1, max_size=6).map(str.encode)
pieces_st = st.sampled_from([b"\r\n", b"\n", b"\r", b"--", b"-", b"a", b"B", b"\0", b" ", b"\r\n--", b"\n--", b'Content-Disposition: form-data; name="z"'])  # fmt: skip
content_st = st.lists(pieces_st, max_size=12).map(b"".join)


@given(
    boundary=boundary_st,
    contents=st.lists(content_st, min_size=1, max_size=4),
    step=st.integers(1, 40),
    lf=st.booleans(),
)
def test_no_bytes_of_one_part_become_anothers(
    boundary: bytes, contents: list[bytes], step: int, lf: bool
) -> None:
    """For every content that RFC 2046 allows: no line in it begins with the delimiter."""
    newline = b"\n" if lf else b"\r\n"
    contents = [c for c in contents if newline + b"--" + boundary not in newline + c + newline]
    body = b"".join(
        newline.join(
            [b"--" + boundary, b'Content-Disposition: form-data; name="p%d"' % n, b"", c, b""]
        )
        for n, c in enumerate(contents)
    )
    parts = read(body + b"--" + boundary + b"--" + newline, boundary, step)
    assert [(p.name, p.content.load()) for p in parts] == [
        (f"p{n}", c) for n, c in enumerate(contents)
    ]


@given(
    body=st.lists(
        pieces_st
        | st.sampled_from(
            [
                b"--B",
                b"--B\r\n",
                b"--B--",
                b"name=a\r\n\r\n",
                b"Content-Disposition: x; name=file_metadata_1\r\n\r\n",
                b"\r",
            ]
        ),
        max_size=40,
    ).map(b"".join),
    step=st.integers(1, 50),
)
def test_any_bytes_at_all_end_in_parts_or_a_refusal_whatever_the_pieces(
    body: bytes, step: int
) -> None:
    def outcome(size: int) -> object:
        try:
            return [(p.name, p.content.load()) for p in read(body, step=size)]
        except MultipartError:
            return "refused"

    assert outcome(step) == outcome(0)

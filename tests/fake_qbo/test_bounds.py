"""Whatever comes in, reading it ends soon, in little memory, and in the documented fault."""

from __future__ import annotations

import contextlib
import gzip
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.fake_qbo.encoding import EncodingError, Inflater
from qbo_attach.fake_qbo.multipart import MultipartError, MultipartReader
from qbo_attach.fake_qbo.query import QueryError, parse
from qbo_attach.fake_qbo.vault import DiskVault
from tests.fake_qbo.asking import Asking, code

SIZE = 4_000_000
PIECE = 64 * 1024


def part(name: str, more: bytes = b"") -> bytes:
    return b'--B\r\nContent-Disposition: form-data; name="%s"\r\n%s\r\n' % (name.encode(), more)


def filled(head: bytes, pattern: bytes) -> bytes:
    return head + pattern * (SIZE // len(pattern))


FORMS: dict[str, bytes] = {
    "content": filled(part("file_content_1"), random.Random(1).randbytes(1000)),
    "false boundaries": filled(part("file_content_1"), b"\r\n--Bx" + b"y" * 100),
    "false boundaries in metadata": filled(part("file_metadata_1"), b"\n--Bx" + b"y" * 100),
    "half boundaries": filled(part("file_content_1"), b"\r\n--"),
    "padded boundaries": filled(part("file_content_1"), b"\r\n--B" + b" " * 300),
    "carriage returns": filled(part("file_metadata_1"), b"\r"),
    "base64": filled(part("file_content_1", b"Content-Transfer-Encoding: base64\r\n"), b"YWJj\r\n"),
    "base64 that is none": filled(part("f", b"Content-Transfer-Encoding: base64\r\n"), b"!"),
    "a preamble": filled(b"", b"--Bx"),
    "a header without end": filled(b"--B\r\n", b"a: b"),
    "many headers": filled(b"--B\r\n", b"a: b\r\n"),
    "a header of quotes": b"--B\r\nContent-Disposition: form-data" + b';name="' * 4_000 + b"\r\n\r\n",
    "many parts": filled(b"", part("p") + b"x\r\n"),
    "nothing but line ends": filled(b"", b"\r\n"),
    "an epilogue": filled(b"--B--\r\n", b"x"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read_or_refused_in_little_memory_and_time(form: str, tmp_path: Path) -> None:
    """A part is in memory up to 256 KiB, and some pieces; the rest is on disk."""
    body = FORMS[form]
    vault = DiskVault(tmp_path)
    reader = MultipartReader(b"B", vault)
    tracemalloc.start()
    began = time.process_time()
    with contextlib.suppress(MultipartError):
        for at in range(0, len(body), PIECE):
            reader.feed(body[at : at + PIECE])
        reader.finish()
    took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reader.discard()
    vault.close()
    assert peak < (3 << 19) + (4_000 * 1_000 if form == "many parts" else 0)
    assert took < 10
    assert not list(tmp_path.glob("spool-*"))


STATEMENTS: dict[str, str] = {
    "spaces": "select" + " " * 150_000 + "* from Bill",
    "quotes": "select * from Bill where Id = '" + "\\'" * 90_000,
    "an IN list": "select * from Bill where Id in (" + "'1'," * 40_000 + "'2')",
    "many conditions": "select * from Bill where " + " and ".join(["Id = '1'"] * 12_000),
    "brackets": "select * from Bill where Id in " + "(" * 150_000,
    "too long": "select * from Bill where Id = '" + "x" * 300_000 + "'",
    "names": "select " + "a," * 90_000 + "b from Bill",
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_read_or_refused_soon(name: str) -> None:
    began = time.process_time()
    with contextlib.suppress(QueryError):
        parse(STATEMENTS[name])
    assert time.process_time() - began < 5


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "bare deflate": ("deflate", lambda data: zlib.compress(data)[2:-4]),
    "two members": ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
    "padding": ("gzip", lambda data: gzip.compress(data) + bytes(7)),
}


def inflated(coding: str, body: bytes, step: int) -> bytes:
    inflater = Inflater(coding)
    whole = b"".join(
        piece for at in range(0, len(body), step) for piece in inflater.pieces(body[at : at + step])
    )
    inflater.finish()
    return whole


@given(data=st.binary(max_size=300), step=st.integers(1, 40), how=st.sampled_from(sorted(CODINGS)))
def test_an_encoded_body_is_what_it_was_whatever_the_pieces(
    data: bytes, step: int, how: str
) -> None:
    coding, encode = CODINGS[how]
    assert inflated(coding, encode(data), step) == data


@given(
    body=st.binary(max_size=60), step=st.integers(1, 9), coding=st.sampled_from(["gzip", "deflate"])
)
def test_any_body_at_all_is_inflated_or_refused(body: bytes, step: int, coding: str) -> None:
    with contextlib.suppress(EncodingError):
        inflated(coding, body, step)


def test_a_bomb_is_unpacked_no_further_than_a_request_may_be_long() -> None:
    asking = Asking(max_request_bytes=500_000)
    bomb = gzip.compress(part("file_content_1") + bytes(100_000_000))
    tracemalloc.start()
    reply = asking.upload(raw=bomb, headers={"content-encoding": "gzip"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (reply.status, code(reply)) == (400, "6030")
    assert peak < 4 << 20
    posted = asking.call("POST", "query", gzip.compress(bytes(100_000_000)), headers={"content-encoding": "gzip"})  # fmt: skip
    assert (posted.status, code(posted)) == (413, "2050")
    assert asking.ledger() == []

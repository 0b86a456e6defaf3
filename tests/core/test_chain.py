"""Segments of the run log: read back as written, and refused when torn or altered."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.chain import (
    Done,
    Facts,
    GroupFile,
    Holder,
    Intent,
    Looked,
    Record,
    Recorded,
    Refused,
    RunEnded,
    RunStarted,
    SegmentHeader,
    Snapshot,
    entity_refs,
)
from qbo_attach.core.errors import RunLogDamagedError
from qbo_attach.core.model import EntityRef
from qbo_attach.core.segments import (
    FORMAT,
    decode_segment,
    encode_segment,
    segment_name,
    segment_numbers,
)

URL = "log/runlog/77/00000001.jsonl"
AT = "2026-01-05T08:00:00Z"


def header(**given_fields: object) -> SegmentHeader:
    plain = SegmentHeader(1, "run", Holder("host", 7, "boot", "ns", "99"), AT, AT, "nonce")
    return replace(plain, **given_fields)  # type: ignore[arg-type]  # fields by name


FILE = GroupFile(
    "key",
    'x/\u00e4 \udcff"\n.pdf',
    "\u00e4.pdf",
    "application/pdf",
    5,
    AT,
    "e",
    "Bill;Invoice",
    "1;2",
)
ALL_KINDS: list[Record] = [
    RunStarted("run", AT, "77", "sandbox", "Company", "files", "disk", "1", "a", 3),
    Intent("r1", "b1", 1, AT, AT, "tag", (FILE, replace(FILE, key="other"))),
    Recorded(AT, "success", "key", FILE.path, "r1", attachable_id="9"),
    Recorded(AT, "file_missing", "key", FILE.path, file=FILE),
    Looked("r1", AT, 0, settled=True),
    Facts("x", 5, AT, "", "a"),
    RunEnded("run", AT, {"success": 2}, 4, "why"),
    Snapshot(3, "disk", 1),
    Done("key", "x", "x", "Bill", "1", 5, AT, "", "a", "9", "success", "run", "disk"),
    Refused("x", "6041 no", "run"),
]


def test_every_kind_of_record_is_read_back_as_written() -> None:
    data = encode_segment(header(), ALL_KINDS)
    assert decode_segment(data, URL) == (header(), ALL_KINDS)


@pytest.mark.parametrize("size", [1, 100, 65_000, 65_480, 65_481, 65_482, 65_483, 65_536, 200_000])
def test_lines_of_any_length_are_read_back_as_written(size: int) -> None:
    records = [Refused("x" * size, "6041 no", f"{n}") for n in range(5)]
    assert decode_segment(encode_segment(header(), records), URL) == (header(), records)


def test_a_segment_without_records_is_not_empty_and_is_read_back() -> None:
    data = encode_segment(header(), [])
    assert data
    assert decode_segment(data, URL) == (header(), [])


@given(st.lists(st.text(), max_size=4))
def test_any_text_survives(texts: list[str]) -> None:
    records: list[Record] = [Refused(text, text, "run") for text in texts]
    assert decode_segment(encode_segment(header(), records), URL)[1] == records


@given(st.data())
def test_a_segment_torn_anywhere_is_refused(data: st.DataObject) -> None:
    whole = encode_segment(header(), ALL_KINDS)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(RunLogDamagedError, match="torn"):
        decode_segment(whole[:cut], URL)


def test_a_segment_that_lost_a_line_is_refused() -> None:
    lines = encode_segment(header(), ALL_KINDS).splitlines(keepends=True)
    with pytest.raises(RunLogDamagedError, match="torn"):
        decode_segment(b"".join(lines[:3] + lines[4:]), URL)


@pytest.mark.parametrize("data", [b"", b"\n", b"[]\n", b"{}\n{}\n", b"\xff\xfe\n", b"null\n1\n"])
def test_what_is_no_segment_is_refused_by_its_name(data: bytes) -> None:
    with pytest.raises(RunLogDamagedError, match="00000001"):
        decode_segment(data, URL)


def test_a_record_of_an_unknown_kind_is_refused() -> None:
    data = encode_segment(header(), ALL_KINDS).replace(b'"r":"look"', b'"r":"lark"')
    with pytest.raises(RunLogDamagedError, match="not ours"):
        decode_segment(data, URL)


def test_a_newer_format_is_refused_with_the_remedy() -> None:
    with pytest.raises(RunLogDamagedError, match="newer version"):
        decode_segment(encode_segment(header(format=FORMAT + 1), []), URL)


def test_a_field_that_an_older_version_did_not_write_has_its_default() -> None:
    lines = encode_segment(header(), [Facts("x", 5, AT, "", "a")]).decode().splitlines()
    record = json.loads(lines[1])
    del record["key"]
    data = "\n".join([lines[0], json.dumps(record), lines[2]]) + "\n"
    assert decode_segment(data.encode(), URL)[1] == [Facts("x", 5, AT, "", "a", key="")]


def test_segments_are_numbered_without_a_gap_and_other_files_are_passed_over() -> None:
    names = [segment_name(n) for n in (2, 1, 3)]
    assert segment_numbers([*names, "notes.txt", "00000004.jsonl.tmp"], "log") == [1, 2, 3]
    assert segment_numbers([], "log") == []


@pytest.mark.parametrize(("numbers", "gap"), [((2, 3), 1), ((1, 3), 2), ((1, 2, 4, 6), 3)])
def test_a_missing_segment_is_named(numbers: tuple[int, ...], gap: int) -> None:
    with pytest.raises(RunLogDamagedError, match=segment_name(gap)):
        segment_numbers([segment_name(n) for n in numbers], "log")


def test_several_entity_refs_stand_in_two_cells() -> None:
    assert entity_refs("Bill;Invoice", "1;2") == (EntityRef("Bill", "1"), EntityRef("Invoice", "2"))
    assert entity_refs("Bill", "1") == (EntityRef("Bill", "1"),)

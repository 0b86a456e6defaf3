"""The sample's files are what their extension says."""

from __future__ import annotations

import csv
import email
import io
import re
import struct
import xml.etree.ElementTree as ET
import zipfile
import zlib

import pytest

from qbo_attach.sample.formats import KINDS, Material, make, material

SIZES = (1_024, 7_000, 60 * 1_024)
STUFF = material(1)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"empty"}))
@pytest.mark.parametrize("size", SIZES)
def test_a_file_has_about_its_size_and_equal_arguments_give_equal_bytes(
    kind: str, size: int
) -> None:
    data = make(kind, "a label", size, STUFF)
    assert size * 0.6 - 500 < len(data) < size * 1.25 + 1_500
    assert data == make(kind, "a label", size, material(1))
    assert data != make(kind, "b label", size, STUFF)
    assert data != make(kind, "a label", size, material(2))


def test_noise_and_texts_go_on_where_the_block_ends() -> None:
    stuff = Material(b"0123456789" * 13108, tuple(f"text {n}" for n in range(2_000)))
    assert len(stuff.cut("any", 300_000)) == 300_000
    assert len(stuff.texts("any", 24 * 5_000)) == 5_000


@pytest.mark.parametrize("size", SIZES)
def test_a_pdf_has_every_object_where_its_xref_says(size: int) -> None:
    data = make("pdf", "seed 1 (file)", size, STUFF)
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n\Z", data)[1])  # type: ignore[index]
    assert data[start:].startswith(b"xref\n0 7\n")
    entries = data[start:].split(b"\n", 2)[2][: 7 * 20]
    assert all(len(entries[i : i + 20]) == 20 for i in range(0, 140, 20))
    for number in range(1, 7):
        offset = int(entries[number * 20 : number * 20 + 10])
        assert data[offset:].startswith(b"%d 0 obj\n" % number)
        head = data[offset : data.index(b"endobj", offset)]
        if b"stream\n" in head:
            length = int(re.search(rb"/Length (\d+)", head)[1])  # type: ignore[index]
            body = data.index(b"stream\n", offset) + len(b"stream\n")
            assert data[body + length :].startswith(b"\nendstream\nendobj")
    image = re.search(rb"/Width (\d+) /Height (\d+).*?/Length (\d+)", data)
    assert image
    assert int(image[1]) * int(image[2]) == int(image[3])
    assert b"(seed 1 \\(file\\)) Tj" in data


@pytest.mark.parametrize("size", SIZES)
def test_a_png_has_right_checksums_and_as_many_pixels_as_it_says(size: int) -> None:
    data = make("png", "label", size, STUFF)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(name + body),)
        chunks[name] = body
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    pixels = zlib.decompress(chunks[b"IDAT"])
    assert (depth, colour) == (8, 0)
    assert len(pixels) == (width + 1) * height
    assert set(pixels[:: width + 1]) == {0}


@pytest.mark.parametrize("size", SIZES)
def test_a_jpeg_decodes_to_all_its_blocks(size: int) -> None:
    data = make("jpg", "label", size, STUFF)
    assert data.startswith(b"\xff\xd8\xff\xe0")
    at, seen = 2, []
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        seen.append(marker)
        at += 2 + length
        if marker == 0xFFDA:
            break
    assert set(seen) == {0xFFE0, 0xFFFE, 0xFFDB, 0xFFC0, 0xFFC4, 0xFFDA}
    assert data.endswith(b"\xff\xd9")
    scan = data[at:-2].replace(b"\xff\0", b"\xff")
    bits = "".join(f"{byte:08b}" for byte in scan)
    at = 0
    for _ in range(16 * 16):
        category = int(bits[at : at + 4], 2)
        assert category < 8
        at += 4 + category
        assert bits[at] == "0"
        at += 1
    assert set(bits[at:]) <= {"1"}
    assert len(bits) - at < 8


@pytest.mark.parametrize("size", SIZES)
def test_a_tiff_has_sorted_tags_and_its_strip_ends_the_file(size: int) -> None:
    data = make("tif", "label", size, STUFF)
    assert data[:4] == b"II*\0"
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    entries = [struct.unpack_from("<HHII", data, first + 2 + 12 * n) for n in range(count)]
    values = {tag: value for tag, _, _, value in entries}
    assert [e[0] for e in entries] == sorted(values)
    assert values[256] * values[257] == values[279]
    assert values[273] + values[279] == len(data)
    assert data[values[270] :].startswith(b"label\0")
    assert struct.unpack_from("<IIII", data, values[282]) == (72, 1, 72, 1)
    assert struct.unpack_from("<I", data, first + 2 + 12 * count) == (0,)


@pytest.mark.parametrize("kind", ["xlsx", "docx", "zip"])
def test_an_archive_is_whole_and_tells_no_time(kind: str) -> None:
    with zipfile.ZipFile(io.BytesIO(make(kind, "label", 20_000, STUFF))) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("kind", ["xlsx", "docx"])
def test_an_office_package_declares_and_relates_each_part(kind: str) -> None:
    with zipfile.ZipFile(io.BytesIO(make(kind, "label", 20_000, STUFF))) as archive:
        parts = {name: ET.fromstring(archive.read(name)) for name in archive.namelist()}
    declared = {e.get("PartName") for e in parts["[Content_Types].xml"] if e.get("PartName")}
    assert declared == {f"/{name}" for name in parts if not re.search(r"rels$|^\[", name)}
    targets = {e.get("Target") for name, x in parts.items() if name.endswith(".rels") for e in x}
    folder = "xl/" if kind == "xlsx" else "word/"
    assert all(t in parts or f"{folder}{t}" in parts for t in targets)
    assert any(e.text == "label" for xml in parts.values() for e in xml.iter())


def test_texts_are_readable() -> None:
    text = make("txt", "label", 5_000, STUFF).decode("ascii")
    assert text.startswith("label\n")
    rows = list(csv.reader(io.StringIO(make("csv", "label", 5_000, STUFF).decode("ascii"))))
    assert {len(row) for row in rows} == {2}
    assert email.message_from_bytes(make("eml", "label", 5_000, STUFF))["Subject"] == "label"


def test_an_empty_file_has_no_bytes() -> None:
    assert make("empty", "label", 5_000, STUFF) == b""

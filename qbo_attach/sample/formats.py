"""Real file bytes, small and cheap: what a reader of that format opens without complaint.

Each file is made of a label, which makes it different from every other file, and of noise out of
one block a seed, cut at a place that the label chooses. Nothing here depends on the clock, and
ZIP members are stored, not deflated, so that bytes do not depend on a zlib's version either.
"""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

_NOISE_BYTES = 1 << 17
_ROW_COUNT = 2_000
_WIDTH = 96
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class Material(NamedTuple):
    """What a seed's files are cut from: `noise` (128 KiB) and `words` (2,000 short texts)."""

    noise: bytes
    words: tuple[str, ...]

    def cut(self, label: str, size_bytes: int) -> bytes:
        """Give `size_bytes` of noise; equal labels give equal noise."""
        start = zlib.crc32(label.encode()) % _NOISE_BYTES
        piece = self.noise[start : start + size_bytes]
        while len(piece) < size_bytes:
            piece += self.noise[: size_bytes - len(piece)]
        return piece

    def texts(self, label: str, size_bytes: int) -> list[str]:
        """Give some texts of together about `size_bytes`, at least one."""
        count = max(1, size_bytes // 24)
        start = zlib.crc32(label.encode()) % _ROW_COUNT
        rows = list(self.words[start : start + count])
        while len(rows) < count:
            rows += self.words[: count - len(rows)]
        return rows


def material(seed: int) -> Material:
    """Make the noise and the texts of a seed."""
    # A sample is to be repeatable, not secret.
    source = random.Random(f"formats {seed}")  # noqa: S311
    nouns = ("paper", "freight", "rent", "toner", "fuel", "permits", "labour", "timber", "glass")
    words = tuple(
        f"{source.choice(nouns):<9}{source.randrange(1, 10_000) / 100:>9.2f} net30"
        for _ in range(_ROW_COUNT)
    )
    return Material(source.randbytes(_NOISE_BYTES), words)


def make(kind: str, label: str, size_bytes: int, stuff: Material) -> bytes:
    """Make a file.

    Args:
        kind: one of `KINDS`.
        label: ASCII text that stands in the file; equal arguments give equal bytes.
        size_bytes: about how large; formats with much structure are never below some 700 bytes.
        stuff: the seed's material.
    """
    return KINDS[kind](label, size_bytes, stuff)


def _pdf(label: str, size_bytes: int, stuff: Material) -> bytes:
    """PDF 1.4 of one page: a line of text over a grey picture (ISO 32000-1, 7.5)."""
    height = max(1, (size_bytes - 800) // _WIDTH)
    picture = stuff.cut(label, _WIDTH * height)
    text = re.sub(r"[\\()]", r"\\\g<0>", label)
    page = f"q 468 0 0 600 72 72 cm /Scan Do Q BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    image = (
        f"/Type /XObject /Subtype /Image /Width {_WIDTH} /Height {height}"
        " /ColorSpace /DeviceGray /BitsPerComponent 8"
    )
    resources = b"/Resources << /Font << /F1 5 0 R >> /XObject << /Scan 6 0 R >> >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R %b >>" % resources,
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< %b /Length %d >>\nstream\n%b\nendstream" % (image.encode(), len(picture), picture),
    )
    body = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    table = [b"0000000000 65535 f \n"]
    for number, content in enumerate(objects, 1):
        table.append(b"%010d 00000 n \n" % len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(body)
    body += b"xref\n0 %d\n" % len(table) + b"".join(table)
    body += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % len(table)
    body += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(body)


def _png(label: str, size_bytes: int, stuff: Material) -> bytes:
    """PNG, 8-bit grey, with the label as a text chunk (W3C PNG, 5)."""
    height = max(1, (size_bytes - 120) // (_WIDTH + 1))
    picture = stuff.cut(label, _WIDTH * height)
    lines = b"".join(b"\0" + picture[row : row + _WIDTH] for row in range(0, len(picture), _WIDTH))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", _WIDTH, height, 8, 0, 0, 0, 0)),
        (b"tEXt", b"Title\0" + label.encode()),
        (b"IDAT", zlib.compress(lines, 0)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _jpeg(label: str, size_bytes: int, stuff: Material) -> bytes:
    """Baseline JPEG: 128 by 128 grey stripes; the noise stands in comments (ITU T.81, B.2)."""
    head, tail = _jpeg_frame()
    comments = [b"\xff\xfe" + struct.pack(">H", len(label) + 2) + label.encode()]
    noise = stuff.cut(label, max(1, size_bytes - len(head) - len(tail)))
    for start in range(0, len(noise), 60_000):
        piece = noise[start : start + 60_000]
        comments.append(b"\xff\xfe" + struct.pack(">H", len(piece) + 2) + piece)
    return head + b"".join(comments) + tail


@lru_cache(maxsize=1)
def _jpeg_frame() -> tuple[bytes, bytes]:
    """The start of the picture, and its frame, tables and scan.

    Two Huffman codes suffice: 4 bits for each DC category, and one bit for "no AC follows".
    """
    blocks = 16 * 16
    up, down = "0110" + "101000" + "0", "0110" + "010111" + "0"
    bits = "".join(up if number % 2 == 0 else down for number in range(blocks))
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    head = b"\xff\xd8" + segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
    tail = (
        segment(0xDB, b"\0" + bytes([8]) * 64)
        + segment(0xC0, struct.pack(">BHHBBBB", 8, 128, 128, 1, 1, 0x11, 0))
        + segment(0xC4, b"\0" + bytes([0, 0, 0, 8] + [0] * 12) + bytes(range(8)))
        + segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
        + segment(0xDA, b"\x01\x01\0\0\x3f\0")
        + scan
        + b"\xff\xd9"
    )
    return head, tail


def _tiff(label: str, size_bytes: int, stuff: Material) -> bytes:
    """TIFF 6.0, baseline, 8-bit grey, one strip (Adobe TIFF 6.0, section 4)."""
    text = label.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    height = max(1, (size_bytes - 200) // _WIDTH)
    short, long, ratio = 3, 4, 5
    tags = 12
    data_at = 8 + 2 + 12 * tags + 4
    strip_at = data_at + 16 + len(text)
    entries = (
        (256, long, 1, _WIDTH),
        (257, long, 1, height),
        (258, short, 1, 8),
        (259, short, 1, 1),
        (262, short, 1, 1),
        (270, 2, len(text), data_at + 16),
        (273, long, 1, strip_at),
        (277, short, 1, 1),
        (278, long, 1, height),
        (279, long, 1, _WIDTH * height),
        (282, ratio, 1, data_at),
        (283, ratio, 1, data_at + 8),
    )
    directory = struct.pack("<H", tags) + b"".join(struct.pack("<HHII", *e) for e in entries)
    resolution = struct.pack("<IIII", 72, 1, 72, 1)
    head = b"II*\0" + struct.pack("<I", 8) + directory + b"\0\0\0\0" + resolution + text
    return head + stuff.cut(label, _WIDTH * height)


def _txt(label: str, size_bytes: int, stuff: Material) -> bytes:
    return "\n".join([label, "", *stuff.texts(label, size_bytes), ""]).encode()


def _csv(label: str, size_bytes: int, stuff: Material) -> bytes:
    rows = [f"{n},{text}" for n, text in enumerate(stuff.texts(label, size_bytes), 1)]
    return "\n".join([f"line,{label}", *rows, ""]).encode()


def _eml(label: str, size_bytes: int, stuff: Material) -> bytes:
    head = f"From: a@example.com\r\nTo: b@example.com\r\nSubject: {label}\r\n\r\n"
    return (head + "\r\n".join(stuff.texts(label, size_bytes))).encode()


_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TYPES = "application/vnd.openxmlformats-officedocument."


def _content_types(parts: tuple[tuple[str, str], ...]) -> str:
    overrides = "".join(
        f'<Override PartName="{name}" ContentType="{_TYPES}{kind}+xml"/>' for name, kind in parts
    )
    return (
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels"'
        f' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )


def _relation(kind: str, target: str) -> str:
    return (
        f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/{kind}" Target="{target}"/></Relationships>'
    )


def _docx(label: str, size_bytes: int, stuff: Material) -> bytes:
    """WordprocessingML, the smallest package a word processor opens (ECMA-376, part 1, 11)."""
    texts = [label, *stuff.texts(label, (size_bytes - 1_400) // 2)]
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in texts)
    return _archive(
        ("[Content_Types].xml", _content_types((_DOCUMENT,))),
        ("_rels/.rels", _relation("officeDocument", "word/document.xml")),
        (
            "word/document.xml",
            f'{_XML}<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
        ),
    )


_DOCUMENT = ("/word/document.xml", "wordprocessingml.document.main")
_WORKBOOK = ("/xl/workbook.xml", "spreadsheetml.sheet.main")
_WORKSHEET = ("/xl/worksheets/sheet1.xml", "spreadsheetml.worksheet")


def _xlsx(label: str, size_bytes: int, stuff: Material) -> bytes:
    """SpreadsheetML of one sheet, texts inline (ECMA-376, part 1, 12)."""
    texts = [label, *stuff.texts(label, (size_bytes - 2_000) // 3)]
    rows = "".join(f'<row><c t="inlineStr"><is><t>{text}</t></is></c></row>' for text in texts)
    sheet = '<sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets>'
    return _archive(
        ("[Content_Types].xml", _content_types((_WORKBOOK, _WORKSHEET))),
        ("_rels/.rels", _relation("officeDocument", "xl/workbook.xml")),
        (
            "xl/workbook.xml",
            f'{_XML}<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}">{sheet}</workbook>',
        ),
        ("xl/_rels/workbook.xml.rels", _relation("worksheet", "worksheets/sheet1.xml")),
        (
            "xl/worksheets/sheet1.xml",
            f'{_XML}<worksheet xmlns="{_SHEET}"><sheetData>{rows}</sheetData></worksheet>',
        ),
    )


def _zip(label: str, size_bytes: int, stuff: Material) -> bytes:
    return _archive((f"{label}.txt", "\n".join(stuff.texts(label, size_bytes))))


def _archive(*members: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in members:
            info = zipfile.ZipInfo(name, _ZIP_EPOCH)
            info.create_system = 0  # else it tells the platform
            info.external_attr = 0o600 << 16
            archive.writestr(info, text)
    return buffer.getvalue()


def _binary(label: str, size_bytes: int, stuff: Material) -> bytes:
    """Bytes of no format that QBO takes: mail stores, caches of the desktop, unknown files."""
    return label.encode() + b"\0" + stuff.cut(label, max(1, size_bytes - len(label) - 1))


def _empty(label: str, size_bytes: int, stuff: Material) -> bytes:
    del label, size_bytes, stuff
    return b""


KINDS: dict[str, Callable[[str, int, Material], bytes]] = {
    "pdf": _pdf,
    "png": _png,
    "jpg": _jpeg,
    "tif": _tiff,
    "xlsx": _xlsx,
    "docx": _docx,
    "txt": _txt,
    "csv": _csv,
    "eml": _eml,
    "zip": _zip,
    "binary": _binary,
    "empty": _empty,
}

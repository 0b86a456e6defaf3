"""The run log's segments as text: what is written, what is read back.

A segment is one JSON Lines file, `LOG_DIR/runlog/<realm>/<seq:08d>.jsonl`, created once and never
changed. Its first line is the header (`SegmentHeader`), its last line counts the records between,
so that a torn file is known by itself; `prev_sha256` ties each segment to the bytes of the one
before, so that a missing or altered one is known from its successor.

A reader of this format takes records of older versions: fields added later have defaults.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import Any

import orjson

from qbo_attach.core.chain import (
    Deleting,
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
)
from qbo_attach.core.errors import RunLogDamagedError

FORMAT = 2
"""The newest format. Segments are written as of format 1, but those that its readers cannot take:
parts of a snapshot of several, and what an undo is about to delete."""

_KINDS: dict[str, type[Any]] = {
    "run": RunStarted,
    "intent": Intent,
    "deleting": Deleting,
    "outcome": Recorded,
    "look": Looked,
    "facts": Facts,
    "end": RunEnded,
    "snapshot": Snapshot,
    "done": Done,
    "refused": Refused,
}
_NAMES = {cls: name for name, cls in _KINDS.items()}
_FIELDS = {
    cls: tuple(f.name for f in fields(cls))
    for cls in (*_KINDS.values(), GroupFile, Holder, SegmentHeader)
}
_CELLS = {cls: attrgetter(*names) for cls, names in _FIELDS.items()}


def _plain(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any class of `_FIELDS`
    cls = type(value)
    return dict(zip(_FIELDS[cls], _CELLS[cls](value), strict=True))


_JSON = json.JSONEncoder(separators=(",", ":"), default=_plain)
"""One for all lines: `json.dumps` makes another for each."""


def _line(kind: str, value: Any) -> bytes:  # noqa: ANN401 - any of our records
    return _JSON.encode({"r": kind, **_plain(value)}).encode("ascii")


def encode_segment(header: SegmentHeader, records: Iterable[Record | bytes]) -> bytes:
    """A segment's bytes: header, one line a record, and the closing count. Never empty.

    A record may be given as the line that it is, without the line end.
    """
    lines = [_line("segment", header)]
    lines.extend(
        record if isinstance(record, bytes) else _line(_NAMES[type(record)], record)
        for record in records
    )
    close = json.dumps({"r": "close", "records": len(lines) - 1}, separators=(",", ":"))
    return b"\n".join((*lines, close.encode("ascii"), b""))


_DONE_CELLS = ("r", *_FIELDS[Done])


def encode_done(done: Done) -> bytes:
    """A done row's line, as a segment has it; there are so many that each microsecond shows."""
    text = encode_basestring_ascii
    return (
        f'{{"r":"done","key":{text(done.key)},"path":{text(done.path)},'
        f'"sent_file_name":{text(done.sent_file_name)},'
        f'"qbo_entity_type":{text(done.qbo_entity_type)},'
        f'"qbo_entity_id":{text(done.qbo_entity_id)},"size_bytes":{done.size_bytes},'
        f'"modified_at":{text(done.modified_at)},"etag":{text(done.etag)},'
        f'"sha256":{text(done.sha256)},"attachable_id":{text(done.attachable_id)},'
        f'"outcome":{text(done.outcome)},"run_id":{text(done.run_id)},"store":{text(done.store)}}}'
    ).encode("ascii")


def decode_done(line: bytes) -> Done:
    """A done row from its line.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    cells = _loaded(line)
    if tuple(cells) == _DONE_CELLS:
        _, *values = cells.values()
        return Done(*values)
    del cells["r"]
    done: Done = _built(Done, cells)
    return done


_ID = b'","attachable_id":"'


def attachable_id_of(line: bytes) -> str:
    """The attachable's id in a done row's line."""
    begin = line.rfind(_ID) + len(_ID)
    text = line[begin : line.find(b'"', begin)]
    if begin < len(_ID) or b"\\" in text:
        return decode_done(line).attachable_id
    return text.decode("ascii")


def state_in_line(
    entity_type: str, entity_id: str, size_bytes: int, modified_at: str, etag: str
) -> bytes:
    """What a done row's line holds if it has these cells, and else does not hold.

    They stand next to one another, and within a cell a quote has a backslash.
    """
    one, two, three, four = map(
        encode_basestring_ascii, (entity_type, entity_id, modified_at, etag)
    )
    return (
        f'"qbo_entity_type":{one},"qbo_entity_id":{two},"size_bytes":{size_bytes},'
        f'"modified_at":{three},"etag":{four},'
    ).encode("ascii")


DONE_LINE = b'{"r":"done","key":"'
"""How the line of a done row begins."""


def decode_segment(
    data: bytes, url: str, keep_done: Callable[[bytes], None] | None = None
) -> tuple[SegmentHeader, list[Record]]:
    """Read a segment back; with `keep_done`, done rows are given to it as lines instead.

    Raises:
        RunLogDamagedError: torn, altered, or of a newer format than this version reads.
    """
    header = decode_header(data, url)
    begin = data.index(b"\n") + 1
    end = data.rfind(b"\n", 0, -1) + 1
    try:
        if not data.endswith(b"\n") or end < begin:
            raise RunLogDamagedError(url, _TORN)
        if json.loads(data[end:-1]) != {"r": "close", "records": data.count(b"\n", begin, end)}:
            raise RunLogDamagedError(url, _TORN)
        return header, list(_records(_lines(data, begin, end), keep_done))
    except ValueError as error:
        raise RunLogDamagedError(url, _TORN) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise RunLogDamagedError(url, f"holds a record that is not ours ({error})") from error


def _lines(data: bytes, begin: int, end: int) -> Iterator[bytes]:
    """The lines between two line ends, some at a time: all at once would be the segment again."""
    while begin < end:
        after = data.find(b"\n", min(begin + _SOME_BYTES, end) - 1) + 1
        yield from data[begin : after - 1].split(b"\n")
        begin = after


_SOME_BYTES = 1 << 16


def _records(lines: Iterable[bytes], keep_done: Callable[[bytes], None] | None) -> Iterator[Record]:
    for line in lines:
        if keep_done is not None and line.startswith(DONE_LINE):
            keep_done(line)
        else:
            yield _record(_loaded(line))


def _loaded(line: bytes) -> Any:  # noqa: ANN401 - any JSON
    """As json.loads, which alone takes half a surrogate: a name that is not UTF-8 may have one."""
    try:
        return orjson.loads(line)
    except ValueError:
        return json.loads(line.decode("utf-8", "surrogatepass"))


_TORN = "is torn or not a segment of a run log"


def decode_header(data: bytes, url: str) -> SegmentHeader:
    """A segment's first line.

    Raises:
        RunLogDamagedError: it is none of ours, or of a newer format than this version reads.
    """
    try:
        head = json.loads(data[: data.index(b"\n")])
        if head.pop("r") != "segment":
            raise RunLogDamagedError(url, _TORN)
        if head.get("format", 0) > FORMAT:
            newer = "was written by a newer version of qbo-attach; use that one"
            raise RunLogDamagedError(url, newer)
        header: SegmentHeader = _built(
            SegmentHeader, {**head, "holder": _built(Holder, head["holder"])}
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunLogDamagedError(url, _TORN) from error
    return header


def snapshot_seq(header: SegmentHeader) -> int:
    """The first segment of the newest whole snapshot, as a segment of the chain tells; 0: none."""
    if header.is_snapshot and header.part == header.parts:
        return header.seq - header.part + 1
    return header.snapshot_seq


_REPEATED = ("qbo_entity_type", "outcome", "run_id", "store")
"""Cells that many rows of a snapshot share."""


def _record(line: dict[str, Any]) -> Record:
    cls = _KINDS[line.pop("r")]
    if cls is Intent:
        line["files"] = tuple(_built(GroupFile, f) for f in line["files"])
    elif cls is Done:
        for name in _REPEATED:
            line[name] = sys.intern(line[name])
    elif cls is Recorded and line.get("file") is not None:
        line["file"] = _built(GroupFile, line["file"])
    record: Record = _built(cls, line)
    return record


def _built(cls: type[Any], values: dict[str, Any]) -> Any:  # noqa: ANN401 - the class given
    known = _FIELDS[cls]
    if (*values,) == known:
        return cls(*values.values())  # as every line of ours is; by name takes twice as long
    if len(values) > len(known):
        values = {name: values[name] for name in known if name in values}
    return cls(**values)


_SEGMENT_NAME = re.compile(r"[0-9]{8}\.jsonl")


def segment_name(seq: int) -> str:
    """File name of segment number `seq` (from 1)."""
    return f"{seq:08d}.jsonl"


def segment_numbers(names: Sequence[str], url: str) -> list[int]:
    """The numbers of the segments among a folder's file names, ascending, without a gap.

    Raises:
        RunLogDamagedError: a number is missing in between.
    """
    numbers = sorted(int(name[:8]) for name in names if _SEGMENT_NAME.fullmatch(name))
    if numbers and numbers != list(range(1, numbers[-1] + 1)):
        gap = next(i for i, n in enumerate(numbers, 1) if i != n)
        raise RunLogDamagedError(f"{url}/{segment_name(gap)}", "is missing from the run log")
    return numbers

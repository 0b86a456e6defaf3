"""The run log's records and segments as text: what is written, what is read back.

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
from dataclasses import dataclass, fields
from typing import Any, Union

from qbo_attach.core.errors import RunLogDamagedError
from qbo_attach.core.model import EntityRef

FORMAT = 2
"""The newest format. Segments are written as of format 1, but those that its readers cannot take:
parts of a snapshot of several, and what an undo is about to delete."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that wrote a segment: enough to prove on its own host that it is gone.

    `boot_id`, `pid_namespace` and `started` (the process's start time as the kernel counts it)
    are "" where they cannot be read; then only standing still for a whole lease proves it.
    """

    host: str
    pid: int
    boot_id: str = ""
    pid_namespace: str = ""
    started: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """First line of a segment. `lease_until` is "" in the segment that releases the lease.

    `snapshot_seq` is the number of the newest snapshot before this segment (0: none); a segment
    with `is_snapshot` holds the folded state instead of events, or the `part`th of `parts` of it;
    `snapshot_seq` then names the first part of a snapshot that is whole.
    """

    seq: int
    run_id: str
    holder: Holder
    written_at: str
    lease_until: str
    nonce: str
    prev_sha256: str = ""
    snapshot_seq: int = 0
    is_snapshot: bool = False
    format: int = 1
    part: int = 1
    parts: int = 1


@dataclass(frozen=True, slots=True)
class GroupFile:
    """One attachment within an intent: all that its rows in the CSVs and a resend need.

    Several entity refs stand as `Bill;Invoice` and `12;34`. `sha256` is "" where nothing had to
    read the file yet. `match_rule` tells what mapped it, where the mapping says.
    """

    key: str
    path: str
    sent_file_name: str
    content_type: str
    size_bytes: int
    modified_at: str
    etag: str
    qbo_entity_type: str
    qbo_entity_id: str
    legacy_txnid_norm: str = ""
    legacy_entity_type: str = ""
    raw_legacy_id: str = ""
    client: str = ""
    file_name: str = ""
    sha256: str = ""
    match_rule: str = ""

    @property
    def refs(self) -> tuple[EntityRef, ...]:
        """The entities this attachment hangs on."""
        return entity_refs(self.qbo_entity_type, self.qbo_entity_id)


def entity_refs(types: str, ids: str) -> tuple[EntityRef, ...]:
    """`Bill;Invoice` and `12;34` as refs; one type may stand for all ids."""
    return tuple(
        EntityRef(t, i) for t, i in zip(types.split(";"), ids.split(";"), strict=True) if i
    )


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began. `store` names where the files lie: etags compare only within one store.

    `undoes`: of an undo, the run whose attachables it deletes; it has no plan, files or store.
    """

    run_id: str
    at: str
    realm_id: str
    environment: str
    company: str
    files_dir: str
    store: str
    version: str
    plan_sha256: str = ""
    plan_rows: int = 0
    undoes: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """A request group about to be sent; durable before its first byte leaves.

    An intent with the `request_id` of an earlier one renews it (`attempt` says how often the
    group went out before). `send_by` is UTC; no first byte leaves after it. `partial`, in a
    snapshot only: some files of the group had their outcome and are not listed any more.
    `clock_offset_s`: QBO's clock minus the writer's, as far as the writer knew it; None in logs of
    older versions.
    """

    request_id: str
    boundary: str
    attempt: int
    written_at: str
    send_by: str
    marker: str
    files: tuple[GroupFile, ...]
    partial: bool = False
    clock_offset_s: float | None = None


@dataclass(frozen=True, slots=True)
class Deleting:
    """An attachable about to be deleted by an undo; durable before the request leaves.

    `key` and `path` are the attachment's; the outcome under this key ends it. `undoes` is the run
    that made it.
    """

    at: str
    undoes: str
    key: str
    path: str
    attachable_id: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome of one attachment.

    `key` and `request_id` name the intent it ends; an outcome without an intent (the file was
    missing, QBO already had it) carries the attachment itself in `file`.
    """

    at: str
    outcome: str
    key: str
    path: str
    request_id: str = ""
    attachable_id: str = ""
    sha256: str = ""
    status_code: str = ""
    error: str = ""
    intuit_tid: str = ""
    attempt: int = 0
    duration_ms: int = 0
    file: GroupFile | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """QBO was asked for a group in doubt and showed `found` of its files.

    `settled`: the look came late enough for its silence to count.
    """

    request_id: str
    at: str
    found: int
    settled: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file was found to be, so that it is not read again.

    With `key`: the attachment done under this key now lies at `path` with this size, time and
    etag and the same content.
    """

    path: str
    size_bytes: int
    modified_at: str
    etag: str
    sha256: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run ended; `counts` by outcome (skips have no rows in the chain, only their count)."""

    run_id: str
    at: str
    counts: dict[str, int]
    requests_sent: int
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Heads a snapshot segment: it folds all segments up to `folds_to`."""

    folds_to: int
    store: str
    rows: int
    files_dir: str = ""


@dataclass(slots=True)
class Done:
    """A row of a snapshot: an attachment that is in QBO.

    Not frozen only because there are so many: making a frozen one takes three times as long.
    """

    key: str
    path: str
    sent_file_name: str
    qbo_entity_type: str
    qbo_entity_id: str
    size_bytes: int
    modified_at: str
    etag: str
    sha256: str
    attachable_id: str
    outcome: str
    run_id: str
    store: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A row of a snapshot: the last attempt for this path was refused."""

    path: str
    error: str
    run_id: str


Record = Union[  # noqa: UP007 - read at run time
    RunStarted, Intent, Deleting, Recorded, Looked, Facts, RunEnded, Snapshot, Done, Refused
]

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


def _plain(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, (GroupFile, Holder)):
        return {name: getattr(value, name) for name in _FIELDS[type(value)]}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _line(kind: str, value: Any) -> bytes:  # noqa: ANN401 - any of our records
    body = {"r": kind}
    body.update((name, _plain(getattr(value, name))) for name in _FIELDS[type(value)])
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode("ascii")


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


def encode_done(done: Done) -> bytes:
    """A done row's line."""
    return _line("done", done)


def decode_done(line: bytes) -> Done:
    """A done row from its line.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    cells = json.loads(line.decode("ascii"))
    del cells["r"]
    done: Done = _built(Done, cells)
    return done


DONE_LINE = b'{"r":"done","key":"'
"""How the line of a done row begins."""


def decode_segment(
    data: bytes, url: str, keep_done: Callable[[bytes], None] | None = None
) -> tuple[SegmentHeader, list[Record]]:
    """Read a segment back; with `keep_done`, done rows are given to it as lines instead.

    Raises:
        RunLogDamagedError: torn, altered, or of a newer format than this version reads.
    """
    lines = data.split(b"\n")
    header = decode_header(data, url)
    try:
        close = json.loads(lines[-2])
        if lines[-1] or close != {"r": "close", "records": len(lines) - 3}:
            raise RunLogDamagedError(url, _TORN)
        return header, list(_records(lines[1:-2], keep_done))
    except (ValueError, IndexError) as error:
        raise RunLogDamagedError(url, _TORN) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise RunLogDamagedError(url, f"holds a record that is not ours ({error})") from error


def _records(lines: list[bytes], keep_done: Callable[[bytes], None] | None) -> Iterator[Record]:
    for line in lines:
        if keep_done is not None and line.startswith(DONE_LINE):
            keep_done(line)
        else:
            yield _record(json.loads(line))


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

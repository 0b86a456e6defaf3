"""The run log's records: what a chain of segments says, in order. As text: core/segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from qbo_attach.core.model import EntityRef


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
    `unproven_since`: UTC at which the writer, or a run not long before it, first read the chain of
    a holder that it took over from without proof that it is gone; "" if there was none.
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
    unproven_since: str = ""


@dataclass(unsafe_hash=True, slots=True)
class GroupFile:
    """One attachment within an intent: all that its rows in the CSVs and a resend need.

    Several entity refs stand as `Bill;Invoice` and `12;34`. `sha256` is "" where nothing had to
    read the file yet. `match_rule` tells what mapped it, where the mapping says. Nobody changes
    one; for not being frozen it has the reason that `Done` has.
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


@dataclass(unsafe_hash=True, slots=True)
class Recorded:
    """The outcome of one attachment; not frozen for the reason that `Done` has.

    `key` and `request_id` name the intent it ends; an outcome without one (the file was missing,
    QBO already had it), or of an undo, carries the attachment itself in `file`.
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

"""What the next upload would do and take: by type, client and reason; requests; time.

Requests are packed here as the upload packs them (core/uploading). How long it takes is bounded by
the rate of requests that QBO allows, or by the way to it, which only a run that was not held back
by that rate can have measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from qbo_attach.core.chain import Intent, Record, Recorded, RunStarted, entity_refs
from qbo_attach.core.model import DONE_OUTCOMES, Action, Status
from qbo_attach.core.planned import group_file
from qbo_attach.core.tables import PlanRow, VerificationRow
from qbo_attach.core.uploading import GroupBytes, Queue
from qbo_attach.core.watching import duration

FREE_READS_A_MONTH = 500_000
"""Metered calls (reads and queries) that Intuit's free tier allows an app in a month, over all its
companies. https://blogs.intuit.com/2026/01/08/understanding-builder-tier-api-limits-for-you-and-
your-customers"""

IDS_PER_QUERY = 40
"""As qbo/wire asks."""

AUTO_GROUP = 10
"""FILES_PER_REQUEST=auto is reckoned with so many files; it climbs, and may go beyond."""

_REASONS = 100
_OTHERS = "(others)"
_PACKED_AT = 2_000
_MEASURED_FROM_S = 10.0
_MEASURED_FROM_REQUESTS = 10
_RATE_BOUND = 0.9
"""A run that used this share of the allowed requests was held back by them."""

_REASON_OF = {
    Action.LOOK.value: "in doubt: QBO is asked what arrived",
    Action.DUPLICATE_CONTENT.value: "same content under the same name",
    Action.EXISTING.value: "QBO has it already",
}

ESTIMATE = "upload_estimate.csv"

Key = tuple[str, str, str]


class EstimateRow(NamedTuple):
    """upload_estimate.csv: what the next upload would do, counted in several ways.

    `by` is `total`, `entity_type`, `client` or `reason`: `what` is then an action of the plan, or
    the verification status of what is not planned; `number` attachments of `size_bytes` in all. Or
    `by` is `requests` (`value` is their kind) or `duration` (`value` is its bound): `what` is the
    unit of `number`.
    """

    by: str
    value: str
    what: str
    number: str
    size_bytes: str = ""


@dataclass(slots=True)
class Measured:
    """What the chain tells of an earlier run's speed, its records taken in chain order.

    `first_at` is when its first intent was written, `last_at` when its last answer was recorded.
    """

    run_id: str = ""
    first_at: str = ""
    last_at: str = ""
    files: int = 0
    size_bytes: int = 0
    requests: set[str] = field(default_factory=set)
    _sizes: dict[str, int] = field(default_factory=dict)

    def take(self, records: Iterable[Record]) -> None:
        """Take a segment's records."""
        for record in records:
            if isinstance(record, RunStarted):
                self.run_id = record.run_id
            elif isinstance(record, Intent):
                self.first_at = self.first_at or record.written_at
                self._sizes.update((file.key, file.size_bytes) for file in record.files)
            elif isinstance(record, Recorded) and record.outcome in DONE_OUTCOMES:
                size = self._sizes.pop(record.key, None)
                if size is not None:
                    self.last_at = record.at
                    self.files += 1
                    self.size_bytes += size
                    self.requests.add(record.request_id)

    @property
    def seconds(self) -> float:
        """From its first intent to its last answer."""
        if not self.last_at:
            return 0.0
        return max(0.0, (_moment(self.last_at) - _moment(self.first_at)).total_seconds())

    @property
    def tells(self) -> bool:
        """Whether it was long enough to tell a rate."""
        return self.seconds >= _MEASURED_FROM_S and len(self.requests) >= _MEASURED_FROM_REQUESTS


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Tally:
    """Counts planned attachments and those that are not planned, and packs what is to be sent.

    Args:
        files_per_request: of FILES_PER_REQUEST; None for auto.
    """

    def __init__(self, files_per_request: int | None) -> None:
        self.counts: Counter[Key] = Counter()
        self.sizes: Counter[Key] = Counter()
        self.upload_requests = 0
        self.entities: dict[str, set[int]] = {}
        """By type the hashes of the ids that something is sent to: a million stay small."""
        self._most = files_per_request or AUTO_GROUP
        self._most_bytes = GroupBytes().most
        self._queue = Queue()
        self._reasons: set[str] = set()
        self._cells: dict[tuple[str, str, str, str], list[int]] = {}

    def planned(self, row: PlanRow) -> None:
        """Take a row of the plan."""
        reason = _REASON_OF.get(row.action) or _short(row.reason)
        self._add(row.qbo_entity_type, row.client, reason, row.action, row.size_bytes)
        if row.action == Action.SEND:
            for ref in entity_refs(row.qbo_entity_type, row.qbo_entity_id):
                self.entities.setdefault(ref.type, set()).add(hash(ref.id))
            self._queue.add([group_file(row)])
            if len(self._queue) >= _PACKED_AT:
                self._pack(_PACKED_AT // 2)

    def left(self, row: VerificationRow) -> None:
        """Take a row of the verification log; those that are ok are in the plan."""
        if row.status != Status.OK:
            reason = row.reason if row.status == Status.EXCLUDED else row.status
            kind = row.qbo_entity_type or row.legacy_entity_type
            self._add(kind, row.client, reason, row.status, row.size_bytes)

    def close(self) -> None:
        """All rows were taken."""
        self._pack(0)
        for (kind, client, reason, what), (count, size) in self._cells.items():
            values = {"total": "", "entity_type": kind, "client": client, "reason": reason}
            for by, value in values.items():
                self.counts[by, value, what] += count
                self.sizes[by, value, what] += size
        self._cells.clear()

    def _pack(self, left: int) -> None:
        while len(self._queue) > left:
            self._queue.take(self._most, self._most_bytes)
            self.upload_requests += 1

    def _add(self, kind: str, client: str, reason: str, what: str, size_bytes: str) -> None:
        if reason not in self._reasons and len(self._reasons) >= _REASONS:
            reason = _OTHERS
        self._reasons.add(reason)
        cell = self._cells.setdefault((kind, client, reason, what), [0, 0])
        cell[0] += 1
        cell[1] += int(size_bytes) if size_bytes.isdecimal() else 0


def _short(reason: str) -> str:
    """A reason without what is different for each row; of a refusal, with QBO's code."""
    head, _, rest = reason.partition(": ")
    return f"{head}: {rest.split(' ')[0]}" if head == "refused before" else head


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the next upload would take.

    `metered_reads`: reads and queries at most, if nothing goes wrong. `seconds`: expected, or the
    least possible where `bound_known` is False. `bound`: `rate`, `bandwidth`, or `nothing` where
    nothing is to be sent. `measured_run`: whose speed was used; "" for none.
    """

    counts: Mapping[Key, int]
    sizes: Mapping[Key, int]
    upload_requests: int
    metered_reads: int
    requests_per_min: int
    seconds: float
    bound: str
    bound_known: bool
    measured_run: str
    measured_bytes_per_s: float
    measured_requests_per_min: float

    def by(self, dimension: str) -> dict[str, dict[str, int]]:
        """Attachments by value, then by action or status."""
        found: dict[str, dict[str, int]] = {}
        for (by, value, what), count in sorted(self.counts.items()):
            if by == dimension:
                found.setdefault(value, {})[what] = count
        return found

    @property
    def bytes_to_send(self) -> int:
        """Of the files alone."""
        return self.sizes.get(("total", "", Action.SEND.value), 0)

    def sentences(self) -> tuple[str, ...]:
        """What a person is told besides the counts."""
        if self.bound == "nothing":
            return ("Nothing is to be sent.",)
        requests = self.upload_requests + self.metered_reads
        needed = (
            f"{requests:,} requests: {self.upload_requests:,} uploads, at most "
            f"{self.metered_reads:,} reads (Intuit's free tier: {FREE_READS_A_MONTH:,} reads a "
            f"month); {self.requests_per_min:,} requests a minute are allowed."
        )
        return needed, self._duration()

    def _duration(self) -> str:
        least = "" if self.bound_known else "at least "
        said = f"Expected duration: {least}{duration(self.seconds)}, bound by {self.bound}"
        if not self.measured_run:
            return f"{said}; bandwidth unknown: no earlier run has measured it."
        speed = f"{self.measured_bytes_per_s / 1e6:,.2f} MB/s"
        rate = f"{self.measured_requests_per_min:,.0f} requests a minute"
        if self.bound_known:
            return f"{said} (run {self.measured_run} had {speed}, {rate})."
        return (
            f"{said}; bandwidth unknown: run {self.measured_run} had {speed}, but was held back by "
            f"the rate ({rate})."
        )

    def as_json(self) -> dict[str, object]:
        """The same as an object."""
        return {
            **{f"by_{name}": self.by(name) for name in ("entity_type", "client", "reason")},
            "bytes_to_send": self.bytes_to_send,
            "upload_requests": self.upload_requests,
            "metered_reads": self.metered_reads,
            "free_reads_a_month": FREE_READS_A_MONTH,
            "requests_per_min": self.requests_per_min,
            "duration_s": round(self.seconds, 1),
            "duration_bound": self.bound,
            "duration_bound_known": self.bound_known,
            "measured_run": self.measured_run,
        }

    def rows(self) -> Iterator[EstimateRow]:
        """The rows of upload_estimate.csv."""
        order = ("total", "entity_type", "client", "reason")
        for by in order:
            for value, actions in self.by(by).items():
                for what, count in actions.items():
                    size = self.sizes[by, value, what]
                    yield EstimateRow(by, value, what, str(count), str(size))
        yield EstimateRow("requests", "upload", "requests", str(self.upload_requests))
        yield EstimateRow("requests", "metered_read", "requests", str(self.metered_reads))
        unit = "seconds" if self.bound_known else "seconds at least"
        yield EstimateRow("duration", self.bound, unit, str(round(self.seconds)))


def estimate(
    tally: Tally,
    *,
    groups_in_doubt: Sequence[int],
    requests_per_min: int,
    asks_existing: bool,
    measured: Measured | None,
) -> Estimate:
    """Put together what the plan's rows and the run log tell.

    Args:
        tally: closed.
        groups_in_doubt: how many attachments each group in doubt has.
        requests_per_min: QBO_REQUESTS_PER_MIN.
        asks_existing: EXISTING=check.
        measured: an earlier run that tells a rate; None: there is none.
    """
    reads = sum(-(-files // IDS_PER_QUERY) for files in groups_in_doubt)
    if tally.upload_requests or reads:
        reads += 1  # whose company it is
    if tally.upload_requests and asks_existing:
        # For a plan: a count, then the entities; before sending: what is new since.
        reads += 2 + sum(-(-len(ids) // IDS_PER_QUERY) for ids in tally.entities.values())
    requests = tally.upload_requests + reads
    size = tally.sizes["total", "", Action.SEND.value]
    by_rate = 60.0 * requests / requests_per_min
    bytes_per_s = per_min = 0.0
    known = False
    seconds, bound = by_rate, "rate" if requests else "nothing"
    if measured is not None and measured.tells:
        bytes_per_s = measured.size_bytes / measured.seconds
        per_min = 60.0 * len(measured.requests) / measured.seconds
        by_line = size / bytes_per_s if bytes_per_s else 0.0
        held_back = per_min >= _RATE_BOUND * requests_per_min
        # Held back by the rate, the line carried at least this much.
        known = not held_back or by_line <= by_rate
        if not held_back and by_line > by_rate:
            seconds, bound = by_line, "bandwidth"
    tells = measured is not None and measured.tells
    return Estimate(
        counts=tally.counts,
        sizes=tally.sizes,
        upload_requests=tally.upload_requests,
        metered_reads=reads,
        requests_per_min=requests_per_min,
        seconds=seconds,
        bound=bound,
        bound_known=known or not requests,
        measured_run=measured.run_id if measured is not None and tells else "",
        measured_bytes_per_s=bytes_per_s,
        measured_requests_per_min=per_min,
    )

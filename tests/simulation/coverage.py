"""What a trial went through, counted, so that the proof is known not to be about nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from qbo_attach.core.chain import Intent, Looked, Record, Recorded
from qbo_attach.core.history import SETTLED_LOOKS
from tests.simulation.faults import UPLOAD_KINDS

DEATHS = (
    "before the put",
    "amid the put",
    "after the put",
    "before the connection",
    "amid the sending",
    "sent, not yet arrived",
    "done at QBO, not answered",
    "answered, not yet noted",
    "any step",
)
"""Where a process dies: about a durable write, and in each phase of a request."""

REACHED = (
    *(f"died: {phase}" for phase in DEATHS),
    "outcome: success",
    "outcome: adopted",
    "outcome: already_in_qbo",
    "outcome: error",
    "outcome: not_sent",
    "outcome: source_changed",
    "outcome: file_missing",
    "row: duplicate_content",
    "row: changed",
    "row: skipped_already_uploaded",
    "resent under its requestid",
    "renewed before it was sent",
    "sent anew after three looks",
    "rest of a group sent anew",
    "group split after a refusal",
    "refused by the lease",
    "took over from a dead process",
    "took over without proof of death",
    "lost its run log",
    "stopped by a signal",
    "suspended",
    "outside the guarantee",
    "doubled outside the guarantee",
    *(f"fault: {kind}" for kind in UPLOAD_KINDS),
)
"""Each must have been seen in the proof."""


def of_records(records: Iterable[Record]) -> Counter[str]:
    """What the chain tells."""
    seen: Counter[str] = Counter()
    looks: Counter[str] = Counter()
    request_of: dict[str, str] = {}
    known: set[str] = set()
    looked_since: set[str] = set()
    for record in records:
        if isinstance(record, Recorded):
            seen[f"outcome: {record.outcome}"] += 1
            request_of.pop(record.key, None)
        elif isinstance(record, Looked):
            looks[record.request_id] += 1
            looked_since.add(record.request_id)
        elif isinstance(record, Intent):
            if record.request_id in known:
                resent = record.request_id in looked_since
                seen["resent under its requestid" if resent else "renewed before it was sent"] += 1
            else:
                _count_new(record, request_of, looks, seen)
            known.add(record.request_id)
            looked_since.discard(record.request_id)
            request_of.update((file.key, record.request_id) for file in record.files)
    return seen


def _count_new(
    intent: Intent, request_of: dict[str, str], looks: Counter[str], seen: Counter[str]
) -> None:
    earlier = {request_of[file.key] for file in intent.files if file.key in request_of}
    for request_id in earlier:
        if looks[request_id] >= SETTLED_LOOKS:
            seen["sent anew after three looks"] += 1
        elif looks[request_id]:
            seen["rest of a group sent anew"] += 1
        else:
            seen["group split after a refusal"] += 1

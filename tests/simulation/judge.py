"""Comparing the ledger with the chain, the last plan and the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from qbo_attach.core.chain import Looked, Record, Recorded
from qbo_attach.core.history import SETTLED_LOOKS, History
from qbo_attach.core.model import DONE_OUTCOMES, Outcome
from qbo_attach.core.naming import folded
from qbo_attach.core.segments import decode_segment
from qbo_attach.fake_qbo.ledger import Attachable
from tests.simulation.run import Run, Trial
from tests.simulation.scenario import REALM
from tests.simulation.world import START, START_UNIX

_AT_QBO = frozenset(
    {
        Outcome.SUCCESS.value,
        Outcome.ADOPTED.value,
        Outcome.ALREADY_IN_QBO.value,
        Outcome.SKIPPED_ALREADY_UPLOADED.value,
        Outcome.DUPLICATE_CONTENT.value,
    }
)
_DURABLE_S = 60.0
"""An outcome is in the chain by then, whatever the skew of a process's clock."""
_TOLD = frozenset(outcome.value for outcome in Outcome)


@dataclass(slots=True)
class Verdict:
    """What is wrong.

    `doubled`, and `stale` (an older version of a file, shown late, was taken for the newer one),
    are failures only inside the guarantee; the rest always is. `outside`: why the trial left it.
    `renamed`: files that are at QBO under their former name and the new one, since they were
    renamed while the upload under the former was in doubt: two attachments by section 5.1.
    `believed`: files that were taken, without reading QBO's bytes (EXISTING=off), for what was
    adopted under their name, entity and size from a source that is gone.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    believed: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """What must not be."""
        bounded = [] if self.outside else [*self.doubled, *self.stale]
        return [*self.lost, *self.wrong, *bounded]


def records_of(trial: Trial) -> list[Record]:
    """All events of the run log in chain order, without the snapshots."""
    records: list[Record] = []
    for name in sorted(set(trial.log.names()) - set(trial.log.leftovers)):
        header, some = decode_segment(trial.log.read(name), name)
        if not header.is_snapshot:
            records += some
    return records


def judge(trial: Trial, runs: list[Run], last: Run, records: list[Record]) -> Verdict:
    """Compare, after the last run."""
    verdict = Verdict()
    unread: frozenset[str] = frozenset()
    if not trial.scenario.check_existing:
        unread = frozenset(
            record.attachable_id
            for record in records
            if isinstance(record, Recorded) and not record.sha256
        )
    believed = trial.foreign | unread
    history = History().fold(records)
    ledger = trial.network.company.state.ledger.all(REALM)
    verdict.outside = _outside(trial, runs, ledger, records)
    _check_rows(trial, last, history, ledger, verdict, believed)
    _check_ledger(trial, history, ledger, verdict, believed)
    _check_renamed(trial, history, records, verdict)
    return verdict


def _refs(one: Attachable) -> frozenset[tuple[str, str]]:
    return frozenset(one.ref_keys())


def _wanted_refs(types: str, ids: str) -> frozenset[tuple[str, str]]:
    return frozenset(zip(types.casefold().split(";"), ids.split(";"), strict=True))


def _check_rows(
    trial: Trial,
    last: Run,
    history: History,
    ledger: list[Attachable],
    verdict: Verdict,
    believed: frozenset[str],
) -> None:
    """Each file listed has its outcome, and is at QBO if the outcome says so."""
    by_id = {one.id: one for one in ledger}
    held = {(_refs(one), one.sha256) for one in ledger}
    for path, source in trial.sources.files.items():
        outcome = last.outcomes.get(path, "")
        if outcome not in _TOLD:
            why = last.refused or "no reason"
            verdict.wrong.append(f"{path} has the outcome {outcome!r} ({why})")
        elif outcome in _AT_QBO:
            done = history.done.get(path)
            at = done.attachable_id if done is not None else ""
            if (_wanted_refs(*source.entity), source.sha256) in held or at in believed:
                continue
            into = verdict.stale if at in by_id else verdict.lost
            into.append(f"{path} is {outcome}, but QBO does not have it")
        elif outcome == Outcome.CHANGED.value:
            done = history.done.get(path)
            if done is None or done.attachable_id not in by_id:
                verdict.lost.append(f"{path} is changed, but no version of it is at QBO")
        else:
            verdict.lost.append(f"{path} is {outcome} after a run without faults")


def _check_ledger(
    trial: Trial,
    history: History,
    ledger: list[Attachable],
    verdict: Verdict,
    believed: frozenset[str],
) -> None:
    """Each attachable is one row of the chain, with the bytes and entity of that row."""
    done = {row.attachable_id: row for row in history.done_by_key.values()}
    for missing in done.keys() - {one.id for one in ledger}:
        verdict.lost.append(f"the chain has {missing} ({done[missing].path}), QBO does not")
    names = Counter((_refs(one), folded(one.fields["FileName"])) for one in ledger)
    for (_, name), count in names.items():
        if count > 1:
            verdict.doubled.append(f"{name} is there {count} times")
    for one in ledger:
        row = done.get(one.id)
        name = one.fields["FileName"]
        if one.id in trial.foreign:
            # What is there of equal size and name is taken for the file (section 5.2).
            continue
        if row is None:
            verdict.doubled.append(f"{name} ({one.id}) is in no row of the chain")
            continue
        if _refs(one) != _wanted_refs(row.qbo_entity_type, row.qbo_entity_id):
            verdict.wrong.append(f"{row.path} hangs on another entity")
        if folded(name) != folded(row.sent_file_name):
            verdict.wrong.append(f"{row.path} has another name than its row")
        facts = (row.path, row.size_bytes, row.modified_at, row.etag)
        version = trial.sources.versions.get(facts)
        if version is None or version.sha256 != one.sha256:
            if one.id in believed:
                verdict.believed.append(row.path)
                continue
            verdict.stale.append(f"{row.path} has other bytes at QBO")
        if row.sha256 and row.sha256 != one.sha256:
            verdict.wrong.append(f"{row.path} has another digest in the chain")


def _check_renamed(
    trial: Trial, history: History, records: Iterable[Record], verdict: Verdict
) -> None:
    """A file that was moved or renamed after it was done is there once."""
    for path, (former, moment) in trial.sources.renamed.items():
        now, then = history.done.get(path), history.done.get(former)
        same = now is not None and then is not None and now.sha256 == then.sha256 != ""
        if not same or former in trial.sources.files:
            continue
        if not list(_done_at(path, records)):
            # Never sent under its new path: another file of its content, gone as well, explains it.
            continue
        done_at = min(_done_at(former, records), default=float("inf"))
        was_done = done_at + _DURABLE_S < moment
        into = verdict.wrong if was_done else verdict.renamed
        into.append(f"{path} is there as {former} too")


def _done_at(path: str, records: Iterable[Record]) -> Iterable[float]:
    for record in records:
        if not isinstance(record, Recorded) or record.path != path:
            continue
        if record.outcome in DONE_OUTCOMES:
            yield _seconds(record.at)


def _outside(
    trial: Trial, runs: list[Run], ledger: list[Attachable], records: Iterable[Record]
) -> list[str]:
    """Which uploads QBO showed later than the guarantee allows (design.md 5.6)."""
    behaviour, settle_s = trial.scenario.behaviour, trial.scenario.settle_s
    late: list[str] = []
    third: dict[str, float] | None = None
    halved = {s.requestid for s in trial.network.sendings.values() if s.kind == "cut_during"}
    for one in ledger:
        sending = trial.network.sendings.get(one.request)
        shown_at = one.visible_at - START_UNIX - behaviour.clock_offset_s
        if sending is None or shown_at <= sending.over + settle_s:
            continue
        honoured = behaviour.replay == "on" and not behaviour.replay_retention_s
        if honoured and sending.requestid not in halved:
            third = _third_looks(runs, records) if third is None else third
            if shown_at <= third.get(sending.requestid, float("inf")):
                continue
        after_s = shown_at - sending.over
        late.append(f"{sending.requestid[:6]} was shown {after_s:.1f} s after its end")
    return late


def _third_looks(runs: list[Run], records: Iterable[Record]) -> dict[str, float]:
    """When the third settled look at a requestid began."""
    begun = sorted(moment for run in runs for moment in run.looks_begun)
    counts: Counter[str] = Counter()
    third: dict[str, float] = {}
    for record in records:
        if isinstance(record, Looked) and record.settled:
            counts[record.request_id] += 1
            if counts[record.request_id] == SETTLED_LOOKS:
                at = _seconds(record.at) + 0.002
                third[record.request_id] = max((m for m in begun if m <= at), default=at)
    return third


def _seconds(text: str) -> float:
    return (datetime.fromisoformat(text.replace("Z", "+00:00")) - START) / timedelta(seconds=1)

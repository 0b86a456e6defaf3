"""What must hold after each run, and what must hold once runs have come to rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from qbo_attach.core.chain import Done, Intent, Record, Recorded, entity_refs
from qbo_attach.core.history import History
from qbo_attach.core.model import Action, Outcome, Status
from qbo_attach.core.naming import folded
from qbo_attach.core.reporting import Telling
from qbo_attach.core.segments import decode_segment, segment_name, segment_numbers
from qbo_attach.fake_qbo.ledger import Attachable
from tests.machine.runs import PipelineRun
from tests.simulation.run import Trial
from tests.simulation.scenario import REALM

AT_QBO = frozenset(
    {
        Outcome.SUCCESS.value,
        Outcome.ADOPTED.value,
        Outcome.ALREADY_IN_QBO.value,
        Outcome.SKIPPED_ALREADY_UPLOADED.value,
        Outcome.DUPLICATE_CONTENT.value,
    }
)
"""Outcomes that say that the content is at QBO."""
RUN_AGAIN = frozenset(
    {
        Outcome.NOT_SENT.value,
        Outcome.IN_DOUBT.value,
        Outcome.SOURCE_CHANGED.value,
        Outcome.FILE_MISSING.value,
        Outcome.ADOPTED.value,
    }
)
"""After these a further run has something to say; some were said of an older version of a file."""

Refs = frozenset[tuple[str, str]]


@dataclass(slots=True)
class Memory:
    """What the test knows and the product does not.

    `strangers`: ids that no run of this LOG_DIR made. `deleted`: entities and digest of what a
    person deleted, and `deleted_ids`. `left`: paths that a file once left; `left_in_doubt`: and
    that while its upload was in doubt, or perhaps under way. `names`: what
    files ever were called, folded.
    """

    strangers: set[str] = field(default_factory=set)
    deleted: set[tuple[Refs, str]] = field(default_factory=set)
    deleted_ids: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    left_in_doubt: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


def refs_of(one: Attachable) -> Refs:
    return frozenset(one.ref_keys())


def refs_in(types: str, ids: str) -> Refs:
    return frozenset((ref.type.casefold(), ref.id) for ref in entity_refs(types, ids))


def ledger(trial: Trial) -> list[Attachable]:
    return trial.network.company.state.ledger.all(REALM)


@dataclass(frozen=True, slots=True)
class Told:
    """The run log read twice: all events, and as a run reads it, from the newest snapshot on."""

    events: list[Record]
    whole: History
    short: History


def read_log(trial: Trial) -> Told:
    """All segments in order."""
    log = trial.log
    events: list[Record] = []
    short = History()
    for number in segment_numbers(log.names(), "log"):
        name = segment_name(number)
        header, records = decode_segment(log.read(name), name)
        if not header.is_snapshot:
            events += records
        elif header.part == 1:
            short = History()
        short.fold(records)
    return Told(events, History().fold(events), short)


def check_always(trial: Trial, memory: Memory, told: Told) -> None:
    """What no fault and no death may break."""
    check_snapshot(told.whole, told.short)
    check_keys(trial)
    check_done(trial, memory, told.whole)
    check_origin(trial, memory, told.whole)
    check_sent(trial, memory, told)


def check_snapshot(whole: History, short: History) -> None:
    """A snapshot and what follows fold to what all events fold to."""
    assert dict(whole.done) == dict(short.done)
    assert dict(whole.done_by_key) == dict(short.done_by_key)
    assert whole.refused == short.refused
    assert whole.facts == short.facts
    assert whole.doubt_of_key == short.doubt_of_key
    assert whole.doubt_of_path == short.doubt_of_path


def check_keys(trial: Trial) -> None:
    """At most one attachable a key among those that uploads made."""
    made = [one for one in ledger(trial) if one.requestid]
    keys = Counter((refs_of(one), folded(one.fields["FileName"])) for one in made)
    assert max(keys.values(), default=0) <= 1, f"doubled: {keys}"


def check_done(trial: Trial, memory: Memory, history: History) -> None:
    """Each done row has its ledger entry, with equal bytes and entities."""
    held = {one.id: one for one in ledger(trial)}
    for done in history.done_by_key.values():
        one = held.get(done.attachable_id)
        if one is None:
            assert done.attachable_id in memory.deleted_ids, f"{done} is not at QBO"
            continue
        wanted = refs_in(done.qbo_entity_type, done.qbo_entity_id)
        ours = done.outcome != Outcome.ALREADY_IN_QBO
        equal = wanted == refs_of(one) if ours else wanted <= refs_of(one)
        assert equal, f"{done} hangs on {one.refs}"
        if done.sha256:
            assert done.sha256 == one.sha256, f"{done} has other bytes at QBO"
        version = trial.sources.versions.get(
            (done.path, done.size_bytes, done.modified_at, done.etag)
        )
        assert version is not None, f"{done} is of no file that ever was"
        assert version.sha256 == one.sha256, f"{done} has other bytes at QBO than in its file"


def check_origin(trial: Trial, memory: Memory, history: History) -> None:
    """Each attachable that this LOG_DIR's runs made is done, or in doubt."""
    done = {row.attachable_id for row in history.done_by_key.values()}
    for one in ledger(trial):
        if one.id in memory.strangers or one.id in done or one.requestid in history.doubts:
            continue
        raise AssertionError(f"{one.fields['FileName']} ({one.id}) is in no row of the run log")


@dataclass(frozen=True, slots=True)
class Sent:
    """What an intent says of a file. `since`: when it was first intended, and stayed so."""

    path: str
    since: datetime


def sent_files(records: list[Record]) -> dict[tuple[str, Refs, str], Sent]:
    """By requestid, entities and folded name."""
    since: dict[str, str] = {}
    sent: dict[tuple[str, Refs, str], Sent] = {}
    for record in records:
        if isinstance(record, Recorded):
            since.pop(record.key, None)
        elif isinstance(record, Intent):
            for file in record.files:
                first = since.setdefault(file.key, record.written_at)
                at = datetime.fromisoformat(first.replace("Z", "+00:00"))
                refs = refs_in(file.qbo_entity_type, file.qbo_entity_id)
                name = record.request_id, refs, folded(file.sent_file_name)
                sent.setdefault(name, Sent(file.path, at))
    return sent


def check_sent(trial: Trial, memory: Memory, told: Told) -> None:
    """No content is sent to an entity where it is, whoever put it there, under any name of its own.

    What was intended before a stranger came is settled as it was intended; and what stands for a
    file of another name by now (a vanished one explains one renamed one), or for one that is mapped
    elsewhere, is that one's.
    """
    sent = sent_files(told.events)
    owners = {done.attachable_id: owner(trial, done) for done in told.whole.done.values()}

    def was_lost_sight_of(one: Attachable) -> bool:
        was = sent.get((one.requestid, refs_of(one), folded(one.fields["FileName"])))
        return was is not None and was.path in memory.left_in_doubt

    offset_s = trial.scenario.behaviour.clock_offset_s
    times: Counter[tuple[str, str]] = Counter()
    there: dict[tuple[Refs, str, str], list[Attachable]] = {}
    for one in ledger(trial):
        there.setdefault((refs_of(one), one.sha256, plain_name(one, memory)), []).append(one)
    for group in there.values():
        for one in group:
            if one.id in memory.strangers:
                continue
            as_sent = sent[one.requestid, refs_of(one), folded(one.fields["FileName"])]
            begun = as_sent.since.timestamp() + offset_s
            name = name_of(as_sent.path)
            before = [
                other.id
                for other in group
                if other.created_at < begun
                and owners.get(other.id, name) == name
                and not was_lost_sight_of(other)
            ]
            assert not before, f"{one.fields['FileName']} ({one.id}) was there: {before}"
            if as_sent.path not in memory.left:
                times[as_sent.path, one.sha256] += 1
    assert max(times.values(), default=0) <= 1, f"sent twice: {times}"


def owner(trial: Trial, done: Done) -> str:
    """The name of the file that an attachable stands for; "" where that is mapped elsewhere."""
    source = trial.sources.files.get(done.path)
    entity = done.qbo_entity_type, done.qbo_entity_id
    return "" if source is not None and source.entity != entity else name_of(done.path)


def name_of(path: str) -> str:
    """A file's name as it is compared."""
    return folded(path.rpartition("/")[2])


def plain_name(one: Attachable, memory: Memory) -> str:
    """The name of a file as it is compared, without what tells its digest."""
    name = folded(one.fields["FileName"])
    if name in memory.names:
        return name
    head, _, tail = name.rpartition(f" ({one.sha256[:8]})")
    return head + tail


def check_conservation(run: PipelineRun, records: list[Record]) -> None:
    """One plan row and one outcome an `ok` row, from the closed list; the report agrees."""
    ok = [row.file_path for row in run.listed if row.status == Status.OK]
    paths = [row.file_path for row in run.plan]
    if run.standing is None:
        assert paths == ok
    assert len(set(paths)) == len(paths)
    assert set(run.outcomes) == set(paths)
    assert set(run.outcomes.values()) <= {outcome.value for outcome in Outcome}
    told = Telling()
    for _ in told.rows(records):
        pass
    reported = [outcome for outcome, _ in told.latest_outcomes(run.plan)]
    assert reported == [run.outcomes[path] for path in paths]


def check_at_rest(trial: Trial, memory: Memory, run: PipelineRun, history: History) -> None:
    """No content is lost: each file is at QBO under its entity, or its row says why not."""
    assert not history.doubts
    held = [(refs_of(one), one.sha256) for one in ledger(trial)]
    for path, source in trial.sources.files.items():
        outcome = run.outcomes[path]
        if outcome == Outcome.CHANGED.value:
            assert path in history.done, f"{path} is changed and was never done"
            continue
        assert outcome in AT_QBO, f"{path} is {outcome} after a run without faults"
        wanted = refs_in(*source.entity)
        if any(wanted <= refs and sha256 == source.sha256 for refs, sha256 in held):
            continue
        gone = any(wanted <= refs and sha == source.sha256 for refs, sha in memory.deleted)
        assert gone, f"{path} is {outcome}, and QBO does not have it"
    if run.vanished == "send":
        check_sent_again(trial, history)


def check_outcomes(trial: Trial, memory: Memory, run: PipelineRun, history: History) -> None:
    """What a run says is at QBO is there, of the file that its plan saw, or a person deleted it.

    A duplicate of one that did not get through is as little there as that one; what was in
    doubt is settled as it was intended, and a plan that a later run overtook may be older.
    """
    at = {(refs_of(one), one.sha256) for one in ledger(trial)} | memory.deleted
    through = AT_QBO | {Outcome.CHANGED.value}
    all_through = through.issuperset(run.outcomes.values())
    for row in run.plan:
        outcome = run.outcomes[row.file_path]
        if outcome not in AT_QBO or row.action == Action.LOOK:
            continue
        if outcome == Outcome.DUPLICATE_CONTENT.value and not all_through:
            continue
        if run.standing is not None and row.file_path in history.done:
            continue
        facts = (row.file_path, int(row.size_bytes), row.modified_at, row.etag)
        digest = trial.sources.versions[facts].sha256
        wanted = refs_in(row.qbo_entity_type, row.qbo_entity_id)
        there = any(wanted <= refs and sha256 == digest for refs, sha256 in at)
        assert there, f"{row.file_path} is {outcome}, and QBO does not have it: {row}"


def check_sent_again(trial: Trial, history: History) -> None:
    """VANISHED=send: of the files that are there, none is done and gone from QBO."""
    ids = {one.id for one in ledger(trial)}
    for path in trial.sources.files:
        done = history.done.get(path)
        if done is not None:
            assert done.attachable_id in ids, f"{done} is gone from QBO, and was not sent again"

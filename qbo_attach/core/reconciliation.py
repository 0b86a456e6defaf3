"""Reconciliation: what QBO really holds, compared with the run log and the verification log.

The states that come of it, and their marks, stand in core/differences; which attachable is which
attachment's in core/accounting. Here bytes are compared, and rows are told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from sys import intern

from qbo_attach.core.accounting import Accounts, Leftover, Verified, second
from qbo_attach.core.chain import Done
from qbo_attach.core.differences import Finding, State, local_change, refs_of, table_row
from qbo_attach.core.existing import UNKNOWN, small_id
from qbo_attach.core.file_types import extension_of
from qbo_attach.core.model import SAME_AS, Status
from qbo_attach.core.sampling import CONFIDENCE, drawn, upper_bound
from qbo_attach.core.strangers import Seen
from qbo_attach.core.tables import ReconciliationRow, VerificationRow


@dataclass(frozen=True, slots=True)
class Proof:
    """What comparing bytes proves.

    `draws` out of `population` attachments that are equal by entities, name and size were read;
    `defects` of them were not what was sent, or could not be read. `unprovable`: further ones,
    whose digest the run log does not have. `seed` is that of the draw.
    """

    population: int
    draws: int
    defects: int
    unprovable: int
    seed: int

    @property
    def whole(self) -> bool:
        """Whether all were read, so that the count is no estimate."""
        return self.draws == self.population

    @property
    def upper_bound(self) -> float:
        """The largest credible share of defects among the population."""
        if self.whole:
            return self.defects / self.draws if self.draws else 0.0
        return upper_bound(self.defects, self.draws)

    def __str__(self) -> str:
        more = (
            f" {self.unprovable:,} more have no digest in the run log." if self.unprovable else ""
        )
        if not self.population:
            return f"By digest: nothing to compare.{more}"
        if self.whole:
            found = f"{self.defects:,} differ" if self.defects else "all have the bytes sent"
            return f"By digest, all {self.draws:,}: {found}.{more}"
        return (
            f"By digest, {self.draws:,} drawn of {self.population:,} (seed {self.seed}): "
            f"{self.defects:,} differ; with {CONFIDENCE:.0%} confidence at most "
            f"{self.upper_bound:.2%} of all do.{more}"
        )


class Comparison:
    """What the accounts come to, by bytes as well, told as rows.

    Args:
        accounts: settled.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._history = accounts.history
        self._findings = accounts.findings
        self._twins = accounts.twins
        self._leftovers = accounts.leftovers
        self._expected: dict[str | int, bytes] = {}
        """Digests that attachables whose bytes are to be read should have."""
        self._read: set[str | int] = set()
        self._other: dict[str | int, str] = {}
        """Digests, of what was read, that are other ones; UNKNOWN where it could not be."""
        self.counts: Counter[str] = Counter()
        """By state; complete when `rows` is used up."""
        self.to_send_again: set[str] = set()
        """Paths of done attachments whose attachable is gone; complete likewise."""
        self.estranged: list[str] = []
        """Paths that no run has done, and whose attachable is not what it was; likewise."""

    # -- bytes --------------------------------------------------------------------------------

    def sample(self, draws: int | None, seed: int) -> tuple[list[str], int]:
        """Ids of attachables whose bytes are to be read: a sample of those that are equal so far.

        Args:
            draws: how many; None: all.
            seed: of the draw.

        Returns:
            The ids, and how many there were to draw from.
        """
        population = [
            (intern(extension_of(done.sent_file_name)), done.size_bytes, done.attachable_id)
            for done in self._history.rows.rows()
            if done.sha256 and done.key not in self._findings
        ]
        population.sort()
        chosen = population if draws is None else drawn(population, draws, seed)
        ids = [one_id for _, _, one_id in chosen]
        wanted = set(ids)
        for done in self._history.rows.rows():
            if done.attachable_id in wanted:
                self._expect(done.attachable_id, done)
        return ids, len(population)

    def unclear(self) -> list[str]:
        """Ids of attachables of which only the bytes tell whether they are what they look like."""
        ids = [left.one.id for left in self._leftovers if any(d.sha256 for d in left.like)]
        for key, finding in self._findings.items():
            if finding.state is State.UNRECORDED and finding.found is not None:
                done = self._history.rows.at_key(key)
                if done is not None and done.sha256:
                    self._expect(finding.found.id, done)
                    ids.append(finding.found.id)
        return ids

    def _expect(self, attachable_id: str, done: Done) -> None:
        if done.sha256:
            self._expected[small_id(attachable_id)] = bytes.fromhex(done.sha256)

    def learn(self, attachable_id: str, sha256: str) -> None:
        """Take the digest of an attachable's bytes, or UNKNOWN."""
        name = small_id(attachable_id)
        self._read.add(name)
        expected = self._expected.pop(name, b"").hex()
        if sha256 != expected:
            self._other[name] = sha256

    def proof(self, draws: list[str], population: int, seed: int) -> Proof:
        """What the sample proves, when all of it was learnt."""
        defects = sum(small_id(one_id) in self._other for one_id in draws)
        unprovable = sum(not done.sha256 for done in self._history.rows.rows())
        return Proof(population, len(draws), defects, unprovable, seed)

    def _by_bytes(self, done: Done, finding: Finding | None) -> Finding | None:
        """What is to be said when the bytes are counted in; None: equal."""
        found = finding.found if finding is not None else None
        other = self._other.get(small_id(found.id if found is not None else done.attachable_id))
        if other is None or (finding is not None and finding.state is not State.UNRECORDED):
            return finding
        more = f"; {finding.reason}" if finding is not None else ""
        if other == UNKNOWN:
            return Finding(State.UNREADABLE, f"QBO does not give its bytes{more}", found)
        return Finding(State.ALTERED, f"its content is not what was sent{more}", found, other)

    # -- rows ---------------------------------------------------------------------------------

    def rows(self, verified: Verified) -> Iterator[ReconciliationRow]:
        """One row an attachment, in the order of the verification log; then the rest."""
        told: set[int] = set()
        for row in verified():
            if row.status != Status.OK:
                continue
            done = self._history.rows.at_path(row.file_path)
            if done is not None:
                told.add(hash(done.key))
                yield self._counted(self._done_row(done, row))
            else:
                yield self._counted(self._open_row(row))
        others = (done for done in self._history.rows.rows() if hash(done.key) not in told)
        for done in sorted(others, key=lambda done: done.path):
            yield self._counted(self._done_row(done, None))
        for left in sorted(self._leftovers, key=lambda left: left.one.refs):
            yield self._counted(self._leftover_row(left))

    def _counted(self, row: ReconciliationRow) -> ReconciliationRow:
        self.counts[row.state] += 1
        return row

    def _done_row(self, done: Done, row: VerificationRow | None) -> ReconciliationRow:
        finding = self._by_bytes(done, self._findings.get(done.key))
        if finding is None:
            reason = local_change(done, row)
            finding = Finding(State.CHANGED if reason else State.EQUAL, reason)
        elif finding.state in (State.MISSING, State.UNRECORDED) and row is not None:
            self.to_send_again.add(done.path)
        found = finding.found
        if found is None and finding.state is not State.MISSING:
            found = Seen(done.attachable_id, done.sent_file_name, done.size_bytes, refs_of(done))
        by_digest = (
            found is not None
            and small_id(found.id) in self._read
            and finding.state is not State.UNREADABLE
        )
        told = table_row(done.path, finding, found)
        return told._replace(
            qbo_entity_type=done.qbo_entity_type,
            qbo_entity_id=done.qbo_entity_id,
            sent_file_name=done.sent_file_name,
            size_bytes=str(done.size_bytes),
            sha256=done.sha256,
            qbo_attachable_id=done.attachable_id,
            found_sha256=(finding.sha256 or done.sha256) if by_digest else "",
            compared="digest" if by_digest else "size" if found is not None else "",
            run_id=done.run_id,
        )

    def _open_row(self, row: VerificationRow) -> ReconciliationRow:
        path = row.file_path
        finding = self._findings.get(path)
        if finding is None and path in self._twins:
            finding = Finding(State.DUPLICATE_CONTENT, SAME_AS + self._twins[path])
        elif finding is None:
            refused = self._history.refused.get(path)
            why = refused.error if refused else "never sent, or taken back by an undo"
            finding = Finding(State.NOT_UPLOADED, why)
        elif finding.state not in (State.UNRECORDED, State.IN_DOUBT):
            self.estranged.append(path)
        return table_row(path, finding, finding.found)._replace(
            qbo_entity_type=row.qbo_entity_type,
            qbo_entity_id=row.qbo_entity_id,
            size_bytes=row.size_bytes,
            compared="size" if finding.found is not None else "",
        )

    def _leftover_row(self, left: Leftover) -> ReconciliationRow:
        one, finding = left.one, left.finding
        digest = self._other.get(small_id(one.id), UNKNOWN) if left.like else UNKNOWN
        by_digest = digest != UNKNOWN
        if by_digest:
            copied = next((done for done in left.like if done.sha256 == digest), None)
            if copied is not None:
                finding = second(copied.path, "has its entity and content", one)
            elif all(done.sha256 for done in left.like):
                finding = Finding(State.UNKNOWN, "", one)
        return table_row("", finding, one)._replace(
            found_sha256=digest if by_digest else "",
            compared="digest" if by_digest else "size",
        )

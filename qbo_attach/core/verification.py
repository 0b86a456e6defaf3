"""Verification: one status and one reason for every row of the inventory.

Of what holds for a file, the first of these is its status:

| Order | Status | When |
| --- | --- | --- |
| 1 | `excluded` | a rule says so: client, name, extension, size, type, or an override |
| 2 | `unreadable` | the listing met a problem: no permission, a link, a special file |
| 3 | `unrecognized_path` | the path does not fit LEGACY_LAYOUT |
| 4 | `invalid_file_name` | not UTF-8, a control character, over 1,000 characters |
| 5 | `unsupported_file_type` | the extension is not on Intuit's list |
| 6 | `empty_file` | no bytes |
| 7 | `file_too_large` | no upload request can hold it |
| 8 | `ambiguous_identifier` | the mapping has the id with the prefix and without it |
| 9 | `unsupported_entity_type` | QBO can hang no attachment on what the mapping names |
| 10 | `duplicate_mapping` | mapping rows of one type contradict each other |
| 11 | `ambiguous_mapping` | a Txn or List folder joins rows of several types |
| 12 | `missing_mapping` | the mapping does not have the id |
| 13 | `entity_missing` | QBO was asked, and does not have the entity (core/entity_check) |
| 14 | `ok` | all else; the reason is empty, or that of the override that joined it |

An override takes the place of 8 to 12. What is wrong with a file itself goes before what is wrong
with its entity, since no better mapping would mend it; so the gate counts only what one would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from qbo_attach.core.clients import ClientRules
from qbo_attach.core.errors import GateClosedError, NotStartedError, TableError
from qbo_attach.core.exclusions import Exclusions
from qbo_attach.core.file_types import (
    MAX_FILE_BYTES,
    MAX_NAME_CHARACTERS,
    NOT_UTF8,
    FileTypes,
    extension_of,
    name_problem,
)
from qbo_attach.core.joining import Decision, Joiner
from qbo_attach.core.model import Status
from qbo_attach.core.tables import InventoryRow, SkipRow, VerificationRow

GATE_STATUSES = (
    Status.OK,
    Status.MISSING_MAPPING,
    Status.ENTITY_MISSING,
    Status.AMBIGUOUS_MAPPING,
    Status.AMBIGUOUS_IDENTIFIER,
    Status.DUPLICATE_MAPPING,
    Status.UNSUPPORTED_ENTITY_TYPE,
    Status.UNRECOGNIZED_PATH,
)
"""What coverage is counted over: files that a better mapping or layout could make `ok`."""

_EXCLUDED = Status.EXCLUDED.value
_UNRECOGNIZED = Status.UNRECOGNIZED_PATH.value
_PLAIN_SIZE_DIGITS = 7
"""Sizes this long are surely below MAX_FILE_BYTES."""

_FILE_LIMIT = f"QBO takes at most {MAX_FILE_BYTES:,} bytes of one file"


class Rules(NamedTuple):
    """What verification goes by, besides the mapping. `layout` is the template, for reasons."""

    layout: str
    clients: ClientRules
    exclusions: Exclusions
    file_types: FileTypes


class _Refusal(NamedTuple):
    status: str
    reason: str


class Verifier:
    """Verifies one inventory. `counts` are complete once `rows` is used up."""

    def __init__(self, rules: Rules, joiner: Joiner) -> None:
        self._rules = rules
        self._joiner = joiner
        self._endings = frozenset(
            ending
            for extension in rules.file_types.by_extension
            for ending in (f".{extension}", f".{extension.upper()}")
        )
        """Of nearly all names, from the last dot on: those that surely are of a type QBO takes."""
        self._rule_of_client: dict[str, str] = {}
        self.rows_read = 0
        self.counts: dict[str, int] = {status.value: 0 for status in Status}

    def rows(self, inventory: Iterable[InventoryRow], url: str) -> Iterator[VerificationRow]:
        """The verification log: one row for each row of the inventory, in its order.

        Args:
            inventory: sorted by path, so that the files of a folder stand together.
            url: where it is, for errors.

        Raises:
            TableError: a path stands twice, or a size is no number.
        """
        last_path = last_type = last_id = last_client = None
        decision, read, counts = _UNDECIDED, 0, self.counts
        endings, passes = self._endings, self._rules.exclusions.surely_passes
        make_row: Callable[[tuple[str, ...]], VerificationRow]
        make_row = partial(tuple.__new__, VerificationRow)
        for row in inventory:
            _, legacy_type, raw_id, name, path, client, size, modified_at, etag, problem = row
            read += 1
            if path == last_path:
                raise TableError(url, f"has {path} twice; run inventory again", column="file_path")
            last_path = path
            if raw_id != last_id or legacy_type != last_type or client != last_client:
                last_id, last_type, last_client = raw_id, legacy_type, client
                decision = self._decide(client, legacy_type, raw_id)
            norm, status, reason, qbo_type, qbo_id, match_rule = decision
            # The short way for nearly all files, against which surely nothing speaks: `_refusal`
            # would say so too, at several times the cost.
            if status != _EXCLUDED and (
                problem
                or status == _UNRECOGNIZED
                or name[name.rfind(".") :] not in endings
                or not passes(name)
                or not name.isprintable()
                or len(name) > MAX_NAME_CHARACTERS
                or len(size) > _PLAIN_SIZE_DIGITS
                or not size.isdigit()
                or size[0] == "0"
            ):
                refusal = self._refusal(name, _size_bytes(size, url), problem, status)
                if refusal is not None:
                    status, reason = refusal
                    qbo_type = qbo_id = match_rule = ""
            counts[status] += 1
            yield make_row(
                (
                    norm, legacy_type, raw_id, name, path, qbo_type, qbo_id, status, reason,
                    client, size, modified_at, etag, match_rule,
                )
            )  # fmt: skip
        self.rows_read = read

    def _decide(self, client: str, legacy_type: str, raw_id: str) -> Decision:
        rule = self._rule_of_client.get(client)
        if rule is None:
            rule = self._rule_of_client[client] = self._rules.clients.excluded_by(client)
        if rule:
            return Decision(self._joiner.norm(legacy_type, raw_id), _EXCLUDED, rule)
        decision = self._joiner.decide(legacy_type, raw_id)
        if decision is not None:
            return decision
        reason = f"the path does not fit LEGACY_LAYOUT={self._rules.layout}"
        return Decision("", _UNRECOGNIZED, reason)

    def _refusal(
        self, name: str, size_bytes: int | None, problem: str, status: str
    ) -> _Refusal | None:
        """What speaks against the file itself, in the order of the table above."""
        rule = self._rules.exclusions.rule(name, size_bytes)
        if rule:
            return _Refusal(_EXCLUDED, rule)
        if problem and problem != NOT_UTF8:
            return _Refusal(Status.UNREADABLE.value, problem)
        if status == _UNRECOGNIZED:
            return None
        bad_name = problem or name_problem(name)
        if bad_name:
            return _Refusal(Status.INVALID_FILE_NAME.value, bad_name)
        extension = extension_of(name)
        if extension not in self._rules.file_types:
            what = f".{extension} files" if extension else "files without an extension"
            return _Refusal(Status.UNSUPPORTED_FILE_TYPE.value, f"QBO does not take {what}")
        if size_bytes is None or 0 < size_bytes <= MAX_FILE_BYTES:
            return None
        if size_bytes == 0:
            return _Refusal(Status.EMPTY_FILE.value, "the file has no bytes")
        return _Refusal(Status.FILE_TOO_LARGE.value, f"{size_bytes:,} bytes; {_FILE_LIMIT}")

    def check_sums(self, log_rows: int, skip_rows: int) -> None:
        """Prove that every row of the inventory has its row, once.

        Args:
            log_rows: rows written to the verification log.
            skip_rows: rows written to the skips file.

        Raises:
            NotStartedError: the sums do not hold.
        """
        excluded = self.counts[_EXCLUDED]
        if not self.rows_read == log_rows == sum(self.counts.values()) or skip_rows != excluded:
            raise NotStartedError(
                f"verification lost count: inventory {self.rows_read} rows, log {log_rows}, "
                f"by status {sum(self.counts.values())}; excluded {excluded}, skips {skip_rows}. "
                "Nothing was sent; please report this"
            )

    def check_settings(self) -> tuple[str, ...]:
        """Judge the settings by what the rows showed; sentences for the person.

        Raises:
            SettingError: another prefix rule fits better, or several clients without leave.
        """
        notes = self._rules.clients.check(self._rule_of_client)
        for scores in self._joiner.scores.values():
            if scores.ids:
                scores.check()
                notes += (scores.sentence(),)
        return notes


def skip_row(row: VerificationRow) -> SkipRow:
    """The row of mapping_verification_skips.csv for an excluded row of the log."""
    return SkipRow(
        row.legacy_txnid_norm,
        row.legacy_entity_type,
        row.file_name,
        row.reason,
        row.file_path,
        row.client,
        row.size_bytes,
    )


_UNDECIDED = Decision("", _UNRECOGNIZED, "")


def _size_bytes(cell: str, url: str) -> int | None:
    """A size; None in a table that somebody else made, without sizes."""
    if cell.isdigit():
        return int(cell)
    if not cell:
        return None
    raise TableError(url, f"{cell!r} is no number of bytes", column="size_bytes")


def coverage(counts: Mapping[str, int]) -> float:
    """The share of attachments with an entity in QBO, of those that could have one; 0 to 1.

    1 where there are none: nothing is amiss with them.
    """
    eligible = sum(counts.get(status.value, 0) for status in GATE_STATUSES)
    return counts.get(Status.OK.value, 0) / eligible if eligible else 1.0


def check_gate(counts: Mapping[str, int], min_coverage: float) -> None:
    """Keep the upload from starting on a mapping that cannot be right.

    Raises:
        GateClosedError: the coverage is below `min_coverage`.
    """
    share = coverage(counts)
    if share >= min_coverage:
        return
    missed = ", ".join(
        f"{status.value} {counts[status.value]:,}"
        for status in GATE_STATUSES[1:]
        if counts.get(status.value)
    )
    raise GateClosedError(
        f"only {share:.2%} of the attachments have an entity in QBO, and MIN_COVERAGE is "
        f"{min_coverage:.2%}: {missed}. mapping_verification_log.csv has the reasons; mend the "
        "mapping, or accept the loss with --accept-coverage"
    )

"""What a run is to make of each file of the sample, and the differences from what it made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from qbo_attach.core.model import DONE_OUTCOMES, Outcome, Status
from qbo_attach.core.tables import RunLogRow, VerificationRow, decode_table
from qbo_attach.storage import urls
from qbo_attach.storage.files import Store

EXPECTED = "expected.csv"


class ExpectedRow(NamedTuple):
    """expected.csv: one row a file, with its result after the first run into an empty company.

    `outcome` is "" unless `status` is `ok`. Entity and sent name stand only where something is
    sent. `note` is the awkward case, "" for an ordinary file.
    """

    file_path: str
    status: str
    outcome: str
    qbo_entity_type: str
    qbo_entity_id: str
    sent_file_name: str
    sha256: str
    note: str


def read_expected(url: str) -> list[ExpectedRow]:
    """Read the expected result of each file of a sample.

    Args:
        url: `Sample.expected_url`.

    Raises:
        StorageError: it is not there.
        TableError: it is not such a table.
    """
    folder, name = urls.split(url)
    with Store(folder).open_binary(name) as stream:
        return list(decode_table(ExpectedRow, stream, url))


def compare(
    expected: Iterable[ExpectedRow],
    verification: Iterable[VerificationRow],
    runlog: Iterable[RunLogRow],
    attachables: Iterable[Mapping[str, object]],
    *,
    second_run: bool = False,
    adopted_too: bool = False,
) -> list[str]:
    """List every difference between what was expected and what was done, a sentence each.

    Args:
        expected: of every file of the sample.
        verification: mapping_verification_log.csv.
        runlog: qbo_attach_runlog.csv; of several rows of a file the last one counts.
        attachables: what the company holds, as `/_fake/ledger` shows it: `FileName`, `sha256`,
            `refs` of `type` and `value`.
        second_run: the run log's last run found everything done, and was to skip it.
        adopted_too: answers got lost on the way, so that `adopted` is as good as `success`.

    Returns:
        Sentences; none if all is as expected.
    """
    wanted = {_as_written(row.file_path): row for row in expected}
    return [
        *_verification_differences(wanted, verification),
        *_runlog_differences(wanted, _as_success(runlog) if adopted_too else runlog, second_run),
        *_ledger_differences(wanted.values(), attachables),
    ]


def _as_written(path: str) -> str:
    """Give a path as a table shows it: bytes that are not UTF-8 as an escape."""
    return path.encode("utf-8", "backslashreplace").decode()


def _as_success(rows: Iterable[RunLogRow]) -> Iterator[RunLogRow]:
    success = Outcome.SUCCESS.value
    for row in rows:
        yield row._replace(outcome=success) if row.outcome == Outcome.ADOPTED else row


def _verification_differences(
    wanted: Mapping[str, ExpectedRow], rows: Iterable[VerificationRow]
) -> list[str]:
    said: list[str] = []
    seen: Counter[str] = Counter()
    for row in rows:
        path = _as_written(row.file_path)
        seen[path] += 1
        want = wanted.get(path)
        if want is None:
            said.append(f"{path!r} is in the verification log, and not in the sample.")
        elif row.status != want.status:
            said.append(
                f"{path!r}{_case(want)} has status {row.status} ({row.reason}) "
                f"instead of {want.status}."
            )
        elif want.status == Status.OK and _ref(row) != _ref(want):
            said.append(f"{path!r}{_case(want)} goes to {_ref(row)} instead of {_ref(want)}.")
    said += [f"{path!r} is not in the verification log." for path in wanted if path not in seen]
    said += [f"{path!r} has {n} rows of verification." for path, n in seen.items() if n > 1]
    return said


def _runlog_differences(
    wanted: Mapping[str, ExpectedRow], rows: Iterable[RunLogRow], second_run: bool
) -> list[str]:
    said: list[str] = []
    last: dict[str, RunLogRow] = {}
    sent: Counter[str] = Counter()
    for row in rows:
        path = _as_written(row.file_path)
        last[path] = row
        sent[path] += row.outcome in DONE_OUTCOMES
    for path, want in wanted.items():
        outcome = want.outcome
        if second_run and outcome == Outcome.SUCCESS:
            outcome = Outcome.SKIPPED_ALREADY_UPLOADED.value
        found = last.pop(path, None)
        if (found.outcome if found else "") != outcome:
            has = f"outcome {found.outcome} ({found.error})" if found else "no outcome"
            said.append(f"{path!r}{_case(want)} has {has} instead of {outcome or 'none'}.")
        elif found and want.outcome == Outcome.SUCCESS:
            said += _sent_differences(path, want, found)
    said += [f"{path!r} is in the run log, and not in the sample." for path in last]
    said += [f"{path!r} is done {n} times." for path, n in sent.items() if n > 1]
    return said


def _sent_differences(path: str, want: ExpectedRow, row: RunLogRow) -> list[str]:
    """Compare what the run log says of a sent file, where it says it."""
    pairs = (
        ("entity", str(_ref(row)), str(_ref(want))),
        ("sent name", row.sent_file_name, want.sent_file_name),
        ("digest", row.sha256, want.sha256),
    )
    return [
        f"{path!r}{_case(want)} has {name} {has!r} in the run log instead of {wants!r}."
        for name, has, wants in pairs
        if has and has != wants
    ]


def _ledger_differences(
    wanted: Iterable[ExpectedRow], attachables: Iterable[Mapping[str, object]]
) -> list[str]:
    """Compare what the company holds, by entity and name: each once, with the right bytes."""
    want = {
        (_ref(row), row.sent_file_name): row for row in wanted if row.outcome == Outcome.SUCCESS
    }
    said: list[str] = []
    held: Counter[tuple[str, str]] = Counter()
    for attachable in attachables:
        key = (_ledger_refs(attachable.get("refs")), str(attachable.get("FileName")))
        held[key] += 1
        row = want.get(key)
        where = f"{key[1]!r} under {key[0] or 'no entity'}"
        if row is None:
            said.append(f"the company holds {where}, which was not to be sent.")
        elif attachable.get("sha256") != row.sha256:
            said.append(f"the company holds {where}{_case(row)} with other bytes.")
    for key, row in want.items():
        if held[key] != 1:
            times = f"{held[key]} times" if held[key] else "not at all"
            said.append(f"the company holds {key[1]!r} under {key[0]}{_case(row)} {times}.")
    return said


def _ref(row: ExpectedRow | VerificationRow | RunLogRow) -> str:
    return f"{row.qbo_entity_type}:{row.qbo_entity_id}"


def _ledger_refs(refs: object) -> str:
    if not isinstance(refs, Sequence) or isinstance(refs, str):
        return ""
    pairs = [(ref.get("type"), ref.get("value")) for ref in refs if isinstance(ref, Mapping)]
    types, ids = (";".join(str(pair[i]) for pair in pairs) for i in (0, 1))
    return f"{types}:{ids}" if pairs else ""


def _case(row: ExpectedRow) -> str:
    return f" ({row.note})" if row.note else ""

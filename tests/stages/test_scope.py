"""What is moved and what is left out: every type of list entity, and each rule of exclusion."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import qbo_attach.core
from qbo_attach.core.tables import SKIPS, VERIFICATION, SkipRow, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.sample import Sample
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from tests.stages.case import Case
from tests.stages.command import Command, commands

TYPES = Path(qbo_attach.core.__file__).parent / "data" / "entity_types.csv"
TAKEN = {"Customer", "Vendor", "Employee", "Account", "Item"}
"""What QBO calls the list entities that attachments may hang on."""
BODY = b"%PDF-1.4 " + b"x" * 91

Tree = dict[str, bytes]


def list_types() -> list[dict[str, str]]:
    with TYPES.open(newline="") as table:
        return [row for row in csv.DictReader(table) if row["class"] == "list"]


class Books:
    """A folder with a legacy tree and a mapping, both written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = root / "files" / "Attach"
        self.mapping = [
            "legacy_txnid_norm,legacy_entity_type,qbo_entity_type,qbo_entity_id",
            "1A,BILL,BILL,901",
        ]
        self.file("Acme/Txn/801A/bill.pdf")

    def file(self, path: str, body: bytes = BODY) -> None:
        file = self.files / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)

    def opened(self) -> Iterator[Case]:
        data = self.root / "data"
        data.mkdir()
        mapping = data / "mapping_export.csv"
        mapping.write_text("\n".join([*self.mapping, ""]))
        with running(FakeOptions(mapping=str(mapping), limits="off")) as fake:
            yield Case(Sample(str(self.root), 0, {}, {}, {}), fake)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


@pytest.fixture
def case(books: Books) -> Iterator[Case]:
    for number, row in enumerate(list_types()):
        legacy_id = f"C{number:02X}-99"
        if row["qbo_type"]:
            ids = f"{legacy_id},{row['desktop_type']},{row['qbo_type']},{500 + number}"
            books.mapping.append(ids)
        books.file(f"Acme/List/80{legacy_id}/{row['desktop_type']}.pdf")
    books.file("Acme/Customer/80C00-99/by its own type.pdf")
    books.file("Acme/Vendor/80C00-99/of another type.pdf")
    yield from books.opened()


@pytest.fixture
def command(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    monkeypatch.setenv("LEGACY_LIST_PREFIX", "80")
    monkeypatch.setenv("ACCEPT_COVERAGE", "true")
    with commands(case, monkeypatch, capsys) as command:
        yield command


def verified(case: Case) -> dict[str, VerificationRow]:
    log = Store(case.sample.log_dir)
    return {row.file_name: row for row in read_table(log, VERIFICATION, VerificationRow)}


def skipped(case: Case) -> dict[str, str]:
    log = Store(case.sample.log_dir)
    return {row.file_name: row.reason for row in read_table(log, SKIPS, SkipRow)}


def sent(case: Case) -> dict[str, tuple[str, str]]:
    """Entity by file name of each attachable in QBO."""
    found = {}
    for attachable in case.attachables():
        (ref,) = attachable["refs"]
        found[attachable["FileName"]] = (ref["type"], ref["value"])
    return found


def test_attachments_of_every_list_entity_reach_it(case: Case, command: Command) -> None:
    status, _, told = command("run")
    assert status == 1, told  # some types take no attachment
    expected = {"bill.pdf": ("Bill", "901"), "by its own type.pdf": ("Customer", "500")}
    refused = {"of another type.pdf": "missing_mapping"}
    for number, row in enumerate(list_types()):
        name = f"{row['desktop_type']}.pdf"
        if row["entity_ref_type"]:
            expected[name] = (row["entity_ref_type"], str(500 + number))
        else:
            refused[name] = "unsupported_entity_type" if row["qbo_type"] else "missing_mapping"
    assert {kind for kind, _ in expected.values()} == {*TAKEN, "Bill"}
    assert sent(case) == expected
    statuses = {name: row.status for name, row in verified(case).items()}
    assert statuses == {**dict.fromkeys(expected, "ok"), **refused}
    status, _, told = command("run")
    assert status == 1, told
    assert len(case.attachables()) == len(expected)


def test_without_the_prefix_of_lists_the_gate_stays_closed(
    case: Case, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEGACY_LIST_PREFIX", "none")
    monkeypatch.setenv("ACCEPT_COVERAGE", "false")
    status, _, told = command("run")
    assert status == 2
    assert "missing_mapping" in told.splitlines()[-1]
    assert case.attachables() == []


@pytest.mark.parametrize(
    ("variable", "value", "left_out"),
    [
        ("INCLUDE_ENTITY_TYPES", "List", {"bill.pdf", "mail.TXT", "draft 1.pdf", "tiny", "large"}),
        ("INCLUDE_ENTITY_TYPES", "Bill", {*TAKEN, "by its own type.pdf"}),
        ("EXCLUDE_CLIENTS", "Birch", {"birch.pdf"}),
        ("EXCLUDE_EXTENSIONS", "txt", {"mail.TXT"}),
        ("EXCLUDE_NAMES", "DRAFT*,x?.pdf", {"draft 1.pdf"}),
        ("EXCLUDE_SMALLER_THAN_BYTES", "5", {"tiny"}),
        ("EXCLUDE_LARGER_THAN_BYTES", "5000", {"large"}),
    ],
)
def test_each_rule_of_exclusion_leaves_a_row_and_sends_all_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    left_out: set[str],
) -> None:
    books = Books(tmp_path)
    names = {"tiny": "tiny.pdf", "large": "large.pdf"}
    for name, body in {"mail.TXT": BODY, "draft 1.pdf": BODY, "tiny.pdf": b"%PDF"}.items():
        books.file(f"Acme/Txn/801A/{name}", body)
    books.file("Acme/Txn/801A/large.pdf", BODY * 60)
    books.file("Birch/Txn/801A/birch.pdf")
    for number, kind in enumerate(sorted(TAKEN)):
        books.mapping.append(f"C{number},{kind.upper()},{kind.upper()},{500 + number}")
        books.file(f"Acme/List/80C{number}/{kind}.pdf")
        names[kind] = f"{kind}.pdf"
    books.file("Acme/Customer/80C1/by its own type.pdf")
    books.file("Acme/Txn/801A/Thumbs.db")
    # Birch's bill is a transaction, too.
    wanted = {names.get(name, name) for name in left_out}
    if value == "List":
        wanted.add("birch.pdf")
    everything = {path.name for path in books.files.rglob("*.*")} - {"Thumbs.db"}
    for case in books.opened():
        monkeypatch.setenv("LEGACY_LIST_PREFIX", "80")
        monkeypatch.setenv(variable, value)
        with commands(case, monkeypatch, capsys) as command:
            status, _, told = command("run")
        assert status == 0, told
        junk = variable if value == "List" else "junk"  # what a folder is comes first
        assert skipped(case) == {**dict.fromkeys(wanted, variable), "Thumbs.db": junk}
        counts = Counter(row.status for row in verified(case).values())
        assert counts == {"excluded": len(wanted) + 1, "ok": len(everything - wanted)}
        assert set(sent(case)) == everything - wanted

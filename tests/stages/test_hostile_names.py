"""Whatever files, clients and companies are called: no output is steered, faked or run.

Every command is run on a tree of such names, and all that it printed and wrote is looked at.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openpyxl import load_workbook

from qbo_attach.core.links import entity_link
from qbo_attach.core.tables import INVENTORY, PLAN
from qbo_attach.fake_qbo import Behaviour
from qbo_attach.fake_qbo.faults import Rule
from tests.stages.books import Books, elsewhere
from tests.stages.case import Case, opened, plan_only
from tests.stages.command import Command, commands, environment, in_terminal

STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\n  = equal  1,000,000\u202e\u2028"
CLIENTS = ("=HYPERLINK(1)", "+1 client", "@SUM(A1)", "-2+3", f"Cl{STEERING}ient")
NAMES = (
    "=cmd|'calc'!A1.pdf",
    "<img src=x onerror=alert(1)>.pdf",
    "![picture](evil.example).pdf",
    '"; filename="other.pdf',
    "name\r\nX-Injected: 1\r\n\r\n.pdf",
    f"steer{STEERING}.pdf",
    "plain.exe",
    "ordinary.pdf",
    "%s{0}$(touch owned)`touch owned`.pdf",
    "-rf.pdf",
    "..pdf",
)
COMPANY = f"=Acme <b>& Sons</b> ![x](evil.example) {STEERING}"
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Line feed and tab alone may be printed; the lines themselves are looked at too."""


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    monkeypatch.setenv("MIN_COVERAGE", "0.5")
    behaviour = Behaviour(company_name=COMPANY, book_close_date=f"2025-12-31{STEERING}")
    for case in opened(tmp_path, behaviour=behaviour):
        add_hostile_files(case)
        yield case


@pytest.fixture
def command(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    with commands(case, monkeypatch, capsys) as run:
        yield run


def add_hostile_files(case: Case) -> None:
    """Under known ids, that most of them are sent; clients of such names as well."""
    known = case.sent_file().parent
    for name in NAMES:
        Path(known, name).write_bytes(name.encode())
    for number, client in enumerate(CLIENTS):
        folder = Path(case.sample.files_dir, "Attach", client, "Txn", known.name)
        folder.mkdir(parents=True)
        Path(folder, f"c{number}.pdf").write_bytes(client.encode())
        Path(folder.with_name(f"80{client}"[:60])).mkdir()
        Path(folder.with_name(f"80{client}"[:60]), "unmapped.pdf").write_bytes(b"%PDF")


def harmless(text: str) -> None:
    """Nothing steers a terminal, and no name begins a line of its own."""
    assert not FORBIDDEN.findall(text), text
    assert not re.search(r"^\s*(= equal  1,000,000|X-Injected)", text, re.MULTILINE), text


def run_all_commands(case: Case, command: Command) -> dict[str, tuple[int, str, str]]:
    first = case.sent_file().name
    case.fake.company.plan.add(
        [Rule("item_fault", endpoint="upload", file_name=first, code="6041", times=1)]
    )
    ended: dict[str, tuple[int, str, str]] = {}

    def run(*words: str) -> None:
        ended[" ".join(words)] = command(*words)

    run("inventory")
    run("mapping")
    run("doctor")
    run("doctor", "--json")
    run("verify", "--against-qbo")
    run("plan")
    run("plan", "--json")
    run("canary", "40", "--only")
    run("run", "--progress", "plain")
    run("run", "--progress", "json")
    run("status")
    run("status", "--json")
    books = Books(case)
    books.delete(books.one())
    theirs = books.seed("theirs.pdf", b"theirs", elsewhere())
    books.change(
        next(one for one in case.fake.company.state.ledger.all() if one.id == theirs),
        fields={"FileName": f"=theirs{STEERING}.pdf"},
    )
    run("reconcile", "--full", "--verbose")
    run("reconcile", "--sample", "0", "--json")
    run("report")
    run("leftovers", "--to", str(case.sample.url) + "/leftovers")
    run_id = json.loads(ended["status --json"][1])["run_id"]
    run("undo", "--run", run_id, "--dry-run")
    run("undo", "--run", run_id)
    run("config")
    return ended


def test_no_command_prints_what_steers_a_terminal_or_fakes_a_line(
    case: Case, command: Command
) -> None:
    ended = run_all_commands(case, command)
    shown = "".join(out + err for _, out, err in ended.values())
    assert "=theirs\\x1b[2J" in shown, "the hostile names were not printed at all"
    assert "Acme" in shown
    for words, (_, out, err) in ended.items():
        harmless(out)
        harmless(err)
        if "--json" in words:
            assert len(out.splitlines()) == 1
    for line in ended["run --progress json"][2].splitlines():
        assert json.loads(line)["event"]


def test_a_question_cannot_be_steered_by_the_companys_name(case: Case) -> None:
    status, shown = in_terminal(
        case, "run", "--progress", "none", answers={"Type yes": "no"}, more={"MIN_COVERAGE": "0.5"}
    )
    assert status == 2
    harmless(shown.replace("\r\n", "\n"))


def test_no_cell_of_any_table_or_workbook_is_a_formula(case: Case, command: Command) -> None:
    run_all_commands(case, command)
    folders = [case.sample.log_dir, case.sample.data_dir, f"{case.sample.url}/leftovers"]
    # What a sample brings along, and what an operator gives, is not of our making.
    given = {"mapping_export.csv", "desktop_export.csv", "expected.csv"}
    tables = [path for each in folders for path in Path(each).glob("*.csv")]
    ours = [path for path in tables if path.name not in given]
    assert len(ours) >= 9
    guarded = 0
    for path in ours:
        for row in csv.reader(io.StringIO(path.read_text("utf-8"), newline="")):
            guarded += sum(cell.startswith("'=") for cell in row)
            assert not [cell for cell in row if cell[:1] in set("=+-@\t\r\n")], path
    assert guarded
    book = load_workbook(Path(case.sample.url, "leftovers", "exceptions.xlsx"))
    kinds = {
        cell.data_type
        for sheet in book
        for row in sheet.iter_rows()
        for cell in row
        if cell.value is not None
    }
    assert kinds == {"s"}


def test_every_hostile_name_that_can_be_sent_arrives_as_one_file_of_that_name(case: Case) -> None:
    case.run()
    held = {one["FileName"] for one in case.attachables()}
    printable = {name for name in NAMES if name.isprintable() and not name.endswith(".exe")}
    assert printable <= held
    assert not [name for name in held if "\n" in name or name in {"other.pdf", "owned"}]
    assert not list(Path(case.sample.url).rglob("owned"))


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize(
    "cell", [STEERING, "1' OR Id > '0", "=1+1", "../../1", "1&operation=delete"]
)
def test_a_hostile_cell_of_the_mapping_is_refused_or_maps_nothing(
    case: Case, command: Command, column: int, cell: str
) -> None:
    row = ["ABC123", "Bill", "Bill", "12"]
    row[column] = cell
    at = Path(case.sample.data_dir, "mapping_export.csv")
    with at.open("a", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerow(row)
    command("inventory")
    ended = [command("mapping"), command("verify")]
    for status, out, err in ended:
        assert status in (0, 2)
        assert status == 0 or (out, len(err.splitlines())) == ("", 1)
        harmless(out + err)
    # What could leave its quotes in a query is no id; other text finds nothing at QBO.
    if column == 3 and {" ", "'"} & set(cell):
        assert [status for status, _, _ in ended] == [2, 2]
        assert "mapping_export.csv, row" in ended[0][2]
    assert sum(case.fake.ledger()["requests"].values()) == 0
    assert entity_link("Bill", cell, sandbox=True).count("&") == 0


@pytest.mark.parametrize("table", [INVENTORY, PLAN])
@pytest.mark.parametrize("path", ["Attach/../../../secret.pdf", "/secret.pdf", "{absolute}"])
def test_a_tampered_table_sends_nothing_from_outside_of_the_tree(
    case: Case, tmp_path: Path, table: str, path: str
) -> None:
    secret = tmp_path / "secret.pdf"
    secret.write_bytes(b"%PDF-1.4 not yours".ljust(31_337))
    plan_only(case.settings())
    sent = case.sent_file().relative_to(case.sample.files_dir)
    folder = case.sample.log_dir if table == PLAN else case.sample.data_dir
    at = Path(folder, table)
    rows = list(csv.reader(io.StringIO(at.read_text("utf-8"), newline="")))
    column, size = rows[0].index("file_path"), rows[0].index("size_bytes")
    for row in rows:
        if row[column] == str(sent):
            row[column], row[size] = path.format(absolute=secret), str(secret.stat().st_size)
    with at.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    for stage in ("verify", "plan", "upload") if table == INVENTORY else ("upload",):
        _process(case, stage)
    assert secret.stat().st_size not in {one["Size"] for one in case.attachables()}


def _process(case: Case, stage: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "qbo_attach.cli", stage],
        env={**os.environ, **environment(case)},
        capture_output=True,
        check=False,
        timeout=60,
    )

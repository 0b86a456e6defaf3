"""The runbook and the README say what is so: their commands run, their words are the code's."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.cli.entry import overview  # noqa: F401 - registers every command
from qbo_attach.cli.terminal import app
from qbo_attach.core import errors
from qbo_attach.core.differences import MARKS, State
from qbo_attach.core.model import Action, Outcome, Recovery, Status, StrEnum
from qbo_attach.core.remedies import meaning
from qbo_attach.qbo.faults import FAULTS, STATUSES
from qbo_attach.settings import Settings
from tests.docs.commands import README, ROOT, RUNBOOK, Block, Line, Reader, blocks

PAGES = (README, RUNBOOK)
READMES_OWN = ("The same by hand", "Is it all there?", "Taking it back")
SETTINGS = {name.upper() for name in Settings.model_fields}
NEIGHBOURS = {"AWS_PROFILE", "AWS_DEFAULT_REGION", "PATH"}
"""Variables of others that the runbook sets."""
PROGRAMS = {"make", "qbo-attach", "export", "cd", "mkdir", "prefect", ".venv/bin/pytest"}
NAMES_OF_OURS = re.compile(r"^(QBO|LEGACY|MAPPING|MATCH|DESKTOP|EXCLUDE|MIN|LEASE|DRAIN)_")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.close()


def typed(reader: Reader, found: Iterator[Block]) -> dict[str, str]:
    """Type all that can be run; returns what each command showed the last time."""
    shown: dict[str, str] = {}
    for block in found:
        for line in block.lines if not block.needs else []:
            status = reader.type(line.text)
            assert status == line.status, f"{line.text}: {status}\n{reader.shown[-2_000:]}"
            shown[line.text] = reader.shown
    assert shown
    return shown


@pytest.mark.proof
@pytest.mark.timeout(180)  # some twenty processes one after another
def test_the_runbooks_rehearsal_runs_as_it_is_written(reader: Reader) -> None:
    shown = typed(reader, blocks(RUNBOOK))
    assert "Nothing: every planned attachment" in shown["qbo-attach status"]
    assert "all have the bytes sent" in shown["qbo-attach reconcile --full"]


@pytest.mark.proof
@pytest.mark.timeout(180)
def test_the_readmes_own_commands_run_as_they_are_written(reader: Reader) -> None:
    """Of the README, the run alone ends with another status than 0: it says so in words."""
    by_hand, *others = READMES_OWN
    for block in blocks(README, by_hand):
        for line in block.lines if not block.needs else []:
            status = reader.type(line.text)
            assert status == (1 if line.text == "qbo-attach run" else 0), reader.shown
    assert re.search(r"success +273\b", reader.shown)
    assert reader.type("qbo-attach run") == 1
    assert ": 0 requests" in reader.shown
    typed(reader, blocks(README, *others))


def pages_lines(page: Path) -> list[Line]:
    return [line for block in blocks(page) for line in block.lines]


@pytest.mark.parametrize(
    "words",
    sorted({
        line.text
        for page in [RUNBOOK, README, ROOT / "docs" / "matching.md"]
        for line in pages_lines(page)
        if line.text.startswith("qbo-attach ")
    }),
)  # fmt: skip
def test_every_command_and_flag_exists(words: str) -> None:
    _, *tokens = shlex.split(words, comments=True)
    app.parse_args(tokens, exit_on_error=False, print_error=False)


def test_the_runbook_types_nothing_that_is_not_known() -> None:
    for block in blocks(RUNBOOK):
        for line in block.lines:
            program, *words = shlex.split(line.text, comments=True)
            settings = [word.split("=", 1)[0] for word in words if program == "export"]
            if block.needs == "in the company's":
                settings, program = [program.split("=", 1)[0]], "export"
            assert program in PROGRAMS, line
            assert set(settings) <= SETTINGS | NEIGHBOURS, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_setting_that_a_page_names_is_one(page: Path) -> None:
    text = page.read_text("utf-8")
    named = set(re.findall(r"`([A-Z][A-Z_]+[A-Z])(?:=[^`]*)?`", text))
    ours = {name for name in named if NAMES_OF_OURS.match(name)}
    assert len(ours) > 5
    assert ours <= SETTINGS


def test_every_subcommand_is_in_the_readme_or_the_runbook() -> None:
    text = " ".join(page.read_text("utf-8") for page in PAGES)
    commands = {name for name in app if not name.startswith("-")}
    assert {"run", "undo", "fake-qbo"} <= commands
    # The README names the stages without the program, in one list.
    assert [
        name for name in commands if f"qbo-attach {name}" not in text and f"`{name}`" not in text
    ] == []


# -- the tables -----------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, cell by cell, without header."""
    text = RUNBOOK.read_text("utf-8").partition(f"\n{heading}\n")[2]
    assert text, heading
    rows = [line for line in re.split(r"\n#+ ", text)[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def words_of(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("### Verification statuses", Status),
        ("### Actions of the plan", Action),
        ("### Outcomes", Outcome),
    ],
)
def test_every_word_has_a_row_with_the_meaning_that_the_program_prints(
    heading: str, kind: type[StrEnum]
) -> None:
    said = {words_of(word)[0]: what.replace("`", "") for word, what in table(heading)}
    assert set(said) == {str(each) for each in kind}
    for word, what in said.items():
        assert what.startswith(meaning(word)), word


def test_every_state_of_a_reconciliation_has_a_row_with_its_mark() -> None:
    rows = table("### What reconcile finds")
    assert [(words_of(word)[0], words_of(mark)[0]) for mark, word, _ in rows] == [
        (str(state), MARKS[state]) for state in State
    ]


def test_every_exit_status_has_a_row() -> None:
    raised = {
        kind.exit_status
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.QboAttachError)
    }
    rows = table("### Exit statuses")
    assert {int(words_of(row[0])[0]) for row in rows} == raised | {0, 1}


def test_every_code_of_qbo_has_a_row_with_its_recovery_and_remedy() -> None:
    said = {
        code: (recovery.strip("`"), remedy)
        for codes, recovery, remedy in table("### What QBO answers")
        for code in words_of(codes)
    }
    known = {**FAULTS, **{str(status): rule for status, rule in STATUSES.items()}}
    assert said == {code: (rule.recovery.value, rule.remedy) for code, rule in known.items()}
    text = RUNBOOK.read_text("utf-8")
    assert all(f"`{recovery}`" in text for recovery in Recovery)


def test_every_message_of_the_trouble_table_is_one_of_the_program() -> None:
    said = " ".join(map(_texts, sorted((ROOT / "qbo_attach").rglob("*.py"))))
    rows = table("## When something goes wrong")
    assert len(rows) > 15
    for cell, *_ in rows:
        for message in words_of(cell):
            assert message in said, message


def _texts(module: Path) -> str:
    """What a module's strings say, each in one piece; what is filled in left out."""
    found = []
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return "\n".join(found)


def test_links_of_the_runbook_lead_to_files_and_headings() -> None:
    text = RUNBOOK.read_text("utf-8")
    headings = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in _headings(text)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (RUNBOOK.parent / target).is_file(), target


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)

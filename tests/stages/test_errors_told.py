"""How errors reach a person: one sentence, a status, and with --debug where it happened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qbo_attach import cli
from qbo_attach.cli import overview
from qbo_attach.cli.terminal import app


@pytest.fixture
def failing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command; with `raising`, one whose settings raise just that."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, raising: BaseException | None = None) -> tuple[int, str]:
        def fail() -> None:
            assert raising is not None
            raise raising

        if raising is not None:
            monkeypatch.setattr(overview, "settings_given", fail)
        monkeypatch.setattr(sys, "argv", ["qbo-attach", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("raising", "status", "said"),
    [
        (
            ZeroDivisionError("by\x1b[2J zero"),
            3,
            "ZeroDivisionError: by\\x1b[2J zero. This was not",
        ),
        (OSError(28, "No space left on device"), 3, "No space left on device"),
        (KeyboardInterrupt(), 3, "stopped; run again to go on"),
        (EOFError(), 2, "nobody was there to answer"),
    ],
)
def test_what_nobody_foresaw_is_one_sentence(
    failing: Callable[..., tuple[int, str]], raising: BaseException, status: int, said: str
) -> None:
    found, err = failing("status", raising=raising)
    assert (found, len(err.splitlines())) == (status, 1)
    assert said in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense",), "nonsense"),
        (("run", "--nonsense"), "--nonsense"),
        (("canary", "x"), '"x"'),
        (("undo",), "--run"),
        (("run", "--progress", "loud"), "loud"),
    ],
)
def test_words_that_are_none_are_not_started(
    failing: Callable[..., tuple[int, str]], words: tuple[str, ...], said: str
) -> None:
    status, err = failing(*words)
    assert (status, len(err.splitlines())) == (2, 1)
    assert said in err


COMMANDS = [name for name in app if not name.startswith("-")]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("debug", [True, False])
def test_debug_is_taken_by_every_command_and_shows_where(
    failing: Callable[..., tuple[int, str]], name: str, debug: bool
) -> None:
    words = [name, *(["--debug"] if debug else []), "--no-such-option"]
    status, err = failing(*words)
    assert status == 2
    assert ("Traceback" in err) == debug
    assert "--debug" not in err.splitlines()[-1]


def test_statuses_stand_in_the_help_which_loads_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.argv = ['qbo-attach', '--help']\n"
        "from qbo_attach import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'httpx', 'fsspec', 'pydantic', 'openpyxl', 'jinja2', 'starlette'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": root, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "2 not started" in " ".join(done.stdout.split())
    assert done.stderr.strip() == "[]"

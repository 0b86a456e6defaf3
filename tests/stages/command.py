"""`qbo-attach WORDS` within a test: its exit status, stdout and stderr."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from qbo_attach import cli
from tests.stages.case import REALM, Case

Command = Callable[..., tuple[int, str, str]]


def environment(case: Case) -> dict[str, str]:
    return {
        **case.sample.environment(base_url=case.fake.base_url, realm_id=REALM),
        "QBO_REQUESTS_PER_MIN": "60000",
        "QBO_SETTLE_S": "0",
    }


@contextmanager
def commands(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for name, value in environment(case).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(case.sample.url)

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["qbo-attach", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    yield run
    for each, handler in handlers.items():
        signal.signal(each, handler)


def in_terminal(
    case: Case,
    *words: str,
    answers: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command whose stdin and stderr are a terminal; returns its status and what it showed.

    `answers`: what is typed when a text is shown. `more`: further variables.
    """
    waiting = dict(answers or {})
    ours, theirs = pty.openpty()
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    variables = {**kept, "TERM": "xterm", "COLUMNS": "100", **environment(case), **(more or {})}
    with subprocess.Popen(
        [sys.executable, "-m", "qbo_attach.cli", *words],
        env={**variables, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=case.sample.url,
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = ""
        while True:
            try:
                piece = os.read(ours, 4_096)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            shown += piece.decode(errors="replace")
            for text in [text for text in waiting if text in shown]:
                os.write(ours, f"{waiting.pop(text)}\n".encode())
        status = process.wait(40)
    os.close(ours)
    return status, shown

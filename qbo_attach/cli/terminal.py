"""What all commands share: the app, its common flags, and how things are told."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from qbo_attach import __version__

if TYPE_CHECKING:
    from qbo_attach.core.model import StageResult
    from qbo_attach.settings import Settings
    from qbo_attach.stages.whole import RunSummary

app = App(
    name="qbo-attach",
    version=__version__,
    suppress_keyboard_interrupt=False,  # main tells it, with an exit status of our own
    help=(
        "Moves the file attachments of a QuickBooks Desktop company into QuickBooks Online, each "
        "exactly once. Settings come from the environment and .env: see `qbo-attach config`.\n\n"
        "Exit status: 0 nothing left to do; 1 finished, rows need a person; 2 not started: "
        "settings, input or words of the command; 3 stopped or unfinished: run again to go on. "
        "With `--debug`, anywhere, an error also shows where it happened."
    ),
)

Json = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON object at the end.")
]
Flag = Annotated[bool, Parameter(negative="")]


def plain(text: object) -> str:
    """Text for a terminal: what could steer it is shown, not sent."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in str(text))


def one_line(text: str) -> str:
    """Text that cannot pass for a line of ours, whatever a file is called."""
    return plain(text).replace("\n", "\\n")


def stderr_is_terminal() -> bool:
    """Whether stderr is a terminal that can be drawn on."""
    if not sys.stderr.isatty():
        return False
    from rich.console import Console

    return not Console(stderr=True).is_dumb_terminal


def settings_given(**given: Any) -> Settings:  # noqa: ANN401 - settings by name
    """All settings, with the flags that were given."""
    from qbo_attach.settings import load_settings

    return load_settings({name: value for name, value in given.items() if value is not False})


def tell(name: str, result: StageResult) -> None:
    """A stage's counts and notes, for a person, on stderr."""
    counts = ", ".join(f"{key} {count:,}" for key, count in sorted(result.counts.items()))
    print(f"{name}: {counts or 'nothing'}", file=sys.stderr)
    for note in result.notes:
        print(f"  {one_line(note)}", file=sys.stderr)


def can_ask() -> bool:
    """Whether a person sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """Ask a person; only a `yes` is one. Ctrl-C ends the program, whatever else it would do."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(f"{one_line(question)} Type yes to go on: ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() == "yes"
    finally:
        signal.signal(signal.SIGINT, handler)


def run_stage(
    stage: Callable[[Settings], StageResult], name: str, *, as_json: bool, **given: bool | str
) -> int:
    """Run one stage, and tell what it leaves behind."""
    settings = settings_given(**given)
    result = stage(settings)
    tell(name, result)
    if as_json:
        print_stage(result, name)
    else:
        print_files(result)
    return 0


def print_files(result: StageResult) -> None:
    """The tables that a stage wrote, on stdout."""
    for artifact in result.artifacts:
        print(f"{artifact.name}: {plain(artifact.url)}")


def print_stage(result: StageResult, name: str, **more: object) -> None:
    """What a stage came to, as one JSON object on stdout."""
    files = {artifact.name: artifact.url for artifact in result.artifacts}
    kind = "verification" if name == "verify" else "outcome" if name == "report" else name
    counts: dict[str, dict[str, int]] = {"outcome": {}, "verification": {}}
    counts[kind] = result.counts
    told = {"run_id": "", "counts": counts, "requests_sent": 0, "files": files, **more}
    print(json.dumps(told))


def stop_on_signals(stop: Callable[[Exception], None]) -> None:
    """First SIGINT or SIGTERM: no new requests. A second one ends the process at once."""
    from qbo_attach.engine.session import interrupted

    def first(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        stop(interrupted(name))
        print(f"{name}: requests in flight are let in; again to stop at once", file=sys.stderr)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, first)


_SAID_AT_THE_END = {
    0: "Complete: every file is accounted for.",
    1: "Complete, but for what needs a person: see above, and report.html.",
    3: "Not finished: run again, nothing is sent twice.",
}
"""By exit status."""


def end_of_run(summary: RunSummary, *, as_json: bool) -> int:
    """Tell stdout what a run came to; returns its exit status."""
    from qbo_attach.core.remedies import meaning

    if as_json:
        print(json.dumps(summary.as_json()))
        return summary.exit_status
    print(f"Run {summary.run_id}: {summary.requests_sent:,} requests")
    for title, counts in (("outcome", summary.outcomes), ("verification", summary.statuses)):
        print(f"{title}: {sum(counts.values()):,}")
        for name, count in sorted(counts.items()):
            print(f"  {name:<26}{count:>9,}  {meaning(name)}".rstrip())
    for file, url in summary.files.items():
        print(f"{file}: {plain(url)}")
    print(_SAID_AT_THE_END[summary.exit_status])
    return summary.exit_status

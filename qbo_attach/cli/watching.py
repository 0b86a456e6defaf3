"""Watching a run in the terminal, in a log file, or from a program: always on stderr.

`auto` draws on a terminal and prints plain lines elsewhere; `json` prints an object a line.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from qbo_attach.cli.terminal import ask, can_ask, one_line, stderr_is_terminal, tell

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from qbo_attach.core.model import StageResult
    from qbo_attach.core.watching import View
    from qbo_attach.stages.upload import UploadRun
    from qbo_attach.stages.whole import RunSummary

How = Annotated[
    Literal["auto", "plain", "json", "none"],
    Parameter(
        name="--progress",
        help="On stderr. auto: drawn on a terminal, else plain lines; plain; json: an object a "
        "line; none: only what each stage came to.",
    ),
]

PLAIN_EVERY_S = 30.0
"""A log file of a whole night stays readable."""
JSON_EVERY_S = 2.0
_LOOK_EVERY_S = 0.5
_BAR_WIDTH = 40
_STAGES = ("inventory", "mapping", "verify", "plan", "upload")


class Watch:
    """Tells stderr how far a run is; a context manager.

    Args:
        how: see How.
        limit_per_min: QBO_REQUESTS_PER_MIN.
        first: the stage that the run begins with.
        every_s: between two lines of an upload; by `how` if not given.
    """

    def __init__(
        self, how: str, limit_per_min: int, first: str = _STAGES[0], every_s: float | None = None
    ) -> None:
        from qbo_attach.core.watching import Pace

        if how == "auto":
            how = "rich" if stderr_is_terminal() else "plain"
        self._how = how
        self._limit = limit_per_min
        self._every_s = every_s or (JSON_EVERY_S if how == "json" else PLAIN_EVERY_S)
        self._pace = Pace()
        self._stage = first
        self._since = time.monotonic()
        self._run: UploadRun | None = None
        self._view: View | None = None
        self._company = ""
        self._ended = threading.Event()
        self._live: Live | None = None
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)

    def __enter__(self) -> Watch:  # noqa: PYI034 - Self needs Python 3.11
        if self._how == "rich":
            self._live = _live(self._drawn)
            self._live.start()
        if self._how != "none":
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._live is not None:
            self._live.stop()

    def told(self, name: str, result: StageResult) -> None:
        """A stage has ended: tell what it came to. The next one begins."""
        if self._how == "json":
            self._line("stage", stage=name, counts=result.counts, notes=list(result.notes))
        else:
            tell(name, result)
        following = _STAGES[_STAGES.index(name) + 1 :] if name in _STAGES else ()
        self._stage, self._since = (following or (name,))[0], time.monotonic()

    def upload(self, run: UploadRun) -> None:
        """From now on, tell how far this upload is."""
        self._stage, self._since = "upload", time.monotonic()
        self._run = run

    def ended(self, summary: RunSummary) -> None:
        """The run has ended; call it after the block."""
        if self._how == "json":
            self._line(
                "end",
                run_id=summary.run_id,
                counts=summary.outcomes,
                requests_sent=summary.requests_sent,
                notes=list(summary.notes),
                stopped=summary.stopped,
                exit_status=summary.exit_status,
            )
            return
        for note in summary.notes:
            print(f"  {one_line(note)}", file=sys.stderr)
        if summary.stopped:
            print(f"qbo-attach: {one_line(summary.stopped)}", file=sys.stderr)

    @property
    def ask(self) -> Callable[[str], bool] | None:
        """Asks a person; None where nobody can be asked."""
        return self._asked if can_ask() else None

    def _asked(self, question: str) -> bool:
        if self._live is not None:
            self._live.stop()
        if self._run is not None and self._how != "json":
            self._company = self._run.company  # the question names it
        try:
            return ask(question)
        finally:
            if self._live is not None and not self._ended.is_set():
                self._live.start()

    # -- in the thread --------------------------------------------------------------------------

    def _look_on(self) -> None:
        said_at = time.monotonic()
        while not self._ended.wait(min(_LOOK_EVERY_S, self._every_s)):
            self._look()
            if time.monotonic() - said_at >= self._every_s and self._how != "rich":
                said_at = time.monotonic()
                self._say()

    def _look(self) -> None:
        from qbo_attach.core.watching import View, time_left

        if self._run is None:
            return
        if self._run.company and not self._company:
            self._company = self._run.company
            if self._how == "json":
                self._line("company", company=self._company)
            else:
                _print(f"company: {one_line(self._company)}")
        try:
            seen = self._run.progress()
        except RuntimeError:  # not open yet, or at its end
            self._view = None
            return
        self._pace.note(time.monotonic(), seen.requests_sent, seen.ended)
        requests, files = self._pace.per_minute() or (None, None)
        self._view = View(
            ended=seen.ended,
            expected=seen.expected,
            in_doubt=seen.in_doubt,
            requests_sent=seen.requests_sent,
            requests_per_min=requests,
            files_per_min=files,
            limit_per_min=self._limit,
            wait_s=seen.wait_s,
            wait_reason=one_line(seen.wait_reason) if seen.wait_s else "",
            left_s=time_left(seen.expected - seen.ended, files, seen.wait_s),
        )

    def _say(self) -> None:
        view = self._view
        if self._how == "json":
            self._line("progress", stage=self._stage, **(view.as_json() if view else {}))
        else:
            what = ", ".join(view.parts()) if view else f"at work for {self._lasted()}"
            _print(f"{self._stage}: {what}")

    def _line(self, event: str, **facts: object) -> None:
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        _print(json.dumps({"event": event, "at": at, **facts}))

    def _lasted(self) -> str:
        from qbo_attach.core.watching import duration

        return duration(time.monotonic() - self._since)

    # -- on a terminal --------------------------------------------------------------------------

    def _drawn(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = Table.grid(padding=(0, 1))
        view = self._view
        if view is None:
            head.add_row(Text(self._stage, style="bold"), Text(f"{self._lasted()}", style="dim"))
            return head
        done, *others = view.parts()
        bar = ProgressBar(total=max(view.expected, 1), completed=view.ended, width=_BAR_WIDTH)
        head.add_row(Text(self._stage, style="bold"), bar, Text(done))
        return Group(head, Text(" · ".join(others), style="dim"))


def _live(drawn: Callable[[], RenderableType]) -> Live:
    from rich.console import Console
    from rich.live import Live

    class Steady(Console):
        """Never hides the cursor: a process that is killed could not show it again."""

        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - Console's signature
            return False

    # What is printed meanwhile comes above; nothing is left of it at the end.
    console = Steady(stderr=True, highlight=False, markup=False)
    return Live(get_renderable=drawn, console=console, transient=True, refresh_per_second=4)


def _print(line: str) -> None:
    """A line in one piece, whatever another thread prints."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

"""Where the console script begins, and every error ends in one sentence."""

from __future__ import annotations

import sys
from typing import NoReturn

from cyclopts import CycloptsError

from qbo_attach.cli import canary, company, overview, pipeline, rehearsal, review
from qbo_attach.cli.terminal import app, one_line

__all__ = ["canary", "company", "main", "overview", "pipeline", "rehearsal", "review"]


def main() -> None:
    """Entry point of the console script."""
    from qbo_attach.core.errors import QboAttachError
    from qbo_attach.stages.allocator import give_back_large_blocks

    give_back_large_blocks()
    debug = "--debug" in sys.argv
    argv = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        status = app(argv, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _fail(f"{' '.join(str(error).split())} See qbo-attach --help.", 2, debug=debug)
    except QboAttachError as error:
        _fail(str(error), error.exit_status, debug=debug)
    except EOFError:
        _fail("a question was asked, and nobody was there to answer it", 2, debug=debug)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stdout = None
        sys.exit(3)
    except KeyboardInterrupt:
        _fail("stopped; run again to go on", 3, debug=debug)
    except Exception as error:  # noqa: BLE001 - the last one to tell it
        told = f"{type(error).__name__}: {error}".rstrip(": ")
        more = "This was not foreseen: run again to go on; with --debug it tells where it happened."
        _fail(f"{told}. {more}", 3, debug=debug)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(said: str, status: int, *, debug: bool) -> NoReturn:
    """End with one sentence; with --debug after the traceback."""
    if debug:
        import traceback

        traceback.print_exc()
    print(f"qbo-attach: {one_line(said)}", file=sys.stderr)
    sys.exit(status)

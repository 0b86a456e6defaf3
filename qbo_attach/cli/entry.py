"""Where the console script begins, and every error ends in one sentence."""

from __future__ import annotations

import sys

from qbo_attach.cli import canary, company, overview, pipeline, rehearsal, review
from qbo_attach.cli.terminal import app, plain

__all__ = ["canary", "company", "main", "overview", "pipeline", "rehearsal", "review"]


def main() -> None:
    """Entry point of the console script."""
    from qbo_attach.core.errors import QboAttachError

    debug = "--debug" in sys.argv
    argv = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        status = app(argv, exit_on_error=True, result_action="return_value")
    except QboAttachError as error:
        if debug:
            import traceback

            traceback.print_exc()
        print(f"qbo-attach: {plain(error)}", file=sys.stderr)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stdout = None
        sys.exit(3)
    except KeyboardInterrupt:
        print("qbo-attach: stopped; run again to go on", file=sys.stderr)
        sys.exit(3)
    sys.exit(status if isinstance(status, int) else 0)

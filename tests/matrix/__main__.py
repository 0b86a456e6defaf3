"""`python -m tests.matrix`: run every cell, print the table, write docs/fault-matrix.md."""

from __future__ import annotations

import sys

from tests.matrix.cells import cells, judge
from tests.matrix.page import PAGE, render


def main() -> int:
    """Exit status 1 if a cell is wrong; the page is written all the same."""
    results = [(cell, judge(cell)) for cell in cells()]
    page = render(results)
    PAGE.write_text(page, "utf-8")
    print(page)
    wrong = [(cell, verdict) for cell, verdict in results if verdict.wrong]
    for cell, verdict in wrong:
        place = f"{cell.table}, {cell.kind}, {cell.place}, groups of {cell.per_request}"
        print(f"{place}: {', '.join(verdict.wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

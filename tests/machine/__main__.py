"""python -m tests.machine: courses from new seeds, or from one seed again."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.machine.search import CourseError, new_seed, search


def main() -> int:
    """Exit status 1 if a course went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one, and no other")
    parser.add_argument("--examples", type=int, default=100, help="courses a seed")
    parser.add_argument("--seconds", type=float, default=60.0, help="new seeds for so long")
    parser.add_argument("--shrink", action="store_true", help="find the smallest wrong course")
    asked = parser.parse_args()
    until = time.monotonic() + asked.seconds
    seen: Counter[str] = Counter()
    while True:
        number = new_seed() if asked.seed is None else asked.seed
        print(f"seed {number}", flush=True)
        try:
            seen += search(number, asked.examples, shrink=asked.shrink)
        except CourseError as error:
            print(error, *getattr(error.__cause__, "__notes__", ()), sep="\n")
            return 1
        if asked.seed is not None or time.monotonic() > until:
            break
    for what, count in sorted(seen.items()):
        print(f"{count:>10,}  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

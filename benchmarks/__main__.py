"""`python -m benchmarks`: measure, and write benchmarks/results.md."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from pathlib import Path
from typing import cast

from benchmarks.bench import Bench, Section
from benchmarks.results import write

SUBJECTS = (
    "startup",
    "joining",
    "planning",
    "uploading",
    "profile",
    "packing",
    "listing",
    "prefect_share",
    "growth",
)


def measured(name: str, bench: Bench) -> Section:
    """What a subject found out."""
    module = importlib.import_module(f"benchmarks.{name}")
    return cast("Section", module.measure(bench))


def main(argv: list[str] | None = None) -> int:
    """Measure the subjects one by one; the page grows with each, so that none is lost."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, once: two minutes")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="this subject (repeat)")
    parser.add_argument("--seed", type=int, default=1, help="of the data")
    parser.add_argument("--runs", type=int, default=0, help="rounds (5; quick: 1)")
    parser.add_argument("--scratch", type=Path, default=here / "scratch", help="data goes here")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual sizes")
    parser.add_argument(
        "--out", type=Path, help="the page (results.md; of some subjects: in the scratch folder)"
    )
    given = parser.parse_args(argv)
    scratch = given.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    runs = given.runs or (1 if given.quick else 5)
    bench = Bench(scratch, given.seed, runs, given.quick, given.scale)
    whole = here / "results.md"
    out = (given.out or (scratch / "results-only.md" if given.only else whole)).resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    tools = bench.tools.versions()
    sections: dict[str, Section] = {}
    failed = False
    for name in given.only or SUBJECTS:
        began = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        try:
            sections[name] = measured(name, bench)
        except Exception as error:  # noqa: BLE001 - the other subjects are still worth having
            traceback.print_exc()
            sections[name] = Section(name, [f"**Not measured**: {error}"])
            failed = True
        print(f"{time.monotonic() - began:.0f} s", flush=True)
        write(sections, bench, out, tools)
    print(out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

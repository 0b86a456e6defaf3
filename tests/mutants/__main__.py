"""`python -m tests.mutants [NAME ...]`: apply each mutant, show the test that fails."""

from __future__ import annotations

import sys

from tests.mutants.catalogue import named
from tests.mutants.proof import try_out_all
from tests.mutants.trial import Fate


def show(fate: Fate) -> None:
    """One line a mutant."""
    by = ", ".join(fate.killed_by) or "SURVIVES"
    print(f"{fate.mutant.name}: {fate.mutant.says}\n    {by}", flush=True)


def main() -> int:
    """Exit status 1 if a mutant survives, 2 for a name that is none's."""
    try:
        mutants = named(sys.argv[1:])
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    fates = try_out_all(mutants, show)
    survivors = [fate for fate in fates if not fate.killed_by]
    for fate in survivors if len(mutants) == 1 else ():
        print(fate.told)
    print(f"{len(fates)} mutants, {len(survivors)} survive")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

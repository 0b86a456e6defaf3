"""All mutants."""

from __future__ import annotations

from tests.mutants import engine, plans, rooms
from tests.mutants.trial import Mutant

MUTANTS: tuple[Mutant, ...] = (*engine.MUTANTS, *plans.MUTANTS, *rooms.MUTANTS)


def named(names: list[str]) -> list[Mutant]:
    """The mutants of these names; all for none.

    Raises:
        LookupError: there is none of a name.
    """
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise LookupError(f"no mutant {', '.join(unknown)}; there are: {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else list(MUTANTS)

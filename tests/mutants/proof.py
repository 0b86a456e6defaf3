"""Trying out many mutants, some at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.trial import ROOT, Copy, Fate, Mutant


def try_out_all(mutants: Sequence[Mutant], told: Callable[[Fate], None]) -> list[Fate]:
    """The fate of each mutant, in their order.

    Args:
        mutants: which.
        told: called with each fate as it is known.

    Raises:
        LookupError: a mutant's old text is not in the source exactly once.
        RuntimeError: the tests fail without any mutant, or cannot be run.
    """
    for mutant in mutants:
        mutant.applied_to((ROOT / mutant.path).read_text("utf-8"))
    workers = min(os.cpu_count() or 1, 4, len(mutants))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(workers):
            copies.put(Copy(Path(folder, str(number))))

        def with_copy(work: Callable[[Copy], Fate | None]) -> Fate | None:
            copy = copies.get()
            try:
                fate = work(copy)
            finally:
                copies.put(copy)
            if fate is not None:
                told(fate)
            return fate

        def sound(copy: Copy) -> None:
            tests = tuple(sorted({test for mutant in mutants for test in mutant.tests}))
            ended = copy.run(tests)
            if ended.returncode:
                raise RuntimeError(f"the tests fail without any mutant:\n{ended.stdout}")

        with ThreadPoolExecutor(workers) as pool:
            whole = pool.submit(with_copy, sound)
            fates = list(
                pool.map(lambda mutant: with_copy(lambda copy: copy.try_out(mutant)), mutants)
            )
            whole.result()
    return [fate for fate in fates if fate is not None]

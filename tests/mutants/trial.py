"""One mutant: a named change of the source that must make a test fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_COPIED = ("qbo_attach", "tests", "flows", "pyproject.toml")
_TIME_S = 400
"""For a run of tests, on a machine that may be busy."""
_FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is changed, and the tests of which at least one must fail.

    `old` stands exactly once in `path`; `says` tells what the changed product would do.
    """

    name: str
    says: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied_to(self, text: str) -> str:
        """The changed source.

        Raises:
            LookupError: `old` is not there exactly once: the source went on, the mutant did not.
        """
        found = text.count(self.old)
        if found != 1:
            raise LookupError(f"{self.name}: its old text stands {found} times in {self.path}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Fate:
    """`killed_by`: the tests that failed; none: the mutant survives. `told`: what pytest said."""

    mutant: Mutant
    killed_by: tuple[str, ...]
    told: str


class Copy:
    """A copy of the tree; the tests within it import the copy, never the working tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        self._check_imports()
        # Bound to the bytes of its source, not to its time: a mutant's is not taken for it.
        hashed = ("-q", "--invalidation-mode", "checked-hash")
        self._python("-m", "compileall", *hashed, "qbo_attach", "tests")

    def _check_imports(self) -> None:
        """The virtual environment knows the working tree as well: the copy must come first."""
        code = "import qbo_attach, tests.mutants.trial as t; print(qbo_attach.__file__, t.__file__)"
        imported = self._python("-c", code).stdout.split()
        if len(imported) != 2 or not all(
            Path(path).is_relative_to(self.folder) for path in imported
        ):
            raise RuntimeError(f"not the copy is imported, but {imported}")

    def run(self, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """The tests, in their own process, up to the first failure."""
        plain = ("-n", "0", "-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=0")
        return self._python("-m", "pytest", "-q", "-x", "--tb=no", *plain, *tests)

    def try_out(self, mutant: Mutant) -> Fate:
        """Change the copy, run the mutant's tests, change it back.

        Raises:
            RuntimeError: the tests could not be run at all, or did not end.
        """
        path = self.folder / mutant.path
        text = path.read_text("utf-8")
        path.write_text(mutant.applied_to(text), "utf-8")
        try:
            ended = self.run(mutant.tests)
        except subprocess.TimeoutExpired as late:
            raise RuntimeError(f"{mutant.name}: its tests do not end in {_TIME_S} s") from late
        finally:
            path.write_text(text, "utf-8")
        told = ended.stdout + ended.stderr
        killed_by = tuple(_FAILED.findall(ended.stdout))
        if ended.returncode not in (0, 1) or (ended.returncode == 1) != bool(killed_by):
            raise RuntimeError(f"{mutant.name}: its tests did not run:\n{told}")
        return Fate(mutant, killed_by, told)

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Byte code that Python keeps by itself is told from its source by whole seconds and size.
        env = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=_TIME_S,
            check=False,
        )

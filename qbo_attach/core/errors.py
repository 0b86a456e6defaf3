"""Errors, grouped by what the person has to do next.

- QboAttachError
  - NotStartedError       exit 2: nothing was sent; mend settings or input
    - SettingError        a setting's value is refused
    - TableError          a table is broken, at a row and a column
    - StorageError        a place cannot be read or written
    - GateClosedError     the verification's coverage is below MIN_COVERAGE
  - StoppedError          exit 3: stopped on the way; run again to go on
    - LeaseHeldError      another run works on this realm now
    - LeaseLostError      another run took this realm over
    - RunLogDamagedError  a segment of the run log is not what was written
"""

from __future__ import annotations


class QboAttachError(Exception):
    """Base of all errors that are told in one sentence, without a traceback."""

    exit_status = 3


class NotStartedError(QboAttachError):
    """Wrong settings or input; nothing was sent."""

    exit_status = 2


class SettingError(NotStartedError):
    """A setting's value is refused.

    Args:
        variable: the environment variable's name.
        value: the refused value, as given (masked where it is a secret).
        allowed: what is allowed, and the remedy.
    """

    def __init__(self, variable: str, value: object, allowed: str) -> None:
        self.variable = variable
        self.value = value
        self.allowed = allowed
        super().__init__(f"{variable}={value}: {allowed}")


class TableError(NotStartedError):
    """A table cannot be used.

    Args:
        url: the table.
        problem: what is wrong, and the remedy.
        row: 1-based line of the file where the row begins; the header is line 1. None: whole file.
        column: the column's name, where one is to blame.
    """

    def __init__(
        self, url: str, problem: str, *, row: int | None = None, column: str | None = None
    ) -> None:
        self.url = url
        self.problem = problem
        self.row = row
        self.column = column
        place = url
        if row is not None:
            place += f", row {row}"
        if column is not None:
            place += f", column {column}"
        super().__init__(f"{place}: {problem}")


class StorageError(NotStartedError):
    """A place cannot be read or written.

    Args:
        url: the place.
        problem: what is wrong, and the remedy.
    """

    def __init__(self, url: str, problem: str) -> None:
        self.url = url
        self.problem = problem
        super().__init__(f"{url}: {problem}")


class GateClosedError(NotStartedError):
    """Too few attachments have an entity in QBO; upload does not start."""


class StoppedError(QboAttachError):
    """The run stopped on its way; what was done is in the run log, and the next run goes on."""

    exit_status = 3


class LeaseHeldError(StoppedError):
    """Another run holds this realm's lease.

    Args:
        holder: host, pid and run of the holder, for people.
    """

    def __init__(self, holder: str) -> None:
        self.holder = holder
        super().__init__(
            f"another run works on this realm: {holder}. Wait for its end, or end it; "
            "this run sent nothing."
        )


class LeaseLostError(StoppedError):
    """Another run took the next number of the run log; this one sends nothing more."""


class RunLogDamagedError(StoppedError):
    """A segment of the run log is missing, torn or altered.

    Args:
        url: the segment.
        problem: what was found.
    """

    def __init__(self, url: str, problem: str) -> None:
        self.url = url
        self.problem = problem
        super().__init__(
            f"{url}: {problem}. Restore this file from a backup or a version "
            "of its bucket; a run log that was altered cannot prove what was sent."
        )

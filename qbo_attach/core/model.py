"""The nouns: small frozen values that travel between rooms. Words as in docs/design.md, 2."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class StrEnum(str, Enum):
    """A string with a closed list of values; prints as its value."""

    def __str__(self) -> str:
        return str(self.value)


class Status(StrEnum):
    """Verification status of an attachment: exactly one each."""

    OK = "ok"
    MISSING_MAPPING = "missing_mapping"
    ENTITY_MISSING = "entity_missing"
    AMBIGUOUS_MAPPING = "ambiguous_mapping"
    AMBIGUOUS_IDENTIFIER = "ambiguous_identifier"
    DUPLICATE_MAPPING = "duplicate_mapping"
    UNSUPPORTED_ENTITY_TYPE = "unsupported_entity_type"
    UNSUPPORTED_FILE_TYPE = "unsupported_file_type"
    FILE_TOO_LARGE = "file_too_large"
    EMPTY_FILE = "empty_file"
    INVALID_FILE_NAME = "invalid_file_name"
    UNRECOGNIZED_PATH = "unrecognized_path"
    UNREADABLE = "unreadable"
    EXCLUDED = "excluded"


class Action(StrEnum):
    """What the next upload would do with an attachment: exactly one each."""

    SEND = "send"
    SKIP = "skip"
    CHANGED = "changed"
    EXISTING = "existing"
    LOOK = "look"
    DUPLICATE_CONTENT = "duplicate_content"
    FILE_MISSING = "file_missing"
    SOURCE_CHANGED = "source_changed"
    REFUSED = "refused"


SAME_AS = "same content as "
"""How the reason of `duplicate_content` begins; the path of the other attachment follows."""

OF_ITS_TWIN = " (said of another file of the same content)"
"""What follows a refusal that is told of a file that was not sent itself."""


class Outcome(StrEnum):
    """What became of an attachment in a run: exactly one each."""

    SUCCESS = "success"
    ADOPTED = "adopted"
    ALREADY_IN_QBO = "already_in_qbo"
    SKIPPED_ALREADY_UPLOADED = "skipped_already_uploaded"
    DUPLICATE_CONTENT = "duplicate_content"
    CHANGED = "changed"
    FILE_MISSING = "file_missing"
    SOURCE_CHANGED = "source_changed"
    ERROR = "error"
    IN_DOUBT = "in_doubt"
    NOT_SENT = "not_sent"
    DELETED = "deleted"


DONE_OUTCOMES = frozenset({Outcome.SUCCESS, Outcome.ADOPTED, Outcome.ALREADY_IN_QBO})
"""After these the attachable is in QBO."""

NEEDS_PERSON_OUTCOMES = frozenset(
    {Outcome.CHANGED, Outcome.FILE_MISSING, Outcome.SOURCE_CHANGED, Outcome.ERROR}
)
RUN_AGAIN_OUTCOMES = frozenset({Outcome.IN_DOUBT, Outcome.NOT_SENT})


class Recovery(StrEnum):
    """What an error of QBO means for the request that met it."""

    STOP = "stop"
    """End the run; a person must act before the next one."""
    NOT_DONE = "not_done"
    """Surely without effect; send again after the wait."""
    IN_DOUBT = "in_doubt"
    """It may have had its effect; look before sending again."""
    REFUSED = "refused"
    """QBO will not take it; an outcome."""


@dataclass(frozen=True, slots=True, order=True)
class EntityRef:
    """What an attachment hangs on in QBO: `type` as in `EntityRef.type` (Bill), `id` as text."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


class ListedFile(NamedTuple):
    """One file as a listing of FILES_DIR shows it.

    `path` is relative to the listed root, with `/`; bytes that are not UTF-8 stand in it as
    surrogate escapes. `modified_at` is aware UTC ISO 8601 ending in `Z`, with a fraction only
    where the store has one; `modified_at` and `etag` are "" where the store has none.
    `problem` is "" for a file that can be read, else why it cannot.
    """

    path: str
    size_bytes: int
    modified_at: str = ""
    etag: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A table at a URL, with the digest and the number of rows it had when it was written.

    `sha256` is the hex digest of the file's bytes; `rows` counts data rows, without the header.
    """

    name: str
    url: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Fault:
    """QBO's error record. `code` as Intuit prints it; `status` the HTTP status it came with."""

    code: str
    message: str
    detail: str = ""
    element: str = ""
    type: str = ""
    status: int = 0
    intuit_tid: str = ""

    def __str__(self) -> str:
        words = [self.message, self.detail if self.detail != self.message else ""]
        text = ": ".join(w for w in words if w)
        return f"{self.code} {text}".strip()


@dataclass(frozen=True, slots=True)
class Attachable:
    """QBO's record of an uploaded file, as an answer or a query shows it.

    `size_bytes` is None where QBO gave no Size. `created_at` is `MetaData.CreateTime` as sent.
    """

    id: str
    file_name: str
    size_bytes: int | None
    refs: tuple[EntityRef, ...] = ()
    tag: str = ""
    note: str = ""
    sync_token: str = ""
    created_at: str = ""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage leaves behind: small facts only, never rows or bytes.

    `counts` are by the stage's own closed list (statuses, actions, outcomes); `notes` are
    sentences for the person: warnings, rule scores, what to do next.
    """

    artifacts: tuple[Artifact, ...]
    counts: dict[str, int]
    notes: tuple[str, ...] = ()

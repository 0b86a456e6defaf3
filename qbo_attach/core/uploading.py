"""Decisions of the upload: packing groups, matching answers, what to do with a group in doubt."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.history import SETTLED_LOOKS
from qbo_attach.core.model import Attachable, Fault
from qbo_attach.core.naming import folded

REQUEST_BYTES = 100_000_000
"""Intuit: a request is at most 100 MB, overhead included; the smaller reading of "MB"."""

FILE_OVERHEAD_BYTES = 4_096
"""More than the part headers and metadata of one file take within a request."""

LADDER = (1, 2, 5, 10, 20)
"""Group sizes that `FILES_PER_REQUEST=auto` climbs."""

BOOKS_CLOSED = frozenset({"6200", "6210"})
ANSWERS_WATCHED = 200
"""Upload stops when more than half of the last so many answers are one and the same refusal."""


class Queue:
    """Attachments waiting for a group, in order; groups are packed when they are taken."""

    def __init__(self) -> None:
        self._files: deque[GroupFile] = deque()

    def __len__(self) -> int:
        return len(self._files)

    def add(self, files: Iterable[GroupFile]) -> None:
        """Put files at the end."""
        self._files.extend(files)

    def put_back(self, files: Sequence[GroupFile]) -> None:
        """Put files at the front, in order."""
        self._files.extendleft(reversed(files))

    def drain(self) -> list[GroupFile]:
        """Take all that wait."""
        files = list(self._files)
        self._files.clear()
        return files

    def take(self, most: int, most_bytes: int) -> tuple[GroupFile, ...]:
        """The next group: at least one file, at most `most`, names unique within the group.

        `most_bytes` bounds the sum of file sizes with their overhead, for groups of more than one.
        """
        group: list[GroupFile] = []
        names: set[str] = set()
        aside: list[GroupFile] = []
        size = 0
        bound = min(most_bytes, REQUEST_BYTES - FILE_OVERHEAD_BYTES)
        while self._files and len(group) < most and len(aside) < most:
            file = self._files[0]
            size += file.size_bytes + FILE_OVERHEAD_BYTES
            if group and size > bound:
                break
            self._files.popleft()
            name = folded(file.sent_file_name)
            if name in names:
                aside.append(file)
                size -= file.size_bytes + FILE_OVERHEAD_BYTES
            else:
                names.add(name)
                group.append(file)
        self.put_back(aside)
        return tuple(group)


@dataclass(slots=True)
class GroupSize:
    """How many files travel in one request; `auto` climbs the ladder, else it is fixed.

    Each step of the ladder is tried by one request alone, so that an answer which cannot be
    matched puts few files in doubt, and so that the small steps cost few requests.
    """

    fixed: int | None = None
    _step: int = 0
    _proven: bool = False
    _stuck: bool = False

    @property
    def on_trial(self) -> bool:
        """Whether the next group is to go alone: no answer to one of this size has come yet."""
        return self.fixed is None and not self._stuck and not self._proven

    @property
    def most(self) -> int:
        """Files in the next group at most."""
        if self.fixed is not None:
            return self.fixed
        return 1 if self._stuck else LADDER[self._step]

    def answered(self, files: int, *, matched: bool) -> None:
        """Take the answer to a group of `files`: were all its items matched to files?"""
        if self.fixed is not None or self._stuck:
            return
        if not matched:
            self._stuck = True
            return
        self._proven = True
        if files == LADDER[self._step] and self._step + 1 < len(LADDER):
            self._step += 1
            self._proven = False


@dataclass(slots=True)
class GroupBytes:
    """Bounds a group's bytes so that no request nears QBO's 120 s, by the rate measured."""

    seconds: float = 30.0
    start_bytes: int = 8_000_000
    _rate: float = 0.0

    @property
    def most(self) -> int:
        """Bytes in the next group at most (one file always may go)."""
        if not self._rate:
            return self.start_bytes
        return max(1_000_000, int(self._rate * self.seconds))

    def sent(self, size_bytes: int, duration_s: float) -> None:
        """Take a request's size and duration; small requests say nothing of the line."""
        if size_bytes < 100_000 or duration_s <= 0:  # noqa: PLR2004 - latency rules below it
            return
        rate = size_bytes / duration_s
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate


@dataclass(frozen=True, slots=True)
class Matched:
    """An answer's items by the key of their file; `missing` files have no item that is theirs.

    `guessed`: of those refused, the keys of the files that no fault's text fits alone. Which of
    the faults left over is whose is not known. `weak`: the keys of those whose fault is theirs
    since its text has the id of their entity, or since it is the one left over then: a number in a
    text need not be an id.
    """

    made: dict[str, Attachable]
    refused: dict[str, Fault]
    missing: tuple[GroupFile, ...]
    guessed: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()


def match_answer(
    files: Sequence[GroupFile], items: Sequence[tuple[Attachable | None, Fault | None]]
) -> Matched:
    """Match an answer's items to the files of the group, by marker and name, never by position.

    A fault names no file. Where the items are as many as the files, and each attachable is one
    file's, the faults are the other files' (told apart by what their texts fit alone); where an
    item is missing or is nobody's, the files without an attachable are in doubt.
    """
    by_key = {file.key: file for file in files}
    of_name = {folded(file.sent_file_name): file for file in files}
    made: dict[str, Attachable] = {}
    faults: list[Fault] = []
    strangers = 0
    for attachable, fault in items:
        if attachable is not None:
            file = by_key.get(attachable.tag) or by_key.get(attachable.note)
            file = file or of_name.get(folded(attachable.file_name))
            if file is None or file.key in made:
                strangers += 1
            else:
                made[file.key] = attachable
        elif fault is not None:
            faults.append(fault)
    left = [file for file in files if file.key not in made]
    if strangers or len(faults) != len(left):
        return Matched(made, {}, tuple(left))
    by_name = _share_out(left, faults, _with_name)
    by_entity = _share_out([file for file in left if file.key not in by_name], faults, _with_entity)
    told = by_name | by_entity
    guessed = [file.key for file in left if file.key not in told]
    refused = told | dict(zip(guessed, faults, strict=True))
    weak = frozenset((*by_entity, *guessed)) if by_entity else frozenset()
    return Matched(made, refused, (), frozenset(guessed if len(guessed) > 1 else ()), weak)


def _share_out(
    files: Sequence[GroupFile],
    faults: list[Fault],
    fitting: Callable[[Sequence[GroupFile], str], list[GroupFile]],
) -> dict[str, Fault]:
    """The faults whose text fits one file alone, by its key; they are taken out of `faults`.

    A text that several files would fit (those of one transaction have its id in common), and one
    of several texts that fit the same file, say nothing.
    """
    told: dict[str, list[Fault]] = {}
    for fault in faults:
        found = fitting(files, f"{fault.message} {fault.detail}")
        if len(found) == 1:
            told.setdefault(found[0].key, []).append(fault)
    shared = {key: its[0] for key, its in told.items() if len(its) == 1}
    for fault in shared.values():
        faults.remove(fault)
    return shared


def _with_name(files: Sequence[GroupFile], text: str) -> list[GroupFile]:
    """The files whose name the text has; `scan.pdf` within `my scan.pdf` is not meant."""
    found = []
    for file in sorted(files, key=lambda one: -len(one.sent_file_name)):
        if file.sent_file_name in text:
            text = text.replace(file.sent_file_name, " ")
            found.append(file)
    return found


def _with_entity(files: Sequence[GroupFile], text: str) -> list[GroupFile]:
    """The files with an entity whose id the text has as a word."""
    words = set(text.split())
    return [file for file in files if any(ref.id in words for ref in file.refs)]


@dataclass(slots=True)
class RefusalWatch:
    """Tells when refusals are no longer about single files."""

    _last: deque[str] = field(default_factory=lambda: deque(maxlen=ANSWERS_WATCHED))

    def answered(self, code: str) -> str:
        """Take one item's answer, "" for a success; returns the code to stop for, or ""."""
        self._last.append(code)
        if code in BOOKS_CLOSED:
            return code
        if not code or len(self._last) < ANSWERS_WATCHED:
            return ""
        top, count = Counter(c for c in self._last if c).most_common(1)[0]
        return top if count * 2 > ANSWERS_WATCHED else ""


@dataclass(frozen=True, slots=True)
class AfterLook:
    """What follows from a settled look for a group in doubt.

    `adopt`: files by key that QBO shows. `resend`: the identical request goes again under its
    requestid. `anew`: these go out as a new group, with a new intent and requestid. `give_up`:
    their source is not what was to be sent, and QBO does not have them. Else: look again later.
    """

    adopt: dict[str, Attachable]
    resend: bool = False
    anew: tuple[GroupFile, ...] = ()
    give_up: tuple[GroupFile, ...] = ()


def after_settled_look(
    open_files: Sequence[GroupFile],
    found: dict[str, Attachable],
    *,
    looks: int,
    partial: bool,
    unchanged: frozenset[str],
) -> AfterLook:
    """Decide for a group in doubt after a settled look.

    | QBO shows | group    | sources   | settled looks | then                               |
    | --------- | -------- | --------- | ------------- | ---------------------------------- |
    | some      | any      | any       | any           | adopt those; the rest as below (*) |
    | none      | whole    | unchanged | fewer than 3  | resend, same requestid             |
    | none      | any      | any       | 3 or more     | (*) as a new group                 |
    | none      | partial, or a source changed | fewer than 3 | look again              |

    (*) unchanged sources go as a new group, changed ones are given up as `source_changed`.

    Args:
        open_files: the group's files without an outcome.
        found: those that QBO shows, by key.
        looks: settled looks so far, this one included.
        partial: some file of the group has an outcome already.
        unchanged: keys of the files whose source is still what the intent says.
    """
    rest = [file for file in open_files if file.key not in found]
    same = all(file.key in unchanged for file in rest)
    if not found and looks < SETTLED_LOOKS:
        return AfterLook({}, resend=same and not partial)
    return AfterLook(
        found,
        anew=tuple(file for file in rest if file.key in unchanged),
        give_up=tuple(file for file in rest if file.key not in unchanged),
    )


def is_ours(file: GroupFile, attachable: Attachable, *, not_before: datetime) -> bool:
    """Whether an attachable without our marker is what an intent in doubt made.

    It takes the entities, name and size of the file, and a creation time not before `not_before`.
    """
    return (
        set(file.refs) <= set(attachable.refs)
        and folded(attachable.file_name) == folded(file.sent_file_name)
        and attachable.size_bytes == file.size_bytes
        and bool(attachable.created_at)
        and datetime.fromisoformat(attachable.created_at.replace("Z", "+00:00")) >= not_before
    )

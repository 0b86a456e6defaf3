"""What follows from an answer, or from none: outcomes, new groups, doubts, or the run's end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qbo_attach.core.chain import GroupFile, Recorded
from qbo_attach.core.errors import StoppedError, StorageError
from qbo_attach.core.model import Attachable, Fault, Outcome, Recovery
from qbo_attach.core.uploading import Matched, RefusalWatch, match_answer
from qbo_attach.engine.groups import Group
from qbo_attach.qbo import faults
from qbo_attach.qbo.body import BodyFailedError, BodyLengthError
from qbo_attach.qbo.wire import UploadAnswer
from qbo_attach.storage.place import SourceChangedError, SourceMissingError
from qbo_attach.storage.runlog import utc_text

if TYPE_CHECKING:
    from qbo_attach.engine.session import UploadSession

NOT_DONE_IN_A_ROW = 8
"""So many failed connections (or locked companies) without an answer between end the run."""
FEW_FILES = 3
"""Where items ask to come again so often, and are of no more files, these wait for the next run."""
_LONGEST_BACKOFF_S = 30.0


class Answers:
    """Takes what became of each group that was sent."""

    def __init__(self, session: UploadSession) -> None:
        self._session = session
        self._refusals = RefusalWatch()
        self._not_done = 0
        self._put_off: set[str] = set()
        """Keys of the files whose items asked to come again, of the answers counted now."""

    def answered(self, group: Group, answer: UploadAnswer, duration_s: float) -> None:
        """QBO answered item by item."""
        session = self._session
        session.refused_in_doubt.pop(group.request_id, None)
        items = [(item.attachable, item.fault) for item in answer.items]
        matched = match_answer(group.files, items)
        session.size.answered(len(group.files), matched=not matched.missing)
        session.bytes.sent(group.size_bytes, duration_s)
        again: list[GroupFile] = []
        missing = list(matched.missing)
        guess, unsure = self._guess(group, matched)
        for file in group.files:
            attachable = matched.made.get(file.key)
            fault = matched.refused.get(file.key)
            if attachable is not None:
                self._made(group, file, attachable, answer, duration_s)
            elif fault is not None:
                is_guess = guess is not None and file.key in unsure
                then = guess if is_guess else self._item_fault(group, file, fault, duration_s)
                if then is Recovery.IN_DOUBT:
                    missing.append(file)
                elif then is Recovery.NOT_DONE:
                    again.append(file)
        if missing:
            self._doubt(group, missing)
        alone = guess is Recovery.NOT_DONE
        if not again or matched.made:
            self._done()
        elif not alone and self._is_put_off_too_often(group, matched, again):
            return
        for files in ([file] for file in again) if alone else [again] if again else []:
            session.prepare(self._part(group, tuple(files)))

    def _is_put_off_too_often(
        self, group: Group, matched: Matched, files: Sequence[GroupFile]
    ) -> bool:
        """Count that these asked to come again, and wait; True: they do not in this run."""
        self._put_off.update(file.key for file in files)
        error = faults.NotDoneError(matched.refused[files[0].key])
        if not self._waited(error):
            return False
        self.not_sent(group, files)
        if len(self._put_off) > FEW_FILES:
            self._stop_waiting(error)
        else:
            self._done()
        return True

    def _done(self) -> None:
        """An answer came, and not all of it asked to come again."""
        self._not_done = 0
        self._put_off.clear()

    def _guess(self, group: Group, matched: Matched) -> tuple[Recovery | None, frozenset[str]]:
        """What follows for the files whose faults may be others', and their keys.

        One fault that may come after the effect makes all of them doubtful. Of different ones that
        surely had none, going alone shows whose is whose. None: for each what its fault says.
        """
        unsure = matched.guessed | matched.weak
        by_key = {key: matched.refused[key] for key in unsure}
        kinds = {faults.recovery(fault) for fault in by_key.values()}
        doubtful = len(unsure) > 1 and Recovery.IN_DOUBT in kinds
        different = len({fault.code for fault in by_key.values()}) > 1
        if not doubtful and not different:
            return None, frozenset()
        for fault in by_key.values():
            if faults.recovery(fault) is Recovery.STOP:
                self._session.stop(faults.StopError(fault))
        if doubtful:
            return Recovery.IN_DOUBT, unsure
        return (Recovery.IN_DOUBT if group.may_come_late else Recovery.NOT_DONE), unsure

    def _item_fault(
        self, group: Group, file: GroupFile, fault: Fault, duration_s: float
    ) -> Recovery:
        """What follows for one file that QBO answered with a fault; its outcome, if it has one."""
        then = faults.recovery(fault)
        if then is Recovery.STOP:
            self._session.stop(faults.StopError(fault))
            if not group.clean:
                return Recovery.IN_DOUBT
            self._refused_file(group, file, fault, Outcome.NOT_SENT, duration_s)
        elif then is Recovery.REFUSED:
            self._refused_file(group, file, fault, Outcome.ERROR, duration_s)
        elif group.may_come_late:
            return Recovery.IN_DOUBT
        return then

    def failed(self, group: Group, error: Exception) -> None:
        """The request had no answer of items; each kind of error has its recovery."""
        session = self._session
        session.refused_in_doubt.pop(group.request_id, None)
        match error:
            case faults.InDoubtError():
                self.in_doubt(group)
            case faults.NotDoneError():
                self._again(group, error)
            case faults.RefusedError():
                self._refused(group, error)
            case BodyFailedError():
                self._unreadable(group, error)
            case faults.StopError():
                if _is_good(group, error):
                    self.in_doubt(group)
                else:
                    self.not_sent(group)
                session.stop(error)
            case _:
                self.unanswered(group)
                session.stop(error)

    def in_doubt(self, group: Group) -> None:
        """The group may have had its effect; its attempt is over now."""
        self._doubt(group, group.files)

    def unanswered(self, group: Group) -> None:
        """The attempt was ended by us or by an error that is not QBO's."""
        if group.may_have_left:
            self.in_doubt(group)
        else:
            # It ended while it waited for its token, slot or connection.
            self.not_sent(group)

    def not_sent(self, group: Group, files: Iterable[GroupFile] | None = None) -> None:
        """The group (or these of its files) surely did not go out: its intent is closed."""
        files = group.files if files is None else files
        if not group.clean:
            # An earlier sending of these files may have had its effect.
            self._doubt(group, files)
            return
        for file in files:
            self._record(group, file, Outcome.NOT_SENT)

    def _doubt(self, group: Group, files: Iterable[GroupFile]) -> None:
        self._session.doubt_over[group.request_id] = self._session.clock.monotonic()
        for file in files:
            self._session.leave_batch(file.path)

    def _again(self, group: Group, error: faults.NotDoneError) -> None:
        """Send the same group again, with a renewed intent, after the wait that is told."""
        session = self._session
        counts = not faults.is_throttle(error.fault) and error.fault.status != 401  # noqa: PLR2004
        too_often = counts and self._waited(error)
        if _is_good(group, error):
            self.in_doubt(group)
        elif too_often or session.stopped is not None:
            self.not_sent(group)
        else:
            session.prepare(group)
        if too_often:
            self._stop_waiting(error)

    def _waited(self, error: faults.NotDoneError) -> bool:
        """Hold the realm back, longer each time; whether that was too often in a row."""
        self._not_done += 1
        backoff_s = min(_LONGEST_BACKOFF_S, 2.0 ** (self._not_done - 1))
        self._session.pacer.pause(error.retry_after_s or backoff_s)
        return self._not_done >= NOT_DONE_IN_A_ROW

    def _stop_waiting(self, error: faults.NotDoneError) -> None:
        said = f"{error} It failed {self._not_done} times in a row."
        self._session.stop(StoppedError(said))

    def _refused(self, group: Group, error: faults.RefusedError) -> None:
        """A whole request was refused: halves go on alone, so that one file holds up no other.

        Of a resend the refusal may be this one's only (a proxy's, say): the looks go on. Within a
        good answer they decide whether the refused sending had its effect.
        """
        self._done()
        good = _is_good(group, error)
        if good:
            self._session.refused_in_doubt[group.request_id] = error.fault
        if good or group.may_come_late:
            self.in_doubt(group)
            return
        if len(group.files) == 1:
            self._refused_file(group, group.files[0], error.fault, Outcome.ERROR, 0.0)
            return
        middle = len(group.files) // 2
        for half in (group.files[:middle], group.files[middle:]):
            self._session.prepare(self._part(group, half))

    def _part(self, group: Group, files: tuple[GroupFile, ...]) -> Group:
        """Some of a group's files, under a requestid of their own."""
        part = self._session.new_group(files)
        part.clean, part.looks = group.clean, group.looks
        return part

    def _unreadable(self, group: Group, error: BodyFailedError) -> None:
        """A source could not be read as planned; its neighbours go on as a new group."""
        session = self._session
        bad = group.files[error.index]
        if isinstance(error.cause, SourceMissingError):
            outcome = Outcome.FILE_MISSING
        elif isinstance(error.cause, (SourceChangedError, BodyLengthError)):
            outcome = Outcome.SOURCE_CHANGED
        else:
            # The place is to blame, not the file.
            if error.begun:
                self.in_doubt(group)
            else:
                self.not_sent(group)
            place = error.cause if isinstance(error.cause, StorageError) else error
            session.stop(StoppedError(f"{place} Run again to go on."))
            return
        if not group.clean:
            self.in_doubt(group)
            return
        self._record(group, bad, outcome, error=str(error.cause))
        rest = tuple(file for file in group.files if file is not bad)
        if rest and error.begun:
            self._doubt(group, rest)
        elif rest:
            session.prepare(session.new_group(rest))

    def _made(
        self,
        group: Group,
        file: GroupFile,
        attachable: Attachable,
        answer: UploadAnswer,
        duration_s: float,
    ) -> None:
        size = attachable.size_bytes
        note = ""
        if size is not None and size != file.size_bytes:
            note = f"QBO shows {size} bytes where {file.size_bytes} were sent"
        self._record(
            group,
            file,
            Outcome.SUCCESS,
            error=note,
            attachable_id=attachable.id,
            status_code=str(answer.status),
            intuit_tid=answer.intuit_tid,
            duration_s=duration_s,
        )
        self._watch("")

    def _refused_file(
        self, group: Group, file: GroupFile, fault: Fault, outcome: Outcome, duration_s: float
    ) -> None:
        self._record(
            group,
            file,
            outcome,
            error=f"{fault}. {faults.remedy(fault)}",
            status_code=str(fault.status or ""),
            intuit_tid=fault.intuit_tid,
            duration_s=duration_s,
        )
        if outcome is Outcome.ERROR:
            self._watch(fault.code, fault)

    def _watch(self, code: str, fault: Fault | None = None) -> None:
        if self._refusals.answered(code) and fault is not None:
            why = "QBO refuses most uploads with the same fault"
            self._session.stop(StoppedError(f"{why}: {fault}. {faults.remedy(fault)}"))

    def _record(
        self,
        group: Group,
        file: GroupFile,
        outcome: Outcome,
        *,
        error: str = "",
        attachable_id: str = "",
        status_code: str = "",
        intuit_tid: str = "",
        duration_s: float = 0.0,
    ) -> None:
        self._session.record(
            Recorded(
                at=utc_text(self._session.clock.utcnow()),
                outcome=outcome.value,
                key=file.key,
                path=file.path,
                request_id=group.request_id,
                attachable_id=attachable_id,
                sha256=group.digests.get(file.key, "") or file.sha256,
                status_code=status_code,
                error=error,
                intuit_tid=intuit_tid,
                attempt=group.attempt,
                duration_ms=int(duration_s * 1000),
            )
        )


def _is_good(group: Group, error: faults.QboError) -> bool:
    """Whether a whole fault came within a good answer: before all effect, nobody says then."""
    return group.may_have_left and 200 <= error.fault.status < 300  # noqa: PLR2004

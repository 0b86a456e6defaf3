"""What a verification status, an outcome or an action means, and what a person does about it."""

from __future__ import annotations

from qbo_attach.core.model import Action, Outcome, Status

_DECIDE = "decide in MAPPING_OVERRIDES"
_RUN_AGAIN = "run again"

REMEDIES: dict[str, str] = {
    Status.MISSING_MAPPING.value: "add the id to the mapping or to MAPPING_OVERRIDES",
    Status.ENTITY_MISSING.value: "correct the mapping, or decide in MAPPING_OVERRIDES",
    Status.AMBIGUOUS_MAPPING.value: _DECIDE,
    Status.AMBIGUOUS_IDENTIFIER.value: _DECIDE,
    Status.DUPLICATE_MAPPING.value: _DECIDE,
    Status.UNSUPPORTED_ENTITY_TYPE.value: "override or exclude: no attachment hangs on that type",
    Status.UNSUPPORTED_FILE_TYPE.value: "convert the file, or exclude it",
    Status.FILE_TOO_LARGE.value: "split or shrink the file, or exclude it",
    Status.EMPTY_FILE.value: "restore the file, or exclude it",
    Status.INVALID_FILE_NAME.value: "rename the file, or exclude it",
    Status.UNRECOGNIZED_PATH.value: "correct LEGACY_LAYOUT, or move the file",
    Status.UNREADABLE.value: "give permission; links are not followed",
    Outcome.ERROR.value: "see the reason; each later run tries again",
    Outcome.FILE_MISSING.value: "put the file back, or exclude it, and run again",
    Outcome.SOURCE_CHANGED.value: "it changed after it was listed: run again",
    Outcome.CHANGED.value: "not what was sent earlier: decide by hand, nothing is resent",
    Outcome.IN_DOUBT.value: f"{_RUN_AGAIN}: QBO is asked whether it arrived",
    Outcome.NOT_SENT.value: _RUN_AGAIN,
}
"""What a person does about a status or an outcome that leaves something to do."""

MEANINGS: dict[str, str] = {
    Status.OK.value: "has its entity in QBO: goes into the plan",
    Status.EXCLUDED.value: "left out by a rule",
    Outcome.SUCCESS.value: "sent, and in QBO",
    Outcome.ADOPTED.value: "in QBO: an earlier attempt had arrived",
    Outcome.ALREADY_IN_QBO.value: "QBO had it already",
    Outcome.SKIPPED_ALREADY_UPLOADED.value: "sent by an earlier run",
    Outcome.DUPLICATE_CONTENT.value: "equal content goes under this name once",
    Outcome.DELETED.value: "taken back by an undo: not in QBO any more",
    Action.SEND.value: "would be sent",
    Action.SKIP.value: "nothing to do: done",
    Action.LOOK.value: "in doubt: QBO would be asked",
    Action.EXISTING.value: "QBO has it already",
    Action.REFUSED.value: (
        "QBO refused it before, or equal content under its name, and SKIP_REFUSED is set"
    ),
}
"""What a status, an outcome or an action means that leaves nothing to do."""


def meaning(name: str) -> str:
    """The remedy where there is one, else the meaning; "" for a word of neither list."""
    return REMEDIES.get(name) or MEANINGS.get(name, "")

"""How QBO may differ from what was sent: the states of a reconciliation, and their marks.

Every attachment has one state, as has every attachable that is none of them:

| Mark | State | When |
| --- | --- | --- |
| `=` | `equal` | QBO shows what was sent: entities, name and size (and content, where compared) |
| `=` | `duplicate_content` | nothing of its own at QBO: the same content went under another path |
| `+` | `missing` | done by the run log, and QBO has it no more |
| `+` | `not_uploaded` | `ok`, and never sent, refused, or taken back by an undo |
| `-` | `unrecorded` | QBO has it, and the run log does not know it (or only by another id) |
| `-` | `doubled` | one more attachable of an attachment that is there already |
| `-` | `unknown` | an attachable of nobody here: a person's, or Intuit's conversion's |
| `*` | `wrong_entity` | ours, and hangs on other entities than it was sent to |
| `*` | `altered` | ours, and its size or its content is another one |
| `*` | `renamed` | ours, under another name |
| `*` | `changed` | at QBO as it was sent, but the file or its entity differs now |
| `!` | `in_doubt` | an intent without an outcome: the next run looks |
| `!` | `unreadable` | QBO does not give its bytes |

Where several hold, the first in the order wrong_entity, altered, renamed is the state, and the
reason has all. The marks are those of `rclone check`: left is what we sent, right is QBO.
"""

from __future__ import annotations

from typing import NamedTuple

from qbo_attach.core.chain import Done, entity_refs
from qbo_attach.core.model import Outcome, StrEnum
from qbo_attach.core.naming import folded
from qbo_attach.core.strangers import Refs, Seen
from qbo_attach.core.tables import ReconciliationRow, VerificationRow


class State(StrEnum):
    """What reconciliation found of an attachment or an attachable: exactly one each."""

    EQUAL = "equal"
    DUPLICATE_CONTENT = "duplicate_content"
    MISSING = "missing"
    NOT_UPLOADED = "not_uploaded"
    UNRECORDED = "unrecorded"
    DOUBLED = "doubled"
    UNKNOWN = "unknown"
    WRONG_ENTITY = "wrong_entity"
    ALTERED = "altered"
    RENAMED = "renamed"
    CHANGED = "changed"
    IN_DOUBT = "in_doubt"
    UNREADABLE = "unreadable"


MARKS: dict[str, str] = {
    State.EQUAL: "=",
    State.DUPLICATE_CONTENT: "=",
    State.MISSING: "+",
    State.NOT_UPLOADED: "+",
    State.UNRECORDED: "-",
    State.DOUBLED: "-",
    State.UNKNOWN: "-",
    State.WRONG_ENTITY: "*",
    State.ALTERED: "*",
    State.RENAMED: "*",
    State.CHANGED: "*",
    State.IN_DOUBT: "!",
    State.UNREADABLE: "!",
}
"""rclone's mark of each state: equal, only here, only at QBO, differs, cannot be told."""

REPAIRABLE = frozenset({State.MISSING, State.NOT_UPLOADED, State.UNRECORDED, State.IN_DOUBT})
"""What another plan and upload can mend; nothing is ever deleted for it."""


class Finding(NamedTuple):
    """What is to be said of an attachment that is not simply equal."""

    state: State
    reason: str
    found: Seen | None = None
    sha256: str = ""


def table_row(path: str, finding: Finding, found: Seen | None) -> ReconciliationRow:
    """A row with what was found; what was sent is still to be filled in."""
    row = ReconciliationRow(path, finding.state.value, finding.reason)
    if found is None:
        return row
    types, ids = cells_of(found.refs)
    return row._replace(
        found_entity_type=types,
        found_entity_id=ids,
        found_file_name=found.file_name,
        found_size_bytes="" if found.size_bytes is None else str(found.size_bytes),
        found_attachable_id=found.id,
    )


def refs_of(done: Done) -> Refs:
    """The entities that an attachment was sent to."""
    return entity_refs(done.qbo_entity_type, done.qbo_entity_id)


def cells_of(refs: Refs) -> tuple[str, str]:
    """Entity refs as two cells of a table have them."""
    return ";".join(ref.type for ref in refs), ";".join(ref.id for ref in refs)


def difference(one: Seen, done: Done) -> Finding | None:
    """How an attachable differs from what the run log has as done; None: not at all."""
    # What somebody else put there may hang on more than what we were asked for.
    more = done.outcome == Outcome.ALREADY_IN_QBO
    return compared(one, refs_of(done), done.sent_file_name, done.size_bytes, more=more)


def compared(
    one: Seen, refs: Refs, name: str, size_bytes: int, *, more: bool = False
) -> Finding | None:
    """How an attachable differs from what was sent; None: not at all.

    Args:
        one: the attachable.
        refs: entities it was sent to.
        name: under which it was sent.
        size_bytes: of what was sent.
        more: further entities are no difference.
    """
    found: list[tuple[State, str]] = []
    if one.refs != refs and set(one.refs) != set(refs) and not (more and set(refs) < set(one.refs)):
        where = ", ".join(map(str, one.refs)) or "nothing"
        found.append((State.WRONG_ENTITY, f"hangs on {where}, was sent to {_listed(refs)}"))
    if one.size_bytes != size_bytes:
        size = "no file" if one.size_bytes is None else f"{one.size_bytes} bytes"
        found.append((State.ALTERED, f"has {size}, {size_bytes} bytes were sent"))
    if one.file_name != name and folded(one.file_name) != folded(name):
        found.append((State.RENAMED, f"is called {one.file_name}, was sent as {name}"))
    if not found:
        return None
    return Finding(found[0][0], "; ".join(reason for _, reason in found), one)


def _listed(refs: Refs) -> str:
    return ", ".join(map(str, refs))


def local_change(done: Done, row: VerificationRow | None) -> str:
    """How the file or its entity differs from what was sent; "" where it does not."""
    if row is None:
        return ""
    if (row.qbo_entity_type, row.qbo_entity_id) != (done.qbo_entity_type, done.qbo_entity_id):
        now = _listed(entity_refs(row.qbo_entity_type, row.qbo_entity_id))
        return f"it belongs to {now} now, was sent to {_listed(refs_of(done))}"
    if int(row.size_bytes) != done.size_bytes:
        return f"the file has {row.size_bytes} bytes now, {done.size_bytes} were sent"
    return ""

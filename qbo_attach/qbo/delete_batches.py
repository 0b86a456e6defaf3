"""Deletes of many attachables in one request, as values: the request out, the answer in. Pure.

Each item carries a mark of ours (`bId`) that its answer repeats. Which of the two an answer is
judged by, the mark or the attachable's own id, is not left open: both must agree.

https://developer.intuit.com/app/developer/qbo/docs/learn/limits-and-throttles
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from qbo_attach.core.model import Attachable
from qbo_attach.qbo.envelopes import fault_from_json, get, text_of
from qbo_attach.qbo.wire import MINOR_VERSION, Reply, Request, checked, delete_body

MAX_ITEMS = 30
"""Items in one batch; more are refused (1040)."""

_STALE = "5010"


@dataclass(frozen=True, slots=True)
class DeleteBatchAnswer:
    """What QBO's word on a batch of deletes settles, by attachable id; any other is left open.

    Attributes:
        gone: deleted now.
        changed: still there, since somebody wrote to it after it was read.
    """

    gone: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()


def batch_delete_request(
    realm_id: str, attachables: Sequence[Attachable], minor_version: int = MINOR_VERSION
) -> Request:
    """A delete of each, as it was when it was read (`sync_token`), under marks from 1 on.

    There is no `requestid`: a delete that is asked for twice does no harm, and how long QBO
    repeats an answer, or refuses the id instead (600), is not documented.

    Raises:
        ValueError: none, or more than MAX_ITEMS.
    """
    if not 0 < len(attachables) <= MAX_ITEMS:
        raise ValueError(f"a batch of {len(attachables)}: 1 to {MAX_ITEMS} items")
    items = [
        {"bId": mark, "operation": "delete", "Attachable": delete_body(one)}
        for mark, one in _marked(attachables)
    ]
    return Request(
        "POST",
        f"/v3/company/{realm_id}/batch",
        (("minorversion", str(minor_version)),),
        (("Accept", "application/json"), ("Content-Type", "application/json")),
        json.dumps({"BatchItemRequest": items}).encode(),
    )


def read_batch_delete_answer(reply: Reply, attachables: Sequence[Attachable]) -> DeleteBatchAnswer:
    """What an answer settles of the batch that was sent, whatever its order and its gaps.

    A deletion counts where mark and id agree. A fault names no id: it counts only in an answer
    whose marks are all ours, each there once at most, and at odds with no id. Faults other than
    "changed since" settle nothing, "not found" (610) included, which has also been said of what an
    attachable hangs on: a look tells more.

    Args:
        reply: the whole answer.
        attachables: those of the request, in its order.

    Raises:
        QboError: by the recovery of a fault of the whole request; an answer that cannot be read
            is in doubt.
    """
    record = checked(reply)
    listed = get(record, "BatchItemResponse")
    answers: dict[str, list[object]] = {mark: [] for mark, _ in _marked(attachables)}
    sound = True
    for item in listed if isinstance(listed, list) else ():
        same = answers.get(text_of(get(item, "bId")))
        if same is None:
            sound = False
        else:
            same.append(item)
    gone: set[str] = set()
    stale: set[str] = set()
    for mark, one in _marked(attachables):
        if len(answers[mark]) != 1:
            sound = sound and not answers[mark]
            continue
        item = answers[mark][0]
        fault = fault_from_json(item, reply.status, reply.intuit_tid)
        told = get(item, "Attachable")
        if fault is not None:
            if fault.code == _STALE:
                stale.add(one.id)
        elif text_of(get(told, "Id")) not in ("", one.id):
            sound = False
        elif text_of(get(told, "Id")) and text_of(get(told, "status")).lower() == "deleted":
            gone.add(one.id)
    return DeleteBatchAnswer(frozenset(gone), frozenset(stale - gone) if sound else frozenset())


def _marked(attachables: Sequence[Attachable]) -> list[tuple[str, Attachable]]:
    return [(str(number), one) for number, one in enumerate(attachables, 1)]

"""POST /batch: many small requests in one, each with an answer of its own under its mark."""

from __future__ import annotations

from qbo_attach.fake_qbo.answers import MESSAGES, Refused, fault, stamped
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.metadata import read_object
from qbo_attach.fake_qbo.queries import run_query
from qbo_attach.fake_qbo.service import Call, write_attachable
from qbo_attach.fake_qbo.state import State
from qbo_attach.fake_qbo.values import JSON, Reply

_MAX_ITEMS = 30


def run_batch(call: Call, state: State, rule: Rule | None) -> Reply:
    """Do what each item asks, in order; a scripted fault of one item has its say.

    Raises:
        Refused: the batch as a whole, with the fault to answer.
    """
    if call.head.method != "POST":
        raise Refused("500", f"Operation {call.head.method} batch is not supported.")
    sent = read_object(call.body, call.head.headers.get("content-type", ""), "2010")
    items = sent.get("BatchItemRequest")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Refused("2020", "Required parameter BatchItemRequest is missing in the request")
    if len(items) > _MAX_ITEMS:
        raise Refused("1040", f"{MESSAGES['1040']}: at most {_MAX_ITEMS} items are allowed")
    if rule is not None and rule.kind == "cut_during":
        items = items[: rule.item or len(items) // 2]
    answers: list[JSON] = []
    for number, item in enumerate(items, 1):
        struck = rule is not None and rule.kind == "item_fault" and number == (rule.item or 1)
        code = (rule.code or "6000") if rule is not None and struck else ""
        said = {"Fault": fault(code, "by the fault plan")} if code else _said(item, call, state)
        answers.append({**said, "bId": str(item.get("bId", ""))})
    if state.behaviour.items_order == "shuffled":
        state.random.shuffle(answers)
    return Reply(payload=stamped({"BatchItemResponse": answers}, state.now()))


def _said(item: JSON, call: Call, state: State) -> JSON:
    try:
        if isinstance(item.get("Query"), str):
            return run_query(item["Query"], call.realm, call.head.base_url, state)
        if isinstance(item.get("Attachable"), dict):
            operation = str(item.get("operation", ""))
            return write_attachable(call, item["Attachable"], operation, state)
    except Refused as refused:
        return {"Fault": refused.fault}
    return {"Fault": fault("500", "Operation in this batch item is not supported.")}

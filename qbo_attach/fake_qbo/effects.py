"""What each kind of scripted fault makes of an answer."""

from __future__ import annotations

from collections.abc import Callable

from qbo_attach.fake_qbo.answers import (
    encode_body,
    fault,
    fault_reply,
    forbidden,
    server_error,
    stamped,
    throttled,
    unauthorized,
)
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.oauth import invalid_grant
from qbo_attach.fake_qbo.values import NEVER, Head, Reply

GARBAGE = b"\x00\xff<html>this is not an answer {\r\n"
_DETAIL = "by the fault plan"


def before(rule: Rule, now: float) -> Reply:
    """The answer to a request that had no effect."""
    reply = _BEFORE[rule.kind](rule, now)
    reply.fault = rule.kind
    return reply


def _server_error(rule: Rule, now: float) -> Reply:
    return server_error(int(rule.kind[:3]), now)


def _quota(rule: Rule, now: float) -> Reply:
    return throttled(now, form=rule.form, retry_after=rule.retry_after)


_BEFORE: dict[str, Callable[[Rule, float], Reply]] = {
    "401": lambda _, now: unauthorized("Token expired: by the fault plan", now),
    "expired_token": lambda _, now: unauthorized("Token expired: by the fault plan", now),
    "revoked_token": lambda _, now: unauthorized("Token revoked: by the fault plan", now),
    "403": lambda _, now: forbidden(now),
    "429": _quota,
    "quota": _quota,
    "429_under_403": lambda rule, now: throttled(now, form=rule.form, status=403),
    "500_before": _server_error,
    "502_before": _server_error,
    "503_before": _server_error,
    "504_before": _server_error,
    "refused": lambda rule, now: fault_reply(rule.code or "2010", _DETAIL, now, rule.status),
    "fault_200": lambda rule, now: fault_reply(rule.code or "6190", _DETAIL, now, 200),
    "invalid_grant": lambda *_: invalid_grant("Incorrect or invalid refresh token"),
    "cut_before": lambda *_: Reply(cut="answer"),
    "hang_before": lambda rule, _: Reply(cut="answer", delay_s=rule.seconds or NEVER),
    "garbage_200_before": lambda *_: Reply(200, body=GARBAGE),
    "empty_200_before": lambda *_: Reply(200),
}


def after(rule: Rule, reply: Reply, head: Head, now: float) -> Reply:
    """The answer to a request whose effect is there. `reply` is what it would have been."""
    kind = rule.kind
    if kind[:3].isdigit():
        reply = server_error(int(kind[:3]), now)
    elif kind == "fault_200_after":
        payload = stamped({"Fault": fault(rule.code or "10000", _DETAIL)}, now)
        reply = Reply(200, payload=payload)
    elif kind in ("cut_after", "cut_during", "late_commit"):
        reply.cut = "answer"
    elif kind == "cut_answer":
        reply.cut = "body"
    elif kind == "hang":
        reply.delay_s = rule.seconds or NEVER
    elif kind == "slow_body":
        reply.spread_s = rule.seconds
    elif kind == "garbage_200":
        reply = Reply(200, body=GARBAGE)
    elif kind == "empty_200":
        reply = Reply(200)
    elif kind == "truncated_200":
        encode_body(reply, head)
        reply.body = reply.body[: len(reply.body) // 2]
    else:
        _rearrange(rule, reply)
    reply.fault = kind
    return reply


def _rearrange(rule: Rule, reply: Reply) -> None:
    payload = reply.payload or {}
    name = next((n for n in ("AttachableResponse", "BatchItemResponse") if n in payload), "")
    items = payload.get(name)
    if not isinstance(items, list):
        return
    if rule.kind == "shuffled_items":
        items = items[1:] + items[:1] if len(items) < 3 else items[::-1]  # noqa: PLR2004
    elif rule.kind == "missing_items":
        index = rule.item - 1 if rule.item else len(items) - 1
        items = items[:index] + items[index + 1 :]
    reply.payload = {**payload, name: items}


def late(rule: Rule, now: float) -> Reply:
    """What the client of a late commit sees."""
    if rule.then in ("500", "504"):
        reply = server_error(int(rule.then), now)
    elif rule.then == "hang":
        reply = Reply(cut="answer", delay_s=NEVER)
    else:
        reply = Reply(cut="answer")
    reply.fault = rule.kind
    return reply

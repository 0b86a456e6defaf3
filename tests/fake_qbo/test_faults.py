"""The fault plan: each kind does what it says, before or after the effect, and can be had again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from qbo_attach.fake_qbo.faults import (
    FAIL_RATE_KINDS,
    KINDS,
    Asked,
    FaultPlan,
    Rule,
    rule_from,
    rules_from,
    rules_of_file,
)
from qbo_attach.fake_qbo.values import NEVER
from tests.fake_qbo.asking import Asking, code, codes, items, ref, said

FILES = [(f"{n}.pdf", b"x%d" % n, ref("Bill", "1")) for n in range(1, 4)]


def met(kind: str, **more: object) -> tuple[Asking, object]:
    asking = Asking(rules=[Rule(kind, endpoint="upload", **more)])  # type: ignore[arg-type]
    return asking, asking.upload(*FILES, requestid="r")


STATUSES = {
    "401": (401, "3200"),
    "expired_token": (401, "3200"),
    "revoked_token": (401, "3200"),
    "403": (403, "3100"),
    "500_before": (500, "10000"),
    "refused": (400, "2010"),
    "fault_200": (200, "6190"),
    "fault_200_after": (200, "10000"),
    "500_after": (500, "10000"),
}


@pytest.mark.parametrize("kind", STATUSES)
def test_a_fault_with_a_body_has_its_status_and_code(kind: str) -> None:
    asking, reply = met(kind)
    assert (reply.status, code(reply)) == STATUSES[kind]  # type: ignore[attr-defined,arg-type]
    assert len(asking.ledger()) == (3 if kind.endswith("_after") else 0)


@pytest.mark.parametrize("kind", [k for k, moment in KINDS.items() if moment == "before"])
def test_a_fault_before_the_effect_leaves_none(kind: str) -> None:
    asking, _ = met(kind)
    assert asking.ledger() == []
    assert asking.company.ledger()["faults"] == {kind: 1}
    asking.company.plan.clear()
    assert len(items(asking.upload(*FILES, requestid="r"))) == 3


@pytest.mark.parametrize("kind", [k for k, moment in KINDS.items() if moment == "after"])
def test_a_fault_after_the_effect_leaves_all_of_it_and_the_requestid_is_answered_again(
    kind: str,
) -> None:
    asking, _ = met(kind)
    assert len(asking.ledger()) == 3
    asking.company.plan.clear()
    assert codes(asking.upload(*FILES, requestid="r")) == ["", "", ""]
    assert len(asking.ledger()) == 3


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("quota", 429), ("429_under_403", 403)])
def test_a_throttle_answer_is_xml_though_json_was_asked_or_json(
    kind: str, status: int, form: str
) -> None:
    asking, reply = met(kind, form=form, retry_after="7")
    assert reply.status == status  # type: ignore[attr-defined]
    assert b"ThrottleExceeded" in reply.body  # type: ignore[attr-defined]
    assert (reply.body[:1] == b"<") is (form == "xml")  # type: ignore[attr-defined]
    assert reply.headers.get("Retry-After", "") == ("" if status == 403 else "7")  # type: ignore[attr-defined]
    assert asking.ledger() == []


def test_cuts_hangs_and_slow_bodies_are_values_of_the_reply() -> None:
    seen = {}
    for kind in (
        "cut_before",
        "cut_after",
        "cut_during",
        "cut_answer",
        "hang",
        "hang_before",
        "slow_body",
        "cut_request",
    ):
        _, reply = met(kind, seconds=2.0 if kind == "slow_body" else 0.0)
        seen[kind] = (reply.cut, reply.delay_s, reply.spread_s)  # type: ignore[attr-defined]
    assert seen == {
        "cut_before": ("answer", 0, 0),
        "cut_after": ("answer", 0, 0),
        "cut_during": ("answer", 0, 0),
        "cut_answer": ("body", 0, 0),
        "hang": ("", NEVER, 0),
        "hang_before": ("answer", NEVER, 0),
        "slow_body": ("", 0, 2.0),
        "cut_request": ("answer", 0, 0),
    }


def test_a_cut_during_the_effect_leaves_a_part_of_it_that_no_requestid_remembers() -> None:
    asking, _ = met("cut_during", item=1)
    assert [r["FileName"] for r in asking.ledger()] == ["1.pdf"]
    asking.company.plan.clear()
    asking.upload(*FILES, requestid="r")
    assert len(asking.ledger()) == 4


def test_answers_that_are_no_answers() -> None:
    bodies = {kind: met(kind)[1].body for kind in ("garbage_200", "empty_200", "truncated_200")}  # type: ignore[attr-defined]
    assert bodies["empty_200"] == b""
    assert bodies["truncated_200"].startswith(b'{"AttachableResponse":[')
    for body in bodies.values():
        with pytest.raises(ValueError, match=r"."):
            json.loads(body)


def test_one_item_can_be_refused_and_items_can_be_shuffled_or_missing() -> None:
    asking, reply = met("item_fault", item=2, code="6050")
    assert codes(reply) == ["", "6050", ""]  # type: ignore[arg-type]
    assert [r["FileName"] for r in asking.ledger()] == ["1.pdf", "3.pdf"]
    _, reply = met("shuffled_items")
    assert [i["Attachable"]["FileName"] for i in items(reply)] == ["3.pdf", "2.pdf", "1.pdf"]  # type: ignore[arg-type]
    _, reply = met("missing_items", item=1)
    assert [i["Attachable"]["FileName"] for i in items(reply)] == ["2.pdf", "3.pdf"]  # type: ignore[arg-type]


def test_a_late_commit_comes_when_it_is_due() -> None:
    asking, reply = met("late_commit", seconds=30.0, then="504")
    assert reply.status == 504  # type: ignore[attr-defined]
    assert asking.ledger() == []
    asking.clock.now += 31
    assert len(asking.ledger()) == 3
    assert asking.ledger()[0]["created_at"].endswith("30.000Z")


def test_a_late_commit_and_its_request_sent_again_have_one_effect() -> None:
    asking, _ = met("late_commit", seconds=30.0)
    asking.company.plan.clear()
    asking.upload(*FILES, requestid="r")
    asking.clock.now += 31
    assert len(asking.ledger()) == 3


def test_a_late_commit_can_refuse_its_requestid_or_double_without_replay() -> None:
    strict = Asking(replay_pending="600", rules=[Rule("late_commit", seconds=30.0, times=1)])
    strict.upload(*FILES, requestid="r")
    assert code(strict.upload(*FILES, requestid="r")) == "600"
    off = Asking(replay="off", rules=[Rule("late_commit", seconds=30.0, times=1)])
    off.upload(*FILES, requestid="r")
    off.upload(*FILES, requestid="r")
    off.clock.now += 31
    assert [len(a.ledger()) for a in (strict, off)] == [0, 6]


def test_late_commits_can_be_made_due_by_hand() -> None:
    asking, _ = met("late_commit", seconds=1e9)
    assert said(asking.call("GET", "/_fake/late")) == {"pending": 1}
    assert said(asking.call("POST", "/_fake/late")) == {"committed": 1}
    assert len(asking.ledger()) == 3


def test_a_rule_strikes_by_number_endpoint_file_name_and_count() -> None:
    rules = rules_from(
        [
            {"kind": "500_before", "endpoint": "upload", "number": 2},
            {"kind": "503_before", "file_name": "*.png", "times": "once"},
        ]
    )
    asking = Asking(rules=rules)
    asking.query("select * from Attachable")
    statuses = [
        asking.upload((name, b"x", {})).status for name in ("a.pdf", "b.pdf", "c.png", "d.png")
    ]
    assert statuses == [200, 500, 503, 200]


def test_a_rule_without_an_endpoint_leaves_tokens_and_files_alone() -> None:
    plan = FaultPlan(rules=[Rule("500_before")])
    assert plan.choose(Asked(1, "token", 1, "")) is None
    assert plan.choose(Asked(1, "query", 1, "1")) is not None


def test_the_fail_rate_is_seeded_and_draws_only_its_five_kinds_for_uploads() -> None:
    def drawn(seed: int, endpoint: str = "upload") -> list[str]:
        plan = FaultPlan(seed=seed, fail_rate=0.3)
        rules = [plan.choose(Asked(n, endpoint, n, "1")) for n in range(1, 2001)]
        return [rule.kind if rule else "" for rule in rules]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    counts = Counter(drawn(1))
    assert set(counts) == {"", *FAIL_RATE_KINDS}
    assert 500 < 2000 - counts[""] < 700
    assert set(drawn(1, "query")) == {""}


def test_latency_has_the_mean_it_is_given() -> None:
    for distribution in ("fixed", "uniform", "exponential", "lognormal"):
        plan = FaultPlan(seed=3, rules=[Rule("latency", seconds=0.2, distribution=distribution)])
        waits = [plan.latency_s(Asked(n, "upload", n, "1")) for n in range(5000)]
        assert 0.18 < sum(waits) / len(waits) < 0.22
    asking = Asking(latency_ms=50.0)
    assert asking.upload(*FILES).delay_s == 0.05


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"kind": "501"},
        {"kind": "429", "form": "html"},
        {"kind": "429", "numbers": [0]},
        {"kind": "429", "numbers": "3"},
        {"kind": "429", "probability": "much"},
        {"kind": "429", "times": -1},
        {"kind": "429", "colour": "red"},
    ],
)
def test_a_rule_that_is_not_right_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|has no field"):
        rule_from(record)


def test_rules_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text('{"faults": [{"kind": "429", "times": "once"}]}')
    assert rules_of_file(str(file)) == [Rule("429", times=1)]
    for text in ("[", '"x"', "[3]"):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"."):
            rules_of_file(str(file))
    with pytest.raises(ValueError, match="cannot be read"):
        rules_of_file(str(tmp_path / "none"))


def test_rules_and_switches_can_be_changed_at_run_time() -> None:
    asking = Asking()
    added = asking.post("/_fake/faults", {"kind": "500_before", "endpoint": "upload"})
    assert said(added)["faults"][0]["kind"] == "500_before"
    assert asking.upload(*FILES).status == 500
    assert said(asking.call("DELETE", "/_fake/faults"))["faults"] == []
    assert said(asking.call("GET", "/_fake/faults"))["struck"] == {"500_before": 1}
    assert asking.post("/_fake/settings", {"replay": "off", "latency_ms": 5}).status == 200
    assert said(asking.call("GET", "/_fake/settings"))["replay"] == "off"
    wrongs: list[object] = [
        {"replay": "maybe"},
        {"colour": 1},
        {"latency_ms": "x"},
        [],
        {"limits": 3},
    ]
    for wrong in wrongs:
        assert asking.post("/_fake/settings", wrong).status == 400
    assert asking.post("/_fake/faults", {"kind": "none"}).status == 400
    assert asking.call("POST", "/_fake/faults", b"{").status == 400
    assert asking.call("GET", "/_fake/nothing").status == 404


def test_attachables_can_be_seeded_read_and_deleted_behind_the_clients_back() -> None:
    asking = Asking()
    one = said(
        asking.post(
            "/_fake/attachables",
            {"FileName": "a.pdf", "text": "bytes", **ref("Bill", "1"), "created_at": 5},
        )
    )
    assert asking.names("select * from Attachable where AttachableRef.EntityRef.value = '1'") == [
        "a.pdf"
    ]
    reply = asking.call("GET", f"/_fake/attachables/{one['Id']}/bytes")
    assert reply.content is not None
    assert b"".join(asking.company.state.vault.read(reply.content.sha256)) == b"bytes"
    assert asking.call("DELETE", f"/_fake/attachables/{one['Id']}").status == 200
    assert asking.call("GET", f"/_fake/attachables/{one['Id']}").status == 404
    assert asking.ledger() == []
    assert (
        asking.post("/_fake/attachables", {"FileName": "a.pdf", "content_base64": "!"}).status
        == 400
    )


def test_exact_limits_hold_in_every_window_and_refused_requests_do_not_count() -> None:
    asking = Asking(limits="exact")
    statuses = []
    for _ in range(1200):
        statuses.append(asking.call("GET", "companyinfo/1").status)
        asking.clock.now += 7 / 64
    assert statuses[:500] == [200] * 500
    assert statuses[500:549] == [429] * 49
    assert statuses[549:1049] == [200] * 500
    burst = Asking(limits="exact")
    assert [burst.call("GET", "companyinfo/1").status for _ in range(12)] == [200] * 10 + [429] * 2
    slack = Asking(limits="slack")
    assert [slack.call("GET", "companyinfo/1").status for _ in range(17)] == [200] * 15 + [429] * 2


def test_ten_requests_at_once_are_served_and_no_more() -> None:
    from qbo_attach.fake_qbo.values import Head

    asking = Asking(limits="exact")
    head = Head("GET", "/v3/company/1234567890/companyinfo/1", "", {"authorization": "Bearer t"})
    open_ones = []
    for _ in range(10):
        open_ones.append(asking.company.open(head))
        asking.clock.now += 1
    refused = asking.company.open(head)
    assert refused.answer().status == 429
    refused.close()
    open_ones.pop().close()
    assert asking.company.open(head).answer().status == 200

"""The fault plan: which request meets which fault. Seeded, so that a run can be had again."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

BEFORE, AFTER, ITEMS, LATENCY, BODY = "before", "after", "items", "latency", "body"

KINDS: dict[str, str] = {
    # Of the gateway: always before any effect.
    "401": BEFORE,
    "expired_token": BEFORE,
    "revoked_token": BEFORE,
    "403": BEFORE,
    "429": BEFORE,
    "429_under_403": BEFORE,
    "quota": BEFORE,
    # Of the service and the way to it.
    "500_before": BEFORE,
    "500_after": AFTER,
    "502_before": BEFORE,
    "502_after": AFTER,
    "503_before": BEFORE,
    "503_after": AFTER,
    "504_before": BEFORE,
    "504_after": AFTER,
    "refused": BEFORE,
    "fault_200": BEFORE,
    "fault_200_after": AFTER,
    "invalid_grant": BEFORE,
    # Of the connection.
    "cut_request": BODY,
    "cut_before": BEFORE,
    "cut_during": ITEMS,
    "cut_after": AFTER,
    "cut_answer": AFTER,
    "hang_before": BEFORE,
    "hang": AFTER,
    "slow_body": AFTER,
    "late_commit": ITEMS,
    # Of the answer, the effect being there.
    "garbage_200": AFTER,
    "garbage_200_before": BEFORE,
    "empty_200": AFTER,
    "empty_200_before": BEFORE,
    "truncated_200": AFTER,
    "item_fault": ITEMS,
    "shuffled_items": AFTER,
    "missing_items": AFTER,
    "latency": LATENCY,
}
"""Every kind of fault, and the moment it strikes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the plan. All conditions must hold; an absent one always does.

    Attributes:
        kind: one of KINDS.
        endpoint: `upload`, `query`, `attachable`, `token`, ...; "" for any of the API.
        realm: "" for any.
        file_name: a shell pattern; one file name of an upload must match it.
        numbers: of the request, from 1: among those to `endpoint` if one is named, else among all.
        probability: of striking, drawn from the seed and the request's number.
        times: strikes at most so often; 0: always.
        code: fault code of refused, fault_200, item_fault.
        status: HTTP status of refused.
        item: which item of an upload or batch, from 1, for item_fault, missing_items; how many are
            applied before the cut, for cut_during (0: half of them).
        seconds: of latency (mean), hang (0: for ever), slow_body, late_commit.
        then: what the client of a late commit sees: cut, hang, 500, 504.
        form: xml or json, of 429.
        retry_after: header of 429; "" for none.
        after_bytes: of cut_request.
        distribution: of latency: fixed, uniform (0 to twice the mean), exponential, lognormal.
    """

    kind: str
    endpoint: str = ""
    realm: str = ""
    file_name: str = ""
    numbers: tuple[int, ...] = ()
    probability: float = 1.0
    times: int = 0
    code: str = ""
    status: int = 400
    item: int = 0
    seconds: float = 0.0
    then: str = "cut"
    form: str = "xml"
    retry_after: str = ""
    after_bytes: int = 1
    distribution: str = "fixed"

    @property
    def moment(self) -> str:
        """When it strikes."""
        return KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule is matched against. `nth` counts the requests to this endpoint, from 1."""

    number: int
    endpoint: str
    nth: int
    realm: str
    file_names: tuple[str, ...] = ()


def rule_from(record: Mapping[str, object]) -> Rule:
    """A rule out of JSON; `number: 3` and `times: "once"` are taken too.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    record = dict(record)
    number = record.pop("number", None)
    if number is not None:
        record["numbers"] = [number]
    if record.get("times") in ("once", "always"):
        record["times"] = 1 if record["times"] == "once" else 0
    known = {f.name: f.default for f in fields(Rule)}
    checked: dict[str, object] = {}
    for name, value in record.items():
        if name not in known:
            raise ValueError(f"a fault rule has no field {name}; it has {', '.join(known)}")
        checked[name] = _checked(name, value)
    kind = checked.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: must be one of {', '.join(KINDS)}")
    return Rule(**checked)  # type: ignore[arg-type]  # checked one by one above


_CHOICES = {
    "then": ("cut", "hang", "500", "504"),
    "form": ("xml", "json"),
    "distribution": ("fixed", "uniform", "exponential", "lognormal"),
}


def _checked(name: str, value: object) -> object:
    if name == "numbers":
        if not isinstance(value, (list, tuple)) or not all(_is_int(n) and n > 0 for n in value):
            raise ValueError(f"numbers={value!r}: must be a list of whole numbers from 1")
        return tuple(value)
    if name in ("probability", "seconds"):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
            raise ValueError(f"{name}={value!r}: must be a number from 0")
        return float(value)
    if name in ("times", "status", "item", "after_bytes"):
        if not _is_int(value) or int(str(value)) < 0:
            raise ValueError(f"{name}={value!r}: must be a whole number from 0")
        return value
    text = str(value)
    if name in _CHOICES and text not in _CHOICES[name]:
        raise ValueError(f"{name}={value!r}: must be one of {', '.join(_CHOICES[name])}")
    return text


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def rules_from(document: object) -> list[Rule]:
    """Rules out of a JSON document: a list, an object with the list under `faults`, or one rule.

    Raises:
        ValueError: it is none of these, or one rule is not right.
    """
    if isinstance(document, Mapping):
        document = document.get("faults", [document])
    if not isinstance(document, list) or not all(isinstance(r, Mapping) for r in document):
        raise ValueError('faults must be a list of objects such as {"kind": "500_after"}')
    return [rule_from(record) for record in document]


def rules_of_file(path: str) -> list[Rule]:
    """Rules out of a JSON file.

    Raises:
        ValueError: the file is not readable as JSON, or a rule is not right.
    """
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error})") from error
    return rules_from(document)


FAIL_RATE_KINDS = ("cut_before", "cut_after", "500_before", "500_after", "503_before")


@dataclass
class FaultPlan:
    """The rules, how often each struck, and the counts by kind."""

    seed: int = 0
    fail_rate: float = 0.0
    rules: list[Rule] = field(default_factory=list)
    struck: dict[int, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, rules: Iterable[Rule]) -> None:
        """Put rules at the end of the plan."""
        self.rules.extend(rules)

    def clear(self) -> None:
        """Take all rules and the fail rate out; the counts stay."""
        self.rules.clear()
        self.struck.clear()
        self.fail_rate = 0.0

    def at_body(self, asked: Asked) -> Rule | None:
        """The rule, if any, that cuts the connection while the request arrives."""
        return self._first(asked, {BODY})

    def choose(self, asked: Asked) -> Rule | None:
        """The first rule that strikes this request, else what the fail rate draws."""
        rule = self._first(asked, {BEFORE, AFTER, ITEMS})
        if rule is None and self.fail_rate and asked.endpoint == "upload":
            if self._draw("rate", asked.nth) >= self.fail_rate:
                return None
            pick = int(self._draw("kind", asked.nth) * len(FAIL_RATE_KINDS))
            rule = Rule(FAIL_RATE_KINDS[pick])
            self._count(rule)
        return rule

    def latency_s(self, asked: Asked) -> float:
        """The waiting time that the latency rules add."""
        total = 0.0
        for index, rule in enumerate(self.rules):
            if rule.moment == LATENCY and self._strikes(index, rule, asked):
                self._strike(index, rule)
                total += _spread(rule, self._draw(f"latency{index}", asked.number))
        return total

    def _first(self, asked: Asked, moments: set[str]) -> Rule | None:
        for index, rule in enumerate(self.rules):
            if rule.moment in moments and self._strikes(index, rule, asked):
                self._strike(index, rule)
                return rule
        return None

    def _strikes(self, index: int, rule: Rule, asked: Asked) -> bool:
        if rule.endpoint and rule.endpoint != asked.endpoint:
            return False
        if not rule.endpoint and asked.endpoint in OUTSIDE_API:
            return False
        if rule.realm and rule.realm != asked.realm:
            return False
        if rule.times and self.struck.get(index, 0) >= rule.times:
            return False
        if rule.numbers and (asked.nth if rule.endpoint else asked.number) not in rule.numbers:
            return False
        if rule.file_name and not any(
            fnmatch.fnmatchcase(name, rule.file_name) for name in asked.file_names
        ):
            return False
        return rule.probability >= 1 or self._draw(str(index), asked.number) < rule.probability

    def _strike(self, index: int, rule: Rule) -> None:
        self.struck[index] = self.struck.get(index, 0) + 1
        self._count(rule)

    def _count(self, rule: Rule) -> None:
        self.counts[rule.kind] = self.counts.get(rule.kind, 0) + 1

    def _draw(self, what: str, number: int) -> float:
        """A number from 0 to below 1 that depends only on the seed, what is drawn, and when."""
        text = f"{self.seed}/{what}/{number}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / 2**48


OUTSIDE_API = frozenset({"token", "revoke", "discovery", "authorize", "userinfo", "file"})
"""Endpoints that a rule without `endpoint` leaves alone."""


def _spread(rule: Rule, drawn: float) -> float:
    if rule.distribution == "uniform":
        return 2 * rule.seconds * drawn
    if rule.distribution == "exponential":
        return -rule.seconds * math.log(1 - drawn)
    if rule.distribution == "lognormal":
        # Sigma 1; two draws out of one number, by Box and Muller.
        other = (drawn * 7919.0) % 1.0
        normal = math.sqrt(-2 * math.log(1 - drawn)) * math.cos(2 * math.pi * other)
        return rule.seconds * math.exp(normal - 0.5)
    return rule.seconds

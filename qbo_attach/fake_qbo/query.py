r"""The query language: a statement to a value, and a value applied to rows.

    SELECT *|count(*)|fields FROM Entity [WHERE p op v [AND ...]] [ORDERBY p [ASC|DESC], ...]
    [STARTPOSITION n] [MAXRESULTS n]

Operators = IN < > <= >= LIKE (with % only). A quote in a value is written as \'. AND is the only
connection; there is no OR, no parenthesis but IN's, no JOIN, no GROUP BY.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qbo_attach.fake_qbo.values import JSON

MAX_RESULTS = 1000
DEFAULT_RESULTS = 100
_MAX_STATEMENT = 200_000

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<op><=|>=|=|<|>|,|\(|\))"
    r"|(?P<word>[A-Za-z0-9_.*:+-]+))",
    re.DOTALL,
)
_UNESCAPE = re.compile(r"\\(.)", re.DOTALL)


class QueryError(Exception):
    """A statement is refused, with Intuit's code: 4000 not parsed, 4001 not valid."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Condition:
    """`name` as written; `op` in upper case; `values` has one value but for IN."""

    name: str
    op: str
    values: tuple[str, ...]


@dataclass(slots=True)
class Query:
    """A parsed statement. `names` is empty for `*`; `order` holds name and descending."""

    entity: str
    names: list[str] = field(default_factory=list)
    count: bool = False
    where: list[Condition] = field(default_factory=list)
    order: list[tuple[str, bool]] = field(default_factory=list)
    start: int = 1
    limit: int = DEFAULT_RESULTS

    def equal_values(self, name: str) -> list[str] | None:
        """Values that `=` or `IN` allow for a property; None where neither stands for it."""
        for condition in self.where:
            if condition.name.casefold() == name.casefold() and condition.op in ("=", "IN"):
                return list(condition.values)
        return None


class _Tokens:
    def __init__(self, statement: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = statement.strip().removesuffix(";")
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                if not text[at:].strip():
                    break
                raise QueryError("4000", f'QueryParserError: Encountered "{text[at : at + 20]}"')
            kind = str(match.lastgroup)
            self._tokens.append((kind, match.group(kind)))
            at = match.end()
        self._at = 0

    def peek(self) -> str:
        """The next word in upper case, or operator; "" at the end or before a text."""
        if self._at >= len(self._tokens) or self._tokens[self._at][0] == "text":
            return ""
        return self._tokens[self._at][1].upper()

    def ended(self) -> bool:
        return self._at >= len(self._tokens)

    def next(self, kind: str = "") -> tuple[str, str]:
        if self.ended() or (kind and self._tokens[self._at][0] != kind):
            found = "<EOF>" if self.ended() else self._tokens[self._at][1]
            raise QueryError("4000", f'QueryParserError: Encountered " {found} " unexpectedly')
        token = self._tokens[self._at]
        self._at += 1
        return token

    def take(self, *words: str) -> bool:
        if self.peek() in words:
            self._at += 1
            return True
        return False

    def need(self, word: str) -> None:
        if not self.take(word):
            found = "<EOF>" if self.ended() else self._tokens[self._at][1]
            raise QueryError("4000", f'QueryParserError: Encountered " {found} ", expected {word}')


def parse(statement: str) -> Query:
    """Read a statement.

    Raises:
        QueryError: with code 4000 what is not in the grammar, with 4001 a number out of range.
    """
    if len(statement) > _MAX_STATEMENT:
        raise QueryError("4000", "QueryParserError: the statement is too long")
    tokens = _Tokens(statement)
    tokens.need("SELECT")
    names, count = _selected(tokens)
    tokens.need("FROM")
    query = Query(tokens.next("word")[1], names, count)
    if tokens.take("WHERE"):
        query.where.append(_condition(tokens))
        while tokens.take("AND"):
            query.where.append(_condition(tokens))
    if tokens.take("ORDERBY") or (tokens.take("ORDER") and _by(tokens)):
        query.order.append(_ordering(tokens))
        while tokens.take(","):
            query.order.append(_ordering(tokens))
    _paging(tokens, query)
    if not tokens.ended():
        found = tokens.next()[1]
        raise QueryError("4000", f'QueryParserError: Encountered " {found} " unexpectedly')
    return query


def _by(tokens: _Tokens) -> bool:
    tokens.need("BY")
    return True


def _selected(tokens: _Tokens) -> tuple[list[str], bool]:
    if tokens.take("*"):
        return [], False
    if tokens.take("COUNT"):
        tokens.need("(")
        tokens.next("word")
        tokens.need(")")
        return [], True
    names = [tokens.next("word")[1]]
    while tokens.take(","):
        names.append(tokens.next("word")[1])
    return [name for name in names if name != "*"], False


def _condition(tokens: _Tokens) -> Condition:
    name = tokens.next("word")[1]
    op = tokens.next()[1].upper()
    if op == "IN":
        tokens.need("(")
        values = [_value(tokens)]
        while tokens.take(","):
            values.append(_value(tokens))
        tokens.need(")")
        return Condition(name, op, tuple(values))
    if op not in ("=", "<", ">", "<=", ">=", "LIKE"):
        raise QueryError("4000", f'QueryParserError: Encountered " {op} " where an operator stands')
    return Condition(name, op, (_value(tokens),))


def _value(tokens: _Tokens) -> str:
    kind, text = tokens.next()
    if kind == "op":
        raise QueryError("4000", f'QueryParserError: Encountered " {text} " where a value stands')
    return _UNESCAPE.sub(r"\1", text[1:-1]) if kind == "text" else text


def _ordering(tokens: _Tokens) -> tuple[str, bool]:
    name = tokens.next("word")[1]
    descending = tokens.take("DESC")
    if not descending:
        tokens.take("ASC")
    return name, descending


def _paging(tokens: _Tokens, query: Query) -> None:
    while tokens.peek() in ("STARTPOSITION", "MAXRESULTS"):
        word = tokens.next()[1].upper()
        text = tokens.next("word")[1]
        number = int(text) if text.isdecimal() and len(text) < 19 else -1  # noqa: PLR2004
        if number < (1 if word == "STARTPOSITION" else 0):
            raise QueryError("4001", f"QueryValidationError: value {text} is not valid for {word}")
        if word == "STARTPOSITION":
            query.start = number
        elif number > MAX_RESULTS:
            raise QueryError("4001", f"QueryValidationError: maxresults is at most {MAX_RESULTS}")
        else:
            query.limit = number


Getter = Callable[[Any], Iterable[object]]
"""The values a row has for a property: several where the property repeats."""


def select(query: Query, rows: list[Any], properties: dict[str, Getter]) -> list[Any]:
    """The rows that a query keeps, in its order, before paging. `properties`: lower-case names.

    Raises:
        QueryError: a property that cannot be asked for.
    """
    tests = [(_getter(query, c.name, properties), _test(c)) for c in query.where]
    kept = [r for r in rows if all(any(test(v) for v in get(r)) for get, test in tests)]
    for name, descending in reversed(query.order):
        get = _getter(query, name, properties)
        kept.sort(key=lambda r, get=get: _rank(next(iter(get(r)), "")), reverse=descending)  # type: ignore[misc]
    return kept


def _getter(query: Query, name: str, properties: dict[str, Getter]) -> Getter:
    get = properties.get(name.casefold())
    if get is None:
        detail = f"QueryValidationError: Property {name} not found for Entity {query.entity}"
        raise QueryError("4001", detail)
    return get


def _rank(value: object) -> tuple[float, str]:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    moment = _moment(text)
    if moment is not None:
        return (moment, "")
    if text.isdecimal() and len(text) < 25:  # noqa: PLR2004  # longer ones are no numbers here
        return (int(text), "")
    return (0.0, text.casefold())


_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?.*)?")


def _moment(text: str) -> float | None:
    if not _TIME.fullmatch(text):
        return None
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if when.tzinfo is None:
        when = datetime.fromisoformat(f"{when.isoformat()}-07:00")
    return when.timestamp()


def _test(condition: Condition) -> Callable[[object], bool]:
    if condition.op == "LIKE":
        parts = condition.values[0].casefold().split("%")
        return lambda value: _like(str(value).casefold(), parts)
    if condition.op in ("=", "IN"):
        wanted = set(condition.values)
        ranks = {_rank(v) for v in wanted if _moment(v) is not None}
        return lambda value: _said(value) in wanted or (bool(ranks) and _rank(value) in ranks)
    bound = _rank(condition.values[0])
    comparisons: dict[str, Callable[[object], bool]] = {
        "<": lambda value: _rank(value) < bound,
        ">": lambda value: _rank(value) > bound,
        "<=": lambda value: _rank(value) <= bound,
        ">=": lambda value: _rank(value) >= bound,
    }
    return comparisons[condition.op]


def _like(text: str, parts: list[str]) -> bool:
    """Whether the parts stand in the text in their order, the first and the last at its ends."""
    if len(parts) == 1:
        return text == parts[0]
    first, *middle, last = parts
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(last)


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def answer(query: Query, rows: list[Any], show: Callable[[Any], JSON], name: str) -> JSON:
    """The `QueryResponse` of the rows a query keeps: a count, a page, or nothing at all."""
    if query.count:
        return {"QueryResponse": {"totalCount": len(rows)}}
    page = rows[query.start - 1 : query.start - 1 + query.limit]
    if not page:
        return {"QueryResponse": {}}
    shown = [_picked(show(row), query.names) for row in page]
    return {"QueryResponse": {name: shown, "startPosition": query.start, "maxResults": len(shown)}}


def _picked(entity: JSON, names: list[str]) -> JSON:
    if not names:
        return entity
    tops = {name.split(".", 1)[0].casefold() for name in names}
    picked = {k: v for k, v in entity.items() if k.casefold() in tops}
    return {**picked, "sparse": True}

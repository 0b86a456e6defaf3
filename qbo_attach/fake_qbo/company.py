"""The fake company itself: a request in, a reply out. No socket, no clock of its own.

A driver that has a socket works with an `Exchange`: open it with a request's head, feed it the
body, take the answer, close it. One that has none calls `handle` with a whole request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from qbo_attach.fake_qbo.control import Control
from qbo_attach.fake_qbo.entities import Entities
from qbo_attach.fake_qbo.exchange import Exchange
from qbo_attach.fake_qbo.faults import FaultPlan, Rule
from qbo_attach.fake_qbo.journal import Journal
from qbo_attach.fake_qbo.ledger import as_ledger_row
from qbo_attach.fake_qbo.limits import Limits
from qbo_attach.fake_qbo.oauth import OAuth
from qbo_attach.fake_qbo.options import REALM, Behaviour
from qbo_attach.fake_qbo.state import State
from qbo_attach.fake_qbo.values import JSON, Head, Reply, Request
from qbo_attach.fake_qbo.vault import Vault


class FakeCompany:
    """One QuickBooks Online server with its companies.

    Args:
        clock: Unix seconds; called for every time the company tells or compares.
        seed: of ids, trace ids, tokens and drawn faults.
        realms: the realm ids served.
        behaviour: the switches.
        entities: which entities exist; None: every one.
        rules: the fault plan.
        fail_rate: share of uploads that meet one of `FAIL_RATE_KINDS`.
        token: the one bearer token taken besides those issued; "" takes any.
        vault, journal: where bytes and events are kept; in memory if not given.
    """

    def __init__(  # noqa: PLR0913  # each a door to the outside, by keyword
        self,
        *,
        clock: Callable[[], float],
        seed: int = 0,
        realms: tuple[str, ...] = (REALM,),
        behaviour: Behaviour | None = None,
        entities: Entities | None = None,
        rules: Iterable[Rule] = (),
        fail_rate: float = 0.0,
        token: str = "",
        vault: Vault | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.state = State(
            clock=clock,
            seed=seed,
            realms=realms,
            behaviour=behaviour,
            entities=entities,
            vault=vault,
            journal=journal,
        )
        self.oauth = OAuth(self.state, token)
        self.plan = FaultPlan(seed, fail_rate, list(rules))
        self.state.load(self.oauth.restore)
        self.control = Control(self)
        self._limits: dict[str, Limits] = {}
        self.lock = threading.RLock()

    def open(self, head: Head) -> Exchange:
        """Begin a request that arrives now: it is counted, and rate limits have their say."""
        with self.lock:
            return Exchange(self, head)

    def handle(self, request: Request) -> Reply:
        """Answer a whole request. What the reply does to its connection is up to the caller."""
        with self.open(request.head) as exchange:
            if not exchange.feed(request.body):
                return Reply(cut="answer", fault="cut_request")
            return exchange.answer()

    def limits_of(self, realm: str) -> Limits:
        """The request windows of a realm."""
        return self._limits.setdefault(realm, Limits())

    def ledger(self, realm: str | None = None) -> JSON:
        """What was applied, by which request; what was asked; which faults struck."""
        with self.lock:
            self.state.settle()
            deleted = [o for o in self.state.ledger.deleted if realm in (None, o.realm)]
            return {
                "attachables": [as_ledger_row(o) for o in self.state.ledger.all(realm)],
                "requests": dict(self.state.requests),
                "faults": dict(self.plan.counts),
                "deleted": [as_ledger_row(one) for one in deleted],
            }

    def close(self) -> None:
        """Keep what is to be kept, and let go of files."""
        with self.lock:
            self.state.close()

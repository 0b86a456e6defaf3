"""All that a fake company holds; the endpoints work on it."""

from __future__ import annotations

import hashlib
import heapq
import hmac
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from qbo_attach.fake_qbo.entities import Entities
from qbo_attach.fake_qbo.journal import Journal, NoJournal
from qbo_attach.fake_qbo.ledger import (
    Attachable,
    Ledger,
    file_address,
    from_record,
    record_of,
)
from qbo_attach.fake_qbo.options import REALM, Behaviour
from qbo_attach.fake_qbo.values import JSON
from qbo_attach.fake_qbo.vault import MemoryVault, Vault

ADDRESS_VALID_S = 900
"""How long a download address is good for."""


@dataclass(slots=True)
class Remembered:
    """An answered requestid: when, the digest of what was asked, the answer as JSON text."""

    at: float
    digest: str
    text: bytes
    status: int = 200

    def payload(self) -> JSON:
        """The answer's payload."""
        found: JSON = json.loads(self.text)
        return found


@dataclass(order=True, slots=True)
class Late:
    """An effect that comes later than its request."""

    due: float
    order: int
    realm: str = field(compare=False)
    requestid: str = field(compare=False)
    commit: Callable[[float], None] = field(compare=False)


class State:
    """Attachables, bytes, entities, switches, remembered requests; clock and chance given."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        seed: int = 0,
        realms: tuple[str, ...] = (REALM,),
        behaviour: Behaviour | None = None,
        entities: Entities | None = None,
        vault: Vault | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._clock = clock
        self._seed = seed
        self.random = random.Random(seed)  # noqa: S311  # for ids that can be had again
        self.realms = realms
        self.behaviour = behaviour or Behaviour()
        self.entities = entities or Entities(None)
        self.vault: Vault = vault or MemoryVault()
        self.journal: Journal = journal or NoJournal()
        self.ledger = Ledger()
        self.replies: dict[tuple[str, str], Remembered] = {}
        self.requests: dict[str, int] = {"upload": 0, "query": 0}
        self.number = 0
        self._late: list[Late] = []
        self._late_count = 0
        self.secret = f"fake-qbo/{seed}".encode()

    def now(self) -> float:
        """Unix seconds by the company's clock."""
        return self._clock() + self.behaviour.clock_offset_s

    def trace(self) -> str:
        """A new `intuit_tid`."""
        return f"1-{int(self.now()):08x}-{self.random.getrandbits(96):024x}"

    # Requests that were answered before.

    def remembered(self, realm: str, requestid: str) -> Remembered | None:
        """The answer given to a requestid, if the company still knows it."""
        if not requestid or self.behaviour.replay == "off":
            return None
        found = self.replies.get((realm, requestid))
        retention = self.behaviour.replay_retention_s
        if found is not None and retention and self.now() - found.at > retention:
            return None
        return found

    def remember(
        self, realm: str, requestid: str, digest: str, payload: JSON, status: int = 200
    ) -> None:
        """Keep the answer to a requestid."""
        if not requestid:
            return
        one = Remembered(self.now(), digest, json.dumps(payload).encode(), status)
        self.replies[realm, requestid] = one
        record = {"event": "reply", "realm": realm, "requestid": requestid, "at": one.at}
        record = {**record, "digest": digest, "status": status}
        self.journal.append({**record, "payload": payload})

    # Effects, now and later.

    def save(self, one: Attachable) -> None:
        """Put an attachable into the ledger and the journal."""
        self.ledger.put(one)
        self.journal.append(record_of(one))

    def delete(self, one: Attachable) -> None:
        """Delete an attachable."""
        self.ledger.delete(one, self.now())
        self.journal.append(
            {"event": "deleted", "realm": one.realm, "id": one.id, "at": self.now()}
        )

    def later(
        self, due: float, realm: str, requestid: str, commit: Callable[[float], None]
    ) -> None:
        """Let an effect come at a time of the company's clock."""
        self._late_count += 1
        heapq.heappush(self._late, Late(due, self._late_count, realm, requestid, commit))

    def settle(self, *, everything: bool = False) -> int:
        """Let the effects come that are due (or all); says how many came."""
        now = self.now()
        count = 0
        while self._late and (everything or self._late[0].due <= now):
            late = heapq.heappop(self._late)
            if self.remembered(late.realm, late.requestid) is None:
                late.commit(now if everything else late.due)
                count += 1
        return count

    def pending(self, realm: str, requestid: str) -> bool:
        """Whether a late effect of this requestid is still to come."""
        return any(late.realm == realm and late.requestid == requestid for late in self._late)

    def pending_count(self) -> int:
        """How many late effects are still to come."""
        return len(self._late)

    # Download addresses.

    def download_address(self, one: Attachable, base_url: str) -> str:
        """An address that gives the bytes without a bearer token for 15 minutes."""
        date = int(self.now())
        path = file_address(one)
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={date}&X-Amz-Expires={ADDRESS_VALID_S}"
        )
        return f"{base_url}{path}?{query}&X-Amz-Signature={self.signature(unquote(path), date)}"

    def signature(self, path: str, date: int) -> str:
        """Signature of a percent-decoded path and a date."""
        return hmac.new(self.secret, f"{path}\n{date}".encode(), hashlib.sha256).hexdigest()

    # Restarts.

    def load(self, tokens: Callable[[JSON], None]) -> None:
        """Take the journal in; records of tokens go to `tokens`."""
        count = 0
        for record in self.journal.records():
            count += 1
            event = record.pop("event")
            if event == "attachable":
                self.ledger.put(from_record(record))
            elif event == "deleted":
                one = self.ledger.get(record["realm"], record["id"])
                if one is not None:
                    self.ledger.delete(one, record["at"])
            elif event == "reply":
                key = record["realm"], record["requestid"]
                text = json.dumps(record["payload"]).encode()
                status = record.get("status", 200)
                self.replies[key] = Remembered(record["at"], record["digest"], text, status)
            elif event == "counts":
                self.requests.update(record["requests"])
                self.number = record["number"]
            elif event == "token":
                tokens(record)
        if count:
            # Else a restart would give out the tokens of the run before once more.
            self.random.seed(f"{self._seed}/{count}")

    def close(self) -> None:
        """Keep the counts, and let go of files."""
        self.settle()
        self.journal.append({"event": "counts", "requests": self.requests, "number": self.number})
        self.journal.close()
        self.vault.close()

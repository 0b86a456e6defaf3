"""What a seed decides before anything runs: the files, the settings, QBO's habits, the dangers."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from typing import Literal

from qbo_attach.core.model import Status
from qbo_attach.core.naming import digest_name, folded
from qbo_attach.core.tables import VerificationRow
from qbo_attach.fake_qbo.options import Behaviour

REALM = "1234567890"
FILES_AT_MOST = 12

_NAMES = ("scan.pdf", "Scan.PDF", "bill.pdf", "caf\u00e9.txt", "cafe\u0301.txt", "x.png", "y.png")
_CONTENTS = (b"a", b"b", b"cc", b"dd", b"eee", b"ffffffff")
_OTHER_CONTENT = b"of another size than any file here"
_ENTITIES = (
    ("Bill", "1"),
    ("Bill", "2"),
    ("Invoice", "7"),
    ("Vendor", "1"),
    ("Bill;Invoice", "3;8"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file of FILES_DIR as it is at one moment."""

    path: str
    name: str
    content: bytes
    modified_at: str
    etag: str
    entity: tuple[str, str]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def facts(self) -> tuple[str, int, str, str]:
        """What tells this version of the file from others."""
        return self.path, len(self.content), self.modified_at, self.etag

    def row(self) -> VerificationRow:
        """As inventory and verification have it."""
        return VerificationRow(
            self.path.split("/")[0],
            "Txn",
            self.path.split("/")[0],
            self.name,
            self.path,
            *self.entity,
            Status.OK.value,
            "",
            "client",
            str(len(self.content)),
            self.modified_at,
            self.etag,
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """One trial's conditions.

    `fault_rate`: share of requests that meet a fault; `storage_rate` the same of the store's
    calls. `late`: whether commits may come later than the guarantee allows. `etags`: whether the
    store of the files has them. `death_rate`: share of lives that end in a death.
    """

    files: tuple[Source, ...]
    per_request: int | None
    marker: Literal["tag", "note", "none"]
    settle_s: float
    lease_s: float
    behaviour: Behaviour
    fault_rate: float
    storage_rate: float
    late: bool
    death_rate: float
    mutation_rate: float
    rival_rate: float
    one_host: bool
    etags: bool
    batch_size: int
    check_existing: bool
    loses_log: bool
    skewed: bool
    rows_in_file: bool
    snapshot_records: int
    foreign: tuple[tuple[Source, bytes], ...] = ()


def draw(rng: random.Random) -> Scenario:
    """The conditions of a trial."""
    etags = rng.random() < 0.4
    files = _files(rng, etags=etags)
    check_existing = rng.random() < 0.3
    late = rng.random() < 0.15
    mutation_rate = rng.choice((0.0, 0.0, 0.2, 0.5))
    return Scenario(
        files=files,
        per_request=rng.choice((1, 3, 3, 10, 10, None)),
        marker=rng.choice(("tag", "tag", "note", "none")),
        settle_s=120.0 if rng.random() < 0.04 else rng.choice((10.0, 15.0, 20.0, 30.0)),
        lease_s=rng.choice((30.0, 60.0, 60.0, 60.0)),
        behaviour=_behaviour(rng),
        fault_rate=rng.choice((0.0, 0.1, 0.3, 0.5, 0.8)),
        storage_rate=rng.choice((0.0, 0.0, 0.02, 0.1)),
        late=late,
        death_rate=rng.choice((0.5, 0.8, 1.0)),
        mutation_rate=mutation_rate,
        rival_rate=rng.choice((0.0, 0.0, 0.3)),
        one_host=rng.random() < 0.85,
        etags=etags,
        batch_size=rng.choice((2, 5, 12)),
        check_existing=check_existing,
        loses_log=check_existing and not late and not mutation_rate and rng.random() < 0.3,
        skewed=rng.random() < 0.1,
        rows_in_file=rng.random() < 0.1,
        snapshot_records=rng.choice((3, 50_000, 50_000)),
        foreign=_foreign(rng, files) if check_existing else (),
    )


def _foreign(rng: random.Random, files: tuple[Source, ...]) -> tuple[tuple[Source, bytes], ...]:
    """Attachables of others under names of ours, each name once: equal content or another."""
    named: dict[tuple[str, str, str], tuple[Source, bytes]] = {}
    for source in files:
        if rng.random() < 0.25:
            # One of equal size and name is taken for the file, whatever its bytes.
            content = source.content if rng.random() < 0.6 else _OTHER_CONTENT
            named.setdefault((*source.entity, folded(source.name)), (source, content))
    return tuple(named.values())


def _behaviour(rng: random.Random) -> Behaviour:
    replay = rng.choice(("on", "on", "off", "expiring"))
    return replace(
        _PLAIN,
        replay="off" if replay == "off" else "on",
        replay_retention_s=rng.choice((5.0, 40.0)) if replay == "expiring" else 0.0,
        replay_body=rng.choice(("ignore", "refuse")),
        replay_pending=rng.choice(("once", "once", "600")),
        one_bad_part=rng.choice(("alone", "alone", "all")),
        items_order=rng.choice(("sent", "shuffled")),
        upload_faults=rng.choice(("item", "http")),
        limits=rng.choice(("off", "exact")),
        query_lag_s=rng.choice((0.0, 0.0, 0.0, 4.0)),
        clock_offset_s=rng.choice((0.0, 0.0, 40.0, -40.0)),
    )


_PLAIN = Behaviour()


def _files(rng: random.Random, *, etags: bool) -> tuple[Source, ...]:
    count = min(FILES_AT_MOST, 1 + int(rng.expovariate(0.45)))
    entities = rng.sample(_ENTITIES, rng.choice((1, 2, 2, 4)))
    return tuple(
        new_source(rng, number, rng.choice(entities), etags=etags) for number in range(count)
    )


def new_source(rng: random.Random, number: int, entity: tuple[str, str], *, etags: bool) -> Source:
    """A new file; its name and content may be another's."""
    content = rng.choice(_CONTENTS) if rng.random() < 0.7 else b"only %d" % number
    name = rng.choice(_NAMES)
    if rng.random() < 0.05:
        name = digest_name(name, hashlib.sha256(rng.choice(_CONTENTS)).hexdigest())
    elif rng.random() < 0.5:
        name = f"{number} {name}"
    return version(
        Source(f"{entity[1].replace(';', '-')}/{number}/{name}", name, content, "", "", entity),
        number,
        etags=etags,
    )


def version(source: Source, moment: int, *, etags: bool) -> Source:
    """The same file, written again at another time."""
    at = f"2026-01-{1 + moment // 1440 % 28:02d}T{moment // 60 % 24:02d}:{moment % 60:02d}:00Z"
    etag = hashlib.sha256(source.content).hexdigest()[:8] + str(moment) if etags else ""
    return replace(source, modified_at=at, etag=etag)

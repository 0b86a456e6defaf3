"""The doctor: is everything ready for a run? Looks, sends nothing, leaves no file behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qbo_attach.core.entity_check import mapped_entities
from qbo_attach.core.errors import NotStartedError, QboAttachError
from qbo_attach.core.tables import INVENTORY, InventoryRow
from qbo_attach.core.verification import Verifier, check_gate, coverage
from qbo_attach.core.watching import duration
from qbo_attach.qbo.client import QboClient
from qbo_attach.qbo.faults import QboError, RefusedError
from qbo_attach.qbo.pacing import SystemClock
from qbo_attach.settings import Settings, misspelt
from qbo_attach.stages.connection import (
    check_log_dir,
    environment_name,
    make_client,
    make_pacer,
    token_source,
)
from qbo_attach.stages.first_contact import check_expected
from qbo_attach.stages.inputs import (
    data_store,
    load_entity_types,
    load_file_types,
    load_overrides,
    log_store,
)
from qbo_attach.stages.status import run_status
from qbo_attach.stages.verify import make_joiner, verifying_rules
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store

READY, LOOK, NOT_READY, SKIPPED = "ready", "look", "not_ready", "skipped"

CLOCK_OFF_S = 60.0
"""A clock that is off by more makes the run log hard to read; what is decided by time is corrected
by QBO's own clock."""

_PROBE = "doctor-probe.txt"
_UNMAPPED_TYPES = ("Bill", "Customer", "Invoice", "Vendor")
"""Asked for where no mapping tells which types matter."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: READY, LOOK (a person should see it), NOT_READY, or SKIPPED."""

    name: str
    state: str
    said: str

    def as_json(self) -> dict[str, object]:
        """The same as an object."""
        return asdict(self)


def run_doctor(settings: Settings) -> Iterator[Check]:
    """Look at everything a run needs, one check after another.

    Each goes as far as it can alone; what QBO is asked for is skipped where it cannot be asked.
    """
    yield _checked("settings", lambda: _settings(settings))
    yield _checked("FILES_DIR", lambda: _files(settings))
    yield _checked("DATA_DIR", lambda: _data(settings))
    yield _checked("LOG_DIR", lambda: _log(settings))
    yield _checked("run log", lambda: _runlog(settings))
    coverage_check, types = _coverage(settings)
    yield coverage_check
    yield from asyncio.run(_company(settings, sorted(types) or _UNMAPPED_TYPES))


def _checked(name: str, look: Callable[[], tuple[str, str]]) -> Check:
    try:
        state, said = look()
    except (QboAttachError, OSError) as error:
        return Check(name, NOT_READY, str(error))
    return Check(name, state, said)


def _settings(settings: Settings) -> tuple[str, str]:
    realm = settings.realm_id
    token_source(settings, SystemClock())
    load_overrides(settings, load_entity_types(settings))
    load_file_types(settings)
    said = f"realm {realm} at {settings.base_url} ({environment_name(settings)})"
    more = misspelt()
    if settings.qbo_access_token.get_secret_value():
        more.append("QBO_ACCESS_TOKEN ends within an hour; qbo-attach login keeps tokens fresh")
    return LOOK if more else READY, "; ".join((said, *more))


def _files(settings: Settings) -> tuple[str, str]:
    store = Store(settings.files_dir, settings.storage_options)
    first = next(iter(store.list_files()), None)
    if first is None:
        raise NotStartedError(f"{store.url} is empty: set FILES_DIR to the Attach folder")
    return READY, f"{store.url} can be listed"


def _data(settings: Settings) -> tuple[str, str]:
    store = data_store(settings)
    with store.writing(_PROBE) as stream:
        stream.write(b"written by qbo-attach doctor\n")
    store.remove(_PROBE)
    return READY, f"{store.url} can be written"


def _log(settings: Settings) -> tuple[str, str]:
    log = log_store(settings)
    log.probe_create_once("runlog")
    check_log_dir(settings, log)
    return READY, f"{log.url} creates a file only once"


def _runlog(settings: Settings) -> tuple[str, str]:
    found = run_status(settings)
    if found.state == "no_run":
        return READY, "no run yet"
    said = f"run {found.run_id} {found.state.replace('_', ' ')}. {found.next_step}"
    return READY if found.state == "ended" and not found.stopped else LOOK, said


def _coverage(settings: Settings) -> tuple[Check, Mapping[str, set[str]]]:
    """Verify without writing; also the mapped entities, as far as they could be told."""
    entities: Mapping[str, set[str]] = {}

    def look() -> tuple[str, str]:
        nonlocal entities
        types = load_entity_types(settings)
        joiner = make_joiner(settings, types, load_overrides(settings, types))
        verifier = Verifier(verifying_rules(settings, types), joiner)
        data = data_store(settings)
        inventory = read_table(data, INVENTORY, InventoryRow)
        entities = mapped_entities(verifier.rows(inventory, data.child_url(INVENTORY)))
        notes = verifier.check_settings()
        if not settings.accept_coverage:
            check_gate(verifier.counts, settings.min_coverage)
        return READY, " ".join((f"Coverage {coverage(verifier.counts):.2%}.", *notes))

    return _checked("mapping", look), entities


# -- QBO ------------------------------------------------------------------------------------------


async def _company(settings: Settings, types: Iterable[str]) -> list[Check]:
    clock = SystemClock()
    names = ("connection", "clock", "company", "closing date", "entities")
    try:
        client = make_client(settings, make_pacer(settings, clock), clock)
    except QboAttachError:
        return [Check(name, SKIPPED, "QBO cannot be asked: see settings") for name in names]
    try:
        try:
            company = await client.company_name()
        except QboAttachError as error:
            more = [Check(name, SKIPPED, "no connection") for name in names[1:]]
            return [Check(names[0], NOT_READY, str(error)), *more]
        connected = Check(names[0], READY, f"{settings.base_url} answers")
        offset = client.clock_offset_s
        return [
            connected,
            _checked(names[1], lambda: _clock(offset)),
            _checked(names[2], lambda: _name(settings, company)),
            await _asked(names[3], _closing_date(client)),
            await _asked(names[4], _entities(client, types)),
        ]
    finally:
        await client.aclose()


async def _asked(name: str, looking: Any) -> Check:  # noqa: ANN401 - a coroutine
    try:
        state, said = await looking
    except QboError as error:
        return Check(name, NOT_READY, str(error))
    return Check(name, state, said)


def _clock(offset_s: float) -> tuple[str, str]:
    way = "ahead of" if offset_s > 0 else "behind"
    if abs(offset_s) > CLOCK_OFF_S:
        said = f"QBO's clock is {duration(abs(offset_s))} {way} this machine's: set the clock (NTP)"
        return LOOK, said
    return READY, "agrees with QBO's"


def _name(settings: Settings, company: str) -> tuple[str, str]:
    check_expected(settings, company)
    said = f"{company!r}"
    if settings.expect_company_name:
        return READY, f"{said}, as expected"
    if environment_name(settings) == "production":
        remedy = f"set EXPECT_COMPANY_NAME={company!r} for runs without a terminal"
        return LOOK, f"{said}; {remedy}"
    return READY, said


async def _closing_date(client: QboClient) -> tuple[str, str]:
    """The date up to which the books are closed.

    Preferences, AccountingInfoPrefs.BookCloseDate:
    https://developer.intuit.com/app/developer/qbo/docs/api/accounting/most-commonly-used/preferences
    """
    rows = await client.query("SELECT * FROM Preferences")
    prefs = rows[0].get("AccountingInfoPrefs") if rows else None
    closed = prefs.get("BookCloseDate") if isinstance(prefs, dict) else None
    if closed:
        return LOOK, (
            f"the books are closed up to {closed}: QBO may refuse attachments of older "
            "transactions (6200, 6210); open them while the migration runs (Settings, Advanced)"
        )
    return READY, "the books are open"


async def _entities(client: QboClient, types: Iterable[str]) -> tuple[str, str]:
    refusals = [(kind, await _refusal(client, kind)) for kind in types]
    unreadable = [f"{kind} ({code})" for kind, code in refusals if code]
    held = await client.attachable_count()
    said = f"{', '.join(types)} can be read; QBO holds {held:,} attachables"
    if unreadable:
        return LOOK, f"QBO does not answer for {', '.join(unreadable)}; the others can be read"
    return READY, said


async def _refusal(client: QboClient, kind: str) -> str:
    """The code with which QBO refuses to be asked for a type; "" where it answers."""
    try:
        await client.query(f"SELECT Id FROM {kind} MAXRESULTS 1")  # noqa: S608 - a type's name
    except RefusedError as error:
        return error.fault.code
    return ""

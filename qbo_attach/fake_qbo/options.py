"""What a fake company is told at its start, and the switches that can be turned while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace

REALM = "1234567890"

ATTACHABLE_TYPES = (
    "Account",
    "Bill",
    "BillPayment",
    "CreditMemo",
    "Customer",
    "Deposit",
    "Employee",
    "Estimate",
    "Invoice",
    "Item",
    "JournalEntry",
    "Payment",
    "Purchase",
    "PurchaseOrder",
    "RefundReceipt",
    "SalesReceipt",
    "TimeActivity",
    "Transfer",
    "Vendor",
    "VendorCredit",
)
"""`EntityRef.type` values that take an attachment. Intuit prints no full list (6050 otherwise)."""


@dataclass(frozen=True)
class Behaviour:
    """Each question that only a sandbox can settle, as a switch; docs/sandbox-questions.md.

    The defaults are the answers held most likely. `POST /_fake/settings` changes any of them.
    """

    limits: str = "off"
    """off; slack (550 a minute, 15 a second, 15 in flight); exact (500, 10, 10)."""
    replay: str = "on"
    """on: an answered requestid is answered again without effect; off: requestid is ignored."""
    replay_retention_s: float = 0.0
    """How long a requestid is remembered; 0: for ever."""
    replay_body: str = "ignore"
    """ignore: the body of a replayed request is not compared; refuse: another body gets 600."""
    replay_refusals: bool = False
    """Whether a request refused as a whole is remembered, too, and refused again."""
    replay_pending: str = "once"
    """A requestid whose first request is a late commit: once: whoever commits first wins; 600."""
    one_bad_part: str = "alone"
    """alone: a refused item leaves the others; all: every item is refused with it."""
    items_order: str = "sent"
    """Of the answers to an upload and to a batch: sent; shuffled."""
    upload_faults: str = "item"
    """item: a refused file is a Fault inside HTTP 200; http: a Fault under HTTP 400."""
    oversize_status: int = 400
    """HTTP status of 6030."""
    max_request_bytes: int = 100 * 2**20
    """The whole upload request, overhead included."""
    max_file_bytes: int = 0
    """A larger file is refused (6041), as the limits of QBO's own screen would; 0: none."""
    max_files: int = 0
    """Files of a request beyond so many are passed over without an answer; 0: none are."""
    filename_wins: str = "metadata"
    """metadata: its FileName; part: the content part's filename, where it has one."""
    require_content_length: bool = False
    """Refuse chunked uploads with 6020."""
    empty_files: str = "accept"
    """accept; refuse (6041)."""
    octet_stream: str = "accept"
    """Files sent as application/octet-stream: accept; refuse (6041)."""
    refused_characters: str = ""
    """A FileName with one of these is refused (2040), as one with a control character always is."""
    text_files: str = "accept"
    """Files named .txt: accept; refuse (6041), as a comment of Intuit's PHP SDK says."""
    attachable_types: tuple[str, ...] = ATTACHABLE_TYPES
    types_with_case: bool = False
    """Whether `EntityRef.type` must be spelt as Intuit spells it (6050 otherwise)."""
    qbdt: str = "on"
    """QbdtEntityIdMapping: on; empty (the table was never made); absent (4001)."""
    qbdt_casing: str = "pascal"
    """pascal (QboEntityId); camel (qboEntityId)."""
    qbdt_needs_type: bool = False
    """Refuse a QbdtEntityIdMapping query without a condition on its type (4001)."""
    qbdt_page_rows: int = 1000
    """Rows of a page of QbdtEntityIdMapping at most, whatever was asked; 0: it is not paged, each
    query gets all its rows."""
    query_lag_s: float = 0.0
    """How long a new attachable stays invisible to queries."""
    latency_ms: float = 0.0
    """Before each answer of the API."""
    company_name: str = ""
    """Empty: Fake Company and the realm."""
    book_close_date: str = ""
    """The company's closing date (YYYY-MM-DD), as its preferences tell it; "" for none."""
    clock_offset_s: float = 0.0
    """How far the company's clock runs ahead."""
    access_token_s: int = 3600
    refresh_token_s: int = 8_640_000
    rotation: str = "daily"
    """When a refresh gives a new refresh token and ends the old one: daily; always; never."""
    reused_refresh: str = "refuse"
    """A refresh token used after its end: refuse (invalid_grant); revoke: its company's tokens all
    end with it."""
    auto_consent: bool = False
    """Redirect from the authorization address at once, without the page."""
    retry_after: str = "60"
    """`Retry-After` of a real 429 (not of a scripted one); "" for none."""
    refusals_count: bool = False
    """Whether a request refused with 429 counts into the windows of the limits."""
    throttle_form: str = "xml"
    """Body of a real 429: xml (as recorded) or json."""
    unasked_format: str = "sent"
    """Where `Accept` names neither: sent (XML to what was sent as XML or application/text, else
    JSON); json; xml."""

    def changed(self, changes: Mapping[str, object]) -> Behaviour:
        """A copy with some switches turned.

        Raises:
            ValueError: an unknown switch, a value of the wrong kind, or one that is not allowed.
        """
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        checked: dict[str, object] = {}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"there is no setting {name}; there are: {', '.join(known)}")
            checked[name] = _checked(name, value, known[name])
        return replace(self, **checked)  # type: ignore[arg-type]  # checked one by one above

    def as_json(self) -> dict[str, object]:
        """All switches by name."""
        return asdict(self)


_CHOICES = {
    "limits": ("off", "slack", "exact"),
    "replay": ("on", "off"),
    "replay_body": ("ignore", "refuse"),
    "replay_pending": ("once", "600"),
    "one_bad_part": ("alone", "all"),
    "items_order": ("sent", "shuffled"),
    "upload_faults": ("item", "http"),
    "filename_wins": ("metadata", "part"),
    "empty_files": ("accept", "refuse"),
    "octet_stream": ("accept", "refuse"),
    "text_files": ("accept", "refuse"),
    "qbdt": ("on", "empty", "absent"),
    "qbdt_casing": ("pascal", "camel"),
    "rotation": ("daily", "always", "never"),
    "reused_refresh": ("refuse", "revoke"),
    "throttle_form": ("xml", "json"),
    "unasked_format": ("sent", "json", "xml"),
}


def _checked(name: str, value: object, old: object) -> object:
    if isinstance(old, tuple):
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise ValueError(f"{name} must be a list of texts")
        return tuple(value)
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(old):
        raise ValueError(f"{name}={value!r}: must be of the kind of {old!r}")
    allowed = _CHOICES.get(name)
    if allowed and value not in allowed:
        raise ValueError(f"{name}={value!r}: must be one of {', '.join(allowed)}")
    return value


@dataclass(frozen=True, kw_only=True)
class FakeOptions:
    """What `qbo-attach fake-qbo` is told.

    Attributes:
        port: 0 picks a free one.
        realm: the realm ids served, separated by commas; any other is refused with 3100.
        mapping: URL of a table whose entities are the company's; "" means every entity exists.
        entities: URL of JSON lines with entities in full, which queries answer.
        state: a folder that keeps everything over restarts; "" keeps it for this run only.
        seed: of ids, trace ids and drawn faults.
        fail_rate: share of /upload requests that meet a fault, from 0 to 1.
        latency_ms: before each answer.
        limits: off, slack or exact.
        verbose: print one line a request on standard error.
        token: the one bearer token accepted besides those issued; "" accepts any.
        faults: path of a JSON file with fault rules; "" for none.
        qbdt_mapping: serve the mapping table as QbdtEntityIdMapping.
        behaviour: the other switches.
    """

    port: int = 0
    host: str = "127.0.0.1"
    realm: str = REALM
    mapping: str = ""
    entities: str = ""
    state: str = ""
    seed: int = 0
    fail_rate: float = 0.0
    latency_ms: float = 0.0
    limits: str = "off"
    verbose: bool = False
    token: str = ""
    faults: str = ""
    qbdt_mapping: bool = True
    behaviour: Behaviour = field(default_factory=Behaviour)

    def effective_behaviour(self) -> Behaviour:
        """The switches, with what the flags say put in.

        Raises:
            ValueError: a flag's value is not allowed.
        """
        if not 0 <= self.fail_rate <= 1:
            raise ValueError(f"fail_rate={self.fail_rate}: must be from 0 to 1")
        changes: dict[str, object] = {}
        if self.limits != "off":
            changes["limits"] = self.limits
        if self.latency_ms:
            changes["latency_ms"] = float(self.latency_ms)
        if not self.qbdt_mapping:
            changes["qbdt"] = "empty"
        return self.behaviour.changed(changes)

    def realms(self) -> tuple[str, ...]:
        """The realm ids served.

        Raises:
            ValueError: none, or one that is not a number.
        """
        names = tuple(name.strip() for name in self.realm.split(",") if name.strip())
        if not names or not all(name.isdigit() for name in names):
            raise ValueError(f"realm={self.realm}: must be one or more numbers, with commas")
        return names

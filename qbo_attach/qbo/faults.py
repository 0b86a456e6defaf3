"""QBO's faults: one table from code or status to recovery and remedy, and the errors we raise.

- QboError              any answer of QBO that is not the one hoped for
  - StopError           end the run; a person must act
  - NotDoneError        surely without effect; may be sent again after the wait
  - InDoubtError        may have had its effect; look before sending again
  - RefusedError        QBO will not take it

Codes: https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

from qbo_attach.core.errors import QboAttachError
from qbo_attach.core.model import Fault, Recovery


class Rule(NamedTuple):
    """What a code or status means, and what a person does about it (one sentence)."""

    recovery: Recovery
    remedy: str


_STOP, _NOT_DONE = Recovery.STOP, Recovery.NOT_DONE
_IN_DOUBT, _REFUSED = Recovery.IN_DOUBT, Recovery.REFUSED

_RECONNECT = "Connect this app to the company again (qbo-attach login), then run again."
_LOGIN = "Log in again with qbo-attach login, then run again."
_LOOK = "Nothing to do: the next look at QBO settles it."
_FIELD = "A field of the request does not suit QBO; look at the message, mend the row or report it."
_AGAIN = "Nothing to do: it is sent again after a wait."
_SPLIT = "Nothing to do for a group, which is split; a single file must be made smaller."
_CLOSED = "Open the books for that date in QBO (Settings, Advanced, Close the books), or leave it."

NO_CONNECTION = "no_connection"
TLS = "tls"
CUT = "cut"
UNREADABLE = "unreadable"
QUOTA = "quota"
NO_TOKEN = "no_token"  # noqa: S105  # a code
INVALID_GRANT = "invalid_grant"
INVALID_TOKEN = "invalid_token"  # noqa: S105  # a code

FAULTS: MappingProxyType[str, Rule] = MappingProxyType(
    {
        # Our own words, for what has no code of Intuit's.
        NO_CONNECTION: Rule(_NOT_DONE, "Check the network and QBO_ENVIRONMENT, then run again."),
        TLS: Rule(_STOP, "Check QBO_ENVIRONMENT, and whether a proxy stands between."),
        CUT: Rule(_IN_DOUBT, _LOOK),
        UNREADABLE: Rule(_IN_DOUBT, _LOOK),
        QUOTA: Rule(
            _STOP,
            "The app's monthly allowance of reads is probably used up: raise its tier at Intuit, "
            "or run again next month.",
        ),
        NO_TOKEN: Rule(_NOT_DONE, "Intuit's login service is not well: run again later."),
        # OAuth's words: RFC 6749, 5.2.
        INVALID_GRANT: Rule(_STOP, _LOGIN),
        "invalid_client": Rule(_STOP, "Check QBO_CLIENT_ID and QBO_CLIENT_SECRET."),
        "unauthorized_client": Rule(_STOP, "Check QBO_CLIENT_ID and QBO_CLIENT_SECRET."),
        INVALID_TOKEN: Rule(
            _STOP, "Log in again with qbo-attach login (or set a new QBO_ACCESS_TOKEN)."
        ),
        # Intuit's codes.
        "120": Rule(_STOP, "The user who connected the app lost the right: " + _RECONNECT),
        "130": Rule(_NOT_DONE, _AGAIN),
        "140": Rule(_NOT_DONE, _AGAIN),
        "150": Rule(_NOT_DONE, _AGAIN),
        "500": Rule(_REFUSED, "QBO does not know this operation; look at the message."),
        "600": Rule(_IN_DOUBT, _LOOK),
        "610": Rule(_REFUSED, "The entity is deleted or inactive in QBO: restore it, or exclude."),
        "2010": Rule(_REFUSED, _FIELD),
        "2020": Rule(_REFUSED, _FIELD),
        "2030": Rule(_REFUSED, "The mapping names an id that QBO does not take; mend the mapping."),
        "2040": Rule(_REFUSED, "QBO does not take the file's name; rename the file."),
        "2050": Rule(_REFUSED, "A field is too long for QBO, most likely the file's name."),
        "2130": Rule(_IN_DOUBT, _LOOK),
        "2500": Rule(_REFUSED, "The mapping names an entity that QBO does not have; mend it."),
        "3001": Rule(_NOT_DONE, _AGAIN),
        "3100": Rule(_STOP, "The app may not use this company. " + _RECONNECT),
        "3200": Rule(_NOT_DONE, _AGAIN),
        "4000": Rule(_REFUSED, "QBO cannot read the query; report it."),
        "4001": Rule(_REFUSED, "This company does not know what the query asks for."),
        "4002": Rule(_REFUSED, "QBO could not run the query; run again later."),
        "5010": Rule(_REFUSED, "Somebody changed the record at the same time; run again."),
        "5020": Rule(_STOP, "The user who connected the app lacks the permission: " + _RECONNECT),
        "5030": Rule(_REFUSED, "The company's plan lacks this feature; change the plan in QBO."),
        "6000": Rule(_REFUSED, "Most often the entity does not exist in QBO: mend the mapping."),
        "6020": Rule(_REFUSED, "QBO missed the request's length: report it."),
        "6030": Rule(_REFUSED, _SPLIT),
        "6040": Rule(_REFUSED, "QBO could not read the file's description: report it."),
        "6041": Rule(_REFUSED, "QBO does not take this file: open it, or save it as PDF."),
        "6050": Rule(_REFUSED, "QBO takes no attachments on this type of entity: exclude the row."),
        "6190": Rule(_STOP, "The company's subscription has ended: renew it in QBO."),
        "6200": Rule(_REFUSED, _CLOSED),
        "6210": Rule(_REFUSED, _CLOSED),
        "6240": Rule(_REFUSED, "A record with this name exists in QBO."),
        "10000": Rule(_IN_DOUBT, _LOOK),
    }
)

STATUSES: MappingProxyType[int, Rule] = MappingProxyType(
    {
        400: Rule(_REFUSED, "Look at the message; mend the row, or report it."),
        401: Rule(_NOT_DONE, _AGAIN),
        403: Rule(_REFUSED, "QBO forbids it: check that the app is connected to this company."),
        404: Rule(_REFUSED, "Check QBO_REALM_ID and QBO_ENVIRONMENT."),
        407: Rule(_STOP, "A proxy asks for a login: check the network's settings."),
        408: Rule(_IN_DOUBT, _LOOK),
        413: Rule(_REFUSED, _SPLIT),
        425: Rule(_NOT_DONE, _AGAIN),
        429: Rule(_NOT_DONE, _AGAIN),
    }
)

_REDIRECT = Rule(_STOP, "QBO points elsewhere: check QBO_ENVIRONMENT and the network's proxy.")
_OTHER_4XX = Rule(_REFUSED, "Look at the message; mend the row, or report it.")
_UNKNOWN_FAULT = Rule(_REFUSED, "Look at the message; mend the row, or report it.")
_BROKEN = Rule(_IN_DOUBT, _LOOK)

_BEFORE = frozenset({401, 429})
"""Statuses that always come before any effect, whatever code they carry."""

SPLIT_CODES = frozenset({"413", "6030"})
"""The request was too large: a group is to be split (a plain 413 carries its status as code)."""
THROTTLE_CODES = frozenset({"429", "3001", "003001"})


class QboError(QboAttachError):
    """QBO did not do what was asked. `str()` is one sentence with the remedy.

    Args:
        fault: what QBO said, or what became of the request.
        retry_after_s: seconds to wait before the next try, where that is known.
    """

    recovery: Recovery = Recovery.REFUSED

    def __init__(self, fault: Fault, *, retry_after_s: float | None = None) -> None:
        self.fault = fault
        self.retry_after_s = retry_after_s
        super().__init__(fault, retry_after_s)

    def __str__(self) -> str:
        status = f" (HTTP {self.fault.status})" if self.fault.status else ""
        return f"QBO: {self.fault}{status}. {remedy(self.fault)}"


class StopError(QboError):
    """The run must end; the next one goes on after a person has acted."""

    recovery = Recovery.STOP


class NotDoneError(QboError):
    """Surely without effect; may be sent again after `retry_after_s`."""

    recovery = Recovery.NOT_DONE


class InDoubtError(QboError):
    """May have had its effect; look before sending again."""

    recovery = Recovery.IN_DOUBT


class RefusedError(QboError):
    """QBO will not take the request as it is."""

    recovery = Recovery.REFUSED

    @property
    def is_cut(self) -> bool:
        """Whether its reason was lost on the way: what QBO meant is not known."""
        return self.fault.type == CUT

    @property
    def too_large(self) -> bool:
        """Whether the request was too large, so that a group may be split."""
        return self.fault.code in SPLIT_CODES or self.fault.status == 413  # noqa: PLR2004


_BY_RECOVERY: dict[Recovery, type[QboError]] = {
    kind.recovery: kind for kind in (StopError, NotDoneError, InDoubtError, RefusedError)
}


def rule(fault: Fault) -> Rule:
    """What a fault means: the whole request's (by its status) or an item's (status 200).

    A 5xx may come after the effect, whatever its code says; 401, 403 and 429 come before it.
    """
    if fault.status >= 500:  # noqa: PLR2004
        return _BROKEN
    known = FAULTS.get(fault.code.lstrip("0"))
    if known is not None and (known.recovery is Recovery.STOP or fault.status not in _BEFORE):
        return known
    if fault.status in STATUSES:
        return STATUSES[fault.status]
    if 300 <= fault.status < 400:  # noqa: PLR2004
        return _REDIRECT
    if fault.status >= 400:  # noqa: PLR2004
        return _OTHER_4XX
    return _BROKEN if fault.type.lower().startswith("system") else _UNKNOWN_FAULT


def recovery(fault: Fault) -> Recovery:
    """How to go on after a fault, of a whole request or of one item."""
    return rule(fault).recovery


def remedy(fault: Fault) -> str:
    """What a person does about a fault, one sentence."""
    return rule(fault).remedy


def is_throttle(fault: Fault) -> bool:
    """Whether a fault means "too many requests", by status or by code (once seen under 403)."""
    return fault.status == 429 or (  # noqa: PLR2004
        fault.status < 500 and fault.code in THROTTLE_CODES  # noqa: PLR2004
    )


def error_for(fault: Fault, *, retry_after_s: float | None = None) -> QboError:
    """The error that a whole request's fault is raised as."""
    return _BY_RECOVERY[recovery(fault)](fault, retry_after_s=retry_after_s)

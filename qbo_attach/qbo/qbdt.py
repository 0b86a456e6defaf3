"""QbdtEntityIdMapping: Intuit's own table from Desktop ids to QBO ids, as queries see it.

https://developer.intuit.com/app/developer/qbdesktop/docs/develop/moving-from-quickbooks-desktop-to-quickbooks-online/identifying-new-qbo-ids/qbdtentityidmapping
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qbo_attach.core.errors import NotStartedError
from qbo_attach.qbo.envelopes import get, text_of

ENTITY = "QbdtEntityIdMapping"
COUNT = f"SELECT count(*) FROM {ENTITY}"  # noqa: S608  # QBO's query language, a constant
FIELDS = ("QboEntityId", "QbdtExportableId", "QboEntityType", "QbdtEntityType")

DESKTOP_ENTITY_TYPES: tuple[str, ...] = (
    "BILL",
    "BILL_CHECK",
    "BILL_CREDIT_CARD",
    "BILL_REFUND",
    "CHECK",
    "CREDIT_CARD",
    "CREDIT_CARD_REFUND",
    "INVOICE",
    "CASHSALE",
    "CREDIT_MEMO",
    "APP_PAY",
    "AR_CREDIT_CARD_REFUND",
    "STATEMENT_CHARGE",
    "ESTIMATE",
    "SALESORDER",
    "DEPOSIT",
    "TRANSFER",
    "GENERAL_JOURNAL",
    "GENERIC",
    "PURCHASE_ORDER",
    "INVENTORY_ADJUSTMENT",
    "INVENTORY_RECEIPT",
    "BUILDASSEMBLY",
    "SALES_TAX_PAYMENT",
    "PAYCHECK",
    "LIABILITY_CHECK",
    "BEGIN_BALANCE_CHECK",
    "LIABILITY_ADJUSTMENT",
    "QBRSLIABCHECK",
    "EFPLIABCHECK",
    "PRIOR_PMT",
    "LIAB_REFUND_CHECK",
    "CUSTOMER",
    "VENDOR",
    "EMPLOYEE",
    "OTHERNAME",
    "ACCOUNT",
    "TERM",
    "PAYMENT_METHOD",
    "KLASS",
    "DEPARTMENT",
    "ITEM",
    "ITEM_SERVICE",
    "ITEM_INVENTORY",
    "ITEM_ASSEMBLY",
    "ITEM_PART",
    "ITEM_FIXEDASSET",
    "ITEM_CHARGES",
    "ITEM_SUBTOTAL",
    "ITEM_GROUP",
    "ITEM_DISCOUNT",
    "ITEM_PAYMENT",
    "ITEM_TAXCOMP",
    "ITEM_TAXGROUP",
)
"""Types of DesktopEntityTypeEnum (Finance.xsd of Intuit's PHP SDK) that an attachment may hang on;
its kinds of links between transactions, and of settings, are left out."""


class NoMappingTableError(NotStartedError):
    """The company has no QbdtEntityIdMapping.

    Args:
        why: what QBO said, or did.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            f"this QBO company has no QbdtEntityIdMapping ({why}). Intuit fills it only while it "
            "converts a Desktop company, and only if the app was integrated with that Desktop "
            "company before; companies converted before July 2015 or begun in QBO never have it. "
            "Set MAPPING_SOURCE to a mapping file instead."
        )


def mapping_row(record: Mapping[str, Any]) -> dict[str, str]:
    """A row with the four documented field names, whatever case they came in."""
    return {name: text_of(get(record, name)) for name in FIELDS}

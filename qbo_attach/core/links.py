"""Where a person sees an entity in QBO's own pages."""

from __future__ import annotations

from urllib.parse import quote

_PAGES = {
    "Bill": "bill?txnId={id}",
    "BillPayment": "billpayment?txnId={id}",
    "CreditMemo": "creditmemo?txnId={id}",
    "Customer": "customerdetail?nameId={id}",
    "Deposit": "deposit?txnId={id}",
    "Estimate": "estimate?txnId={id}",
    "Invoice": "invoice?txnId={id}",
    "JournalEntry": "journal?txnId={id}",
    "Payment": "recvpayment?txnId={id}",
    "Purchase": "expense?txnId={id}",
    "PurchaseOrder": "purchaseorder?txnId={id}",
    "RefundReceipt": "refundreceipt?txnId={id}",
    "SalesReceipt": "salesreceipt?txnId={id}",
    "Transfer": "transfer?txnId={id}",
    "Vendor": "vendordetail?nameId={id}",
    "VendorCredit": "vendorcredit?txnId={id}",
}
"""As the links in QBO's own pages read; Intuit prints no list."""


def entity_link(ref_type: str, qbo_id: str, *, sandbox: bool) -> str:
    """The address of an entity's page, for whoever is logged in to its company.

    "" for a type whose page cannot be named by an id (items, employees, accounts).
    """
    page = _PAGES.get(ref_type)
    if page is None:
        return ""
    host = "app.sandbox.qbo.intuit.com" if sandbox else "app.qbo.intuit.com"
    return f"https://{host}/app/{page.format(id=quote(qbo_id, safe=''))}"

"""Reading all that QBO holds into the accounts of a reconciliation: one read per 1,000."""

from __future__ import annotations

from collections.abc import Callable

from qbo_attach.core.accounting import Accounts
from qbo_attach.engine.holdings import read_all
from qbo_attach.engine.ports import Inspected


async def take_stock(company: Inspected, begin: Callable[[], Accounts]) -> Accounts:
    """Page through all attachables; ask once more, by id, for those that did not turn up.

    What is told as missing was asked for by itself: whatever the pages left out, an id that is
    asked for and not shown is not there.

    Args:
        company: QBO.
        begin: opens the accounts; called for each reading of the pages.

    Raises:
        QboError: QBO cannot be read.
        NotStartedError: attachables are deleted while they are read, again and again.
    """
    accounts = await read_all(company, await company.attachable_count(), begin)
    for attachable in await company.attachables_by_id(accounts.unseen()):
        accounts.add(attachable)
    return accounts

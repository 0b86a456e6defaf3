"""The last look before sending leaves to its look what an intent in doubt put into QBO."""

from __future__ import annotations

from typing import cast

import pytest

from qbo_attach.core.chain import GroupFile, Intent
from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.history import History
from qbo_attach.core.model import Attachable, EntityRef
from qbo_attach.core.tables import PlanRow
from qbo_attach.qbo.client import QboClient
from qbo_attach.stages.existing import refuse_if_changed

AT = "2026-01-05T08:00:00Z"
SENT = GroupFile(
    "key", "1/scan.pdf", "scan.pdf", "application/pdf", 3, AT, "", "Bill;Invoice", "1;7"
)
OTHER = PlanRow(
    "1",
    "Txn",
    "1",
    "scan.pdf",
    "2/scan.pdf",
    "Bill",
    "1",
    "send",
    "",
    "scan.pdf",
    "application/pdf",
    "another key",
)


class Client:
    """QBO got one attachable since the plan was made."""

    async def attachables_since(self, created_at: str) -> list[Attachable]:
        refs = EntityRef("Bill", "1"), EntityRef("Invoice", "7")
        return [Attachable("9", "scan.pdf", 3, refs, created_at=created_at)]


async def refuse(history: History) -> None:
    await refuse_if_changed(cast("QboClient", Client()), history, AT, lambda: [OTHER])


async def test_an_attachable_of_an_intent_in_doubt_stops_no_other_of_its_name() -> None:
    await refuse(History().fold([Intent("r1", "b1", 1, AT, AT, "tag", (SENT,))]))


async def test_an_attachable_of_a_stranger_does() -> None:
    with pytest.raises(NotStartedError, match="id 9"):
        await refuse(History())

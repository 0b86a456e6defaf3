"""The flow `reconcile`: its states tell what was found, and a repair ends with nothing left."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas import State

from flows.reconcile import reconcile
from tests.flows.case import REALM, Case, artifacts, flow_run_name

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(180)]


def reconciled(case: Case, **parameters: Any) -> State[Any]:
    state: State[Any] = reconcile(
        files_dir=case.sample.files_dir,
        data_dir=case.sample.data_dir,
        log_dir=case.log_dir,
        realm_id=REALM,
        **parameters,
        return_state=True,
    )
    return state


def test_what_qbo_lost_needs_a_person_and_is_repaired_when_that_is_asked_for(case: Case) -> None:
    assert "run the stage that writes it" in (reconciled(case).message or "")
    case.run()
    equal = reconciled(case, full=True)
    assert (equal.is_completed(), equal.name) == (True, "Completed")
    assert "all have the bytes sent" in (equal.message or "")
    assert f"({REALM}), reconcile" in flow_run_name(equal)

    company = case.company.company
    for one in company.state.ledger.all()[:3]:
        company.state.delete(one)
    differs = reconciled(case, sample=5)
    assert (differs.is_completed(), differs.name) == (True, "NeedsPerson")
    assert "3 differences" in (differs.message or "")
    shown = artifacts(differs)
    assert set(shown) == {f"differences-{REALM}", f"reconciliation-{REALM}"}
    assert "| `+` | missing | 3 |" in shown[f"reconciliation-{REALM}"].data
    assert case.uploads() == case.sample.outcome_counts["success"] - 3

    mended = reconciled(case, sample=0, repair=True)
    assert (mended.is_completed(), mended.name) == (True, "Completed")
    assert case.uploads() == case.sample.outcome_counts["success"]

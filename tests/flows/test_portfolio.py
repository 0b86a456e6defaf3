"""Many companies: twenty on four workers of one machine, one of them killed in the middle."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas import State
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ParameterTypeError
from prefect.states import Crashed

from flows.companies import Company
from flows.portfolio import Ended, _patiently, _Runs, _state, portfolio
from qbo_attach.fake_qbo import Behaviour, FakeOptions, running
from qbo_attach.sample import make_sample
from tests.flows.stack import Stack, children, each_once, kill, wait_until

COMPANIES = 20
PER_COMPANY = 93
NAME = "Acme Tools"


def listed(folder: Path, count: int) -> str:
    """Samples and the list that names them."""
    lines = ["name,realm_id,files_dir,data_dir,log_dir"]
    for number in range(1, count + 1):
        sample = make_sample(str(folder / f"c{number}"), files=120, seed=number)
        log = folder / f"log{number}"
        lines.append(f"Company {number},{number},{sample.files_dir},{sample.data_dir},{log}")
    path = folder / "companies.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = asyncio.run(portfolio(**parameters, return_state=True))  # type: ignore[arg-type]  # Prefect's overload
    return state


@pytest.mark.prefect
@pytest.mark.timeout(180)
def test_a_list_with_a_broken_row_starts_nothing(prefect_server: None, tmp_path: Path) -> None:
    path = tmp_path / "companies.csv"
    path.write_text("name,realm_id,files_dir,data_dir,log_dir\nAcme,x,/a,/b,/c\n")
    state = run(companies=str(path))
    assert state.is_failed()
    assert "Nothing was started" in (state.message or "")
    assert "row 2, realm_id" in (state.message or "")


@pytest.mark.prefect
@pytest.mark.timeout(180)
def test_a_deployment_that_is_not_there_is_named_for_each_company(
    prefect_server: None, tmp_path: Path
) -> None:
    path = tmp_path / "companies.csv"
    path.write_text("name,realm_id,files_dir,data_dir,log_dir\nAcme,1,/a,/b,/c\n")
    state = run(companies=str(path), deployment="migrate/nowhere")
    assert state.is_failed()
    assert "1 of 1 companies did not complete: Acme" in (state.message or ""), state.message


def test_a_canary_that_failed_is_told_with_what_another_run_would_send() -> None:
    company = Company("Acme", "1", "/a", "/b", "/c")
    ended = [Ended(company, "CanaryFailed", "differs", completed=False, runs=1)]
    told = _state(ended, canary=25).message or ""
    assert "Acme (CanaryFailed 1)" in told
    assert "Run again with canary=25, it sends as many more" in told
    assert "run it again, nothing is sent twice" in (_state(ended, canary=0).message or "")


@pytest.mark.prefect
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("canary", "starts"), [(0, 3), (25, 1)])
def test_a_company_that_crashed_is_started_anew_but_for_a_canary(
    prefect_server: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    canary: int,
    starts: int,
) -> None:
    """A canary's second run would send as many more."""
    started: list[int] = []

    async def awaited(_: _Runs, company: Company, number: int) -> FlowRun:
        started.append(number)
        return FlowRun(flow_id=uuid4(), state=Crashed())

    monkeypatch.setattr(_Runs, "_awaited", awaited)
    path = tmp_path / "companies.csv"
    path.write_text("name,realm_id,files_dir,data_dir,log_dir\nAcme,1,/a,/b,/c\n")
    assert run(companies=str(path), runs_after_crash=2, canary=canary).is_failed()
    assert len(started) == starts


async def test_a_server_that_is_away_is_asked_again_and_one_that_refuses_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.portfolio.POLL_S", 0.01)
    asked: list[str] = []

    async def away_twice() -> FlowRun:
        asked.append("")
        if len(asked) < 3:
            raise ConnectionError("nobody listens")
        return FlowRun(flow_id=flow_id)

    flow_id = uuid4()
    assert (await _patiently(away_twice)).flow_id == flow_id
    assert len(asked) == 3

    async def refused() -> FlowRun:
        asked.append("")
        raise ParameterTypeError("not of type string")

    with pytest.raises(ParameterTypeError):
        await _patiently(refused)
    assert len(asked) == 4
    monkeypatch.setattr("flows.portfolio.AWAY_S", 0.0)
    asked.clear()
    with pytest.raises(ConnectionError):
        await _patiently(away_twice)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path)
    with made.server():
        made.set_up()
        yield made


@pytest.mark.proof
@pytest.mark.prefect
@pytest.mark.timeout(600)
def test_twenty_companies_on_four_workers_complete_though_one_worker_is_killed(
    stack: Stack, tmp_path: Path
) -> None:
    companies = listed(tmp_path, COMPANIES)
    realms = ",".join(str(number) for number in range(1, COMPANIES + 1))
    with running(FakeOptions(realm=realms, latency_ms=50)) as company, ExitStack() as workers:
        settings = {
            "LEGACY_CLIENTS": "*",
            "QBO_BASE_URL": company.base_url,
            "QBO_ACCESS_TOKEN": "any",
            "QBO_REQUESTS_PER_MIN": "400",
            "FILES_PER_REQUEST": "2",
            "QBO_SETTLE_S": "1",
        }
        workers.enter_context(stack.worker("parent", "qbo-attach-portfolio", **settings))
        four = [workers.enter_context(stack.worker(f"worker{n}", **settings)) for n in range(4)]
        began = time.monotonic()
        parent = stack.start("portfolio/default", companies=companies, at_once=4)

        def sent() -> int:
            return len(company.ledger()["attachables"])

        def at_work() -> bool:
            taken = re.findall(r"submitting flow run '([0-9a-f-]+)'", stack.log("worker0"))
            return (
                sent() > 3 * PER_COMPANY
                and bool(taken)
                and stack.state(taken[-1])["type"] == "RUNNING"
            )

        wait_until(at_work, 240, lambda: stack.log("parent") + stack.log("worker0"))
        kill([*children(four[0]), four[0].pid])
        state = stack.ended(parent, 400)
        took = time.monotonic() - began
        assert state["type"] == "COMPLETED", state
        assert each_once(company.ledger()["attachables"], COMPANIES * PER_COMPANY)
    only = {"flow_run_id": {"any_": [parent]}, "type": {"any_": ["table"]}}
    (table,) = stack.ask("/artifacts/filter", {"artifacts": only})
    rows = json.loads(table["data"]) if isinstance(table["data"], str) else table["data"]
    assert [row["company"] for row in rows] == [f"Company {n}" for n in range(1, COMPANIES + 1)]
    assert {row["state"] for row in rows} == {"NeedsPerson"}
    assert sum(row["runs"] for row in rows) in (COMPANIES, COMPANIES + 1)
    print(f"{COMPANIES} companies on 4 workers, one killed: {took:.0f} s")


@pytest.mark.proof
@pytest.mark.prefect
@pytest.mark.timeout(300)
def test_each_company_gets_its_canary_and_none_of_another_name_is_sent_to(
    stack: Stack, tmp_path: Path
) -> None:
    lines = Path(listed(tmp_path, 2)).read_text().splitlines()
    with (
        running(FakeOptions(realm="1,2", behaviour=Behaviour(company_name=NAME))) as company,
        ExitStack() as workers,
    ):
        path = tmp_path / "named.csv"
        right, wrong = lines[1] + f",{NAME}", lines[2] + ",Somebody Else"
        path.write_text("\n".join([f"{lines[0]},expect_company_name", right, wrong]))
        settings = {
            "LEGACY_CLIENTS": "*",
            "QBO_BASE_URL": company.base_url,
            "QBO_ACCESS_TOKEN": "any",
        }
        workers.enter_context(stack.worker("parent", "qbo-attach-portfolio", **settings))
        workers.enter_context(stack.worker("worker", **settings))
        parent = stack.start("portfolio/default", companies=str(path), canary=5)
        state = stack.ended(parent, 240)
        assert state["type"] == "FAILED", state
        assert "1 of 2 companies did not complete: Company 2" in state["message"]
        assert len(company.ledger()["attachables"]) == 5
    only = {"flow_run_id": {"any_": [parent]}, "type": {"any_": ["table"]}}
    (table,) = stack.ask("/artifacts/filter", {"artifacts": only})
    rows = json.loads(table["data"]) if isinstance(table["data"], str) else table["data"]
    assert [row["state"] for row in rows] == ["Canary", "Failed"]
    assert "EXPECT_COMPANY_NAME" in rows[1]["what happened, what next"]

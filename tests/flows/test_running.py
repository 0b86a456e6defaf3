"""Runs through a real server and worker that are cancelled, killed and cut off: the next completes.

The proof is the fake company's ledger: every marker once, none missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.automations import silent_runs
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.sample import Sample, make_sample
from qbo_attach.storage.files import Store
from qbo_attach.storage.runlog import read_chain
from tests.flows.stack import Stack, children, each_once, kill, wait_until

pytestmark = [pytest.mark.proof, pytest.mark.prefect, pytest.mark.timeout(400)]

REALM = "1234567890"


@dataclass
class Scene:
    """A server, a company that answers after a while, and a sample of 93 attachments to send."""

    stack: Stack
    sample: Sample
    company: RunningFake
    log_dir: Path

    def start(self) -> str:
        return self.stack.start(
            "migrate/local",
            files_dir=self.sample.files_dir,
            data_dir=self.sample.data_dir,
            log_dir=str(self.log_dir),
            realm_id=REALM,
        )

    @property
    def settings(self) -> dict[str, str]:
        return {
            "LEGACY_CLIENTS": "*",
            "QBO_BASE_URL": self.company.base_url,
            "QBO_ACCESS_TOKEN": "any",
            "QBO_REQUESTS_PER_MIN": "240",  # some 23 s for all of them
            "FILES_PER_REQUEST": "1",
            "BATCH_SIZE": "10",
            "QBO_SETTLE_S": "1",
        }

    def sent(self) -> int:
        return len(self.company.ledger()["attachables"])

    def midway(self) -> None:
        wait_until(lambda: self.sent() >= 20, 90, lambda: self.stack.log("worker"))

    def completes(self) -> bool:
        """One more run sends the rest; each file is there once, and nothing is left in doubt."""
        state = self.stack.ended(self.start())
        assert state["name"] == "NeedsPerson", state
        assert self.doubts() == 0
        return each_once(self.company.ledger()["attachables"], 93)

    def doubts(self) -> int:
        return len(read_chain(Store(str(self.log_dir)), REALM).history.doubts)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("stack"))
    with made.server():
        made.set_up()
        yield made


@pytest.fixture
def scene(stack: Stack, tmp_path: Path) -> Iterator[Scene]:
    sample = make_sample(str(tmp_path / "sample"), files=120)
    with running(FakeOptions(latency_ms=200)) as company:
        yield Scene(stack, sample, company, tmp_path / "log")


def test_a_run_cancelled_in_the_ui_lets_in_what_is_in_flight_and_the_next_completes_it(
    scene: Scene,
) -> None:
    with scene.stack.worker(**scene.settings):
        run = scene.start()
        scene.midway()
        scene.stack.cancel(run)
        state = scene.stack.ended(run, 60)
        assert state["type"] == "CANCELLED"
        assert scene.doubts() == 0  # drained: what had left was answered, and is in the run log
        stopped_at = scene.sent()
        assert 20 <= stopped_at < 93
        assert "run again to go on" in scene.stack.progress(run)
        began = time.monotonic()
        assert scene.completes()
        assert time.monotonic() - began < 60  # no wait for a lease: it was released


def test_a_cancelled_portfolio_cancels_its_companies_and_the_next_completes_them(
    scene: Scene, tmp_path: Path
) -> None:
    companies = tmp_path / "companies.csv"
    row = f"Acme,{REALM},{scene.sample.files_dir},{scene.sample.data_dir},{scene.log_dir}\n"
    companies.write_text("name,realm_id,files_dir,data_dir,log_dir\n" + row)
    # Some 47 s, so that it is surely under way when it is cancelled.
    slowly = {**scene.settings, "QBO_REQUESTS_PER_MIN": "120"}
    with (
        scene.stack.worker(**slowly),
        scene.stack.worker("parent", "qbo-attach-portfolio", **slowly),
    ):
        parent = scene.stack.start("portfolio/default", companies=str(companies))
        scene.midway()
        scene.stack.cancel(parent)
        assert scene.stack.ended(parent, 60)["type"] == "CANCELLED"
        child = scene.stack.latest_run("migrate")
        assert scene.stack.ended(child, 60)["type"] == "CANCELLED"
        assert scene.sent() < 93
        again = scene.stack.start("portfolio/default", companies=str(companies))
        assert scene.stack.ended(again)["name"] == "NeedsPerson"
        assert each_once(scene.company.ledger()["attachables"], 93)


def test_a_killed_flow_process_is_called_crashed_and_the_next_run_completes_it(
    scene: Scene,
) -> None:
    with scene.stack.worker(**scene.settings) as worker:
        run = scene.start()
        scene.midway()
        kill(children(worker))
        assert scene.stack.ended(run, 60)["type"] == "CRASHED"
        assert scene.completes()


def test_a_run_killed_with_its_worker_is_ended_by_the_automation_and_the_next_completes_it(
    scene: Scene,
) -> None:
    with scene.stack.worker(**scene.settings) as worker:
        run = scene.start()
        scene.midway()
        kill([*children(worker), worker.pid])
    with scene.stack.worker(**scene.settings):
        assert scene.completes()  # its lease is taken over at once: its process is proven dead
    state = scene.stack.ended(run, 200)
    assert state["type"] == "CRASHED"
    assert "nothing is sent twice" in state["message"]


@pytest.mark.parametrize(
    ("reached", "which", "sentence"),
    [(["PENDING"], 1, "never begun"), (["PENDING", "RUNNING"], 0, "No heartbeat")],
)
def test_a_run_that_dies_before_its_first_heartbeat_is_ended_by_the_automation(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, reached: list[str], which: int, sentence: str
) -> None:
    monkeypatch.setattr("deployments.automations.PENDING_S", 10)
    monkeypatch.setattr("deployments.automations.SILENT_S", 10)
    quick = silent_runs()[which].model_copy(update={"name": f"{sentence}, quickly"})
    made = stack.ask("/automations/", quick.model_dump(mode="json"))
    run = stack.start("migrate/local")
    for name in reached:
        stack.ask(f"/flow_runs/{run}/set_state", {"state": {"type": name}, "force": True})
    state = stack.ended(run, 90)
    assert state["type"] == "CRASHED"
    assert sentence in state["message"]
    stack.remove(f"/automations/{made['id']}")


def test_a_run_goes_on_while_the_server_is_killed_and_restarted_and_every_task_is_recorded(
    tmp_path: Path,
) -> None:
    stack = Stack(tmp_path)
    sample = make_sample(str(tmp_path / "sample"), files=120)
    with running(FakeOptions(latency_ms=200)) as company:
        scene = Scene(stack, sample, company, tmp_path / "log")
        settings = {**scene.settings, "QBO_REQUESTS_PER_MIN": "90"}  # some 62 s
        with stack.server() as server:
            stack.set_up()
            with stack.worker(**settings):
                run = scene.start()
                scene.midway()
                kill([server.pid])
                before = scene.sent()
                time.sleep(20)
                assert scene.sent() > before  # nobody watches, and it goes on
                with stack.server():
                    state = stack.ended(run, 120)
                    assert state["name"] == "NeedsPerson", state
                    assert each_once(company.ledger()["attachables"], 93)
                    wait_until(lambda: stack.tasks(run) == {"COMPLETED": 15}, 60)

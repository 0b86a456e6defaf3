"""What the tests of the flow ask of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import TaskRun

from flows.migrate import migrate
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.sample import Sample

REALM = "1234567890"


@dataclass
class Case:
    """A sample and its fake company."""

    sample: Sample
    log_dir: str
    company: RunningFake

    def run(self, **parameters: Any) -> State[Any]:
        """The flow in this process; its final state."""
        given: dict[str, Any] = {
            "files_dir": self.sample.files_dir,
            "data_dir": self.sample.data_dir,
            "log_dir": self.log_dir,
            "realm_id": REALM,
            **parameters,
        }
        state: State[Any] = migrate(**given, return_state=True)
        return state

    def uploads(self) -> int:
        """Attachables that the company has."""
        made: list[object] = self.company.ledger()["attachables"]
        return len(made)

    def upload_requests(self) -> int:
        """Upload requests that the company got."""
        requests: dict[str, int] = self.company.ledger()["requests"]
        return requests.get("upload", 0)


def task_states(state: State[Any]) -> dict[str, str]:
    """Names of the run's tasks with the name of each one's state."""
    with get_client(sync_client=True) as client:
        found: list[TaskRun] = client.read_task_runs(flow_run_filter=_of(state), limit=200)
    return {run.name: run.state_name or "" for run in found}


def artifacts(state: State[Any]) -> dict[str, Any]:
    """The run's UI artifacts by key."""
    assert state.state_details.flow_run_id is not None
    ids = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ids))
    return {str(one.key): one for one in found}


def flow_run_name(state: State[Any]) -> str:
    """What the run is called."""
    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        name: str = client.read_flow_run(state.state_details.flow_run_id).name
        return name


def _of(state: State[Any]) -> FlowRunFilter:
    assert state.state_details.flow_run_id is not None
    return FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))

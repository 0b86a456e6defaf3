"""Automations of the Prefect server: end runs that went silent, tell people of runs that ended."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

SILENT_S = 90
"""Three of the heartbeats that PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 asks for."""
PENDING_S = 300
"""A worker took the run and nothing came of it: a process begins within 20 s, a container later."""

FAILURES = {"Failed", "Crashed", "CanaryFailed"}
"""Names of the states in which a run of ours ends that did not come to its end."""

_RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
_OURS = {
    "prefect.resource.name": ["migrate", "portfolio", "reconcile"],
    "prefect.resource.role": "flow",
}
_BODY = (
    "{{ flow.name }}: {{ flow_run.name }} is {{ flow_run.state.name }}.\n"
    "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
)


def silent_runs() -> list[AutomationCore]:
    """A run whose process died together with its worker is called Crashed, not left for ever.

    One automation for runs that had begun, one for those that a worker had only just taken.
    """
    return [
        _dead_after(
            "qbo-attach: end silent runs",
            # Also from the first moment on: its process may die before its first heartbeat.
            {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"},
            SILENT_S,
            f"No heartbeat for {SILENT_S} s: the process is gone, or its machine.",
        ),
        _dead_after(
            "qbo-attach: end runs that never began",
            {"prefect.flow-run.Pending"},
            PENDING_S,
            f"Taken by a worker {PENDING_S} s ago, and never begun: the worker is gone.",
        ),
    ]


def _dead_after(name: str, events: set[str], seconds: int, message: str) -> AutomationCore:
    return AutomationCore(
        name=name,
        description=message,
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=ResourceSpecification(_RUNS),
            match_related=ResourceSpecification(_OURS),
            after=events,
            expect={"prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name=None,
                message=f"{message} Run it again to go on; nothing is sent twice.",
            )
        ],
    )


def finished_runs(block_id: UUID) -> list[AutomationCore]:
    """Tell a notification block of each run that came to its end, and of each that did not."""
    return [
        _notification("qbo-attach: tell of completed runs", {"Completed", "NeedsPerson"}, block_id),
        _notification("qbo-attach: tell of failed runs", FAILURES, block_id),
    ]


def _notification(name: str, states: set[str], block_id: UUID) -> AutomationCore:
    return AutomationCore(
        name=name,
        trigger=EventTrigger(
            posture=Posture.Reactive,
            match=ResourceSpecification(_RUNS),
            match_related=ResourceSpecification(_OURS),
            expect={f"prefect.flow-run.{state}" for state in states},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            SendNotification(
                block_document_id=block_id,
                subject="{{ flow_run.name }}: {{ flow_run.state.name }}",
                body=_BODY,
            )
        ],
    )

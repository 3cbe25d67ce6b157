"""What Prefect's server holds of a flow run: its states, artifacts and log lines."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from tests.waiting import wait_for


def latest_run() -> FlowRun:
    """Return the flow run that was begun last."""
    return FlowRun.model_validate(_post("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0])


def read_run(run_id: UUID) -> FlowRun:
    """Return the flow run as it is now."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id)


def step_states(run_id: UUID, last: str) -> dict[str, str]:
    """Return the last state of each task of a flow run by its name, such as Completed or Cached.

    Args:
        run_id: of the flow run.
        last: the name of its last task: states reach the server one after the other, a moment after the run.
    """
    wanted = {"flow_runs": {"id": {"any_": [str(run_id)]}}, "sort": "EXPECTED_START_TIME_ASC"}

    def states() -> dict[str, str]:
        found = _post("/task_runs/filter", wanted)
        return {run["name"].rsplit("-", 1)[0]: run["state_name"] for run in found}

    def have_arrived() -> bool:
        seen = states()
        return last in seen and set(seen.values()) <= {"Completed", "Cached", "Failed"}

    wait_for(have_arrived, lambda: f"{last} is over; there are {states()}", pause_s=0.1)
    return states()


def artifacts(run_id: UUID) -> dict[str, dict[str, Any]]:
    """Return the artifacts of a flow run by their keys."""
    found = _post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}}, "limit": 200})
    return {artifact["key"]: artifact for artifact in found}


def log_lines(run_id: UUID, *wanted: str) -> list[dict[str, Any]]:
    """Return the log lines of a flow run, once there is one of every logger that is wanted."""

    def complete() -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        while page := _post(
            "/logs/filter",
            {"logs": {"flow_run_id": {"any_": [str(run_id)]}}, "limit": 200, "offset": len(lines)},
        ):
            lines += page
        told = all(any(line["name"].startswith(name) for line in lines) for name in wanted)
        return lines if told else []

    return wait_for(complete, f"lines of {wanted}", pause_s=0.2)


def _post(path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    with get_client(sync_client=True) as client:
        answer: list[dict[str, Any]] = client.request("POST", path, json=body).json()
        return answer

"""What Prefect's server holds of a flow run: its states, artifacts and log lines."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

_ARRIVAL_LIMIT_S = 30.0


def latest_run() -> FlowRun:
    """Return the flow run that was begun last."""
    return FlowRun.model_validate(_post("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0])


def read_run(run_id: UUID) -> FlowRun:
    """Return the flow run as it is now."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id)


def step_states(run_id: UUID) -> dict[str, str]:
    """Return the last state of each task of a flow run by its name, such as Completed or Cached."""
    wanted = {"flow_runs": {"id": {"any_": [str(run_id)]}}, "sort": "EXPECTED_START_TIME_ASC"}
    expected = {"Completed", "Cached", "Failed"}
    deadline = time.monotonic() + _ARRIVAL_LIMIT_S
    while True:  # task states reach the server a moment after the run
        found = _post("/task_runs/filter", wanted)
        states = {run["name"].rsplit("-", 1)[0]: run["state_name"] for run in found}
        if (states and set(states.values()) <= expected) or time.monotonic() > deadline:
            return states
        time.sleep(0.1)


def artifacts(run_id: UUID) -> dict[str, dict[str, Any]]:
    """Return the artifacts of a flow run by their keys."""
    found = _post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}}, "limit": 200})
    return {artifact["key"]: artifact for artifact in found}


def log_lines(run_id: UUID, *wanted: str) -> list[dict[str, Any]]:
    """Return the log lines of a flow run, once there is one of every logger that is wanted."""
    deadline = time.monotonic() + _ARRIVAL_LIMIT_S
    while True:
        lines: list[dict[str, Any]] = []
        while page := _post(
            "/logs/filter",
            {"logs": {"flow_run_id": {"any_": [str(run_id)]}}, "limit": 200, "offset": len(lines)},
        ):
            lines += page
        if all(any(line["name"].startswith(name) for line in lines) for name in wanted):
            return lines
        if time.monotonic() > deadline:
            return lines
        time.sleep(0.2)


def _post(path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    with get_client(sync_client=True) as client:
        answer: list[dict[str, Any]] = client.request("POST", path, json=body).json()
        return answer

"""Lost runs: what Prefect takes for under way, and whose process ended with the machine."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

FLOW_RUN = "PREFECT__FLOW_RUN_ID"
"""The variable by which a process of Prefect's worker is told which flow run it is."""

_MANY = 200


def live_flow_runs() -> set[UUID]:
    """Return the flow runs that have a process on this machine, as far as we may see it."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ValueError):
            if told := process.environ().get(FLOW_RUN):
                found.add(UUID(told))
    return found


def end_lost(
    client: SyncPrefectClient, tag: str, live: set[UUID], *, deployed_alone: bool = False
) -> tuple[str, ...]:
    """Return the names of the runs of that tag that were under way without a process, and are no longer.

    One that ran is Crashed, one that had not begun is scheduled again, and one that was to be cancelled is
    Cancelled. Without this a run that was lost while the server was down is under way for ever: what the
    server waits for on its account was forgotten at its start.

    Args:
        client: of the server.
        tag: that our runs carry.
        live: runs that have a process.
        deployed_alone: whether a run of no deployment is left: somebody's own command, whose process does
            not carry the run's id, may be at it.
    """
    lost = [
        run
        for run in _under_way(client, tag)
        if run.id not in live and (run.deployment_id is not None or not deployed_alone)
    ]
    for run in lost:
        client.set_flow_run_state(run.id, _becomes(run))
    return tuple(run.name for run in lost)


def _under_way(client: SyncPrefectClient, tag: str) -> list[FlowRun]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        FlowRunFilterTags,
    )
    from prefect.client.schemas.objects import StateType

    under_way = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[tag]), state=FlowRunFilterState(type=under_way)
        ),
        limit=_MANY,
    )


def _becomes(run: FlowRun) -> Any:
    """Return the state of a run whose process is gone; the automations do what follows a crash."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    gone = "Its process is gone: the machine, `hedonic up` or the worker ended"
    if run.state_type == StateType.CANCELLING:
        return Cancelled(message=f"{gone} before it could be cancelled.")
    if run.state_type == StateType.PENDING:
        return AwaitingRetry(message=f"{gone} before it began.")
    return Crashed(message=f"{gone} while it ran.")

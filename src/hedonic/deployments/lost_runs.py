"""Lost runs: what Prefect takes for under way, and whose process ended with the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

FLOW_RUN = "PREFECT__FLOW_RUN_ID"
"""The variable by which a process of Prefect's worker is told which flow run it is."""

_MANY = 200
_MOST_STARTS = 3  # as deployments/automations/restart.yaml has it


def live_flow_runs() -> set[UUID]:
    """Return the flow runs that have a process on this machine, as far as we may see it.

    What a run started carries its variables too (the processes that fit models), and outlives it for minutes
    when it is killed: a run's own process is the one that runs a module of Prefect.
    """
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ValueError):
            told = process.environ().get(FLOW_RUN)
            if told and any(word.startswith("prefect.") for word in process.cmdline()):
                found.add(UUID(told))
    return found


def end_lost(
    client: SyncPrefectClient, tag: str, live: set[UUID], *, deployed_alone: bool = False
) -> tuple[str, ...]:
    """Return the names of the runs of that tag that were under way without a process, and are no longer.

    One that ran is Crashed, and scheduled again where a worker would take it and it was not started too
    often; one that had not begun is scheduled again; one that was to be cancelled is Cancelled. Without this
    a run that was lost while the server was down is under way for ever: what the server waits for on its
    account was forgotten at its start. Nor is the restart left to the automation that does it otherwise: a
    server that has just begun answers before it listens to its own events.

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
        for state in _become(run):
            client.set_flow_run_state(run.id, state)
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


def _become(run: FlowRun) -> Iterator[Any]:
    """Yield the states, one after the other, of a run whose process is gone."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    gone = "Its process is gone: the machine, `hedonic up` or the worker ended"
    if run.state_type == StateType.CANCELLING:
        yield Cancelled(message=f"{gone} before it could be cancelled.")
    elif run.state_type == StateType.PENDING:
        yield AwaitingRetry(message=f"{gone} before it began.")
    else:
        yield Crashed(message=f"{gone} while it ran.")
        if run.deployment_id is not None and run.run_count < _MOST_STARTS:
            yield AwaitingRetry(message="Started again after a crash.")

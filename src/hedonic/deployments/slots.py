"""Slots: deployments that do the same to one data set take turns, each by its own rule for waiting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

_SLOT = "hedonic-slot:"
_MANY = 200


def share_slots(client: SyncPrefectClient, deployed: Iterable[DeploymentResponse]) -> None:
    """Let deployments of one flow for one data set that run one at a time take turns.

    Prefect gives each deployment a limit of its own. What happens to a run that finds the slot taken stays
    what its deployment says: it waits, or is dropped.
    """
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    groups = defaultdict(list)
    for deployment in deployed:
        if deployment.global_concurrency_limit is not None and "dataset" in deployment.parameters:
            groups[str(deployment.entrypoint), deployment.parameters["dataset"]].append(deployment)
    limits = {limit.name: limit for limit in _limits(client)}
    wanted: set[str] = set()
    for (entrypoint, dataset), group in groups.items():
        name = f"{_SLOT}{entrypoint.rpartition(':')[2]}:{dataset}"
        wanted.add(name)
        limit = (
            limits[name].id
            if name in limits
            else client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        )
        for deployment in group:
            own_limit = deployment.global_concurrency_limit
            if own_limit is None or own_limit.id != limit:
                _link(client, deployment, limit)
    own = {f"deployment:{deployment.id}" for group in groups.values() for deployment in group}
    for name, unused in limits.items():
        if (name in own or (name.startswith(_SLOT) and name not in wanted)) and not unused.active_slots:
            client.delete_global_concurrency_limit_by_name(name)


def release_slot(client: SyncPrefectClient, deployment: DeploymentResponse) -> None:
    """Let a deployment go without its slot where others have it: Prefect deletes a limit with a holder."""
    limit = deployment.global_concurrency_limit
    if limit is not None and limit.name.startswith(_SLOT):
        _link(client, deployment, None)


def _limits(client: SyncPrefectClient) -> list[Any]:
    found: list[Any] = []
    while len(page := client.read_global_concurrency_limits(limit=_MANY, offset=len(found))) > 0:
        found += page
    return found


def _link(client: SyncPrefectClient, deployment: DeploymentResponse, limit: UUID | None) -> None:
    content = {"global_concurrency_limit_id": None if limit is None else str(limit)}
    client.request("PATCH", "/deployments/{id}", path_params={"id": deployment.id}, json=content)

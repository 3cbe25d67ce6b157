"""Deployments: what Prefect's server knows of our flows, made to be what is declared."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from hedonic.deployments.automations import apply_automations, declared_automations
from hedonic.deployments.lost_runs import end_lost, live_flow_runs
from hedonic.deployments.slots import release_slot, share_slots
from hedonic.deployments.work_pool import make_work_pool
from hedonic.errors import HedonicError, UserError
from hedonic.settings import ROOT_MARKER, Settings
from hedonic.supervisor import Supervisor

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

TAG = "hedonic"
_DEPLOY_LIMIT_S = 300.0
_MANY = 200


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the server knows of us after a deployment.

    Attributes:
        deployments: as ``flow/name``.
        automations: by name, those that belong to a deployment left out.
        removed: deployments and automations that were ours and are no longer declared.
    """

    deployments: tuple[str, ...]
    automations: tuple[str, ...]
    removed: tuple[str, ...]


def deploy(settings: Settings, api: str | None = None) -> Deployed:
    """Return what is deployed once the server has all that is declared, and no more of ours.

    The deployments themselves are left to Prefect's own ``prefect deploy --all``. Beside it: the work
    pool, the automations, one slot for all deployments that train one data set, and the removal of what
    carries our tag and is declared no longer. What others put into the server stays as it is.

    Args:
        settings: of the project that declares them.
        api: of the server; by default ours.

    Raises:
        UserError: what is declared cannot be deployed.
        HedonicError: Prefect did not deploy all of it; with what it said.
    """
    api = api or settings.environment()["PREFECT_API_URL"]
    automations = declared_automations(settings.root, TAG)
    with _client(api) as client:
        make_work_pool(client, settings)
        _run_prefect_deploy(settings, api)
        deployed, stale = _look(client, settings.root)
        removed = [_remove(client, deployment) for deployment in stale]
        share_slots(client, deployed)
        removed += apply_automations(client, automations, TAG)
        return Deployed(
            deployments=tuple(sorted(_full_name(client, deployment) for deployment in deployed)),
            automations=tuple(sorted(automation.name for automation in automations)),
            removed=tuple(sorted(removed)),
        )


def request_first_champion(settings: Settings, dataset: str) -> str:
    """Return the address of the run that trains a first champion: the one under way, or a new one.

    Raises:
        UserError: no deployment trains the data set.
    """
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.exceptions import ObjectNotFound
    from prefect.utilities.urls import url_for

    api = settings.environment()["PREFECT_API_URL"]
    with _client(api) as client:
        try:
            deployment = client.read_deployment_by_name(f"train/{dataset}")
        except ObjectNotFound as err:
            raise UserError(
                f"train/{dataset}: no such deployment. Add one to {ROOT_MARKER}, like those of other "
                "data sets, and run: hedonic deploy"
            ) from err
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=_MANY,
        )
        under_way = [run for run in runs if run.state is not None and not run.state.is_final()]
        run = (
            under_way[0]
            if under_way
            else client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"reason": "first champion"},
                # Two that ask at once get the same run.
                idempotency_key=f"first-champion-after-{runs[0].id if runs else 'none'}",
            )
        )
        found = url_for("flow-run", obj_id=run.id, default_base_url=api.removesuffix("/api"))
        return found or run.name


def end_lost_runs(settings: Settings, api: str | None = None) -> tuple[str, ...]:
    """Return the names of our runs that were under way without a process, and are no longer.

    To be called before a worker runs: a run that it has just taken has no process yet. Where another machine
    may have the process, or a worker runs, nothing is looked at.

    Args:
        settings: of the project.
        api: of the server; by default ours.
    """
    if Supervisor(settings).process_pid("worker") is not None:
        return ()
    return _end_on_this_machine(settings, api)


def end_runs_of_lost_worker(settings: Settings, api: str | None = None) -> tuple[str, ...]:
    """Return the names of our deployments' runs that were under way without a process, and are no longer.

    To be called by a worker that has taken no run yet. A run whose worker was killed with it has nobody else
    who could know: a server that was killed too, or whose database was busy, may have lost the one heartbeat
    after which it would wait for the next.

    Args:
        settings: of the project.
        api: of the server; by default ours.
    """
    return _end_on_this_machine(settings, api, deployed_alone=True)


def _end_on_this_machine(
    settings: Settings, api: str | None, *, deployed_alone: bool = False
) -> tuple[str, ...]:
    """Return the names of the runs that were ended; of none where their processes may be elsewhere."""
    if settings.services.prefect is not None or settings.work_pool != "process":
        return ()
    with _client(api or settings.environment()["PREFECT_API_URL"]) as client:
        return end_lost(client, TAG, live_flow_runs(), deployed_alone=deployed_alone)


def _client(api: str) -> SyncPrefectClient:
    """Return a client of that server, known to it as Prefect's own settings say."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY

    return SyncPrefectClient(
        api, auth_string=PREFECT_API_AUTH_STRING.value(), api_key=PREFECT_API_KEY.value()
    )


def _run_prefect_deploy(settings: Settings, api: str) -> None:
    """Run Prefect's own command; the pull step's folder is the command's PWD."""
    environment = {**os.environ, **settings.environment(), "PREFECT_API_URL": api, "PWD": str(settings.root)}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=settings.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_DEPLOY_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise HedonicError(f"prefect deploy --all: not done in {_DEPLOY_LIMIT_S:.0f} s at {api}") from err
    if done.returncode != 0:
        told = "\n".join(done.stdout.splitlines()[-20:])
        raise HedonicError(f"prefect deploy --all: exit code {done.returncode} at {api}.\n{told}")


def _look(client: SyncPrefectClient, root: Path) -> tuple[list[DeploymentResponse], list[DeploymentResponse]]:
    """Return what the server has of that which is declared, and what is ours and declared no longer."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = client.read_deployments(
        deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])), limit=_MANY
    )
    declaration = yaml.safe_load((root / ROOT_MARKER).read_text(encoding="utf-8"))
    declared = {
        (entry["entrypoint"], entry["name"])
        for entry in declaration["deployments"] or ()
        if TAG in (entry.get("tags") or ())
    }
    found = {(str(deployment.entrypoint), deployment.name): deployment for deployment in ours}
    missing = sorted(f"{name} ({entrypoint})" for entrypoint, name in declared - found.keys())
    if missing:
        raise HedonicError(f"prefect deploy --all left out: {', '.join(missing)}")
    deployed = [deployment for key, deployment in found.items() if key in declared]
    kept = {deployment.id for deployment in deployed}
    return deployed, [deployment for deployment in ours if deployment.id not in kept]


def _remove(client: SyncPrefectClient, deployment: DeploymentResponse) -> str:
    """Return the name of a deployment that is now gone, with its schedules, triggers and scheduled runs."""
    name = _full_name(client, deployment)
    client.delete_resource_owned_automations(f"prefect.deployment.{deployment.id}")
    release_slot(client, deployment)
    client.delete_deployment(deployment.id)
    return name


def _full_name(client: SyncPrefectClient, deployment: DeploymentResponse) -> str:
    return f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"

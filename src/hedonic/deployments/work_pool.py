"""The work pool: where Prefect's worker finds our flow runs, and what it starts for each of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hedonic.errors import UserError
from hedonic.parts import WORK_POOL
from hedonic.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

JOB_TEMPLATE = "deployments/kubernetes/job-template.json"


def make_work_pool(client: SyncPrefectClient, settings: Settings) -> None:
    """Let the server have our work pool, with our template: a worker that was first made it with its own.

    Raises:
        UserError: there is one of another type, or the project has no template of a job.
    """
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    template = job_template(settings)
    try:
        found = client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(name=WORK_POOL, type=settings.work_pool, base_job_template=template)
        )
        return
    if found.type != settings.work_pool:
        raise UserError(
            f"work pool {WORK_POOL}: is of type {found.type}, and HEDONIC_WORK_POOL is {settings.work_pool}. "
            f"Delete it (prefect work-pool delete {WORK_POOL}), or set HEDONIC_WORK_POOL={found.type}."
        )
    if found.base_job_template != template:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(base_job_template=template))


def job_template(settings: Settings) -> dict[str, Any]:
    """Return what a worker of the pool starts for a flow run: a process of its own, or a Kubernetes job.

    Raises:
        UserError: the project has no template of a job.
    """
    from prefect.workers.process import ProcessWorker

    if settings.work_pool == "process":
        return ProcessWorker.get_default_base_job_template()
    path = settings.root / JOB_TEMPLATE
    try:
        template: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as err:
        raise UserError(f"{path}: no such file: HEDONIC_WORK_POOL=kubernetes needs it. Restore it.") from err
    except ValueError as err:
        raise UserError(f"{path}: not JSON: {err}") from err
    variables = template["variables"]["properties"]
    variables["image"]["default"] = settings.job.image
    variables["namespace"]["default"] = settings.job.namespace
    return template

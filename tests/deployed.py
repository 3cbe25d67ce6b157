"""A project whose flows are deployed to a real Prefect server of its own, with a worker; all supervised."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
import pandas as pd
import pytest
import yaml

from hedonic.data.contract_file import load_contract
from hedonic.deployments import Deployed, deploy
from hedonic.parts import parts, server_part, start, wait_until_ready
from hedonic.settings import Ports, Settings
from hedonic.supervisor import Supervisor, stop_all
from hedonic.watching.event import Event
from hedonic.watching.look import look_at
from tests.paused import Order, pause
from tests.ports import free_port
from tests.project import ROOT, declaration, make_project
from tests.waiting import wait_for_server

Found = TypeVar("Found")
DATASET = "small_county"
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Deployment:
    """The server, the worker and the declarations of one project."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.api = settings.environment()["PREFECT_API_URL"]
        self.supervisor = Supervisor(settings)
        self.order = Order(settings)

    def call(self, path: str, content: Any = None, method: str | None = None) -> Any:
        """Return what the server answers; content None is a GET."""
        method = method or ("GET" if content is None else "POST")
        for _ in range(10):
            answer = httpx.request(method, f"{self.api}{path}", json=content, timeout=120, trust_env=False)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:  # SQLite is busy: clients try again
                break
            time.sleep(0.5)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def deploy(self) -> Deployed:
        return deploy(self.settings)

    def declaration(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load((self.settings.root / "prefect.yaml").read_text())
        return content

    def declare(self, content: dict[str, Any]) -> None:
        (self.settings.root / "prefect.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def deployments(self) -> dict[str, dict[str, Any]]:
        """Return what the server has, by flow and name."""
        flows = {flow["id"]: flow["name"] for flow in self.call("/flows/filter", {})}
        found = self.call("/deployments/filter", {})
        return {f"{flows[one['flow_id']]}/{one['name']}": one for one in found}

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Return the runs of a deployment but for those still to come by a schedule, the first first."""
        wanted = {"deployments": {"id": {"any_": [self.deployments()[deployment]["id"]]}}, "limit": 200}
        found = self.call("/flow_runs/filter", wanted | {"sort": "EXPECTED_START_TIME_ASC"})
        return [run for run in found if not (run["auto_scheduled"] and run["state_name"] == "Scheduled")]

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call(f"/flow_runs/{run_id}")
        return found

    def start_run(self, deployment: str, **parameters: Any) -> str:
        """Return the id of a run that somebody asked for."""
        found = self.deployments()[deployment]["id"]
        run = self.call(f"/deployments/{found}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    def states(self, run_id: str) -> list[str]:
        """Return the names of the states that the run went through."""
        found = self.call(f"/flow_run_states/?flow_run_id={UUID(run_id)}")
        return [state["name"] for state in sorted(found, key=lambda state: state["timestamp"])]

    def wait_for_end(self, run_id: str, limit_s: float = 600) -> dict[str, Any]:
        """Return the run once it is over."""

        def over() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["state_type"] in OVER else None

        return wait_for_server(over, f"run {run_id} is over", limit_s)

    def emit(self, name: str, resource: str, **payload: Any) -> None:
        """Tell an event as the watcher does."""
        content = {
            "id": str(uuid4()),
            "event": name,
            "occurred": datetime.now(UTC).isoformat(),
            "resource": {"prefect.resource.id": resource, "prefect.resource.name": resource},
            "payload": payload,
        }
        self.call("/events", [content])

    def drop_news(self, n_rows: int = 1) -> None:
        """Write new content to the data set's source, with fewer rows, and look at it as the watcher does."""
        contract = load_contract(self.settings.expectations / f"{DATASET}.yaml")
        path = self.settings.root / contract.source.uri
        pd.read_parquet(path).iloc[n_rows:].to_parquet(path, index=False)
        wait_for_server(
            lambda: look_at(self.settings, contract, self.tell).outcome != "waiting", "it is told", 60
        )

    def tell(self, event: Event) -> None:
        """Tell an event that was found by a look."""
        self.emit(event.name, event.resource, **event.payload)

    def automations(self) -> dict[str, list[dict[str, Any]]]:
        """Return every automation by its name; more than one of a name is a duplicate."""
        found: dict[str, list[dict[str, Any]]] = {}
        for automation in self.call("/automations/filter", {}):
            found.setdefault(automation["name"], []).append(automation)
        return found


@contextmanager
def deployed(folder: Path, *, pausing: bool = False) -> Iterator[Deployment]:
    """Keep a server running to which a project's flows are deployed, and a worker.

    Args:
        folder: in which the project is made.
        pausing: let the training wait at a step when it is told to (tests/paused.py).
    """
    ports = Ports(prefect=free_port(), mlflow=free_port(), optuna=free_port(), front_page=free_port())
    settings = make_project(folder).model_copy(update={"ports": ports})
    (settings.root / "prefect.yaml").unlink()
    declared = looked_at_by_tests(declaration(DATASET))
    (settings.root / "prefect.yaml").write_text(yaml.safe_dump(declared, sort_keys=False))
    (settings.root / "deployments").unlink()
    shutil.copytree(ROOT / "deployments", settings.root / "deployments")
    settings.home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.environment().items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        patch.setenv("HEDONIC_STORE_URL", str(settings.root / "store"))
        for name, port in ports.model_dump().items():
            patch.setenv(f"HEDONIC_PORTS__{name.upper()}", str(port))
        try:
            server = server_part(settings)
            start(settings, server)
            wait_until_ready(settings, server, lambda part: None)
            found = Deployment(settings)
            if pausing:
                found.declare(pause(settings, found.declaration()))
            found.deploy()
            (worker,) = [part for part in parts(settings) if part.name == "worker"]
            start(settings, worker)
            wait_until_ready(settings, worker, lambda part: None)
            yield found
        finally:
            stop_all(settings)


def looked_at_by_tests(content: dict[str, Any]) -> dict[str, Any]:
    """Return the declaration with no look at a source but those of the tests."""
    for one in content["deployments"]:
        if one["entrypoint"] == "flows/watch.py:watch":
            one["schedules"][0]["active"] = False
    return content

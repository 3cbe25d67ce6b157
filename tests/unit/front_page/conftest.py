"""A project on disk and tools that answer from memory: the page knows no difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hedonic.promotion.history import History
from hedonic.promotion.record import Entry
from hedonic.promotion.verdict import Finding, Verdict
from hedonic.settings import Ports, Settings
from tests.project import write_contract

DATASET = "small_county"
RELEASE = "7e" * 32
RUN, MLFLOW_RUN, TRAIN, NIGHTLY, FLOW, WATCH = (
    "run-1",
    "mlflow-1",
    "train-id",
    "nightly-id",
    "flow-1",
    "flow-2",
)
Json = dict[str, Any]


@dataclass
class Tools:
    """Prefect, MLflow, Optuna and an endpoint, answering what a test put here.

    Attributes:
        down: ports at which nothing answers.
        asked: every address that was asked for.
    """

    settings: Settings
    endpoint_port: int
    down: set[int] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    runs: list[Json] = field(default_factory=list)
    scheduled: list[Json] = field(default_factory=list)
    workers: list[Json] = field(default_factory=lambda: [{"name": "vm", "status": "ONLINE"}])
    events: list[Json] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if request.url.port in self.down:
            raise httpx.ConnectError("connection refused", request=request)
        ports = self.settings.ports
        tools: dict[int, Callable[[httpx.Request], Any]] = {
            ports.prefect: self._prefect,
            ports.mlflow: self._mlflow,
            ports.optuna: lambda _: {
                "study_summaries": [{"study_id": 3, "study_name": f"{DATASET}-2026-11-20-ab"}]
            },
            self.endpoint_port: lambda _: {"model": {"release": RELEASE}},
        }
        return httpx.Response(200, json=tools[request.url.port or 80](request))

    def _prefect(self, request: httpx.Request) -> Any:
        path, asked = request.url.path, json.loads(request.content or b"{}")
        if path == "/api/flow_runs/filter":
            waiting = "any_" in asked["flow_runs"]["state"]["name"]
            if waiting:
                wanted = asked["deployments"]["id"]["any_"]
                return [run for run in self.scheduled if run["deployment_id"] in wanted]
            flows = {FLOW: "train", WATCH: "watch"}
            return [run for run in self.runs if flows[run["flow_id"]] in asked["flows"]["name"]["any_"]]
        return {
            "/api/flows/filter": [{"id": FLOW, "name": "train"}, {"id": WATCH, "name": "watch"}],
            "/api/deployments/filter": [
                deployment(TRAIN, DATASET, False),
                deployment(NIGHTLY, f"{DATASET}-nightly", True),
            ],
            "/api/work_pools/hedonic/workers/filter": self.workers,
            "/api/events/filter": {"events": self.events},
        }.get(path, True)

    def _mlflow(self, request: httpx.Request) -> Any:
        return {"experiment": {"experiment_id": "7"}, "model_version": {"version": "4"}}


def deployment(id_: str, name: str, scheduled: bool) -> Json:
    return {
        "id": id_, "name": name, "flow_id": FLOW, "paused": False, "updated": ago(3600), "created": ago(3600),
        "schedules": [{"active": True}] if scheduled else [], "parameters": {"dataset": DATASET},
    }  # fmt: skip


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def flow_run(state: str = "Completed", kind: str | None = None, **changes: Any) -> Json:
    return {
        "id": RUN, "name": f"{DATASET}: by hand", "flow_id": FLOW, "deployment_id": None,
        "parameters": {"dataset": DATASET, "reason": "by hand"}, "state_type": kind or state.upper(),
        "state_name": state, "state": {"message": "told by Prefect"}, "expected_start_time": ago(400),
        "start_time": ago(400), "end_time": ago(300), "next_scheduled_start_time": None,
    } | changes  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project with a contract and no state."""
    monkeypatch.setenv("HEDONIC_HOME", str(tmp_path / ".hedonic"))
    (tmp_path / "expectations").mkdir()
    write_contract(tmp_path, DATASET, serve={"port": 3210})
    # On these nothing listens, whatever runs on this machine.
    ports = Ports(front_page=2, prefect=3, mlflow=4, optuna=5)
    return Settings(root=tmp_path, home=tmp_path / ".hedonic", ports=ports)


@pytest.fixture
def tools(settings: Settings) -> Tools:
    return Tools(settings, endpoint_port=3210)


@pytest.fixture
def champion(settings: Settings) -> None:
    """A champion in the history, with the release's record beside it."""
    settings.home.mkdir(exist_ok=True)
    history = History(settings.history)
    passed = Finding(check="limit:r2", outcome="passed", value=0.9, limit=0.8, sentence="r2 is <0.9>")
    history.append(
        Entry(
            dataset=DATASET, kind="promoted", release=RELEASE, bento="hedonic:1", actor="ann",
            verdict=Verdict(promoted=True, kind="promoted", reasons=(passed,)),
            reason="nightly", flow_run=RUN, mlflow_run=MLFLOW_RUN,
            figures={"mdape_pct": 9.86, "rmse": 123495.1, "r2": None, "n_rows": 720.0, "own_pct": 3.0},
        ),
        expected_champion=None,
    )  # fmt: skip
    history.close()
    record = settings.releases / DATASET / RELEASE / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"study": f"{DATASET}-2026-11-20-ab", "trial": 2, "version": "1"}))

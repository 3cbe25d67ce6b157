"""A project with one small data set, and the `hedonic up` that runs in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import yaml
from playwright.sync_api import Page

from hedonic.front_page.state import RunState, State
from hedonic.settings import Ports, Settings
from tests.ports import free_port
from tests.project import ROOT, declaration, make_project

BIN = Path(sys.executable).parent
DATASET = "small_county"
MARKER = "HEDONIC_SUPERVISED"
BOOSTING = {
    "n_estimators": 120,
    "num_leaves": 15,
    "learning_rate": {"low": 0.08, "high": 0.15, "log": True},
}
SCREENSHOTS = "HEDONIC_SCREENSHOTS"
"""Of the environment: a folder into which the three screenshots of the README are written."""


class Town:
    """A project with one small data set, and the `hedonic up` that runs in it."""

    def __init__(self, folder: Path) -> None:
        ports = Ports(prefect=free_port(), mlflow=free_port(), optuna=free_port(), front_page=free_port())
        self.endpoint_port = free_port()
        made = make_project(folder, port=self.endpoint_port, search={"families": {"boosting": BOOSTING}})
        prefer_trees(folder)
        self.settings: Settings = made.model_copy(update={"ports": ports})
        declare(folder)
        given = {f"HEDONIC_PORTS__{name.upper()}": str(port) for name, port in ports.model_dump().items()}
        ours = ("HEDONIC_", "PREFECT_", "MLFLOW_", "BENTOML_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = {**clean, **given, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
        self.told = folder / "told"
        self.screenshots = folder / "screenshots"
        self.screenshots.mkdir()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.ports.front_page}"

    def up(self) -> subprocess.Popen[bytes]:
        with self.told.open("wb") as told:
            return subprocess.Popen(
                [str(BIN / "hedonic"), "up"], env=self.environment, cwd=self.settings.root,
                stdout=told, stderr=told,
            )  # fmt: skip

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "hedonic"), *arguments], env=self.environment, cwd=self.settings.root,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def state(self) -> State:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/api/state", timeout=60) as answer:
            return State.model_validate_json(answer.read())

    def pid(self, part: str) -> int:
        found = next(told.pid for told in self.state().parts if told.name == part)
        assert found is not None
        return found

    def processes(self) -> list[psutil.Process]:
        home = str(self.settings.home)
        return [p for p in psutil.process_iter() if environment(p).get(MARKER) == home]

    def trainings(self) -> list[RunState]:
        """Return the training runs that there were, the newest first."""
        return [run for run in self.state().runs if run.flow == "train"]

    @property
    def ports(self) -> list[int]:
        return [*self.settings.ports.model_dump().values(), self.endpoint_port]

    def shoot(self, page: Page, name: str) -> None:
        path = self.screenshots / f"{name}.png"
        page.screenshot(path=path)
        sys.stdout.write(f"screenshot: {path}\n")
        wanted = os.environ.get(SCREENSHOTS)
        if wanted and name in ("front-page", "prefect-run", "optuna-study"):
            shutil.copy(path, Path(wanted) / path.name)


def prefer_trees(folder: Path) -> None:
    """Leave out what makes a straight line good: boosting is best then, and its fit has a curve."""
    path = folder / "expectations" / f"{DATASET}.yaml"
    contract = yaml.safe_load(path.read_text())
    contract["features"] = {"columns": contract["features"]["columns"]}
    path.write_text(yaml.safe_dump(contract, sort_keys=False))


def declare(folder: Path) -> None:
    """Declare King County's deployments for the small data set, and the automations as they are."""
    (folder / "prefect.yaml").unlink()
    (folder / "prefect.yaml").write_text(yaml.safe_dump(declaration(DATASET), sort_keys=False, width=1000))
    if not (folder / "deployments").exists():
        (folder / "deployments").symlink_to(ROOT / "deployments")


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def is_up(process: psutil.Process, town: Town) -> bool:
    try:
        return bool(process.cmdline()[-1:] == ["up"] and process.cwd() == str(town.settings.root))
    except psutil.Error:
        return False


def listens(connection: Any, port: int) -> bool:
    return bool(connection.status == "LISTEN" and connection.laddr.port == port)


def api(town: Town) -> str:
    return f"http://127.0.0.1:{town.settings.ports.prefect}/api"


def call(url: str, content: dict[str, Any] | None = None) -> Any:
    body = None if content is None else json.dumps(content).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(
        urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=20
    ) as answer:
        return json.load(answer)

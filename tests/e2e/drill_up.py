"""`hedonic up`: everything starts by one command, is one click away, comes back when it dies, and ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import yaml
from playwright.sync_api import Page, expect

from hedonic.front_page.state import State
from hedonic.settings import Ports, Settings
from tests.e2e.browser import Seen, browser
from tests.project import ROOT, free_port, make_project

pytestmark = [pytest.mark.slow, pytest.mark.browser]

BIN = Path(sys.executable).parent
DATASET = "small_county"
MARKER = "HEDONIC_SUPERVISED"
UP_LIMIT_S = 180.0
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
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip

    def state(self) -> State:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/api/state", timeout=5) as answer:
            return State.model_validate_json(answer.read())

    def pid(self, part: str) -> int:
        found = next(told.pid for told in self.state().parts if told.name == part)
        assert found is not None
        return found

    def processes(self) -> list[psutil.Process]:
        home = str(self.settings.home)
        return [p for p in psutil.process_iter() if environment(p).get(MARKER) == home]

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
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    declared["deployments"] = [d for d in declared["deployments"] if "california" not in d["name"]]
    (folder / "prefect.yaml").unlink()
    text = yaml.safe_dump(declared, sort_keys=False, width=1000).replace("king_county", DATASET)
    (folder / "prefect.yaml").write_text(text)
    if not (folder / "deployments").exists():
        (folder / "deployments").symlink_to(ROOT / "deployments")


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def wait_for(condition: Callable[[], Any], what: str, limit_s: float = 60.0) -> Any:
    """Return what the condition comes to once it holds; fail when it does not within the limit."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except OSError:
            pass  # nothing answers yet
        time.sleep(0.3)
    raise AssertionError(f"not within {limit_s:g} s: {what}")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A town whose `hedonic up` was just typed."""
    place = Town(tmp_path_factory.mktemp("up") / "town")
    process = place.up()
    try:
        yield place
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(90)
        place.run("down")


@dataclass(frozen=True)
class Ready:
    """How long it took from typing `hedonic up`, in seconds."""

    town: Town
    pages_s: float
    champion_s: float


@pytest.fixture(scope="module")
def ready(town: Town) -> Ready:
    """The same once every part is ready and a first champion is served."""
    began = time.monotonic()

    def seconds_until(holds: Callable[[State], bool], what: str) -> float:
        try:
            wait_for(lambda: holds(town.state()), what, 2 * UP_LIMIT_S)
        except AssertionError as err:
            raise AssertionError(f"{err}\n{town.told.read_text()}") from err
        return time.monotonic() - began

    pages_s = seconds_until(lambda state: state.ready, "every part is ready")
    wait_for(lambda: "Ctrl-C ends" in town.told.read_text(), "`hedonic up` says that it is done")
    champion_s = seconds_until(
        lambda state: state.ready and state.datasets[0].serves is not None, "a first champion is served"
    )
    return Ready(town, pages_s, champion_s)


@pytest.fixture(scope="module")
def shown(ready: Ready) -> Iterator[tuple[Town, Page, Seen]]:
    """A browser in that town."""
    with browser() as (page, seen):
        yield ready.town, page, seen


def test_every_page_is_ready_in_under_3_minutes_and_a_first_champion_is_trained(ready: Ready) -> None:
    town = ready.town
    sys.stdout.write(f"every page after {ready.pages_s:.0f} s, a champion after {ready.champion_s:.0f} s\n")
    assert ready.pages_s < UP_LIMIT_S
    # The watcher sees the data for the first time, too: that run waits, and finds nothing new.
    (first,) = (run for run in town.state().runs if run.verdict == "promoted")
    assert town.settings.ports.prefect == int(first.url.split(":")[2].split("/")[0])
    told = town.told.read_text()
    assert [part for part in ("Prefect", "Front page", DATASET) if part not in told] == []


def test_the_front_page_shows_what_the_state_says(shown: tuple[Town, Page, Seen]) -> None:
    town, page, seen = shown
    page.goto(town.url)
    state = town.state()
    (dataset,) = state.datasets
    assert dataset.champion is not None
    card = page.locator(f"#dataset-{DATASET}")
    expect(card).to_contain_text(dataset.champion.release[:12])
    expect(card).to_contain_text(f"train/{DATASET}-nightly")
    for figure in (figure for figure in dataset.champion.figures if figure.leads):
        expect(card).to_contain_text(figure.title)
    expect(page.locator("#status")).to_contain_text(f"All {len(state.parts)} parts are ready")
    expect(page.locator("#runs")).to_contain_text("promoted")
    before = page.locator("#status time").inner_text()
    expect(page.locator("#status time")).not_to_have_text(before, timeout=15_000)  # it refreshes itself
    assert (seen.errors, seen.beyond, seen.refused) == ([], [], [])


def test_every_link_of_the_front_page_answers_and_nothing_leaves_the_machine(
    shown: tuple[Town, Page, Seen],
) -> None:
    town, page, seen = shown
    page.goto(town.url)
    links = page.locator("a[href]").evaluate_all("all => all.map(a => a.href)")
    followed = sorted({link for link in links if not link.startswith(f"{town.url}/#")})
    places = (town.settings.ports.prefect, town.settings.ports.mlflow, town.settings.ports.optuna)
    for port in (*places, town.endpoint_port, town.settings.ports.front_page):
        assert any(f":{port}/" in link for link in followed), port
    for link in followed:
        page.goto("about:blank")  # else a hash alone would not load anything
        answer = page.goto(link)
        assert answer, link
        assert answer.status == 200, link
        expect(page.locator("body")).not_to_be_empty()
    ours = f"http://127.0.0.1:{town.settings.ports.front_page}/"
    assert [told for told in (*seen.errors, *seen.refused) if ours in told] == []
    assert seen.beyond == []


def test_a_custom_run_in_prefect_completes_with_its_artifacts(shown: tuple[Town, Page, Seen]) -> None:
    town, page, _ = shown
    known = {run.id for run in town.state().runs}
    (train,) = (link.url for link in town.state().datasets[0].links if link.title == "Train")
    page.goto(train)
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    trials = page.locator("fieldset", has=page.get_by_role("tab", name="int")).last
    trials.get_by_role("tab", name="int").click()
    trials.get_by_role("spinbutton").fill("2")
    page.get_by_label("seed (Optional)").fill("1")
    page.get_by_role("button", name="Submit").click()

    def finished() -> Any:
        new = [run for run in town.state().runs if run.id not in known and run.flow == "train"]
        return new[0] if new and (new[0].verdict or new[0].kind in ("FAILED", "CRASHED")) else None

    asked_for = wait_for(finished, "the run that was asked for comes to a verdict", 240)
    assert asked_for.verdict in ("promoted", "kept", "refused"), asked_for

    def ended() -> Any:
        return next((run for run in town.state().runs if run.id == asked_for.id and run.ended), None)

    run = wait_for(ended, "it ends", 60)
    assert run.state == "Completed"
    content = call(f"{api(town)}/flow_runs/{run.id}")
    assert (content["parameters"]["trials"], content["parameters"]["seed"]) == (2, 1)
    page.goto(run.url)
    expect(page.get_by_text("Completed").first).to_be_visible(timeout=20_000)
    page.get_by_role("tab", name="Artifacts").click()
    expect(page.get_by_text(re.compile("verdict-small-county")).first).to_be_visible(timeout=20_000)
    expect(page.get_by_text(re.compile("leaderboard-small-county")).first).to_be_visible()
    town.shoot(page, "prefect-run-artifacts")
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_text(re.compile("snapshot [0-9a-f]{12}")).first).to_be_visible(timeout=20_000)
    town.shoot(page, "prefect-run")
    logged = {"logs": {"flow_run_id": {"any_": [run.id]}}, "limit": 200}
    page.goto(town.url)
    expect(page.locator(f"#dataset-{DATASET}")).to_contain_text(asked_for.verdict)
    town.shoot(page, "front-page")
    assert any("trial 2 of 2" in line["message"] for line in call(f"{api(town)}/logs/filter", logged))


def test_the_study_is_open_in_optunas_dashboard(shown: tuple[Town, Page, Seen]) -> None:
    town, page, seen = shown
    champion = town.state().datasets[0].champion
    assert champion is not None
    (study,) = (link.url for link in champion.links if link.title == "Study")
    page.goto(study)
    expect(page.get_by_text("Best Trial").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text(re.compile(f"{DATASET}-20")).first).to_be_visible()
    expect(page.get_by_text("Hyperparameter Importance").first).to_be_visible()
    town.shoot(page, "optuna-study")
    assert seen.beyond == []


def test_the_run_its_children_and_curves_are_in_mlflow(shown: tuple[Town, Page, Seen]) -> None:
    town, page, seen = shown
    (dataset,) = town.state().datasets
    assert dataset.champion is not None
    links = {link.title: link.url for link in (*dataset.links, *dataset.champion.links)}
    page.goto("about:blank")
    page.goto(links["MLflow run"])
    expect(page.get_by_text("mdape_pct").first).to_be_visible(timeout=30_000)
    town.shoot(page, "mlflow-run")
    run, mlflow = links["MLflow run"].rpartition("/")[2], f"http://127.0.0.1:{town.settings.ports.mlflow}"
    experiment = links["Experiment"].split("/experiments/")[1].split("/")[0]
    page.goto("about:blank")
    page.goto(links["Experiment"])
    expect(page.get_by_text(f"train {DATASET}").first).to_be_visible(timeout=30_000)
    town.shoot(page, "mlflow-experiment")
    asked = {"experiment_ids": [experiment], "filter": f"tags.`mlflow.parentRunId` = '{run}'"}
    children = call(f"{mlflow}/api/2.0/mlflow/runs/search", asked)["runs"]
    steps = {child["info"]["run_name"]: child["info"]["run_id"] for child in children}
    assert {"validate", "tune", "train", "evaluate"} <= steps.keys()
    page.goto("about:blank")
    fit = steps["train"]
    page.goto(f"{mlflow}/#/experiments/{experiment}/runs/{fit}/model-metrics")
    curve = page.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first
    expect(curve).to_be_attached(timeout=30_000)
    expect(page.get_by_text("loss", exact=True).first).to_be_visible()
    town.shoot(page, "mlflow-curves")
    asked_for = f"run_id={fit}&metric_key=loss"
    assert len(call(f"{mlflow}/api/2.0/mlflow/metrics/get-history?{asked_for}")["metrics"]) >= 10
    asked = {"experiment_ids": [experiment], "filter": f"tags.`mlflow.parentRunId` = '{steps['tune']}'"}
    assert call(f"{mlflow}/api/2.0/mlflow/runs/search", asked)["runs"], "the study's trials are no runs"
    assert seen.beyond == []


def test_parts_that_are_killed_at_once_come_back_and_are_told_of(ready: Ready) -> None:
    town = ready.town
    killed = {name: town.pid(name) for name in ("mlflow", "optuna", "watcher")}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)

    def told() -> bool:
        state = town.state()
        pids = {part.name: part.pid for part in state.parts}
        alerts = {alert.key for alert in state.alerts}
        return state.ready and all(
            pids[name] not in (pid, None) and f"part-restarted:{name}" in alerts
            for name, pid in killed.items()
        )

    wait_for(told, "all of them run again, and an alert says so", 90)
    for name in killed:
        assert f"{name} ended and was restarted" in town.told.read_text()
    owner = next(c.pid for c in psutil.net_connections("tcp") if listens(c, town.settings.ports.mlflow))
    assert killed["mlflow"] not in [p.pid for p in psutil.Process(owner).parents()]
    assert town.pid("mlflow") in [p.pid for p in psutil.Process(owner).parents()]


def test_the_page_answers_at_once_while_a_part_hangs_and_says_which(ready: Ready) -> None:
    town = ready.town
    stopped = [psutil.Process(town.pid("prefect")), *psutil.Process(town.pid("prefect")).children()]
    for process in stopped:
        process.suspend()
    try:
        wait_for(lambda: not town.state().ready, "the page says that Prefect hangs", 30)
        began = time.monotonic()
        state = town.state()
        assert time.monotonic() - began < 1.0
        health = {part.name: part.health for part in state.parts}
        assert health.pop("prefect") == "slow"
        assert set(health.values()) == {"ready"}
        assert state.runs, "what was told before is still shown"
    finally:
        for process in stopped:
            process.resume()
    wait_for(lambda: town.state().ready, "Prefect is ready again", 60)


def test_another_up_names_every_used_port_and_what_moves_it(ready: Ready, tmp_path: Path) -> None:
    town = ready.town
    other = Town(tmp_path / "other")
    mine = {name: value for name, value in town.environment.items() if name.startswith("HEDONIC_PORTS")}
    other.environment |= mine
    refused = other.run("up")
    assert refused.returncode == 2
    for setting, port in mine.items():
        assert re.search(rf"port {port} .* is in use by .*{setting}", refused.stderr)
    assert not other.processes()


def test_ctrl_c_ends_everything_and_frees_every_port(town: Town, ready: Ready) -> None:
    (up,) = (p for p in psutil.process_iter() if is_up(p, town))
    up.send_signal(signal.SIGINT)
    wait_for(lambda: not up.is_running() or up.status() == psutil.STATUS_ZOMBIE, "`hedonic up` ends", 90)
    assert town.processes() == []
    for port in town.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    assert "stopped: " in town.told.read_text()


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

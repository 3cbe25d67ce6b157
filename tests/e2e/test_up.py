"""`hedonic up`: everything starts by one command, is one click away, comes back when it dies, and ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil  # type: ignore[import-untyped]
import pytest
from playwright.sync_api import Page, expect

from hedonic.front_page.state import RunState, State
from hedonic.watching.sighting import dataset_file
from tests.drills import FULL, DrillTable
from tests.e2e.browser import Seen, browser
from tests.e2e.town import DATASET, Town, api, call, is_up, listens
from tests.waiting import wait_for_server

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.drill]

# What was promised, asked of a machine that does nothing else: `make drills`.
PAGES_WITHIN_S, RUN_WITHIN_S = (180.0, 20.0) if FULL else (600.0, 300.0)
AT_ONCE_S = 1.0 if FULL else 2.0  # one who waits for what hangs waits for 2.5 s
SETTLED_WITHIN_S = 600.0
# At somebody's first visit MLflow opens a panel of its assistant: ours was here before.
SEEN_MLFLOW_BEFORE = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
SEEN_WITHIN_MS = 60_000


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A town whose `hedonic up` was just typed."""
    place = Town(tmp_path_factory.mktemp("up") / "a town")
    process = place.up()
    try:
        yield place
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(240)
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
            wait_for_server(lambda: holds(town.state()), what, SETTLED_WITHIN_S)
        except AssertionError as err:
            raise AssertionError(f"{err}\n{town.told.read_text()}") from err
        return time.monotonic() - began

    pages_s = seconds_until(lambda state: state.ready, "every part is ready")
    wait_for_server(lambda: "Ctrl-C ends" in town.told.read_text(), "`hedonic up` says that it is done")
    champion_s = seconds_until(
        lambda state: state.ready and state.datasets[0].serves is not None, "a first champion is served"
    )
    return Ready(town, pages_s, champion_s)


@pytest.fixture(scope="module")
def shown(ready: Ready) -> Iterator[tuple[Town, Page, Seen]]:
    """A browser in that town."""
    expect.set_options(timeout=SEEN_WITHIN_MS)
    with browser() as (page, seen):
        page.set_default_timeout(SEEN_WITHIN_MS)
        page.add_init_script(SEEN_MLFLOW_BEFORE)
        yield ready.town, page, seen


def test_every_page_is_ready_and_a_first_champion_is_trained_by_exactly_one_run(
    ready: Ready, drill_table: DrillTable
) -> None:
    town = ready.town
    drill_table.add(
        "hedonic up", 1, f"every page after {ready.pages_s:.0f} s, a champion after {ready.champion_s:.0f} s"
    )
    assert ready.pages_s < PAGES_WITHIN_S
    (first,) = town.trainings()
    assert (first.reason, first.verdict) == ("first champion", "promoted")
    assert town.settings.ports.prefect == int(first.url.split(":")[2].split("/")[0])
    seen = dataset_file(town.settings.home, DATASET).read()
    assert seen is not None
    assert seen.snapshot is not None
    assert (seen.announcing, seen.announced) == ((), None), "to the watcher it is no news"
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
    expect(page.locator("#status time")).not_to_have_text(before)  # it refreshes itself
    town.shoot(page, "front-page")
    assert (seen.errors, seen.beyond, seen.refused) == ([], [], [])


@pytest.fixture(scope="module")
def asked_for(shown: tuple[Town, Page, Seen]) -> str:
    """The id of the run that was asked for in Prefect's form: 2 trials, another seed."""
    town, page, _ = shown
    known = {run.id for run in town.trainings()}
    train = link_to(town, "Train")
    page.goto(train)
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    trials = page.locator("fieldset", has=page.get_by_role("tab", name="int")).last
    trials.get_by_role("tab", name="int").click()
    trials.get_by_role("spinbutton").fill("2")
    page.get_by_label("seed (Optional)").fill("1")
    page.get_by_role("button", name="Submit").click()
    (run,) = wait_for_server(lambda: [r for r in town.trainings() if r.id not in known], "the run", 120)
    return str(run.id)


def test_every_link_of_the_front_page_answers_and_nothing_leaves_the_machine(
    shown: tuple[Town, Page, Seen], asked_for: str
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

    wait_for_server(told, "all of them run again, and an alert says so", 240)
    for name in killed:
        assert f"{name} ended and was restarted" in town.told.read_text()
    assert killed.keys() < set(town.run("logs").stdout.split())
    assert "watching" in town.run("logs", "watcher").stdout
    assert "no_such: has no log. There are: " in town.run("logs", "no_such").stderr
    owner = next(c.pid for c in psutil.net_connections("tcp") if listens(c, town.settings.ports.mlflow))
    assert killed["mlflow"] not in [p.pid for p in psutil.Process(owner).parents()]
    assert town.pid("mlflow") in [p.pid for p in psutil.Process(owner).parents()]


def link_to(town: Town, title: str) -> str:
    """Return where the front page's link leads, once whoever knows has answered."""

    def found() -> str | None:
        (dataset,) = town.state().datasets
        links = (*dataset.links, *(dataset.champion.links if dataset.champion else ()))
        return next((one.url for one in links if one.title == title), None)

    return wait_for_server(found, f"a link to {title}")


def test_the_study_is_open_in_optunas_dashboard(shown: tuple[Town, Page, Seen]) -> None:
    town, page, seen = shown
    page.goto(link_to(town, "Study"))
    expect(page.get_by_text("Best Trial").first).to_be_visible()
    expect(page.get_by_text(re.compile(f"{DATASET}-20")).first).to_be_visible()
    expect(page.get_by_text("Hyperparameter Importance").first).to_be_visible()
    town.shoot(page, "optuna-study")
    assert seen.beyond == []


def test_the_run_its_children_and_curves_are_in_mlflow(shown: tuple[Town, Page, Seen]) -> None:
    town, page, seen = shown
    page.goto("about:blank")
    shown_run, shown_experiment = link_to(town, "MLflow run"), link_to(town, "Experiment")
    page.goto(shown_run)
    expect(page.get_by_text("mdape_pct").first).to_be_visible()
    town.shoot(page, "mlflow-run")
    run, mlflow = (
        shown_run.partition("?")[0].rpartition("/")[2],
        f"http://127.0.0.1:{town.settings.ports.mlflow}",
    )
    experiment = shown_experiment.split("/experiments/")[1].split("/")[0]
    page.goto("about:blank")
    page.goto(shown_experiment)
    expect(page.get_by_text(f"train {DATASET}").first).to_be_visible()
    town.shoot(page, "mlflow-experiment")
    asked = {"experiment_ids": [experiment], "filter": f"tags.`mlflow.parentRunId` = '{run}'"}
    children = call(f"{mlflow}/api/2.0/mlflow/runs/search", asked)["runs"]
    steps = {child["info"]["run_name"]: child["info"]["run_id"] for child in children}
    assert {"validate", "tune", "train", "evaluate"} <= steps.keys()
    page.goto("about:blank")
    fit = steps["train"]
    page.goto(f"{mlflow}/#/experiments/{experiment}/runs/{fit}/model-metrics?workflowType=machine_learning")
    curve = page.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first
    expect(curve).to_be_attached()
    expect(page.get_by_text("loss", exact=True).first).to_be_visible()
    town.shoot(page, "mlflow-curves")
    asked_for = f"run_id={fit}&metric_key=loss"
    assert len(call(f"{mlflow}/api/2.0/mlflow/metrics/get-history?{asked_for}")["metrics"]) >= 10
    asked = {"experiment_ids": [experiment], "filter": f"tags.`mlflow.parentRunId` = '{steps['tune']}'"}
    assert call(f"{mlflow}/api/2.0/mlflow/runs/search", asked)["runs"], "the study's trials are no runs"
    assert seen.beyond == []


def test_the_run_that_was_asked_for_completes_with_its_artifacts(
    shown: tuple[Town, Page, Seen], asked_for: str
) -> None:
    town, page, _ = shown
    run = wait_for_server(
        lambda: ended(town, asked_for), "the run that was asked for is over", SETTLED_WITHIN_S
    )
    assert (run.state, run.verdict in ("promoted", "kept", "refused")) == ("Completed", True), run
    content = call(f"{api(town)}/flow_runs/{run.id}")
    assert (content["parameters"]["trials"], content["parameters"]["seed"]) == (2, 1)
    page.goto(run.url)
    expect(page.get_by_text("Completed").first).to_be_visible()
    page.get_by_role("tab", name="Artifacts").click()
    expect(page.get_by_text(re.compile("verdict-small-county")).first).to_be_visible()
    expect(page.get_by_text(re.compile("leaderboard-small-county")).first).to_be_visible()
    town.shoot(page, "prefect-run")
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_text(re.compile("snapshot [0-9a-f]{12}")).first).to_be_visible()
    town.shoot(page, "prefect-run-logs")
    logged = {"logs": {"flow_run_id": {"any_": [run.id]}}, "limit": 200}
    assert any("trial 2 of 2" in line["message"] for line in call(f"{api(town)}/logs/filter", logged))
    page.goto(town.url)
    expect(page.locator(f"#dataset-{DATASET}")).to_contain_text(str(run.verdict))


def ended(town: Town, run_id: str) -> RunState | None:
    """Return the run once it is over and its verdict is told, which is looked up apart."""
    over = (r for r in town.trainings() if r.ended and (r.verdict or r.kind != "COMPLETED"))
    return next((run for run in over if run.id == run_id), None)


def test_new_sales_that_are_dropped_start_exactly_one_run_that_ends_in_a_verdict(
    ready: Ready, drill_table: DrillTable
) -> None:
    town = ready.town
    known = {run.id for run in town.trainings()}
    source = town.settings.root / "data" / f"{DATASET}.parquet"
    dropped = source.with_name("dropped.parquet")
    pd.read_parquet(source).iloc[5:].to_parquet(dropped, index=False)
    began = time.monotonic()
    dropped.replace(source)

    def new() -> list[RunState]:
        return [run for run in town.trainings() if run.id not in known]

    (run,) = wait_for_server(lambda: [r for r in new() if r.started], "a run starts", RUN_WITHIN_S)
    started_s = time.monotonic() - began
    drill_table.add("a new file of sales in hedonic up", 1, f"one run, started after {started_s:.0f} s")
    run = wait_for_server(lambda: ended(town, run.id), "it ends", SETTLED_WITHIN_S)
    assert (run.state, run.reason, run.verdict is not None) == ("Completed", "data changed: -5 rows", True)
    shown = {"artifacts": {"flow_run_id": {"any_": [run.id]}}}
    keys = {artifact["key"] for artifact in call(f"{api(town)}/artifacts/filter", shown)}
    assert "difference-small-county" in keys
    assert [r.id for r in new()] == [run.id]


def slow_parts(state: State) -> set[str]:
    """Return the names of the parts that are slow; all others are ready."""
    others = {part.health for part in state.parts} - {"slow", "ready"}
    return set() if others else {part.name for part in state.parts if part.health == "slow"}


def test_the_page_answers_at_once_while_a_part_hangs_and_says_which(ready: Ready) -> None:
    town = ready.town
    stopped = [psutil.Process(town.pid("prefect")), *psutil.Process(town.pid("prefect")).children()]
    for process in stopped:
        process.suspend()
    try:
        wait_for_server(
            lambda: slow_parts(town.state()) == {"prefect"}, "the page says which part hangs", 120
        )
        began = time.monotonic()
        state = town.state()
        assert time.monotonic() - began < AT_ONCE_S
        assert state.runs, "what was told before is still shown"
    finally:
        for process in stopped:
            process.resume()
    wait_for_server(lambda: town.state().ready, "Prefect is ready again", 240)


def test_another_up_names_every_used_port_and_what_moves_it_and_one_beyond_loopback_is_refused(
    ready: Ready, tmp_path: Path
) -> None:
    town = ready.town
    other = Town(tmp_path / "other")
    mine = {name: value for name, value in town.environment.items() if name.startswith("HEDONIC_PORTS")}
    other.environment |= mine
    refused = other.run("up")
    assert refused.returncode == 2
    for setting, port in mine.items():
        assert re.search(rf"port {port} .* is in use by .*{setting}", refused.stderr)
    other.environment["HEDONIC_HOST"] = "0.0.0.0"
    refused = other.run("up")
    assert (refused.returncode, "beyond loopback" in refused.stderr) == (2, True)
    assert not other.processes()


def test_ctrl_c_ends_everything_and_frees_every_port(town: Town, ready: Ready) -> None:
    (up,) = (p for p in psutil.process_iter() if is_up(p, town))
    up.send_signal(signal.SIGINT)
    wait_for_server(
        lambda: not up.is_running() or up.status() == psutil.STATUS_ZOMBIE, "`hedonic up` ends", 240
    )
    assert town.processes() == []
    for port in town.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    assert "stopped: " in town.told.read_text()

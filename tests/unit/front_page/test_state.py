"""The state: what the page shows of parts, data sets, runs and alerts, whatever does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import httpx
import pytest

from hedonic.front_page.gathering import Gathering
from hedonic.front_page.look import Look, refresh
from hedonic.front_page.page import ago, render, span
from hedonic.front_page.state import State
from hedonic.monitoring.alerts import Alert, AlertBook
from hedonic.settings import Settings
from tests.unit.front_page.conftest import (
    DATASET,
    MLFLOW_RUN,
    NIGHTLY,
    RELEASE,
    RUN,
    TRAIN,
    WATCH,
    Tools,
    flow_run,
)
from tests.unit.front_page.conftest import ago as before
from tests.unit.leaping_loop import run_by_leaps

TRAINING = "?workflowType=machine_learning"

Told = TypeVar("Told")


def gather(settings: Settings, tools: Tools) -> State:
    """Return the state once every tool was heard, however busy this machine is: the page would not wait."""

    async def state() -> State:
        async with httpx.AsyncClient(transport=httpx.MockTransport(tools.answer)) as client:
            return await Gathering(settings, client).state("127.0.0.1")

    def patient(name: str, ask: Callable[[], Awaitable[Told]], **options: float) -> Look[Told]:
        return Look(name, ask, **(options | {"limit_s": 60.0}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hedonic.front_page.gathering.WITHIN_S", 120.0)
        patch.setattr("hedonic.front_page.gathering.Look", patient)
        return asyncio.run(state())


def test_a_project_without_state_is_shown_and_nothing_is_made(settings: Settings, tools: Tools) -> None:
    tools.down = set(settings.ports.model_dump().values())
    state = gather(settings, tools)
    (dataset,) = state.datasets
    assert (dataset.name, dataset.champion, dataset.verdicts) == (DATASET, None, ())
    assert not state.ready
    health = {part.name: part.health for part in state.parts}
    assert health.pop("front-page") == "ready"
    assert set(health.values()) == {"down"}
    assert not settings.home.exists()


def test_the_champion_has_its_figures_with_units_and_a_link_to_each_tool(
    settings: Settings, tools: Tools, champion: None
) -> None:
    tools.runs = [flow_run()]
    (dataset,) = gather(settings, tools).datasets
    assert dataset.champion is not None
    assert (dataset.champion.release, dataset.champion.version) == (RELEASE, "4")
    figures = {figure.name: figure.shown for figure in dataset.champion.figures}
    assert figures == {
        "mdape_pct": "9.9 %", "rmse": "123,495 USD", "r2": "undefined",
        "n_rows": "720 rows", "own_pct": "3.0 %",
    }  # fmt: skip
    ports = settings.ports
    links = {link.title: link.url for link in (*dataset.champion.links, *dataset.links)}
    assert links == {
        "Flow run": f"http://127.0.0.1:{ports.prefect}/v2/runs/flow-run/{RUN}",
        "MLflow run": f"http://127.0.0.1:{ports.mlflow}/#/experiments/7/runs/{MLFLOW_RUN}{TRAINING}",
        "Model version": f"http://127.0.0.1:{ports.mlflow}/#/models/hedonic-{DATASET}/versions/4{TRAINING}",
        "Study": f"http://127.0.0.1:{ports.optuna}/dashboard/studies/3",
        "Latest study": f"http://127.0.0.1:{ports.optuna}/dashboard/studies/3",
        "Experiment": f"http://127.0.0.1:{ports.mlflow}/#/experiments/7/runs{TRAINING}",
        "Train": f"http://127.0.0.1:{ports.prefect}/v2/deployments/deployment/{TRAIN}",
    }
    assert dataset.serves == RELEASE[:16]


def test_a_run_has_the_verdict_that_it_came_to(settings: Settings, tools: Tools, champion: None) -> None:
    tools.runs = [flow_run(), flow_run("Running", id="other", end_time=None)]
    runs = {run.id: run for run in gather(settings, tools).runs}
    assert (runs[RUN].verdict, runs[RUN].duration_s) == ("promoted", pytest.approx(100, abs=1))
    assert (runs["other"].verdict, runs["other"].ended) == (None, None)


def test_looks_at_sources_do_not_hide_the_runs_but_those_that_failed_are_shown(
    settings: Settings, tools: Tools
) -> None:
    tools.runs = [flow_run(), flow_run(id="look", flow_id=WATCH), flow_run("Failed", id="bad", flow_id=WATCH)]
    assert {run.id for run in gather(settings, tools).runs} == {RUN, "bad"}


def test_the_next_run_is_the_soonest_that_is_scheduled(settings: Settings, tools: Tools) -> None:
    tools.scheduled = [
        flow_run("Scheduled", id="next", deployment_id=NIGHTLY, next_scheduled_start_time=before(-7200))
    ]
    next_run = gather(settings, tools).datasets[0].next_run
    assert next_run is not None
    assert (next_run.deployment, next_run.url.rpartition("/")[2]) == (f"train/{DATASET}-nightly", "next")


def test_a_contract_that_cannot_be_read_is_shown_with_its_problem(settings: Settings, tools: Tools) -> None:
    (settings.expectations / "broken.yaml").write_text("format_version: 1\nname: broken\n")
    problems = {dataset.name: dataset.problem for dataset in gather(settings, tools).datasets}
    assert problems[DATASET] is None
    assert "broken" in (problems["broken"] or "")


def test_open_alerts_are_shown_and_what_they_say_is_text(settings: Settings, tools: Tools) -> None:
    told = Alert(kind="worker-lost", severity="critical", key="w", title="lost", text="<script>x</script>")
    AlertBook(settings).raise_(told)
    state = gather(settings, tools)
    assert [alert.key for alert in state.alerts] == ["w"]
    page = render(state)
    assert "&lt;script&gt;x" in page
    assert "<script>x" not in page


def test_a_tool_that_is_down_is_said_and_does_not_hide_the_others(
    settings: Settings, tools: Tools, champion: None
) -> None:
    tools.down = {settings.ports.prefect}
    state = gather(settings, tools)
    health = {part.name: part.health for part in state.parts}
    assert (health["prefect"], health["mlflow"], health["endpoint-small_county"]) == (
        "down",
        "ready",
        "ready",
    )
    assert any(told.startswith("Prefect: ") for told in state.unknown)
    assert state.datasets[0].champion is not None


def looks_in_turn(*answers: Callable[[], Awaitable[Told]]) -> Look[Told]:
    left = list(answers)
    return Look("it", lambda: left.pop(0)(), limit_s=0.3, fresh_s=0.0)


async def told(value: str) -> str:
    return value


async def hangs() -> str:
    await asyncio.sleep(60)
    return "never"


async def fails() -> str:
    raise OSError("no route")


def test_a_look_that_fails_keeps_what_was_told_before_and_says_why() -> None:
    async def look() -> Look[str]:
        found = looks_in_turn(lambda: told("good"), fails)
        await refresh([found], 1)
        await refresh([found], 1)
        return found

    found = asyncio.run(look())
    assert (found.told, found.problem) == ("good", "no route")


def test_nobody_waits_longer_than_asked_for_a_look_that_hangs() -> None:
    async def look() -> tuple[float, Look[str]]:
        found, loop = looks_in_turn(hangs), asyncio.get_running_loop()
        began = loop.time()
        await refresh([found], 0.05)
        took = loop.time() - began
        await refresh([found], 1)  # the same look, until its own limit
        return took, found

    took, found = run_by_leaps(look())
    assert took == pytest.approx(0.05)
    assert found.problem == "no answer in 0.3 s"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.2, "0 s"), (59, "59 s"), (60, "1 min"), (80, "1 min 20 s"), (7380, "2 h 3 min")]
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


@pytest.mark.parametrize(("offset", "shown"), [(0, "now"), (200, "3 min ago"), (-7300, "in 2 h")])
def test_a_time_is_told_from_now_in_one_unit(offset: float, shown: str) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    assert ago((now - timedelta(seconds=offset)).isoformat(), now) == shown

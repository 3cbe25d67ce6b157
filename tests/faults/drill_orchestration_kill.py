"""A training whose flow, worker or server is killed in the middle of a step: it is restarted, and ends."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from hedonic.monitoring.alerts import AlertBook
from hedonic.promotion.history import History
from hedonic.promotion.pointer import read_pointer
from hedonic.promotion.record import JUDGED
from tests.deployed import DATASET, OVER, Deployment, deployed, wait_for
from tests.drills import FULL, DrillTable, count

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.drill]

TRAIN = f"train/{DATASET}"
STEPS = (
    "tune", "record-verdict", "evaluate", "ingest", "read-contract", "name-undertaking", "recognise", "begin",
    "find-champion", "show-difference", "validate", "train", "decide", "register", "conclude",
)  # fmt: skip
VICTIMS = ("flow", "worker", "server", "flow and worker", "everything")
SETTLED_WITHIN_S = 180
CRASHING = '''
import os, signal

from prefect import flow


@flow(name="crashing")
def crash(dataset: str = "cars") -> None:
    """Crash whenever it runs."""
    os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("killed") / "town", pausing=True) as town:
        content = town.declaration()
        (town.settings.root / "flows" / "crashing.py").write_text(CRASHING)
        crash = {
            "name": "crash", "entrypoint": "flows/crashing.py:crash", "description": "Crashes",
            "tags": ["hedonic", "train"], "work_pool": content["deployments"][0]["work_pool"],
        }  # fmt: skip
        town.declare(content | {"deployments": [*content["deployments"], crash]})
        town.deploy()
        yield town


@pytest.fixture(scope="module")
def crashing(town: Deployment) -> str:
    """A run that crashes by itself, beside the other tests: it takes minutes."""
    return town.start_run("crashing/crash", dataset="cars")


def test_a_killed_training_is_restarted_and_each_content_is_judged_once(
    town: Deployment, crashing: str, drill_table: DrillTable
) -> None:
    cases = [(step, victim) for step in STEPS for victim in VICTIMS]
    if not FULL:
        cases = [("tune", "flow"), ("tune", "worker"), ("tune", "server")]
    cases = cases[: count(few=3, promised=len(STEPS) * len(VICTIMS))]
    settled_s, ends = [], Counter[str]()
    for step, victim in cases:
        known = {run["id"] for run in town.runs(TRAIN)}
        town.order.wait_at(step)
        town.drop_news()
        (run,) = wait_for(lambda known=known: news(town, known), "a run", 60)
        flow = wait_for(town.order.waiting_process, f"it is in the middle of {step}", 120)
        killed_at = time.monotonic()
        kill(town, victim, flow)
        town.order.go_on()
        settled = wait_for(
            lambda run=run: settle(town, run["id"]), f"{step}, {victim}", SETTLED_WITHIN_S, 0.5
        )
        settled_s.append(time.monotonic() - killed_at)
        ends[settled] += 1
        wait_for(lambda run=run: town.run(run["id"])["state_name"] == "Completed", f"{step}, {victim}", 400)
        again = town.wait_for_end(town.start_run(TRAIN), 240)
        assert again["state_name"] == "Completed", (step, victim)
        snapshots = Counter(record.snapshot for record in judged(town))
        assert set(snapshots.values()) == {1}, (step, victim, snapshots)
        assert [one["id"] for one in news(town, known)] == [run["id"], again["id"]]
        check_champion(town)
    drill_table.add(
        "kill -9 of a training's process, worker, server in the middle of a step", len(cases),
        f"all completed, at first {', '.join(f'{end} {n}' for end, n in sorted(ends.items()))}; restarted or "
        f"Crashed in {max(settled_s):.0f} s at most; each content judged once",
    )  # fmt: skip


def test_a_run_that_always_crashes_is_started_three_times_and_then_is_an_alert(
    town: Deployment, crashing: str, drill_table: DrillTable
) -> None:
    wait_for(
        lambda: (town.run(crashing)["run_count"], town.run(crashing)["state_name"]) == (3, "Crashed"),
        "it ends",
        600,
    )
    book = AlertBook(town.settings)
    (alert,) = wait_for(
        lambda: [a for a in book.open() if a.title == "cars: crashing crashed"], "an alert", 90
    )
    assert alert.severity == "critical"
    assert crashing in str(alert.link)
    states = Counter(town.states(crashing))
    assert town.run(crashing)["run_count"] == 3
    assert states["Running"] == states["Crashed"] == 3
    drill_table.add("a run that always crashes", 1, "started 3 times, then Crashed, and an alert")


def kill(town: Deployment, victim: str, flow: int) -> None:
    worker, server = (town.supervisor.process_pid(name) for name in ("worker", "prefect"))
    victims: dict[str, tuple[int | None, ...]] = {
        "flow": (flow,),
        "worker": (worker,),
        "server": (server,),
        "flow and worker": (worker, flow),
        "everything": (server, worker, flow),
    }
    for pid in victims[victim]:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


def settle(town: Deployment, run_id: str) -> str | None:
    """Return what became of the killed run: it is over, Crashed, or was started again."""
    if not server_answers(town):
        return None
    run = town.run(run_id)
    if run["run_count"] > 1:
        return "restarted"
    return str(run["state_name"]) if run["state_type"] in OVER else None


def server_answers(town: Deployment) -> bool:
    from hedonic.orchestration import is_healthy

    return is_healthy(town.api)


def news(town: Deployment, known: set[str]) -> list[dict[str, Any]]:
    return [run for run in town.runs(TRAIN) if run["id"] not in known]


def judged(town: Deployment) -> list[Any]:
    history = History(town.settings.history)
    try:
        assert history.verify_chain() == ()
        return [record for record in history.records(DATASET) if record.kind in JUDGED]
    finally:
        history.close()


def check_champion(town: Deployment) -> None:
    """The pointer names the champion of the history."""
    history = History(town.settings.history)
    try:
        champion = history.champion(DATASET)
    finally:
        history.close()
    pointer = read_pointer(town.settings.home, DATASET)
    assert champion is not None
    assert pointer is not None
    assert pointer.release == champion.release

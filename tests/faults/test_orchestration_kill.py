"""A training whose flow, worker or server is killed in the middle of a step: it is restarted, and ends."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest

from hedonic.data.contract_file import load_contract
from hedonic.endpoint import endpoint_state
from hedonic.monitoring.alerts import AlertBook
from hedonic.orchestration import is_healthy
from hedonic.promotion.history import History
from hedonic.promotion.pointer import read_pointer
from hedonic.promotion.record import JUDGED
from tests.deployed import DATASET, OVER, Deployment, deployed
from tests.drills import FULL, DrillTable
from tests.project import write_contract
from tests.waiting import wait_for_server

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.drill]

TRAIN = f"train/{DATASET}"
STEPS = (
    "tune", "record-verdict", "evaluate", "read-contract", "ingest", "name-undertaking", "recognise", "begin",
    "find-champion", "show-difference", "validate", "train", "simplify", "decide", "release", "register",
    "build-bento", "canary", "roll-out", "verify", "conclude",
)  # fmt: skip
# What is killed, and for each training in the middle of which steps. Who takes the worker or all along leaves
# nobody to say that the run crashed but the next worker.
FEW = {
    "worker, then server": ((("validate", "worker"), ("tune", "server")),),
    "everything": ((("record-verdict", "everything"),),),
}
PROMISED = {victim: tuple(((step, victim),) for step in STEPS) for victim in ("flow", "worker", "server")} | {
    victim: tuple(((step, victim),) for step in STEPS[:3]) for victim in ("flow and worker", "everything")
}
CASES = PROMISED if FULL else FEW
# Of each victim's cases every third is a test of its own: they may run beside each other.
PARTS = [
    pytest.param(victims, cases[part::3], id=f"{victims}-{part}")
    for victims, cases in CASES.items()
    for part in range(min(3, len(cases)))
]
# At which of its writes a step is stopped, in turn.
WRITES = (1, 2, 3, 5, 8)
# Whatever the news are, the model of them replaces the champion: each training goes through every step.
LAX = {
    "test": "non_inferiority", "margin": 1.0, "slices": {"minimum_rows": 100, "margin": 1.0},
    "max_latency_ms": 1000.0,
}  # fmt: skip
# 180 s were promised, of a machine that does nothing else: `make drills`.
SETTLED_WITHIN_S = 180 if FULL else 600
OVER_WITHIN_S = 900
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
        write_contract(town.settings.root, gate=LAX)
        content = town.declaration()
        (town.settings.root / "flows" / "crashing.py").write_text(CRASHING)
        crash = {
            "name": "crash", "entrypoint": "flows/crashing.py:crash", "description": "Crashes",
            "tags": ["hedonic", "train"], "work_pool": content["deployments"][0]["work_pool"],
        }  # fmt: skip
        town.declare(content | {"deployments": [*content["deployments"], crash]})
        town.deploy()
        yield town


@pytest.mark.skipif(not FULL, reason="it waits for a lost heartbeat, which takes minutes: make drills")
def test_a_run_that_is_killed_between_promotion_and_roll_out_goes_on_with_the_roll_out(
    town: Deployment, drill_table: DrillTable
) -> None:
    contract = load_contract(town.settings.expectations / f"{DATASET}.yaml")
    town.order.wait_at("roll-out")
    run = town.start_run(TRAIN, reason="first champion")
    flow = wait_for_server(town.order.waiting_process, "it is about to roll out", OVER_WITHIN_S)
    (promoted,) = judged(town)
    assert (promoted.kind, promoted.flow_run) == ("promoted", run)
    assert endpoint_state(town.settings, DATASET, contract.serve.port) is None
    began = time.monotonic()
    kill(town, "flow", flow)
    town.order.go_on()
    settled = wait_for_server(lambda: settle(town, run), "it is restarted", SETTLED_WITHIN_S)
    settled_s = time.monotonic() - began
    assert settled in ("Crashed", "restarted")
    wait_for_server(lambda: town.run(run)["state_name"] == "Completed", "it completes", OVER_WITHIN_S)
    serving = endpoint_state(town.settings, DATASET, contract.serve.port)
    assert serving is not None
    assert serving.release == promoted.release
    assert judged(town) == [promoted], "it was judged once"
    assert states_of(town, run, "tune") == ["Completed"], "it was tuned once"
    assert Counter(states_of(town, run, "roll-out"))["Completed"] == 1
    drill_table.add(
        "kill -9 between promotion and roll-out",
        1,
        f"Crashed or restarted after {settled_s:.0f} s, rolled out",
    )


def states_of(town: Deployment, run: str, step: str) -> list[str]:
    """Return the last state of each time that a step of a run was begun."""
    wanted = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
    found = town.call("/task_runs/filter", wanted)
    return [one["state_name"] for one in found if one["name"].rsplit("-", 1)[0] == step]


@pytest.mark.parametrize(("victims", "cases"), PARTS)
def test_a_killed_training_is_restarted_and_each_content_is_judged_once(
    town: Deployment, drill_table: DrillTable, victims: str, cases: tuple[tuple[tuple[str, str], ...], ...]
) -> None:
    settled_s, ends = [], Counter[str]()
    for case, write in zip(cases, cycle(WRITES), strict=False):
        known = {run["id"] for run in town.runs(TRAIN)}
        town.order.wait_at(case[0][0], write)
        town.drop_news(n_rows=5)  # of one row alone, held out, comes the very model that is champion
        (run,) = wait_for_server(lambda known=known: news(town, known), "a run", OVER_WITHIN_S)
        for number, (step, victim) in enumerate(case, start=1):
            flow = wait_for_server(
                town.order.waiting_process, f"it is in the middle of {step}", OVER_WITHIN_S
            )
            killed_at = time.monotonic()
            kill(town, victim, flow)
            if number < len(case):
                wait_for_server(
                    lambda victim=victim: is_back(town, victim), f"{victim} is back", OVER_WITHIN_S
                )
                town.order.wait_at(case[number][0], write)
            else:
                town.order.go_on()
        settled = wait_for_server(lambda run=run: settle(town, run["id"]), str(case), SETTLED_WITHIN_S)
        settled_s.append(time.monotonic() - killed_at)
        ends[settled] += 1
        wait_for_server(
            lambda run=run: server_answers(town) and town.run(run["id"])["state_name"] == "Completed",
            str(case),
            OVER_WITHIN_S,
        )
        if {victim for _, victim in case} <= {"worker", "server"}:
            assert town.run(run["id"])["run_count"] == 1, "its own process went on"
        verdicts = judged(town)
        assert verdicts[-1].kind == "promoted", (case, verdicts[-1])
        snapshots = Counter(record.snapshot for record in verdicts)
        assert set(snapshots.values()) == {1}, (case, snapshots)
        assert [one["id"] for one in news(town, known)] == [run["id"]], case
        check_champion(town)
    # The next training was the next case's; after the last of them there is nothing left to be done again.
    again = town.wait_for_end(town.start_run(TRAIN), OVER_WITHIN_S)
    assert again["state_name"] == "Completed"
    assert judged(town) == verdicts
    drill_table.add(
        f"kill -9 of {victims} amid {', '.join(step for case in cases for step, _ in case)}",
        sum(len(case) for case in cases),
        f"all completed, at first {', '.join(f'{end} {n}' for end, n in sorted(ends.items()))}; restarted or "
        f"over in {max(settled_s):.0f} s at most; each content judged once",
    )


@pytest.mark.skipif(not FULL, reason="it waits for three restarts, which takes three minutes: make drills")
def test_a_run_that_always_crashes_is_started_three_times_and_then_is_an_alert(
    town: Deployment, drill_table: DrillTable
) -> None:
    crashing = town.start_run("crashing/crash", dataset="cars")
    wait_for_server(
        lambda: (town.run(crashing)["run_count"], town.run(crashing)["state_name"]) == (3, "Crashed"),
        "it ends",
        OVER_WITHIN_S,
    )
    book = AlertBook(town.settings)
    (alert,) = wait_for_server(
        lambda: [a for a in book.open() if a.title == "cars: crashing crashed"], "an alert", 180
    )
    assert alert.severity == "critical"
    assert alert.link == f"{town.api.removesuffix('/api')}/runs/flow-run/{crashing}"
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


def is_back(town: Deployment, victim: str) -> bool:
    """Return whether what was killed runs again, as far as its supervisor starts it."""
    if not server_answers(town):
        return False
    return victim != "worker" or town.supervisor.process_pid("worker") is not None


def settle(town: Deployment, run_id: str) -> str | None:
    """Return what became of the killed run: it is over, Crashed, or was started again."""
    if not server_answers(town):
        return None
    run = town.run(run_id)
    if run["run_count"] > 1:
        return "restarted"
    return str(run["state_name"]) if run["state_type"] in OVER else None


def server_answers(town: Deployment) -> bool:
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

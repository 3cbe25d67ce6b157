"""The serving process killed under load: it comes back, and what it acknowledged is logged."""

from __future__ import annotations

import math
import os
import random
import signal
import time

import pytest

from hedonic.endpoint import endpoint_state, start_endpoint
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.predictor import load_release
from hedonic.supervisor import Supervisor
from tests.callers import callers
from tests.drills import FULL, count
from tests.ports import free_port
from tests.serving.conftest import crown
from tests.supervised import supervised
from tests.tiny_release import ROW, tiny_model, tiny_release
from tests.waiting import wait_for

__all__ = ["supervised"]

pytestmark = [pytest.mark.fault, pytest.mark.drill]

KILLS = count(few=2, promised=20)
CALLERS = 8
LOSS_S = 1.0 if FULL else 5.0  # 1 s is stated of a machine whose disk does nothing else: `make drills`
ROWS = [{**ROW, "area": 300.0 + 97.3 * n} for n in range(20)]


def logged(path):
    """Return the release of each logged answer by its request id."""
    store = PredictionLogStore(str(path))
    try:
        assert store.read("PRAGMA integrity_check") == [("ok",)]
        return {row.request_id: row.release for row in store.between()}
    finally:
        store.close()


def back(settings, port, dead):
    """Return the endpoint once another process answers."""

    def another():
        state = endpoint_state(settings, "tiny_town", port)
        return state if state is not None and state.pid != dead else None

    return wait_for(another, "it comes back", pause_s=0.05)


@pytest.mark.parametrize("mode", ["durable", "fast"])
def test_a_killed_endpoint_comes_back_and_what_it_acknowledged_is_logged(
    supervised, monkeypatch, drill_table, mode
):
    monkeypatch.setenv("HEDONIC_PREDICTION_LOG_MODE", mode)
    port = free_port()
    releases = [tiny_release(supervised.home / "releases", tiny_model(seed=seed)) for seed in range(2)]
    offline = {
        folder.name: [load_release(folder).predictor.predict([row])[0]["estimate"] for row in ROWS]
        for folder in releases
    }
    crown(supervised.home, releases[0])
    pid, draw = start_endpoint(supervised, "tiny_town", port).pid, random.Random(mode)
    killed_at, away_s = [], []
    with callers(port, ROWS, CALLERS, pause_s=0.005) as asked:
        for kill in range(1, KILLS + 1):
            asked.wait_for(draw.randrange(100, 1500))
            champion = releases[kill % 2]
            crown(supervised.home, champion)  # at times it dies while it takes the next release
            asked.wait_for(draw.randrange(1, 300))
            killed_at.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)
            state = back(supervised, port, pid)
            away_s.append(time.monotonic() - killed_at[-1])
            assert state.release == champion.name
            pid = state.pid
        asked.wait_for(100)
    Supervisor(supervised).stop()  # what is in the buffer is written down

    wrong = [
        one
        for one in asked.told
        if not math.isclose(one.estimate, offline[one.release][one.row], rel_tol=1e-9)
    ]
    assert wrong == []
    kept = logged(supervised.home / "prediction_log.db")
    lost = [one for one in asked.told if one.request_id not in kept]
    assert all(kept[one.request_id] == one.release for one in asked.told if one.request_id in kept)
    if mode == "durable":
        assert lost == []
    else:
        assert [
            one for one in lost if not any(at - LOSS_S <= one.at <= at + LOSS_S for at in killed_at)
        ] == []
    drill_table.add(
        f"kill -9 of the endpoint under load, {mode} log", KILLS,
        f"{len(asked.told):,} acknowledged, {len(lost)} lost"
        f"{'' if mode == 'durable' else f', none older than {LOSS_S:g} s'}; 0 wrong; "
        f"{len(asked.failed)} unanswered; back with the champion in {max(away_s):.1f} s at most",
    )  # fmt: skip

"""Releases swapped under load: no failed request, no answer of another release than it says, no leak."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import psutil
import pytest

from hedonic.endpoint import start_endpoint
from hedonic.model.booster import Booster
from hedonic.model.manifest import Golden
from hedonic.model.scorers import TreeScorer
from hedonic.promotion.release import write_release
from hedonic.serving.predictor import load_release
from tests.callers import callers
from tests.drills import count
from tests.ports import free_port
from tests.serving.conftest import Served, crown
from tests.supervised import supervised
from tests.tiny_release import ROW, tiny_content, tiny_model, tiny_release
from tests.waiting import wait_for

__all__ = ["supervised"]

pytestmark = [pytest.mark.fault, pytest.mark.drill]

SWAPS = count(few=5, promised=50)
BAD_EVERY = 4
CALLERS = 8
ROWS = [{**ROW, "area": 300.0 + 97.3 * n, "bedrooms": n % 5, "built": 1900 + n} for n in range(40)]
GROWTH_MB = 10


def wrong_release(store):
    """Return a release that is whole, and whose golden rows are answered otherwise."""
    content = tiny_content(tiny_model(seed=9))
    answers = tuple({**answer, "estimate": 1.0} for answer in content.golden.answers)
    return write_release(
        store, replace(content, golden=Golden(instances=content.golden.instances, answers=answers))
    )


def cut_release(store):
    """Return a release with a file cut short."""
    folder = tiny_release(store, tiny_model(seed=8))
    trees = folder / "model" / "point" / "trees.txt"
    trees.write_text(trees.read_text()[:-100])
    return folder


def wait_until(served, condition):
    def info():
        return served.ask("GET", "/model/info").json

    wait_for(lambda: condition(info()), lambda: str(info()))


def test_swaps_under_load_drop_no_request_and_no_answer_says_another_release(supervised, drill_table):
    store, port = supervised.home / "releases", free_port()
    good = [tiny_release(store, tiny_model(seed=seed)) for seed in range(4)]
    bad = [wrong_release(store), cut_release(store)]
    offline = {
        folder.name: [load_release(folder).predictor.predict([row])[0]["estimate"] for row in ROWS]
        for folder in good
    }
    assert len({tuple(estimates) for estimates in offline.values()}) == len(good)
    crown(supervised.home, good[0])
    pid = start_endpoint(supervised, "tiny_town", port).pid
    served = Served(port, good[0], supervised.home / "log")
    n_refused, current = 0, good[0]
    with callers(port, ROWS, CALLERS) as asked:
        asked.wait_for(200)
        for swap in range(1, SWAPS + 1):
            if swap % BAD_EVERY == 0:
                culprit = bad[n_refused % len(bad)]
                crown(supervised.home, culprit)
                wait_until(
                    served, lambda info, name=culprit.name: (info["refused"] or {}).get("release") == name
                )
                assert served.ask("GET", "/model/info").json["model"]["release"] == current.name
                n_refused += 1
                asked.wait_for(50)
            current = good[swap % len(good)]
            crown(supervised.home, current)
            wait_until(served, lambda info, name=current.name: info["model"]["release"] == name)
            asked.wait_for(50)
    metrics = served.ask("GET", "/metrics").body.decode()

    assert asked.failed == []
    by_release = Counter(one.release for one in asked.told)
    assert by_release.keys() == offline.keys()
    wrong = [
        one
        for one in asked.told
        if not math.isclose(one.estimate, offline[one.release][one.row], rel_tol=1e-9, abs_tol=0)
    ]
    assert wrong == []
    assert psutil.pid_exists(pid)
    assert f'hedonic_rollouts_total{{outcome="swapped"}} {SWAPS}.0' in metrics
    if n_refused:
        assert f'hedonic_rollouts_total{{outcome="refused"}} {n_refused}.0' in metrics
    drill_table.add(
        "swaps of release under load, bad ones among them",
        SWAPS + n_refused,
        f"{len(asked.told):,} answers, 0 failed, 0 of another release than they say; {n_refused} bad ones "
        f"refused; slowest answer {asked.slowest_s * 1000:.0f} ms",
    )


def test_releases_that_were_swapped_out_leave_no_memory_behind(supervised, drill_table):
    import lightgbm
    import numpy as np

    store, port, swaps = supervised.home / "releases", free_port(), count(few=20, promised=100)
    rng = np.random.default_rng(0)
    matrix = rng.uniform(0, 5000, (4000, 8))
    target = 12 + np.sin(matrix).sum(axis=1) / 10
    parameters = {"num_threads": 1, "verbose": -1, "num_leaves": 31, "deterministic": True}
    text = lightgbm.train(parameters, lightgbm.Dataset(matrix, target), 400).model_to_string()
    heavy = replace(tiny_model(), point=TreeScorer(Booster.from_text(text)))
    releases = [tiny_release(store, replace(heavy, level=level)) for level in (0.0, 0.01)]
    crown(supervised.home, releases[0])
    process = psutil.Process(start_endpoint(supervised, "tiny_town", port).pid)
    served = Served(port, releases[0], supervised.home / "log")
    sizes_mb = []
    for swap in range(1, swaps + 1):
        name = releases[swap % 2].name
        crown(supervised.home, releases[swap % 2])
        wait_until(served, lambda info, name=name: info["model"]["release"] == name)
        served.predict(ROW)
        sizes_mb.append(process.memory_info().rss / 2**20)
    early, late = sizes_mb[4], max(sizes_mb[-3:])
    assert late - early < GROWTH_MB, sizes_mb
    drill_table.add(
        "swaps of releases of 400 trees of 31 leaves", swaps,
        f"resident memory {sizes_mb[0]:.0f} MB after the first, {early:.0f} after 5, {late:.0f} at the end",
    )  # fmt: skip

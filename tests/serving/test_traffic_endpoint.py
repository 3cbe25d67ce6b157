"""Shadow, canary and A/B of a real endpoint: shares, the automatic stop, and what they cost."""

import contextlib
import http.client
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import binom

from hedonic.model.booster import Booster
from hedonic.model.scorers import TreeScorer
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.traffic_plan import TrafficLimits, TrafficPlan
from hedonic.serving.traffic_plan_file import PlanFile
from tests.drills import count
from tests.endpoints import start_endpoint
from tests.tiny_release import ROW, constant_model, tiny_model, tiny_release
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"instances": [ROW]}).encode()
FAILING = json.dumps({"instances": [{**ROW, "garden": 2900}]}).encode()
LIMITS = TrafficLimits(max_errors=3, window=30, max_disagreement=0.25)
N_CALLERS = count(few=300, promised=20_000)
N_BAD = count(few=4, promised=40)
N_TIMED = count(few=400, promised=4_000)
CONFIDENCE = 0.999


def failing_model():
    """Return a model that answers its golden rows, and fails for a large garden: its interval is infinite."""
    import lightgbm

    matrix = np.zeros((400, 8))
    matrix[:, 5] = np.linspace(0, 3000, 400)
    parameters = {"num_leaves": 2, "learning_rate": 1.0, "verbose": -1, "num_threads": 1}
    data = lightgbm.Dataset(matrix, np.where(matrix[:, 5] > 2500, 2000.0, -2.0))
    text = lightgbm.train(parameters, data, 1).model_to_string()
    return replace(tiny_model(), width=TreeScorer(Booster.from_text(text)))


class Town:
    """An endpoint, the releases in its store, and the plan that it follows."""

    def __init__(self, stack, home):
        self.home, self.store = home, home / "releases"
        self.champion = tiny_release(self.store)
        self.near = tiny_release(self.store, constant_model(12.35))
        self.far = tiny_release(self.store, replace(tiny_model(), level=float(np.log(3))))
        self.failing = tiny_release(self.store, failing_model())
        self.plans = PlanFile(home, "tiny_town")
        self.start(stack)

    def start(self, stack):
        self.served, self.worker = start_endpoint(stack, self.home, self.champion, HEDONIC_FOLLOW_S="0.1")

    @property
    def traffic(self):
        return self.served.ask("GET", "/model/info").json["traffic"]

    def begin(self, mode, release, share, limits=LIMITS):
        """Return the figures once the plan is in force."""
        plan = TrafficPlan(
            mode=mode, challenger=str(release), share=share, limits=limits, asked_at=datetime.now(UTC)
        )
        self.plans.write(plan)
        self.wait_for(lambda told: told is not None and told.get("plan") == plan.digest)
        return plan

    def end(self):
        self.plans.remove()
        self.wait_for(lambda told: told is None)

    def wait_for(self, condition):
        """Return the first figures for which it holds."""
        found = wait_for(lambda: [told] if condition(told := self.traffic) else [], lambda: str(self.traffic))
        return found[0]

    def ask_all(self, keys, body=BODY, n_clients=8):
        """Return status and answer for each key, asked by several clients at once."""

        def client(keys):
            connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
            found = []
            for key in keys:
                connection.request("POST", "/predict", body, {**JSON, "X-Request-Key": key})
                answer = connection.getresponse()
                found.append((answer.status, json.loads(answer.read())))
            connection.close()
            return found

        with ThreadPoolExecutor(n_clients) as pool:
            parts = list(pool.map(client, [keys[n::n_clients] for n in range(n_clients)]))
        answers = [None] * len(keys)
        for n, part in enumerate(parts):
            answers[n::n_clients] = part
        return answers

    def releases_of(self, keys, body=BODY):
        """Return the digest that answered each key; every request has an answer."""
        answers = self.ask_all(keys, body)
        assert {status for status, _ in answers} == {200}
        for _, content in answers:
            assert content["predictions"][0]["estimate"] > 0
        return [content["model"]["release"] for _, content in answers]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Town(stack, tmp_path_factory.mktemp("hedonic_home"))


@pytest.fixture(autouse=True)
def _no_plan_is_left(request):
    yield
    if "town" in request.fixturenames:
        request.getfixturevalue("town").end()


def callers(n):
    return [f"caller-{number}" for number in range(n)]


def logged(town, role, request_ids, n_rows):
    """Return the log's rows of a role for these requests, once there are so many."""
    store, wanted = PredictionLogStore(str(town.home / "prediction_log.db")), set(request_ids)

    def rows():
        return [row for row in store.between(role=role) if row.request_id in wanted]

    try:
        wait_for(lambda: len(rows()) >= n_rows, lambda: f"{len(rows())} of {n_rows} rows")
        return rows()
    finally:
        store.close()


@pytest.mark.drill
@pytest.mark.parametrize(("mode", "share"), [("canary", 0.2), ("ab", 0.5)])
def test_the_share_is_within_binomial_bounds_and_every_caller_stays_with_its_release(
    town, mode, share, drill_table
):
    town.begin(mode, town.near, share)
    first = town.releases_of(callers(N_CALLERS))
    n_challenger = first.count(town.near.name)
    low, high = binom.interval(CONFIDENCE, N_CALLERS, share)
    assert set(first) == {town.near.name, town.champion.name}
    assert low <= n_challenger <= high
    again = callers(N_CALLERS)[:300]
    assert town.releases_of(again) == first[:300]
    told = town.traffic
    assert (told["state"], told["errors"]) == ("running", 0)
    assert told["n"] == told["answered"]["challenger"] == n_challenger + first[:300].count(town.near.name)
    drill_table.add(f"{mode} over HTTP at {share:g}", N_CALLERS, f"{n_challenger / N_CALLERS:.4f} to it")


def test_without_a_key_the_same_rows_always_get_the_same_release(town):
    town.begin("ab", town.near, 0.5)
    rows = [{**ROW, "area": 1000 + n} for n in range(30)]
    first, again = ([town.served.predict(row).json["model"]["release"] for row in rows] for _ in range(2))
    assert first == again
    assert set(first) == {town.near.name, town.champion.name}


@pytest.mark.drill
@pytest.mark.parametrize("bad", ["far", "failing"])
def test_a_bad_canary_is_stopped_within_the_stated_requests_and_none_fails(town, bad, drill_table):
    release = getattr(town, bad)
    body, stated = (BODY, LIMITS.window) if bad == "far" else (FAILING, LIMITS.max_errors)
    worst = 0
    for n in range(N_BAD):
        share = (0.1, 0.5, 1.0)[n % 3]
        town.begin("canary", release, share)
        answered = town.releases_of([f"{n}-{caller}" for caller in range(int(3 * stated / share) + 30)], body)
        told = town.wait_for(lambda told: told["state"] == "stopped")
        assert told["n"] == stated <= LIMITS.n_requests
        assert answered.count(release.name) == (stated if bad == "far" else 0)
        assert set(town.releases_of(callers(40), body)) == {town.champion.name}
        worst = max(worst, told["n"])
    found = f"stopped after {worst} canaried requests at the latest (stated: {stated}); no request failed"
    drill_table.add(f"canary, {'3 times too dear' if bad == 'far' else 'a model that fails'}", N_BAD, found)


def test_the_stop_is_in_the_log_the_metrics_and_the_info_and_survives_a_restart(tmp_path):
    with contextlib.ExitStack() as stack:
        town = Town(stack, tmp_path)
        town.begin("canary", town.far, 1.0)
        town.releases_of(callers(LIMITS.window + 5))
        told = town.wait_for(lambda told: told["state"] == "stopped")
        assert "a median of 200.0% from the champion over 30 requests" in told["reason"]
        text = town.served.ask("GET", "/metrics").body.decode()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        figures = {(s.name, s.labels.get("arm")): s.value for s in samples}
        assert figures["hedonic_traffic_stopped", None] == 1
        assert figures["hedonic_traffic_requests_total", "challenger"] == LIMITS.window
        lines = [line for line in town.served.log.read_text().splitlines() if "is stopped" in line]
        assert json.loads(lines[0])["level"] == "error"
    with contextlib.ExitStack() as stack:
        town.start(stack)
        again = town.traffic
        assert (again["state"], again["reason"], again["n"]) == ("stopped", told["reason"], told["n"])
        assert set(town.releases_of(callers(50))) == {town.champion.name}


def test_a_challenger_that_was_tampered_with_is_refused_and_the_champion_answers(town):
    bad = tiny_release(town.store, constant_model(12.5))
    (bad / "contract.json").write_text("{}")
    town.begin("canary", bad, 1.0)
    assert town.traffic["state"] == "refused"
    assert "contract.json: changed" in town.traffic["reason"]
    assert set(town.releases_of(callers(10))) == {town.champion.name}


@pytest.mark.parametrize("mode", ["canary", "ab", "shadow"])
@pytest.mark.parametrize("row", [ROW, {**ROW, "bedrooms": "three"}, {**ROW, "garden": 2900}])
def test_the_short_cut_and_the_declared_route_answer_the_same_bytes(town, mode, row):
    town.begin(mode, town.failing, 1.0, TrafficLimits(max_errors=1000, window=1000))
    quick, declared = (town.served.predict(row, path=path) for path in ("/predict", "/predict?declared"))

    def without_id(answer):
        return answer.status, answer.body.replace(answer.headers["x-request-id"].encode(), b"")

    assert without_id(quick) == without_id(declared)


def test_a_shadows_answers_are_logged_and_never_returned(town):
    town.begin("shadow", town.far, 1.0)
    answers = town.ask_all(callers(100))
    assert {(status, content["model"]["release"]) for status, content in answers} == {
        (200, town.champion.name)
    }
    told = town.wait_for(lambda told: told["n"] + told["answered"]["dropped"] == 100)
    ids = [content["request_id"] for _, content in answers]
    n_shadows = told["answered"]["shadow"]
    shadows = logged(town, "shadow", ids, n_shadows)
    assert len(shadows) == n_shadows > 0
    assert {row.release for row in shadows} == {town.far.name}
    given = {content["request_id"]: content["predictions"][0]["estimate"] for _, content in answers}
    assert all(row.estimate > 2 * given[row.request_id] for row in shadows)
    assert {row.release for row in logged(town, "served", ids, len(ids))} == {town.champion.name}


def test_the_errors_of_a_shadow_reach_no_caller(town):
    town.begin("shadow", town.failing, 1.0)
    assert set(town.releases_of(callers(20), FAILING)) == {town.champion.name}
    told = town.wait_for(lambda told: told["errors"] == 20)
    assert told["state"] == "running"


def timed(town, n):
    """Return the median time of an answer, and the CPU time of the process a request, both in ms."""
    connection = http.client.HTTPConnection("127.0.0.1", town.served.port, timeout=30)
    process, times_s = psutil.Process(town.worker.pid), []
    used = sum(process.cpu_times()[:2])
    for _ in range(n):
        begun = time.perf_counter()
        connection.request("POST", "/predict", BODY, JSON)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        times_s.append(time.perf_counter() - begun)
    town.wait_for(lambda told: told is None or told["mode"] != "shadow" or caught_up(told))
    cpu_s = sum(process.cpu_times()[:2]) - used
    connection.close()
    return statistics.median(times_s) * 1e3, cpu_s / n * 1e3


def best(runs):
    """Return the least median time and the least CPU time of several runs: others use this machine too."""
    return tuple(min(figures) for figures in zip(*runs, strict=True))


def caught_up(told):
    return told["n"] + told["answered"]["dropped"] >= told["answered"]["champion"]


@pytest.mark.drill
def test_what_a_shadow_and_a_canary_cost_is_told(town, drill_table):
    limits = TrafficLimits(max_errors=1000, window=1000)
    timed(town, 100)
    alone, shadowed, canaried = [], [], []
    for _ in range(3):  # interleaved: the machine is shared
        alone.append(timed(town, N_TIMED))
        town.begin("shadow", town.near, 1.0, limits)
        shadowed.append(timed(town, N_TIMED))
        assert town.traffic["answered"]["shadow"] > 0
        town.begin("canary", town.near, 1.0, limits)
        canaried.append(timed(town, N_TIMED))
        town.end()

    base_p50, base_cpu = best(alone)
    drill_table.add("no challenger", 3 * N_TIMED, f"p50 {base_p50:.2f} ms, CPU {base_cpu:.2f} ms a request")
    for name, runs in (("shadow of every request", shadowed), ("canary of every request", canaried)):
        p50, cpu = best(runs)
        added = f"p50 {p50 - base_p50:+.2f} ms, CPU {cpu - base_cpu:+.2f} ms a request"
        drill_table.add(f"{name}, added", 3 * N_TIMED, added)
    # That a caller waits for the shadow would double the time; on a busy machine medians are rough.
    assert best(shadowed)[0] < 3 * base_p50 + 1

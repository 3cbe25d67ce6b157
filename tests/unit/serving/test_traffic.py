"""Shadow, canary and A/B: who answers, what is logged, and when a challenger is taken out."""

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hedonic.data.contract import Contract
from hedonic.errors import ReleaseRefused
from hedonic.serving import shadow
from hedonic.serving.answer_record import AsideLog
from hedonic.serving.answering import Answering
from hedonic.serving.asgi import Exchange
from hedonic.serving.observed_predictor import observed
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.predictor import Predictor, load_release
from hedonic.serving.responses import predict_response
from hedonic.serving.traffic import Traffic
from hedonic.serving.traffic_plan import TrafficLimits, TrafficPlan
from hedonic.serving.traffic_plan_file import PlanFile
from tests.tiny_release import CONTRACT, ROW, constant_model, tiny_model, tiny_release
from tests.waiting import wait_for

BODY = json.dumps({"instances": [ROW]}).encode()
LIMITS = TrafficLimits(max_errors=3, window=10, max_disagreement=0.25)


class Broken(Predictor):
    """A predictor that fails once its golden rows are answered."""

    def __init__(self, predictor):
        vars(self).update(vars(predictor))

    def answer(self, body):
        raise ValueError("a secret of ours")


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    strict = {**CONTRACT, "columns": [dict(c, maximum=5) if c["name"] == "bedrooms" else c
                                      for c in CONTRACT["columns"]]}  # fmt: skip
    loose = {**CONTRACT, "columns": [dict(c, maximum=20) if c["name"] == "bedrooms" else c
                                     for c in CONTRACT["columns"]]}  # fmt: skip
    made = {
        "champion": tiny_model(),
        "near": constant_model(12.35),  # the champion says about 12.34 on the log scale
        "far": constant_model(14.0),
        "strict": replace(constant_model(12.35), contract=Contract.model_validate(strict)),
        "loose": replace(constant_model(12.36), contract=Contract.model_validate(loose)),
        "euros": replace(
            constant_model(12.35),
            contract=Contract.model_validate({**CONTRACT, "target": {**CONTRACT["target"], "unit": "EUR"}}),
        ),
    }
    return {name: load_release(tiny_release(store, model)) for name, model in made.items()}


@pytest.fixture
def log(tmp_path):
    made = PredictionLog.open(str(tmp_path / "log.db"))
    yield made
    made.close()


def rows(log, tmp_path):
    from hedonic.serving.prediction_log_store import PredictionLogStore

    log.close()
    store = PredictionLogStore(str(tmp_path / "log.db"))
    try:
        return list(store.between(role=None))
    finally:
        store.close()


class House:
    """A champion, a challenger and the plan that tries it."""

    def __init__(self, home, releases, challenger, log=None, **changes):
        self.champion = releases["champion"]
        self.challenger = releases[challenger] if isinstance(challenger, str) else challenger
        self.plan = TrafficPlan(
            **{
                "mode": "canary", "challenger": "/it", "release": self.challenger.model.release, "share": 1.0,
                "limits": LIMITS, **changes,
            }
        )  # fmt: skip
        self.file = PlanFile(home, "tiny_town")
        self.loads = []
        self.log = log
        self.restart()

    def restart(self):
        self.traffic = Traffic(
            self.load, lambda: self.champion, self.file, None, AsideLog(self.log)
        )  # fmt: skip
        self.answering = Answering(lambda: self.champion, self.log, self.traffic.challenge)

    def load(self, plan):
        self.loads.append(plan)
        return self.challenger

    def begin(self):
        self.file.write(self.plan)
        self.traffic.follow()
        return self

    def ask(self, body=BODY, key=None):
        exchange = Exchange("POST", "/predict", headers={b"x-request-key": key} if key else {})
        status, content = asyncio.run(self.answering.answer(exchange, "application/json", body))
        return exchange, status, json.loads(content)

    def asked(self, n, body=BODY):
        """Return the releases that answered n requests, of as many callers."""
        answers = [self.ask(body, f"caller-{number}".encode()) for number in range(n)]
        assert [status for _, status, _ in answers] == [200] * n
        assert all(e.release == content["model"]["release"] for e, _, content in answers)
        return [content["model"]["release"] for _, _, content in answers]

    @property
    def facts(self):
        return self.traffic.standing.facts()

    def names(self, digests):
        known = {self.champion.model.release: "champion", self.challenger.model.release: "challenger"}
        return [known[digest] for digest in digests]


def test_without_a_plan_the_champion_answers_the_bytes_that_it_always_did(tmp_path, releases):
    house = House(tmp_path, releases, "near")
    house.traffic.follow()
    exchange = Exchange("POST", "/predict")
    answer = asyncio.run(house.answering.answer(exchange, "application/json", BODY))
    assert answer == predict_response(releases["champion"], "application/json", BODY, exchange.request_id)
    assert (house.facts, house.loads) == (None, [])


@pytest.mark.parametrize("mode", ["canary", "ab"])
def test_a_share_of_the_callers_gets_the_challenger_and_each_stays_with_its_release(tmp_path, releases, mode):
    house = House(tmp_path, releases, "near", mode=mode, share=0.5).begin()
    first, again = house.asked(60), house.asked(60)
    assert first == again
    assert {"champion", "challenger"} == set(house.names(first))
    assert house.facts["answered"] == {
        "champion": 2 * house.names(first).count("champion"),
        "challenger": 2 * house.names(first).count("challenger"),
    }
    assert (house.facts["state"], house.facts["errors"]) == ("running", 0)


def test_a_canary_is_compared_with_the_champion_and_an_ab_test_is_not(tmp_path, releases):
    canary = House(tmp_path / "canary", releases, "near").begin()
    canary.asked(3)
    ab = House(tmp_path / "ab", releases, "near", mode="ab").begin()
    ab.asked(3)
    assert 0 < canary.facts["disagreement"] < 0.25
    assert ab.facts["disagreement"] is None
    assert canary.facts["n"] == ab.facts["n"] == 3


def test_both_answers_to_a_canaried_request_are_logged_and_only_the_challengers_as_served(
    tmp_path, releases, log
):
    house = House(tmp_path, releases, "near", log).begin()
    exchange, _, content = house.ask()
    served, aside = sorted(rows(log, tmp_path), key=lambda row: row.role)
    assert {served.request_id, aside.request_id} == {exchange.request_id}
    assert (served.role, served.release) == ("served", house.challenger.model.release)
    assert (aside.role, aside.release) == ("shadow", house.champion.model.release)
    assert served.estimate == content["predictions"][0]["estimate"]


def test_only_answers_that_were_given_are_counted_as_given(tmp_path, releases):
    given = []
    house = House(tmp_path, releases, "near")
    house.champion, house.challenger = (
        observed(release, lambda release, _: given.append(release.model.release))
        for release in (house.champion, house.challenger)
    )
    house.begin()
    house.asked(4)
    assert given == [house.challenger.model.release] * 4


def test_a_challenger_three_times_off_is_stopped_when_the_window_is_full(tmp_path, releases):
    house = House(tmp_path, releases, "far").begin()
    answered = house.names(house.asked(40))
    assert answered == ["challenger"] * LIMITS.window + ["champion"] * (40 - LIMITS.window)
    assert house.facts["state"] == "stopped"
    assert "from the champion over 10 requests; the limit is 25.0%" in house.facts["reason"]


@pytest.mark.parametrize("mode", ["canary", "ab"])
def test_a_challenger_that_fails_is_stopped_at_its_third_error_and_no_request_fails(tmp_path, releases, mode):
    broken = replace(releases["near"], predictor=Broken(releases["near"].predictor))
    house = House(tmp_path, releases, broken, mode=mode).begin()
    assert house.names(house.asked(10)) == ["champion"] * 10
    assert (house.facts["state"], house.facts["n"], house.facts["errors"]) == ("stopped", 3, 3)
    assert house.facts["reason"] == "3 errors in 3 requests; the limit is 3"


def test_an_ab_test_goes_on_however_far_the_challenger_is(tmp_path, releases):
    house = House(tmp_path, releases, "far", mode="ab").begin()
    assert house.names(house.asked(30)) == ["challenger"] * 30
    assert house.facts["state"] == "running"


def test_a_stop_survives_a_restart_and_the_same_plan_asked_for_again_begins_anew(tmp_path, releases):
    house = House(tmp_path, releases, "far").begin()
    house.asked(LIMITS.window)
    wait_for(house.file.stops_path.exists)
    before = len(house.loads)
    house.restart()
    house.traffic.follow()
    assert house.names(house.asked(5)) == ["champion"] * 5
    assert house.facts["state"] == "stopped"
    assert house.facts["n"] == LIMITS.window
    assert len(house.loads) == before  # it is not even loaded
    house.plan = house.plan.model_copy(update={"asked_at": datetime.now(UTC)})
    house.begin()
    assert house.facts["state"] == "running"


def test_a_stop_in_one_process_stops_the_others(tmp_path, releases):
    one, other = (House(tmp_path, releases, "far").begin() for _ in range(2))
    one.asked(LIMITS.window)
    wait_for(one.file.stops_path.exists)
    other.traffic.follow()
    assert other.facts["state"] == "stopped"
    assert other.names(other.asked(3)) == ["champion"] * 3


def test_a_request_is_judged_by_the_schema_of_its_arm(tmp_path, releases):
    house = House(tmp_path, releases, "loose").begin()
    many = json.dumps({"instances": [{**ROW, "bedrooms": 15}]}).encode()
    assert house.ask(many)[1] == 200  # 10 is the champion's maximum
    assert house.facts["errors"] == 0


def test_a_challenger_that_refuses_what_the_champion_accepts_errs(tmp_path, releases):
    house = House(tmp_path, releases, "strict").begin()
    many = json.dumps({"instances": [{**ROW, "bedrooms": 7}]}).encode()
    assert house.names(house.asked(5, many)) == ["champion"] * 5
    assert (house.facts["state"], house.facts["errors"]) == ("stopped", 3)


def test_what_is_the_callers_fault_is_told_by_the_champion_and_counts_for_nothing(tmp_path, releases):
    house = House(tmp_path, releases, "near").begin()
    exchange = Exchange("POST", "/predict")
    wrong = json.dumps({"instances": [{**ROW, "bedrooms": "three"}]}).encode()
    answer = asyncio.run(house.answering.answer(exchange, "application/json", wrong))
    assert answer == predict_response(releases["champion"], "application/json", wrong, exchange.request_id)
    assert (answer[0], house.facts["n"], house.facts["errors"]) == (400, 0, 0)


def test_a_challenger_that_became_the_champion_is_not_tried_any_more(tmp_path, releases):
    house = House(tmp_path, releases, "near").begin()
    house.champion = replace(house.challenger)  # loaded apart
    assert house.asked(3) == [house.challenger.model.release] * 3
    assert house.facts["n"] == 0
    house.traffic.follow()
    assert house.facts["state"] == "refused"
    assert "is the champion by now" in house.facts["reason"]


def test_a_bad_challenger_is_refused_and_the_champion_answers(tmp_path, releases):
    house = House(tmp_path, releases, "near")

    def refuse(plan):
        raise ReleaseRefused("release x: model/point.txt: changed")

    house.load = refuse
    house.restart()
    house.begin()
    assert house.names(house.asked(3)) == ["champion"] * 3
    assert (house.facts["state"], house.facts["reason"]) == ("refused", "release x: model/point.txt: changed")


@pytest.mark.parametrize(
    ("challenger", "changes", "told"),
    [
        ("euros", {}, "answers for tiny_town in EUR, the champion for tiny_town in USD"),
        ("near", {"release": "f" * 64}, "the plan says ffff"),
        ("champion", {}, "is the champion: there is nothing to compare"),
    ],
)
def test_a_challenger_that_cannot_be_compared_is_refused(tmp_path, releases, challenger, changes, told):
    house = House(tmp_path, releases, challenger, **changes).begin()
    assert house.facts["state"] == "refused"
    assert told in house.facts["reason"]
    assert house.ask()[2]["model"]["release"] == house.champion.model.release


def test_a_plan_that_nobody_can_read_is_told_and_ends_the_one_before(tmp_path, releases):
    house = House(tmp_path, releases, "near").begin()
    house.file.path.write_text("{")
    house.traffic.follow()
    assert house.names(house.asked(3)) == ["champion"] * 3
    assert house.facts["state"] == "refused"
    assert "not a traffic plan" in house.facts["reason"]
    house.begin()
    assert house.facts["state"] == "running"


def test_a_plan_that_is_removed_or_over_ends(tmp_path, releases):
    house = House(tmp_path, releases, "near").begin()
    house.file.remove()
    house.traffic.follow()
    assert house.facts is None
    assert house.names(house.asked(3)) == ["champion"] * 3
    house.plan = house.plan.model_copy(update={"until": datetime.now(UTC) - timedelta(seconds=1)})
    house.begin()
    assert house.facts is None


def test_where_there_is_no_file_the_environments_plan_is_in_force(tmp_path, releases):
    house = House(tmp_path, releases, "near")
    house.traffic = Traffic(house.load, lambda: house.champion, house.file, house.plan)
    house.traffic.follow()
    assert house.facts["mode"] == "canary"
    house.file.write(house.plan.model_copy(update={"mode": "ab"}))
    house.traffic.follow()
    assert house.facts["mode"] == "ab"
    house.traffic.close()


# Shadow


@pytest.fixture
def shadowed(tmp_path, releases, log):
    houses = []

    def make(challenger="far", **changes):
        house = House(tmp_path, releases, challenger, log, **{"mode": "shadow", **changes}).begin()
        houses.append(house)
        return house

    yield make
    for house in houses:
        house.traffic.close()


def test_a_shadow_answers_too_and_its_answers_are_logged_and_never_returned(shadowed, tmp_path, log):
    house = shadowed()
    assert house.names(house.asked(20)) == ["champion"] * 20
    wait_for(lambda: house.facts["n"] == 20)
    house.traffic.close()
    found = rows(log, tmp_path)
    by_role = {role: [row for row in found if row.role == role] for role in ("served", "shadow")}
    assert [row.request_id for row in by_role["served"]] == [row.request_id for row in by_role["shadow"]]
    assert {row.release for row in by_role["served"]} == {house.champion.model.release}
    assert {row.release for row in by_role["shadow"]} == {house.challenger.model.release}
    assert house.facts["disagreement"] > 1
    assert house.facts["state"] == "running"  # a shadow is to be looked at, not stopped


def test_a_shadow_sees_its_share_of_the_requests(shadowed):
    house = shadowed(share=0.5)
    house.asked(100)
    expected = house.traffic.challenge()
    wait_for(lambda: house.facts["n"] + house.facts["answered"]["dropped"] > 0 and not expected._asked)
    assert 25 <= house.facts["n"] <= 75
    assert house.facts["answered"]["champion"] == 100


def test_the_errors_of_a_shadow_reach_no_caller(shadowed, releases):
    house = shadowed(replace(releases["near"], predictor=Broken(releases["near"].predictor)))
    assert house.names(house.asked(20)) == ["champion"] * 20
    wait_for(lambda: house.facts["errors"] == 20)
    assert house.facts["state"] == "running"
    assert house.facts["disagreement"] is None  # infinite: an error is the largest


def test_what_a_shadow_cannot_keep_up_with_is_dropped_and_counted(shadowed, releases, monkeypatch):
    gate = threading.Event()

    class Slow(Broken):
        def answer(self, body):
            gate.wait(20)
            return Predictor.answer(self, body)

    monkeypatch.setattr(shadow, "CAPACITY", 5)
    house = shadowed(replace(releases["near"], predictor=Slow(releases["near"].predictor)))
    assert house.names(house.asked(20)) == ["champion"] * 20
    dropped = house.facts["answered"]["dropped"]
    assert dropped >= 20 - 5 - 1
    gate.set()
    wait_for(lambda: house.facts["n"] == 20 - dropped)


@pytest.mark.parametrize("text", [None, "{"])
def test_a_shadow_whose_plan_is_gone_leaves_no_thread_behind(shadowed, text):
    house = shadowed()
    assert "shadow" in {thread.name for thread in threading.enumerate()}
    house.file.remove() if text is None else house.file.path.write_text(text)
    house.traffic.follow()
    assert "shadow" not in {thread.name for thread in threading.enumerate()}


def test_a_refused_request_is_not_shown_to_a_shadow(shadowed):
    house = shadowed()
    assert house.ask(b"{}")[1] == 400
    house.asked(1)
    wait_for(lambda: house.facts["n"] == 1)
    assert house.facts["errors"] == 0


def test_in_durable_mode_a_shadow_is_logged_too_and_no_caller_waits_for_it(tmp_path, releases):
    log = PredictionLog.open(str(tmp_path / "log.db"), "durable")
    house = House(tmp_path, releases, "far", log, mode="shadow").begin()

    async def ask():
        for _ in range(5):
            exchange = Exchange("POST", "/predict")
            status, _ = await house.answering.answer(exchange, "application/json", BODY)
            assert status == 200
        while house.facts["n"] < 5 or log.pending or log.recorded < 10:
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(ask(), 10))
    house.traffic.close()
    assert sorted(row.role for row in rows(log, tmp_path)) == ["served"] * 5 + ["shadow"] * 5


def test_explanations_are_of_the_release_whose_estimates_the_caller_gets(tmp_path, releases):
    house = House(tmp_path, releases, "near", share=0.5).begin()
    for number in range(12):
        exchange, _, content = house.ask(key=f"caller-{number}".encode())
        asked = Exchange("POST", "/explain", headers=exchange.headers)
        status, body = asyncio.run(house.answering.explain(asked, "application/json", BODY))
        assert status == 200
        assert json.loads(body)["model"]["release"] == content["model"]["release"] == asked.release


def test_the_figures_for_prometheus_tell_arms_errors_and_whether_it_was_stopped(tmp_path, releases):
    house = House(tmp_path, releases, "far", share=0.5).begin()
    answered = house.names(house.asked(60))
    figures = {(f.name, *sorted(dict(f.labels).items())): f.value for f in house.traffic.standing.figures()}
    challenger = ("challenger", house.challenger.model.release)
    assert figures["hedonic_traffic_requests_total", ("arm", "challenger"), challenger] == LIMITS.window
    assert figures["hedonic_traffic_errors_total", challenger] == 0
    assert figures["hedonic_traffic_stopped", challenger] == 1
    assert answered.count("challenger") == LIMITS.window

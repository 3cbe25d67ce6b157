"""The watch stops a bad challenger within the stated number of requests, and leaves a good one alone."""

import json
import random

import pytest

from hedonic.serving.traffic_plan import TrafficLimits
from hedonic.serving.traffic_watch import Watch, disagreement

LIMITS = TrafficLimits(max_errors=3, window=20, max_disagreement=0.25)


def until_stopped(watch, behave, most=10_000):
    """Return after how many requests there was a reason to stop, and the reason."""
    for n in range(1, most + 1):
        behave(watch)
        if reason := watch.reason():
            return n, reason
    return None, None


def test_one_that_always_errs_is_stopped_by_its_third_error():
    n, reason = until_stopped(Watch(LIMITS, by_disagreement=True), Watch.erred)
    assert n == 3
    assert reason == "3 errors in 3 requests; the limit is 3"


def test_one_that_always_disagrees_is_stopped_when_the_window_is_full():
    n, reason = until_stopped(Watch(LIMITS, by_disagreement=True), lambda w: w.answered(2.0))
    assert n == LIMITS.window == LIMITS.n_requests
    assert reason == "it is a median of 200.0% from the champion over 20 requests; the limit is 25.0%"


@pytest.mark.parametrize("seed", range(20))
def test_one_that_errs_or_disagrees_at_every_request_is_stopped_within_the_stated_number(seed):
    draw = random.Random(seed)
    limits = TrafficLimits(max_errors=draw.randint(1, 30), window=draw.randint(1, 30))
    p_error = draw.random()

    def behave(watch):
        if draw.random() < p_error:
            watch.erred()
        else:
            watch.answered(1.0)

    n, _ = until_stopped(Watch(limits, by_disagreement=True), behave)
    assert n <= limits.n_requests


def test_one_within_the_limits_goes_on():
    assert until_stopped(Watch(LIMITS, by_disagreement=True), lambda w: w.answered(0.25), 200) == (None, None)


def test_an_ab_test_is_not_stopped_for_disagreeing():
    watch = Watch(LIMITS, by_disagreement=False)
    assert until_stopped(watch, lambda w: w.answered(9.0), 200) == (None, None)
    assert until_stopped(watch, Watch.erred)[0] == 3


def answer(*estimates):
    return json.dumps({"predictions": [{"estimate": estimate} for estimate in estimates]}).encode()


@pytest.mark.parametrize(
    ("champion", "challenger", "apart"),
    [
        (answer(100.0), answer(100.0), 0.0),
        (answer(100.0), answer(300.0), 2.0),
        (answer(300.0), answer(100.0), 2 / 3),
        (answer(100.0, 100.0, 100.0), answer(110.0, 100.0, 150.0), 0.1),
        (answer(0.0), answer(0.0), 0.0),
        (answer(0.0), answer(1.0), float("inf")),
        (answer(-100.0), answer(-50.0), 0.5),
    ],
)
def test_the_disagreement_is_the_median_relative_difference_of_the_rows(champion, challenger, apart):
    assert disagreement(champion, challenger) == pytest.approx(apart)

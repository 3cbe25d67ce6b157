"""The simple model: it ships where it is shown to be as good as the study's, within the margin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hedonic.data.gate_policy import GatePolicy
from hedonic.promotion.paired import weigh_simple

POLICY = GatePolicy(limits=(), resamples=200)


def weighed(gain, margin=0.25, policy=POLICY):
    simple = np.zeros(100)
    return weigh_simple(policy, margin, simple - gain, simple, family="boosting", seed=0)


@pytest.mark.parametrize("gain", [0.0, -1.0, math.nextafter(0.25, 0)])
def test_ridge_ships_where_it_is_not_worse_beyond_the_margin(gain):
    found = weighed(gain)
    assert (found.check, found.outcome) == ("simple-model-ships", "passed")
    assert (found.value, found.limit) == (pytest.approx(-gain), -0.25)
    assert found.sentence.startswith("ridge is as good as boosting and ships in its place: mean absolute log")


@pytest.mark.parametrize("gain", [0.25, 0.5])
def test_ridge_that_is_worse_by_the_margin_or_more_does_not_ship(gain):
    found = weighed(gain)
    assert (found.check, found.outcome, found.value) == ("simple-model", "passed", -gain)
    assert found.sentence == (
        f"ridge is not shown to be as good as boosting: mean absolute log error 0.00000 against {-gain:.5f} "
        f"on 100 calibration rows, with 95% confidence a gain of at least {-gain:+.5f}; the margin is 0.25"
    )


def test_it_is_a_paired_test_at_the_contract_s_confidence():
    rng = np.random.default_rng(0)
    simple = rng.exponential(1.0, 300)
    noise = rng.normal(0.0, 0.1, 300)
    found = simple - (noise - noise.mean())  # a standard error of 0.0058, of 0.06 if unpaired
    assert weigh_simple(POLICY, 0.015, found, simple, family="boosting", seed=0).check == "simple-model-ships"
    sure = POLICY.model_copy(update={"confidence": 0.9999, "resamples": 20_000})
    assert weigh_simple(sure, 0.015, found, simple, family="boosting", seed=0).check == "simple-model"


@pytest.mark.parametrize(("n_rows", "check"), [(29, "simple-model"), (30, "simple-model-ships")])
def test_fewer_than_thirty_calibration_rows_show_nothing(n_rows, check):
    losses = np.ones(n_rows)
    found = weigh_simple(POLICY, 0.25, losses, losses, family="boosting", seed=0)
    assert (found.check, found.outcome, found.limit) == (check, "passed", -0.25)
    if n_rows == 29:
        assert found.value is None
        assert found.sentence.endswith("boosting: only 29 calibration rows to compare on, fewer than 30")


@pytest.mark.parametrize("place", ["found", "simple"])
def test_a_row_without_a_price_shows_nothing(place):
    losses = {"found": np.ones(30), "simple": np.ones(30)}  # as many as are asked for: they are not too few
    losses[place][7] = math.nan
    found = weigh_simple(POLICY, 0.25, **losses, family="boosting", seed=0)
    assert (found.check, found.outcome, found.value) == ("simple-model", "passed", None)
    assert found.sentence.endswith("as boosting: one of them gives a calibration row no price above 0")

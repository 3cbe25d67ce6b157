"""Calibration: MAPIE's numbers are those worked by hand, and they cover what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedonic.model.calibration import EPSILON, calibrate


def normalised_scores(point: np.ndarray, width: np.ndarray, actual: np.ndarray) -> np.ndarray:
    return np.sort(np.abs(actual - point) / np.maximum(EPSILON, np.exp(width)))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(20, 300), seed=st.integers(0, 10_000))
def test_a_quantile_is_the_smallest_score_that_covers_with_one_more_row(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    point, width, actual = rng.normal(12, 1, n), rng.normal(-2, 0.5, n), rng.normal(12, 1, n)
    conformal = calibrate(point, width, actual)
    scores = normalised_scores(point, width, actual)
    assert conformal.q_80 == pytest.approx(scores[math.ceil((n + 1) * 0.8) - 1], rel=1e-9)
    assert conformal.q_90 == pytest.approx(scores[math.ceil((n + 1) * 0.9) - 1], rel=1e-9)
    assert conformal.q_80 <= conformal.q_90


def test_intervals_cover_new_rows_as_often_as_they_say_and_adapt_to_the_row() -> None:
    rng = np.random.default_rng(1)
    spread = rng.choice([0.05, 0.4], 40_000)
    actual, point, width = 12 + spread * rng.standard_t(4, 40_000), np.full(40_000, 12.0), np.log(spread)
    conformal = calibrate(point[:4000], width[:4000], actual[:4000])
    for level, share in ((80, 0.80), (90, 0.90)):
        low, high = conformal.bounds(point[4000:], width[4000:], level=level)
        inside = (low <= actual[4000:]) & (actual[4000:] <= high)
        assert inside.mean() == pytest.approx(share, abs=0.02)
        for value in (0.05, 0.4):
            assert inside[spread[4000:] == value].mean() == pytest.approx(share, abs=0.025)


def test_residuals_of_nothing_give_intervals_of_almost_nothing() -> None:
    conformal = calibrate(np.zeros(50), np.full(50, -3.0), np.zeros(50))
    assert conformal.q_90 == 0.0

"""Metrics on published and hand-worked values, and on what must hold for any values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedonic.errors import HedonicError
from hedonic.model import metrics
from hedonic.model.metrics import (
    Metrics,
    RatioStudy,
    interval_figures,
    loss,
    measure,
    paired_losses,
    ratio_study,
)

# IAAO, Standard on Ratio Studies (2013): appraised value, sale price.
TABLE_1_1 = [
    (48000, 138000), (28800, 59250), (78400, 157500), (39840, 74400), (68160, 114900),
    (94400, 159000), (67200, 111900), (56960, 93000), (87200, 138720), (38240, 59700),
    (96320, 146400), (67680, 99000), (32960, 47400), (50560, 70500), (61360, 78000),
    (47360, 60000), (58080, 69000), (47040, 55500), (136000, 154500), (103200, 109500),
    (59040, 60000), (168000, 168000), (128000, 124500), (132000, 127500), (160000, 150000),
    (160000, 141000), (200000, 171900), (184000, 157500), (160000, 129600), (157200, 126000),
    (99200, 77700), (200000, 153000), (64000, 48750), (192000, 144000), (190400, 141000),
    (65440, 48000),
]  # fmt: skip
TABLE_1_4 = [
    (87200, 138720), (38240, 59700), (96320, 146400), (68610, 99000), (32960, 47400),
    (50560, 70500), (61360, 78000), (47360, 60000), (56580, 69000), (47040, 55500),
    (136000, 154500), (98000, 109500), (56000, 60000), (159100, 168000), (128000, 124500),
    (132000, 127500), (160000, 150000),
]  # fmt: skip
TABLE_D_2 = [
    (45000, 50000), (100000, 100000), (165000, 150000), (180000, 200000), (250000, 250000),
    (330000, 300000), (315000, 350000), (400000, 400000), (495000, 450000), (450000, 500000),
    (550000, 550000), (660000, 600000), (585000, 650000), (700000, 700000), (825000, 750000),
    (1875000, 2500000),
]  # fmt: skip

ACTUAL = np.array([100.0, 200.0, 400.0, 300.0])
ESTIMATE = np.array([110.0, 190.0, 300.0, 360.0])  # off by 10 %, 5 %, 25 %, 20 %

prices = st.floats(min_value=1e3, max_value=1e7)
pairs = st.lists(st.tuples(prices, prices), min_size=2, max_size=40).map(np.array)
# Hypothesis counts the first call, which imports scikit-learn, against its deadline.
relaxed = settings(deadline=None, max_examples=60)


def test_error_metrics_equal_the_values_worked_by_hand() -> None:
    measured = measure(ACTUAL, ESTIMATE)

    rss = 10**2 + 10**2 + 100**2 + 60**2
    logs = [math.log(e / a) for a, e in zip(ACTUAL, ESTIMATE, strict=True)]
    assert measured.n_rows == 4
    assert measured.rss == pytest.approx(rss)
    assert measured.rmse == pytest.approx(math.sqrt(rss / 4))
    assert measured.mae == pytest.approx(45.0)
    assert measured.r2 == pytest.approx(1 - rss / 50_000)
    assert measured.mape_pct == pytest.approx((10 + 5 + 25 + 20) / 4)
    assert measured.wmape_pct == pytest.approx(100 * 180 / 1000)
    assert measured.mdape_pct == pytest.approx(15.0)
    assert measured.within_10_pct == pytest.approx(50.0)
    assert measured.within_20_pct == pytest.approx(75.0)
    assert measured.log_rmse == pytest.approx(math.sqrt(sum(x * x for x in logs) / 4))


def test_an_estimate_exactly_ten_percent_off_is_within_ten_percent() -> None:
    assert measure([1.0, 3.0], [1.1, 3.3]).within_10_pct == 100.0


@pytest.mark.parametrize(
    ("table", "median", "cod", "prd", "prb"),
    [
        pytest.param(TABLE_1_1, 0.864, 29.8, 0.98, 0.232, id="Table 1-1"),
        pytest.param(TABLE_1_4, 0.820, 14.5, 0.98, 0.135, id="Table 1-4"),
        pytest.param(TABLE_D_2, 1.0, 7.8, 1.056, -0.011, id="Table D-2"),
    ],
)
def test_the_ratio_study_equals_the_tables_of_the_iaao_standard(
    table: list[tuple[int, int]], median: float, cod: float, prd: float, prb: float
) -> None:
    estimate, price = np.array(table, dtype=float).T

    study = ratio_study(price, estimate)

    assert study.median_ratio == pytest.approx(median, abs=0.001)
    assert study.cod == pytest.approx(cod, abs=0.05)
    assert study.prd == pytest.approx(prd, abs=0.005)
    assert study.prb == pytest.approx(prb, abs=0.0006)


def test_the_ratio_study_equals_the_published_figures_of_cook_county() -> None:
    import assesspy

    sample = assesspy.ccao_sample()

    study = ratio_study(sample.sale_price, sample.estimate)

    assert study.cod == pytest.approx(17.81456901196891)
    assert study.prd == pytest.approx(1.0484192615223522)
    assert study.prb == pytest.approx(0.0024757, abs=1e-6)


def test_a_ratio_study_names_each_statistic_outside_its_limit_and_the_source_of_the_limit() -> None:
    study = RatioStudy(n_rows=50, median_ratio=0.97, cod=18.2, prd=1.01, prb=None)

    found = {finding.statistic: finding for finding in study.findings}

    assert found["median_ratio"].outcome == "passed"
    assert found["cod"].outcome == "issue"
    assert found["cod"].sentence == (
        "18.200 is outside 5 to 15 (IAAO Standard on Ratio Studies, 9.2, Table 1-3)"
    )
    assert found["prd"].outcome == "passed"
    assert found["prb"].outcome == "not applicable"


def test_r2_and_prb_are_absent_where_values_do_not_vary() -> None:
    assert measure([5.0, 5.0], [4.0, 6.0]).r2 is None
    assert ratio_study([5.0, 5.0], [4.0, 4.0]).prb is None


def test_interval_figures_count_what_the_interval_holds_and_measure_it_against_the_estimate() -> None:
    interval = np.array([[90.0, 130.0], [195.0, 205.0], [200.0, 400.0], [320.0, 400.0]])

    figures = interval_figures(90, ACTUAL, [100.0, 200.0, 250.0, 400.0], interval)

    assert figures.level_pct == 90
    assert figures.coverage_pct == 75.0  # the last price lies below its interval; ends count
    assert figures.mean_relative_width_pct == pytest.approx((40 + 5 + 80 + 20) / 4)
    assert figures.median_relative_width_pct == pytest.approx(30.0)


def test_the_paired_loss_is_the_absolute_log_error_of_each_row() -> None:
    assert paired_losses([100.0, 200.0], [110.0, 100.0]) == pytest.approx([math.log(1.1), math.log(2)])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("measured", [measure, ratio_study, paired_losses])
def test_a_sale_price_that_is_missing_infinite_or_not_positive_is_refused(
    measured: Callable[[list[float], list[float]], object], bad: float
) -> None:
    with pytest.raises(HedonicError, match=r"1 rows have a sale price .* above 0 \(first at row 2"):
        measured([1.0, 2.0, bad], [1.0, 2.0, 3.0])


def test_every_problem_is_named_before_metrics_are_refused() -> None:
    with pytest.raises(HedonicError, match=r"sale price .* row 0: -1\).*estimate .* row 1: nan\)"):
        measure([-1.0, 2.0], [1.0, math.nan])


def test_metrics_of_no_rows_are_refused() -> None:
    with pytest.raises(HedonicError, match="0 rows, at least 1 needed"):
        measure([], [])
    with pytest.raises(HedonicError, match="1 rows, at least 2 needed"):
        ratio_study([1.0], [1.0])


def test_vectors_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one length; got \(2,\), \(3,\)"):
        measure([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("row", [[2.0, 3.0], [0.5, 0.9], [math.nan, 2.0], [0.5, math.inf]])
def test_an_interval_that_does_not_hold_its_own_estimate_is_refused(row: list[float]) -> None:
    with pytest.raises(HedonicError, match=r"interval_80: 1 rows .* \(first at row 1"):
        interval_figures(80, [1.0, 1.0], [1.0, 1.0], [[0.9, 1.1], row])


def test_an_interval_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"interval_90: shape \(2,\), expected \(2, 2\)"):
        interval_figures(90, [1.0, 1.0], [1.0, 1.0], [0.9, 1.1])


def test_the_loss_of_an_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'accuracy' is not one of log_rmse, mae"):
        loss("accuracy", [1.0], [1.0])


def test_the_loss_in_money_allows_an_estimate_below_zero_and_the_loss_in_logs_does_not() -> None:
    assert loss("mae", [1.0, 2.0], [-1.0, 2.0]) == 1.0
    with pytest.raises(HedonicError, match=r"estimate that is not finite and above 0 .*target.scale: log"):
        loss("log_rmse", [1.0, 2.0], [-1.0, 2.0])


def test_every_metric_has_exactly_one_direction() -> None:
    named = set(Metrics.model_fields) - {"n_rows"} | set(RatioStudy.model_fields) - {"n_rows"}
    directions = [metrics.LOWER_IS_BETTER, metrics.HIGHER_IS_BETTER, set(metrics.BEST_AT)]

    assert named <= set().union(*directions)
    assert sum(len(group) for group in directions) == len(set().union(*directions))


@relaxed
@given(pairs)
def test_perfect_estimates_are_the_best_by_every_loss(pair: np.ndarray) -> None:
    actual, estimate = pair.T
    for metric in metrics.LOWER_IS_BETTER | metrics.HIGHER_IS_BETTER - {"r2"}:
        if metric != "cod":
            assert loss(metric, actual, actual) <= loss(metric, actual, estimate)


@relaxed
@given(pairs, st.floats(min_value=0.01, max_value=100))
def test_relative_metrics_do_not_depend_on_the_currency(pair: np.ndarray, rate: float) -> None:
    actual, estimate = pair.T
    here, there = measure(actual, estimate), measure(actual * rate, estimate * rate)
    for name in ("mape_pct", "wmape_pct", "mdape_pct", "log_rmse"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=1e-6, abs=1e-9)
    assert there.rmse == pytest.approx(here.rmse * rate, rel=1e-6, abs=1e-9)


@relaxed
@given(pairs)
def test_metrics_do_not_depend_on_the_order_of_rows(pair: np.ndarray) -> None:
    order = np.random.default_rng(len(pair)).permutation(len(pair))
    here, there = measure(*pair.T), measure(*pair[order].T)
    for name, value in here.model_dump(exclude={"r2"}).items():
        assert getattr(there, name) == pytest.approx(value, rel=1e-6, abs=1e-9), name


@relaxed
@given(pairs)
def test_rmse_is_at_least_mae_and_shares_stay_between_0_and_100(pair: np.ndarray) -> None:
    measured = measure(*pair.T)
    assert measured.rmse >= measured.mae * (1 - 1e-12)
    assert 0 <= measured.within_10_pct <= measured.within_20_pct <= 100


@relaxed
@given(pairs, st.floats(min_value=0.2, max_value=5))
def test_one_factor_on_all_estimates_moves_the_median_ratio_alone(pair: np.ndarray, factor: float) -> None:
    actual, estimate = pair.T
    here, there = ratio_study(actual, estimate), ratio_study(actual, estimate * factor)
    assert there.median_ratio == pytest.approx(here.median_ratio * factor)
    assert there.cod == pytest.approx(here.cod, rel=1e-6, abs=1e-9)
    assert there.prd == pytest.approx(here.prd, rel=1e-6)


@relaxed
@given(pairs, st.floats(min_value=0, max_value=1), st.floats(min_value=0, max_value=1))
def test_a_wider_interval_never_covers_less(pair: np.ndarray, narrow: float, more: float) -> None:
    actual, estimate = pair.T

    def figures(share: float) -> float:
        bounds = np.column_stack([estimate * (1 - share), estimate * (1 + share)])
        return interval_figures(90, actual, estimate, bounds).coverage_pct

    assert figures(narrow) <= figures(narrow + more)

"""Conformal intervals, applied: the half width by hand, nested levels, low <= point <= high."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedonic.model.intervals import Conformal

CONFORMAL = Conformal(q_80=1.5, q_90=2.0, epsilon=0.01)
finite = st.floats(-50, 50)


def test_the_half_width_is_the_quantile_times_the_predicted_residual() -> None:
    low, high = CONFORMAL.bounds(np.array([12.0, 12.0]), np.log([0.1, 0.2]), level=80)
    np.testing.assert_allclose(low, [11.85, 11.7])
    np.testing.assert_allclose(high, [12.15, 12.3])
    low, high = CONFORMAL.bounds(np.array([12.0]), np.log([0.1]), level=90)
    np.testing.assert_allclose([low[0], high[0]], [11.8, 12.2])


def test_a_predicted_residual_of_nothing_still_has_a_width() -> None:
    low, high = CONFORMAL.bounds(np.array([12.0]), np.array([-800.0]), level=90)
    np.testing.assert_allclose([low[0], high[0]], [11.98, 12.02])


def test_a_level_that_was_not_learnt_is_not_answered() -> None:
    with pytest.raises(KeyError, match="95"):
        CONFORMAL.bounds(np.zeros(1), np.zeros(1), level=95)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30))
def test_the_point_lies_in_the_80_percent_interval_and_that_in_the_90(
    rows: list[tuple[float, float]],
) -> None:
    point, width = np.array(rows).T
    low_80, high_80 = CONFORMAL.bounds(point, width, level=80)
    low_90, high_90 = CONFORMAL.bounds(point, width, level=90)
    assert (low_90 <= low_80).all()
    assert (low_80 <= point).all()
    assert (point <= high_80).all()
    assert (high_80 <= high_90).all()


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30))
def test_point_and_bounds_side_by_side_have_the_bits_of_each_alone(rows: list[tuple[float, float]]) -> None:
    point, width = np.array(rows).T
    wanted = [point, *CONFORMAL.bounds(point, width, level=80), *CONFORMAL.bounds(point, width, level=90)]
    assert CONFORMAL.around(point, width).tobytes() == np.column_stack(wanted).tobytes()

"""Conformal prediction intervals, learnt by MAPIE on the calibration rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from mapie.conformity_scores import ResidualNormalisedScore
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin

from hedonic.model.intervals import Conformal

Vector = npt.NDArray[np.float64]
EPSILON = 0.02


class _Column(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted regressor that answers with one column of its input.

    MAPIE is given what two models answered, rather than the models, and so never sees a feature.
    """

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.n_features_in_ = 2
        self.is_fitted_ = True

    def fit(self, matrix: Any, target: Any) -> _Column:
        """Return itself: there is nothing to learn."""
        return self

    def predict(self, matrix: Any) -> Vector:
        """Return the column."""
        return np.asarray(matrix, dtype=np.float64)[:, self.position]


def calibrate(point: Vector, width: Vector, actual: Vector) -> Conformal:
    """Return the conformal quantiles of the calibration rows, all on the model's scale.

    Args:
        point: estimates for rows that the point model has not seen, shape (n_calibration,).
        width: predicted log absolute residuals of the same rows, shape (n_calibration,).
        actual: what they really were, shape (n_calibration,).
    """
    score = ResidualNormalisedScore(residual_estimator=_Column(1), prefit=True, sym=True)
    score.eps = EPSILON
    regressor = SplitConformalRegressor(
        _Column(0), confidence_level=[0.8, 0.9], conformity_score=score, prefit=True
    )
    regressor.conformalize(np.column_stack([point, np.exp(width)]), actual)
    # At a row whose estimate is 0 and whose predicted residual is 1, the upper bound is the quantile.
    _, bounds = regressor.predict_interval(np.array([[0.0, 1.0]]))
    q_80, q_90 = (float(bounds[0, 1, level]) for level in (0, 1))
    return Conformal(q_80=q_80, q_90=q_90, epsilon=EPSILON)

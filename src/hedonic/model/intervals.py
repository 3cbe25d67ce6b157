"""Conformal prediction intervals, applied: learnt numbers in, bounds out (numpy alone)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Conformal:
    """Quantiles of residual-normalised conformity scores, symmetric about the point.

    The half width of a row is ``q * max(epsilon, exp(width))`` on the scale on which the model was
    fitted, ``width`` being the row's predicted log absolute residual. Source: Lei et al. (2018),
    "Distribution-free predictive inference for regression", section 5.2; learnt by MAPIE.
    """

    q_80: float
    q_90: float
    epsilon: float

    def bounds(self, point: Vector, width: Vector, *, level: int) -> tuple[Vector, Vector]:
        """Return low and high on the model's scale, each of shape (n_rows,).

        Args:
            point: estimates on the model's scale, shape (n_rows,).
            width: predicted log absolute residuals, shape (n_rows,).
            level: 80 or 90, in percent.
        """
        half = {80: self.q_80, 90: self.q_90}[level] * self._spread(width)
        return point - half, point + half

    def around(self, point: Vector, width: Vector) -> Matrix:
        """Return the point and the bounds of both levels, shape (n_rows, 5): see ``bounds``.

        In the order point, low and high of 80 %, low and high of 90 %.
        """
        halves = self._spread(width)[:, None] * np.array([self.q_80, self.q_90])
        values: Matrix = np.empty((len(point), 5))
        values[:, 0] = point
        np.subtract(point[:, None], halves, out=values[:, 1::2])
        np.add(point[:, None], halves, out=values[:, 2::2])
        return values

    def _spread(self, width: Vector) -> Vector:
        return np.maximum(self.epsilon, np.exp(width))

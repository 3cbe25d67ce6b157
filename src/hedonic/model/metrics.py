"""How far estimates lie from sale prices: error metrics, the appraisal ratio study, intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Frozen
from hedonic.errors import HedonicError

Vector = npt.NDArray[np.float64]

# The direction of every metric, stated here and nowhere else.
LOWER_IS_BETTER = frozenset({"rmse", "mae", "rss", "mape_pct", "wmape_pct", "mdape_pct", "log_rmse", "cod"})
HIGHER_IS_BETTER = frozenset({"r2", "within_10_pct", "within_20_pct"})
BEST_AT = {"median_ratio": 1.0, "prd": 1.0, "prb": 0.0, "coverage_80_pct": 80.0, "coverage_90_pct": 90.0}

# An estimate exactly 10 % off counts as within 10 %, whatever the last bit of the division says.
_ROUNDING = 1e-12


class Metrics(Frozen):
    """Error metrics of estimates against sale prices, all positive, in natural units.

    ``rmse`` and ``mae`` are in the target's unit, ``rss`` in its square; ``*_pct`` in percent of
    the sale price; ``log_rmse`` in natural logarithms, so 0.17 is about 17 %. ``r2`` is None where
    the sale prices do not vary (a slice of capped values), for it is then undefined.
    """

    n_rows: int
    rmse: float
    mae: float
    r2: float | None
    rss: float
    mape_pct: float
    wmape_pct: float
    mdape_pct: float
    within_10_pct: float
    within_20_pct: float
    log_rmse: float


class RatioLimit(Frozen):
    """The range that the profession accepts for one statistic of a ratio study, both ends included."""

    low: float
    high: float
    source: str


# IAAO, Standard on Ratio Studies (2013). COD: single-family homes of mixed age and location;
# below 5 the standard suspects sales chasing or a sample that is not representative.
RATIO_LIMITS = {
    "median_ratio": RatioLimit(low=0.90, high=1.10, source="IAAO Standard on Ratio Studies, 9.1"),
    "cod": RatioLimit(low=5.0, high=15.0, source="IAAO Standard on Ratio Studies, 9.2, Table 1-3"),
    "prd": RatioLimit(low=0.98, high=1.03, source="IAAO Standard on Ratio Studies, 9.2.7"),
    "prb": RatioLimit(low=-0.05, high=0.05, source="IAAO Standard on Ratio Studies, 9.2.7"),
}


class RatioFinding(Frozen):
    """What one statistic of a ratio study says against its limit, in one sentence."""

    statistic: str
    outcome: Literal["passed", "issue", "not applicable"]
    sentence: str


class RatioStudy(Frozen):
    """The appraisal ratio study: estimate / sale price, its level and its equity.

    ``cod`` is the mean absolute deviation from the median ratio, in percent of it (horizontal
    equity); ``prd`` and ``prb`` tell whether dear homes are valued lower than cheap ones (PRD
    above 1, PRB below 0). No ratio is trimmed. ``prb`` is None where values do not vary.
    """

    n_rows: int
    median_ratio: float
    cod: float
    prd: float
    prb: float | None

    @property
    def findings(self) -> tuple[RatioFinding, ...]:
        """Return each statistic judged against the profession's limits."""
        return tuple(self._finding(name, limit) for name, limit in RATIO_LIMITS.items())

    def _finding(self, name: str, limit: RatioLimit) -> RatioFinding:
        value: float | None = getattr(self, name)
        if value is None:
            return RatioFinding(statistic=name, outcome="not applicable", sentence="values do not vary")
        within = limit.low <= value <= limit.high
        sentence = (
            f"{value:.3f} is {'within' if within else 'outside'} {limit.low:g} to {limit.high:g} "
            f"({limit.source})"
        )
        return RatioFinding(statistic=name, outcome="passed" if within else "issue", sentence=sentence)


class IntervalFigures(Frozen):
    """How often an interval holds the sale price, and how wide it is in percent of the estimate."""

    level_pct: int
    n_rows: int
    coverage_pct: float
    mean_relative_width_pct: float
    median_relative_width_pct: float


def _rmse(actual: Vector, estimate: Vector) -> float:
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(actual, estimate))


def _mae(actual: Vector, estimate: Vector) -> float:
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(actual, estimate))


def _mape_pct(actual: Vector, estimate: Vector) -> float:
    from sklearn.metrics import mean_absolute_percentage_error

    return 100.0 * float(mean_absolute_percentage_error(actual, estimate))


def _r2(actual: Vector, estimate: Vector) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(actual, estimate))


def _rss(actual: Vector, estimate: Vector) -> float:
    return float(np.sum((actual - estimate) ** 2))


def _wmape_pct(actual: Vector, estimate: Vector) -> float:
    return 100.0 * _mae(actual, estimate) / float(np.mean(actual))


def _mdape_pct(actual: Vector, estimate: Vector) -> float:
    return 100.0 * float(np.median(np.abs(estimate - actual) / actual))


def _log_rmse(actual: Vector, estimate: Vector) -> float:
    return _rmse(np.log(actual), np.log(estimate))


def _within_pct(actual: Vector, estimate: Vector, share: float) -> float:
    return 100.0 * float(np.mean(np.abs(estimate - actual) / actual <= share + _ROUNDING))


_METRICS: dict[str, Callable[[Vector, Vector], float]] = {
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
    "rss": _rss,
    "mape_pct": _mape_pct,
    "wmape_pct": _wmape_pct,
    "mdape_pct": _mdape_pct,
    "within_10_pct": lambda actual, estimate: _within_pct(actual, estimate, 0.10),
    "within_20_pct": lambda actual, estimate: _within_pct(actual, estimate, 0.20),
    "log_rmse": _log_rmse,
}


def loss(metric: str, actual: npt.ArrayLike, estimate: npt.ArrayLike) -> float:
    """Return the metric as a number to minimise: itself, or minus itself where higher is better.

    Args:
        metric: one of the fields of ``Metrics``.
        actual: sale prices, shape (n_rows,), above 0.
        estimate: estimates in the same unit, shape (n_rows,); above 0 where ``metric`` is log_rmse.

    Raises:
        HedonicError: a value is missing, infinite, or not positive where it must be.
        ValueError: no such metric, or shapes that differ.
    """
    if metric not in _METRICS:
        raise ValueError(f"metric {metric!r} is not one of {', '.join(sorted(_METRICS))}")
    a, e = _pair(actual, estimate, positive_estimate=metric == "log_rmse")
    value = _METRICS[metric](a, e)
    return -value if metric in HIGHER_IS_BETTER else value


def measure(actual: npt.ArrayLike, estimate: npt.ArrayLike) -> Metrics:
    """Return all error metrics of the estimates.

    Args:
        actual: sale prices, shape (n_rows,), above 0.
        estimate: estimates in the same unit, shape (n_rows,), above 0.

    Raises:
        HedonicError: no rows, or a value that is missing, infinite or not positive.
        ValueError: the shapes differ.
    """
    a, e = _pair(actual, estimate)
    figures: dict[str, Any] = {name: metric(a, e) for name, metric in _METRICS.items() if name != "r2"}
    return Metrics(n_rows=len(a), r2=_r2(a, e) if np.ptp(a) > 0 else None, **figures)


def ratio_study(actual: npt.ArrayLike, estimate: npt.ArrayLike) -> RatioStudy:
    """Return the appraisal ratio study of at least two estimates, as assesspy computes it.

    Raises:
        HedonicError: fewer than two rows, or a value that is missing, infinite or not positive.
        ValueError: the shapes differ.
    """
    import assesspy

    a, e = _pair(actual, estimate, at_least=2)
    median = float(np.median(e / a))
    varies = float(np.ptp(e / median + a)) > 0
    return RatioStudy(
        n_rows=len(a),
        median_ratio=median,
        cod=assesspy.cod(e, a),
        prd=assesspy.prd(e, a),
        prb=assesspy.prb(e, a) if varies else None,
    )


def interval_figures(
    level_pct: int, actual: npt.ArrayLike, estimate: npt.ArrayLike, interval: npt.ArrayLike
) -> IntervalFigures:
    """Return coverage and width of an interval; ``interval`` has shape (n_rows, 2), low and high.

    Raises:
        HedonicError: no rows, a value that is missing, infinite or not positive, or an interval
            that does not hold its own estimate.
        ValueError: the shapes differ.
    """
    a, e = _pair(actual, estimate)
    bounds = np.asarray(interval, dtype=np.float64)
    if bounds.shape != (len(a), 2):
        raise ValueError(f"interval_{level_pct}: shape {bounds.shape}, expected ({len(a)}, 2)")
    low, high = bounds[:, 0], bounds[:, 1]
    wrong = np.flatnonzero(~(np.isfinite(bounds).all(axis=1) & (low <= e) & (e <= high)))
    if len(wrong):
        row = int(wrong[0])
        raise HedonicError(
            f"interval_{level_pct}: {len(wrong)} rows are not finite with low <= estimate <= high "
            f"(first at row {row}: {low[row]:g} <= {e[row]:g} <= {high[row]:g}). "
            "Fit the calibration again; a model with such intervals is not released."
        )
    width_pct = 100.0 * (high - low) / e
    return IntervalFigures(
        level_pct=level_pct,
        n_rows=len(a),
        coverage_pct=100.0 * float(np.mean((low <= a) & (a <= high))),
        mean_relative_width_pct=float(np.mean(width_pct)),
        median_relative_width_pct=float(np.median(width_pct)),
    )


def paired_losses(actual: npt.ArrayLike, estimate: npt.ArrayLike) -> Vector:
    """Return each row's absolute log error, shape (n_rows,): 0.01 is about 1 % of the price.

    Raises:
        HedonicError: a value that is missing, infinite or not positive.
        ValueError: the shapes differ.
    """
    a, e = _pair(actual, estimate)
    return np.asarray(np.abs(np.log(e) - np.log(a)))


def _pair(
    actual: npt.ArrayLike, estimate: npt.ArrayLike, *, at_least: int = 1, positive_estimate: bool = True
) -> tuple[Vector, Vector]:
    """Return both as float64 vectors of one length, checked for what no metric is defined on."""
    a, e = np.asarray(actual, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    if a.ndim != 1 or a.shape != e.shape:
        raise ValueError(
            f"sale prices and estimates must be two vectors of one length; got {a.shape}, {e.shape}"
        )
    if len(a) < at_least:
        raise HedonicError(f"metrics: {len(a)} rows, at least {at_least} needed. Give a larger holdout.")
    problems = [
        *_problems("sale price", a, positive=True),
        *_problems("estimate", e, positive=positive_estimate),
    ]
    if problems:
        raise HedonicError("metrics: " + "; ".join(problems))
    return a, e


def _problems(what: str, values: Vector, *, positive: bool) -> list[str]:
    wrong = np.flatnonzero(~np.isfinite(values) | (values <= 0 if positive else False))
    if not len(wrong):
        return []
    fix = (
        "Quarantine these rows in the contract's rules."
        if what == "sale price"
        else "Learn on the log scale (target.scale: log) or look at the features of these rows."
    )
    wanted = "finite and above 0" if positive else "finite"
    row = int(wrong[0])
    first = f"first at row {row}: {values[row]:g}"
    return [f"{len(wrong)} rows have a {what} that is not {wanted} ({first}). {fix}"]

"""From a recipe and a split to a candidate: a fitted, calibrated, portable model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract, Family
from hedonic.data.split import Rows, Split
from hedonic.data.table import Columns, n_rows, take
from hedonic.model.artifact import PortableModel
from hedonic.model.calibration import calibrate
from hedonic.model.families import fitted_curve, make_estimator, portable
from hedonic.model.feature_fitting import FittedFeatures, fit_features
from hedonic.model.recipe import Recipe
from hedonic.model.scorers import Scorer, TreeScorer
from hedonic.model.search import Fold, fit_quietly

Vector = npt.NDArray[np.float64]

WIDTH_TREES = {
    "n_estimators": 100,
    "num_leaves": 15,
    "learning_rate": 0.05,
    "min_child_samples": 40,
    "colsample_bytree": 0.5,
    "reg_lambda": 5.0,
}
LEVEL_DAYS = 35
LEVEL_ROWS = 50
LEAST_RESIDUAL = 5e-3
FIRST_FOLD = 0.5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fitted model and what its fitting showed.

    Attributes:
        model: portable.
        curve: loss after each iteration, on calibration rows for trees; empty where there is none.
        importances: gain by feature, the greatest first; empty where a family has none.
    """

    model: PortableModel
    curve: tuple[float, ...]
    importances: dict[str, float]


def target_of(contract: Contract, columns: Columns) -> Vector:
    """Return the target on the model's scale, shape (n_rows,)."""
    values = np.asarray(columns[contract.target.column], dtype=np.float64)
    return np.log(values) if contract.target.scale == "log" else values


def fold_rows(contract: Contract, columns: Columns, seed: int) -> list[tuple[Rows, Rows]]:
    """Return train and valid positions of each fold of the training rows.

    With a time column the folds are later and later, the first begins at half the rows, and an id
    in the valid part is not in the train part. Without one they are random; an id is in one fold.
    """
    from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit

    n, n_folds = n_rows(columns), contract.search.folds
    ids = columns[contract.id_column] if contract.id_column else None
    if contract.time_column is not None:
        order = np.argsort(columns[contract.time_column], kind="stable")
        size = max(1, int(n * (1 - FIRST_FOLD)) // n_folds)
        folds = []
        for train, valid in TimeSeriesSplit(n_folds, test_size=size).split(order):
            rows, judged = order[train], order[valid]
            if ids is not None:
                rows = rows[~np.isin(ids[rows], ids[judged])]
            folds.append((np.sort(rows), np.sort(judged)))
        return folds
    if ids is not None and len(np.unique(ids)) < n:
        splitter: Any = GroupKFold(n_folds, shuffle=True, random_state=seed)
        return [(train, valid) for train, valid in splitter.split(ids, groups=ids)]
    return list(KFold(n_folds, shuffle=True, random_state=seed).split(np.arange(n)))


def make_fold(
    contract: Contract, columns: Columns, train: Rows, valid: Rows, *, n_clusters: int | None, seed: int
) -> Fold:
    """Return the fold's matrices, features learnt on its train part."""
    target = target_of(contract, columns)
    fitted = fit_features(contract, take(columns, train), target[train], n_clusters=n_clusters, seed=seed)
    matrix = fitted.map.apply(take(columns, valid))
    return Fold(fitted.matrix, target[train], matrix, target[valid], fitted.map.categorical)


def fit_candidate(
    contract: Contract, columns: Columns, split: Split, recipe: Recipe, folds: Sequence[Fold]
) -> Candidate:
    """Return the candidate: fitted on train, calibrated on calibration; the holdout is not touched.

    Args:
        contract: of the data set.
        columns: canonical columns of all rows that the split is about.
        split: positions in ``columns``.
        recipe: family, hyper-parameters, clusters and seed.
        folds: of the train rows; what the recipe gets wrong on them teaches the interval's width.
    """
    train, calibration = take(columns, split.train), take(columns, split.calibration)
    target, actual = target_of(contract, train), target_of(contract, calibration)
    features = fit_features(contract, train, target, n_clusters=recipe.n_clusters, seed=recipe.seed)
    unseen = features.map.apply(calibration)
    estimator = _fit_point(recipe, features, target, watched=(unseen, actual))
    width = _fit_width(recipe, features.map.categorical, folds)
    scorer = portable(estimator)
    level = _level(contract, calibration, actual - scorer.predict(unseen))
    conformal = calibrate(scorer.predict(unseen) + level, width.predict(unseen), actual)
    model = PortableModel(
        contract=contract,
        family=recipe.family,
        features=features.map,
        point=scorer,
        width=width,
        conformal=conformal,
        level=level,
        training_ranges=_ranges(contract, train),
        valuation_date_default=_last_day(contract, train),
    )
    return Candidate(model, tuple(fitted_curve(estimator)), _importances(scorer, features.map.names))


def refit(contract: Contract, columns: Columns, recipe: Recipe, judged: PortableModel) -> PortableModel:
    """Return the judged recipe fitted on all rows; its width, intervals and level are the judged ones.

    The level corrects what the recipe misses on the sales that follow its training, and those are
    what the refitted model will be asked about.
    """
    target = target_of(contract, columns)
    features = fit_features(contract, columns, target, n_clusters=recipe.n_clusters, seed=recipe.seed)
    estimator = _fit_point(recipe, features, target, watched=None)
    return replace(
        judged,
        features=features.map,
        point=portable(estimator),
        training_ranges=_ranges(contract, columns),
        valuation_date_default=_last_day(contract, columns),
    )


def fit_baselines(
    contract: Contract,
    columns: Columns,
    split: Split,
    families: Mapping[Family, Mapping[str, Any]],
    seed: int,
) -> dict[str, Vector]:
    """Return the estimates of naive families on the holdout, each in the target's unit, shape (n_holdout,).

    Args:
        contract: of the data set.
        columns: canonical columns of all rows that the split is about.
        split: positions in ``columns``.
        families: the hyper-parameters of each family; all are fitted on the same features.
        seed: of everything random.
    """
    train = take(columns, split.train)
    target = target_of(contract, train)
    features = fit_features(contract, train, target, n_clusters=_clusters(contract), seed=seed)
    holdout = features.map.apply(take(columns, split.holdout))
    estimates = {}
    for family, parameters in families.items():
        recipe = Recipe(family=family, parameters=dict(parameters), n_clusters=_clusters(contract), seed=seed)
        estimate = portable(_fit_point(recipe, features, target, watched=None)).predict(holdout)
        estimates[str(family)] = np.exp(estimate) if contract.target.scale == "log" else estimate
    return estimates


def _clusters(contract: Contract) -> int | None:
    return contract.features.place.min_clusters if contract.features.place else None


def _fit_point(
    recipe: Recipe, features: FittedFeatures, target: Vector, watched: tuple[Any, Vector] | None
) -> Any:
    estimator = make_estimator(
        recipe.family, recipe.parameters, categorical=features.map.categorical, seed=recipe.seed
    )
    if watched is not None and recipe.family in ("forest", "boosting"):
        return fit_quietly(
            estimator, features.matrix, target, eval_X=watched[0], eval_y=watched[1], eval_metric="rmse"
        )
    return fit_quietly(estimator, features.matrix, target)


def _fit_width(recipe: Recipe, categorical: tuple[int, ...], folds: Sequence[Fold]) -> Scorer:
    """Return the scorer of log absolute residuals, learnt from rows that the point did not see."""
    residuals = []
    for fold in folds:
        estimator = make_estimator(
            recipe.family, recipe.parameters, categorical=categorical, seed=recipe.seed
        )
        estimate = fit_quietly(estimator, fold.train, fold.train_target).predict(fold.valid)
        error = fold.valid_target - estimate
        residuals.append(np.log(np.maximum(np.abs(error - np.median(error)), LEAST_RESIDUAL)))
    width = make_estimator("boosting", WIDTH_TREES, categorical=categorical, seed=recipe.seed)
    width.fit(np.vstack([fold.valid for fold in folds]), np.concatenate(residuals))
    return portable(width)


def _level(contract: Contract, calibration: Columns, residual: Vector) -> float:
    """Return the median residual of the latest calibration sales: where the market has moved since.

    Of the last 35 days, or of all calibration rows where those are fewer than 50. Without a time
    column there is no movement to correct.
    """
    if contract.time_column is None:
        return 0.0
    days = calibration[contract.time_column]
    latest = days > days.max() - LEVEL_DAYS
    return float(np.median(residual[latest] if latest.sum() >= LEVEL_ROWS else residual))


def _ranges(contract: Contract, columns: Columns) -> dict[str, tuple[float, float]]:
    numbers = [c.name for c in contract.inputs if c.type in ("integer", "number")]
    known = {name: columns[name][~np.isnan(columns[name])] for name in numbers}
    return {name: (float(v.min()), float(v.max())) for name, v in known.items() if len(v)}


def _last_day(contract: Contract, columns: Columns) -> float | None:
    return float(columns[contract.time_column].max()) if contract.time_column else None


def _importances(scorer: Scorer, names: tuple[str, ...]) -> dict[str, float]:
    """Return LightGBM's total gain by feature; names are those of the matrix's columns."""
    if not isinstance(scorer, TreeScorer):
        return {}
    gains = dict.fromkeys(names, 0.0)
    for block in scorer.booster.text.split("\nTree=")[1:]:
        lines = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if lines.get("split_feature"):
            for feature, gain in zip(
                lines["split_feature"].split(), lines["split_gain"].split(), strict=True
            ):
                gains[names[int(feature)]] += float(gain)
    return dict(sorted(gains.items(), key=lambda item: -item[1]))

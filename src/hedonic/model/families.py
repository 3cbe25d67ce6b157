"""The families of candidates: scikit-learn estimators by name, and the portable form of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hedonic.data.contract import Family
from hedonic.model.booster import Booster
from hedonic.model.scorers import ConstantScorer, Design, NetworkScorer, Scorer, TreeScorer

if TYPE_CHECKING:
    from sklearn.base import RegressorMixin
    from sklearn.pipeline import Pipeline

CLIP = 6.0
MAX_TREES = 400

Parameters = Mapping[str, Any]


def make_estimator(
    family: Family, parameters: Parameters, *, categorical: Sequence[int], seed: int
) -> RegressorMixin:
    """Return an unfitted scikit-learn estimator of the family, one thread, seeded.

    Args:
        family: its name.
        parameters: hyper-parameters in the estimator's own names.
        categorical: positions of features that hold category codes.
        seed: of every random choice.
    """
    makers = {
        "median": _median,
        "ridge": _ridge,
        "network": _network,
        "forest": _forest,
        "boosting": _boosting,
    }
    return makers[family](dict(parameters), list(categorical), seed)


def _median(parameters: dict[str, Any], categorical: list[int], seed: int) -> Any:
    from sklearn.dummy import DummyRegressor

    return DummyRegressor(strategy="median", **parameters)


def _ridge(parameters: dict[str, Any], categorical: list[int], seed: int) -> Any:
    from sklearn.linear_model import Ridge

    return _designed(Ridge(**{"alpha": 1.0, "solver": "cholesky", **parameters}), categorical)


def _network(parameters: dict[str, Any], categorical: list[int], seed: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    hidden_units = int(parameters.pop("hidden_units", 48))
    fixed = {
        "hidden_layer_sizes": (hidden_units, hidden_units // 2),
        "activation": "relu",
        "max_iter": 40,
        "early_stopping": True,
        "n_iter_no_change": 6,
        "batch_size": 128,
        "random_state": seed,
    }
    # A network wants a target of unit scale; the scale is folded into its last layer when it is released.
    return TransformedTargetRegressor(
        _designed(MLPRegressor(**{**fixed, **parameters}), categorical), transformer=StandardScaler()
    )


def _designed(estimator: Any, categorical: list[int]) -> Pipeline:
    """Return the estimator behind one-hot codes and filled, standardised, clipped numbers."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    numbers = Pipeline(
        [
            ("fill", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("standardise", StandardScaler()),
            ("clip", FunctionTransformer(np.clip, kw_args={"a_min": -CLIP, "a_max": CLIP})),
        ]
    )
    coded = [("codes", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categorical)]
    design = ColumnTransformer(
        [("numbers", numbers, _Complement(categorical)), *(coded if categorical else [])]
    )
    return Pipeline([("design", design), ("model", estimator)])


class _Complement:
    """Selects every column of a matrix but the given ones."""

    def __init__(self, left_out: Sequence[int]) -> None:
        self.left_out = tuple(left_out)

    def __call__(self, matrix: Any) -> list[int]:
        return [n for n in range(matrix.shape[1]) if n not in self.left_out]


_TREES: dict[str, Any] = {
    "n_estimators": MAX_TREES,
    "num_leaves": 31,
    "n_jobs": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


def _forest(parameters: dict[str, Any], categorical: list[int], seed: int) -> Any:
    from lightgbm import LGBMRegressor

    forest = {"boosting_type": "rf", "subsample": 0.63, "subsample_freq": 1, "colsample_bynode": 0.5}
    return LGBMRegressor(
        **{**_TREES, **forest, "n_estimators": 200, **_seeded(parameters, categorical, seed)}
    )


def _boosting(parameters: dict[str, Any], categorical: list[int], seed: int) -> Any:
    from lightgbm import LGBMRegressor

    return LGBMRegressor(**{**_TREES, **_seeded(parameters, categorical, seed)})


def _seeded(parameters: dict[str, Any], categorical: list[int], seed: int) -> dict[str, Any]:
    # LightGBM's scikit-learn estimator takes the parameter under this one of its names alone.
    coded = {"categorical_column": categorical} if categorical else {}
    return {**coded, "random_state": seed, **parameters}


def portable(fitted: Any) -> Scorer:
    """Return the scorer that answers as the fitted estimator does.

    Raises:
        TypeError: the estimator is of no family.
    """
    from lightgbm import LGBMRegressor
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.dummy import DummyRegressor
    from sklearn.pipeline import Pipeline

    match fitted:
        case DummyRegressor():
            return ConstantScorer(float(np.ravel(fitted.constant_)[0]))
        case LGBMRegressor():
            return TreeScorer(Booster.from_text(fitted.booster_.model_to_string()))
        case TransformedTargetRegressor():
            return _portable_network(fitted)
        case Pipeline():
            model = fitted["model"]
            weights = np.asarray(model.coef_, dtype=np.float64).reshape(-1, 1)
            bias = np.array([float(model.intercept_)])
            return NetworkScorer(_portable_design(fitted["design"]), (weights,), (bias,))
        case _:
            raise TypeError(f"{type(fitted).__name__} is of no family that can be released")


def _portable_network(fitted: Any) -> NetworkScorer:
    """Return the network with the target's scale folded into its last layer."""
    pipeline, target = fitted.regressor_, fitted.transformer_
    model = pipeline["model"]
    weights, biases = list(model.coefs_), list(model.intercepts_)
    weights[-1] = weights[-1] * target.scale_[0]
    biases[-1] = biases[-1] * target.scale_[0] + target.mean_[0]
    return NetworkScorer(_portable_design(pipeline["design"]), tuple(weights), tuple(biases))


def _portable_design(design: Any) -> Design:
    numbers = design.named_transformers_["numbers"]
    positions = {name: columns for name, _, columns in design.transformers_}
    coded = "codes" in design.named_transformers_
    return Design(
        numbers=np.asarray(positions["numbers"], dtype=np.int64),
        fill=np.asarray(numbers["fill"].statistics_, dtype=np.float64),
        mean=np.asarray(numbers["standardise"].mean_, dtype=np.float64),
        scale=np.asarray(numbers["standardise"].scale_, dtype=np.float64),
        clip=CLIP,
        categories=tuple(positions["codes"]) if coded else (),
        codes=tuple(
            np.asarray(known, dtype=np.float64) for known in design.named_transformers_["codes"].categories_
        )
        if coded
        else (),
    )


def fitted_curve(fitted: Any) -> list[float]:
    """Return the training loss after each iteration; empty where a family has none."""
    model = getattr(fitted, "regressor_", fitted)
    model = model["model"] if hasattr(model, "named_steps") else model
    if hasattr(model, "loss_curve_"):
        return [float(loss) for loss in model.loss_curve_]
    for results in getattr(model, "evals_result_", {}).values():
        return [float(loss) for loss in next(iter(results.values()))]
    return []

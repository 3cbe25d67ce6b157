"""Families: scikit-learn's grammar in, a portable form that answers alike out."""

from __future__ import annotations

import gc
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from hedonic.model.families import MAX_TREES, fitted_curve, make_estimator, portable
from hedonic.model.scorers import TreeScorer
from hedonic.model.search import fit_quietly

FAMILIES: Any = ("median", "ridge", "network", "forest", "boosting")
SMALL: dict[str, dict[str, Any]] = {
    "network": {"hidden_units": 8, "max_iter": 10},
    "forest": {"n_estimators": 12, "num_leaves": 7},
    "boosting": {"n_estimators": 12, "num_leaves": 7},
}
# Why scikit-learn's own checks fail on scikit-learn's and LightGBM's own classes.
DENSE = "matrices are dense and two-dimensional here"
MISSING = "missing values are filled"
EXPECTED_TO_FAIL: dict[str, dict[str, str]] = {
    "median": {},
    "ridge": {
        "check_estimators_overwrite_params": "a Pipeline fits its steps in place",
        "check_dont_overwrite_parameters": "a Pipeline fits its steps in place",
        "check_estimators_nan_inf": MISSING,
        "check_estimator_sparse_array": DENSE,
        "check_estimator_sparse_matrix": DENSE,
        "check_fit1d": DENSE,
        "check_fit2d_predict1d": DENSE,
    },
    "network": {
        "check_estimators_nan_inf": MISSING,
        "check_estimator_sparse_array": DENSE,
        "check_estimator_sparse_matrix": DENSE,
        "check_fit1d": DENSE,
        "check_fit2d_predict1d": DENSE,
        "check_regressors_no_decision_function": "early stopping holds rows back: ten are too few",
        "check_fit2d_1feature": "early stopping holds rows back: ten are too few",
    },
    "forest": {
        "check_no_attributes_set_in_init": "LightGBM's parameters beyond scikit-learn's",
        "check_all_zero_sample_weights_error": "LightGBM takes no weight for an answer",
        "check_sample_weight_equivalence_on_dense_data": "LightGBM draws and bins rows, not weights",
        "check_sample_weight_equivalence_on_sparse_data": "LightGBM draws and bins rows, not weights",
    },
}
EXPECTED_TO_FAIL["boosting"] = EXPECTED_TO_FAIL["forest"]


def rows(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return three numbers and a category whose codes are in no order of value, a tenth missing."""
    rng = np.random.default_rng(seed)
    matrix = np.column_stack([rng.normal(size=(n, 3)) * [1, 100, 0.01], rng.integers(0, 6, n)])
    effect = np.array([3.0, -2.0, 2.0, -3.0, 1.0, 0.0])[matrix[:, 3].astype(int)]
    target = 12 + matrix[:, 0] + 0.002 * matrix[:, 1] ** 2 / 100 + effect + rng.normal(0, 0.1, n)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    return matrix, target


def fitted(family: Any, categorical: tuple[int, ...] = (3,), **parameters: Any) -> Any:
    estimator = make_estimator(family, SMALL.get(family, {}) | parameters, categorical=categorical, seed=3)
    return fit_quietly(estimator, *rows())


@pytest.mark.parametrize("categorical", [(), (3,)])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_portable_form_answers_as_the_estimator_does(family: Any, categorical: tuple[int, ...]) -> None:
    estimator = fitted(family, categorical)
    matrix, _ = rows(300, seed=1)
    matrix[:5, 3] = 77.0  # a code never seen
    matrix[5:9] = np.nan
    matrix[9:12, 0] = [1e9, -1e9, 0.0]
    estimate = estimator.predict(matrix)
    np.testing.assert_allclose(portable(estimator).predict(matrix), estimate, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_estimator_can_be_cloned_copied_and_cross_validated(family: Any) -> None:
    matrix, target = rows()
    estimator = make_estimator(family, SMALL.get(family, {}), categorical=(3,), seed=3)
    twin = pickle.loads(pickle.dumps(clone(estimator)))
    one, other = (fit_quietly(each, matrix, target).predict(matrix) for each in (estimator, twin))
    assert one.tobytes() == other.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(cross_val_score(estimator, matrix, target, cv=3)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_estimator_keeps_scikit_learn_s_grammar(family: Any) -> None:
    trees = {"n_estimators": 5, "min_child_samples": 1} if family in ("forest", "boosting") else {}
    estimator = make_estimator(family, trees, categorical=(), seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, expected_failed_checks=EXPECTED_TO_FAIL[family])
    assert sum(result["status"] == "passed" for result in results) >= 40


@pytest.mark.parametrize("family", FAMILIES)
def test_fitting_and_predicting_are_quiet(family: Any, recwarn: pytest.WarningsRecorder) -> None:
    gc.collect()  # what earlier tests left open is told now
    recwarn.clear()
    matrix, target = rows()
    options = {"eval_X": matrix, "eval_y": target} if family in ("forest", "boosting") else {}
    estimator = make_estimator(family, SMALL.get(family, {}), categorical=(3,), seed=3)
    fitted = fit_quietly(estimator, matrix, target, **options)
    fitted.predict(matrix)
    portable(fitted).predict(matrix)
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("family", ["network", "forest", "boosting"])
def test_the_seed_decides(family: Any) -> None:
    matrix, target = rows()
    drawn = {"subsample": 0.5, "subsample_freq": 1} if family == "boosting" else {}
    parameters = SMALL[family] | drawn
    one, same, other = (
        fit_quietly(make_estimator(family, parameters, categorical=(3,), seed=seed), matrix, target).predict(
            matrix
        )
        for seed in (3, 3, 4)
    )
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("family", ["ridge", "boosting"])
def test_categories_are_told_apart_by_themselves_and_not_by_their_order(family: Any) -> None:
    matrix, target = rows(2000)
    few = {"n_estimators": 1, "num_leaves": 2, "learning_rate": 1.0} if family == "boosting" else {}
    matrix[:, :3] = 0.0
    errors = {}
    for categorical in ((3,), ()):
        estimator = make_estimator(family, few, categorical=categorical, seed=0)
        errors[categorical] = np.abs(fit_quietly(estimator, matrix, target).predict(matrix) - target).mean()
    assert errors[(3,)] < 0.99 * errors[()]
    if family == "boosting":
        assert (
            "num_cat=0" not in portable(fitted("boosting")).booster.text.split("Tree=0")[1].split("Tree=1")[0]
        )  # type: ignore[attr-defined]


def test_trees_are_within_the_default_release_s_budget_and_one_thread() -> None:
    for family in ("forest", "boosting"):
        estimator: Any = make_estimator(family, {}, categorical=(), seed=0)
        assert estimator.n_estimators <= MAX_TREES
        assert (estimator.num_leaves, estimator.n_jobs) == (31, 1)
    scorer = portable(fitted("boosting", n_estimators=9))
    assert isinstance(scorer, TreeScorer)
    assert scorer.booster.n_trees == 9


def test_curves_are_the_loss_a_round_where_a_family_has_one() -> None:
    matrix, target = rows()
    assert fitted_curve(fitted("median")) == fitted_curve(fitted("ridge")) == []
    network = fitted_curve(fitted("network"))
    assert 2 <= len(network) <= 10
    assert network[-1] < network[0]
    assert fitted_curve(fitted("boosting")) == []  # nothing was watched
    estimator = make_estimator("boosting", SMALL["boosting"], categorical=(3,), seed=3)
    watched = fitted_curve(
        fit_quietly(estimator, matrix, target, eval_X=matrix, eval_y=target, eval_metric="rmse")
    )
    assert len(watched) == 12
    assert watched[-1] < watched[0]


def test_an_estimator_of_no_family_has_no_portable_form() -> None:
    with pytest.raises(TypeError, match="LinearRegression is of no family"):
        portable(LinearRegression().fit(*(np.eye(3), np.ones(3))))

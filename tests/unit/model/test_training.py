"""Training: folds that look forward, a candidate that never saw the holdout, a level that follows."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hedonic.data.contract import Contract
from hedonic.data.split import Split, split_rows
from hedonic.data.table import columns_from_frame, take
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.model.families import make_estimator
from hedonic.model.recipe import Recipe
from hedonic.model.scorers import ConstantScorer
from hedonic.model.training import (
    Candidate,
    fit_baselines,
    fit_candidate,
    fold_rows,
    make_fold,
    refit,
    target_of,
)
from tests.contracts import TREES, car_contract, car_frame, house_contract, house_frame

BOOSTING = Recipe(family="boosting", parameters=TREES, n_clusters=4, seed=1)
CARS = BOOSTING.model_copy(update={"n_clusters": None})


def prepared(contract: Contract, n: int = 400) -> tuple[dict[str, Any], Split]:
    frame = house_frame(n) if contract.name == "houses" else car_frame(n)
    return columns_from_frame(contract, frame), split_rows(contract, frame)


def folds_of(contract: Contract, columns: dict[str, Any], split: Split, recipe: Recipe) -> list[Any]:
    train = take(columns, split.train)
    return [
        make_fold(contract, train, *rows, n_clusters=recipe.n_clusters, seed=recipe.seed)
        for rows in fold_rows(contract, train, recipe.seed)
    ]


def candidate_of(contract: Contract, columns: dict[str, Any], split: Split, recipe: Recipe) -> Candidate:
    return fit_candidate(contract, columns, split, recipe, folds_of(contract, columns, split, recipe))


@pytest.fixture(scope="module")
def houses() -> tuple[Contract, dict[str, Any], Split, Candidate]:
    contract = house_contract()
    columns, split = prepared(contract)
    return contract, columns, split, candidate_of(contract, columns, split, BOOSTING)


# ---- target and folds


def test_the_target_is_learnt_on_the_contract_s_scale() -> None:
    columns = {"price": np.array([1.0, np.e])}
    assert target_of(car_contract(), columns).tolist() == [0.0, 1.0]
    straight = car_contract(target={"column": "price", "unit": "EUR", "scale": "identity"})
    assert target_of(straight, columns).tolist() == [1.0, np.e]


def test_folds_with_dates_judge_later_and_later_rows_whose_ids_were_not_learnt() -> None:
    contract = house_contract()
    frame = house_frame(400).sample(frac=1, random_state=0, ignore_index=True)
    columns = columns_from_frame(contract, frame)
    days, ids = columns["sold"], columns["id"]
    folds = fold_rows(contract, columns, seed=1)
    assert len(folds) == 3
    latest = -np.inf
    for train, valid in folds:
        assert days[train].max() <= days[valid].min()
        assert days[valid].min() >= latest
        assert not set(ids[train]) & set(ids[valid])
        assert len(train) >= 150
        assert not set(train) & set(valid)
        latest = days[valid].min()
    assert days[folds[-1][1]].max() == days.max()


def test_folds_without_dates_keep_an_id_in_one_fold_and_judge_every_row_once() -> None:
    columns_without_time = [c.model_dump() for c in house_contract().columns if c.role != "time"]
    contract = house_contract(columns=columns_without_time, features={}, split={"method": "hash"})
    columns = columns_from_frame(contract, house_frame(400))
    folds = fold_rows(contract, columns, seed=1)
    assert sorted(np.concatenate([valid for _, valid in folds])) == list(range(400))
    for train, valid in folds:
        assert not set(columns["id"][train]) & set(columns["id"][valid])


def test_folds_with_neither_are_random_and_seeded() -> None:
    contract = car_contract()
    columns = columns_from_frame(contract, car_frame(100))
    first, again, other = (fold_rows(contract, columns, seed) for seed in (1, 1, 2))
    assert sorted(np.concatenate([valid for _, valid in first])) == list(range(100))
    assert [v.tolist() for _, v in first] == [v.tolist() for _, v in again]
    assert [v.tolist() for _, v in first] != [v.tolist() for _, v in other]


def test_a_fold_s_features_are_learnt_on_its_train_part() -> None:
    contract = house_contract()
    columns, _ = prepared(contract)
    train, valid = np.arange(200), np.arange(200, 300)
    fold = make_fold(contract, columns, train, valid, n_clusters=4, seed=1)
    dearer = {**columns, "price": np.where(np.arange(400) >= 200, 2.0, 1.0) * columns["price"]}
    other = make_fold(contract, dearer, train, valid, n_clusters=4, seed=1)
    assert fold.train.tobytes() == other.train.tobytes()
    assert fold.valid.tobytes() == other.valid.tobytes()
    np.testing.assert_allclose(other.valid_target - fold.valid_target, np.log(2))
    assert fold.valid.shape == (100, fold.train.shape[1])


# ---- the candidate


def test_a_candidate_is_better_than_the_median_and_covers_the_holdout(
    houses: tuple[Contract, dict[str, Any], Split, Candidate],
) -> None:
    _, columns, split, candidate = houses
    holdout = take(columns, split.holdout)
    estimates = candidate.model.estimate(holdout)
    error = np.abs(np.log(estimates.estimate / holdout["price"]))
    naive = np.abs(np.log(np.median(columns["price"][split.train]) / holdout["price"]))
    assert np.median(error) < 0.5 * np.median(naive)
    low, high = estimates.interval_90.T
    assert 0.78 <= ((low <= holdout["price"]) & (holdout["price"] <= high)).mean() <= 1.0


def test_the_holdout_changes_nothing_in_the_candidate(
    houses: tuple[Contract, dict[str, Any], Split, Candidate], tmp_path: Any
) -> None:
    contract, columns, split, candidate = houses
    changed = {name: values.copy() for name, values in columns.items()}
    for name in ("price", "area", "lat"):
        changed[name][split.holdout] *= 1.3
    other = candidate_of(contract, changed, split, BOOSTING)
    for name, model in (("one", candidate.model), ("other", other.model)):
        model.save(tmp_path / name)
    assert folder_digest(tmp_path / "one") == folder_digest(tmp_path / "other")


def test_calibration_rows_change_intervals_and_level_but_not_the_point(
    houses: tuple[Contract, dict[str, Any], Split, Candidate],
) -> None:
    contract, columns, split, candidate = houses
    changed = {**columns, "price": columns["price"].copy()}
    changed["price"][split.calibration] *= np.exp(0.1)
    other = candidate_of(contract, changed, split, BOOSTING).model
    matrix = candidate.model.features.apply(take(columns, split.holdout))
    assert other.point.predict(matrix).tobytes() == candidate.model.point.predict(matrix).tobytes()
    assert other.width.predict(matrix).tobytes() == candidate.model.width.predict(matrix).tobytes()
    assert other.level == pytest.approx(candidate.model.level + 0.1)
    assert other.conformal.q_90 == pytest.approx(candidate.model.conformal.q_90)


def test_the_level_is_the_median_residual_of_the_latest_calibration_sales(
    houses: tuple[Contract, dict[str, Any], Split, Candidate],
) -> None:
    _, columns, split, candidate = houses
    calibration = take(columns, split.calibration)
    matrix = candidate.model.features.apply(calibration)
    residual = np.log(calibration["price"]) - candidate.model.point.predict(matrix)
    assert len(residual) < 50 or np.ptp(calibration["sold"]) < 35  # so that all of them count
    assert candidate.model.level == pytest.approx(np.median(residual))


def test_a_model_knows_its_ranges_and_its_last_day(
    houses: tuple[Contract, dict[str, Any], Split, Candidate],
) -> None:
    _, columns, split, candidate = houses
    train = take(columns, split.train)
    assert candidate.model.valuation_date_default == train["sold"].max()
    assert candidate.model.training_ranges["area"] == (np.nanmin(train["area"]), np.nanmax(train["area"]))
    assert set(candidate.model.training_ranges) == {
        "area",
        "lot",
        "rooms",
        "built",
        "renovated",
        "lat",
        "long",
    }


def test_what_fitting_showed_is_kept(houses: tuple[Contract, dict[str, Any], Split, Candidate]) -> None:
    *_, candidate = houses
    assert len(candidate.curve) == TREES["n_estimators"]
    assert candidate.curve[-1] < candidate.curve[0]
    assert set(candidate.importances) == set(candidate.model.features.names)
    gains = list(candidate.importances.values())
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0


@pytest.mark.parametrize("family", ["median", "ridge", "network", "forest", "boosting"])
def test_every_family_makes_a_candidate_of_cars_which_have_neither_time_nor_place(family: Any) -> None:
    contract = car_contract()
    columns, split = prepared(contract, 300)
    trees = TREES if family in ("forest", "boosting") else {}
    recipe = CARS.model_copy(update={"family": family, "parameters": trees})
    candidate = candidate_of(contract, columns, split, recipe)
    holdout = take(columns, split.holdout)
    estimates = candidate.model.estimate(holdout)
    assert (candidate.model.level, candidate.model.valuation_date_default) == (0.0, None)
    assert candidate.model.family == family
    assert (estimates.interval_90[:, 0] <= estimates.estimate).all()
    assert bool(candidate.importances) == (family in ("forest", "boosting"))
    assert candidate.model.n_trees == (TREES["n_estimators"] if trees else 0)
    if family != "median":
        error = np.abs(np.log(estimates.estimate / holdout["price"]))
        assert np.median(error) < 0.3


def test_a_target_on_its_own_scale_is_estimated_on_it() -> None:
    contract = car_contract(target={"column": "price", "unit": "EUR", "scale": "identity"})
    columns, split = prepared(contract, 300)
    model = candidate_of(contract, columns, split, CARS).model
    holdout = take(columns, split.holdout)
    estimates = model.estimate(holdout)
    assert np.corrcoef(estimates.estimate, holdout["price"])[0, 1] > 0.9
    np.testing.assert_allclose(estimates.interval_90.mean(axis=1), estimates.estimate)


def test_training_is_quiet(recwarn: pytest.WarningsRecorder) -> None:
    gc.collect()  # what earlier tests left open is told now
    recwarn.clear()
    for contract, recipe in ((house_contract(), BOOSTING), (car_contract(), CARS)):
        columns, split = prepared(contract, 300)
        candidate_of(contract, columns, split, recipe).model.estimate(take(columns, split.holdout))
    assert [str(warning.message) for warning in recwarn] == []


# ---- refit and baselines


def test_a_refit_learns_from_all_rows_and_keeps_width_level_and_intervals(
    houses: tuple[Contract, dict[str, Any], Split, Candidate],
) -> None:
    contract, columns, split, candidate = houses
    judged = candidate.model
    fresh = refit(contract, columns, BOOSTING, judged)
    assert fresh.valuation_date_default == columns["sold"].max() > (judged.valuation_date_default or 0)
    assert (fresh.width, fresh.conformal, fresh.level) == (judged.width, judged.conformal, judged.level)
    holdout = take(columns, split.holdout)
    apart = np.log(fresh.estimate(holdout).estimate / judged.estimate(holdout).estimate)
    assert 0 < np.median(np.abs(apart)) < 0.2
    assert fresh.features.comparables is not None
    assert judged.features.comparables is not None
    assert len(fresh.features.comparables.price) > len(judged.features.comparables.price)


@pytest.mark.parametrize("contract", [house_contract(), car_contract()], ids=lambda contract: contract.name)
def test_baselines_estimate_the_holdout_in_the_target_s_unit(contract: Contract) -> None:
    columns, split = prepared(contract)
    naive = fit_baselines(contract, columns, split, {"median": {}, "ridge": {"alpha": 2.0}}, seed=1)
    median, ridge = naive["median"], naive["ridge"]
    actual = columns["price"][split.holdout]
    np.testing.assert_allclose(median, np.median(columns["price"][split.train]), rtol=0.02)
    assert np.abs(np.log(ridge / actual)).mean() < np.abs(np.log(median / actual)).mean()


def test_baselines_that_share_their_features_are_bit_for_bit_those_fitted_alone() -> None:
    contract = house_contract()
    columns, split = prepared(contract)
    families: dict[Any, dict[str, Any]] = {"median": {}, "ridge": {"alpha": 2.0}}
    together = fit_baselines(contract, columns, split, families, seed=1)
    for family, parameters in families.items():
        alone = fit_baselines(contract, columns, split, {family: parameters}, seed=1)
        assert together[family].tobytes() == alone[family].tobytes()


def test_a_baseline_may_be_learnt_on_the_target_s_own_scale() -> None:
    contract = car_contract(target={"column": "price", "unit": "EUR", "scale": "identity"})
    columns, split = prepared(contract)
    median = fit_baselines(contract, columns, split, {"median": {}}, seed=1)["median"]
    np.testing.assert_allclose(median, np.median(columns["price"][split.train]))


def test_a_model_of_trees_says_how_many_and_how_large(
    houses: tuple[Contract, dict[str, Any], Split, Candidate],
) -> None:
    model: PortableModel = houses[-1].model
    assert (model.n_trees, model.max_leaves) == (TREES["n_estimators"], TREES["num_leaves"])
    constant = replace(model, point=ConstantScorer(12.0))
    assert (constant.n_trees, constant.max_leaves) == (0, 0)
    assert make_estimator("boosting", TREES, categorical=(), seed=0).get_params()["num_leaves"] == 7

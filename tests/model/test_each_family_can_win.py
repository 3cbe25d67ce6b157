"""Each family wins on a data set made for it, through the contract, features, folds and study of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hedonic.data.split import split_rows
from hedonic.data.table import columns_from_frame, take
from hedonic.data.training_data import TrainingData
from hedonic.model.budget import Budget
from hedonic.model.study import Tuning
from hedonic.model.training import fit_candidate
from hedonic.model.tuning import make_folds, search_recipe
from tests.contracts import contract_of

N_ROWS = 600
FAMILIES: dict[str, Any] = {
    "median": {},
    "ridge": {"alpha": {"low": 0.01, "high": 10, "log": True}},
    "network": {"hidden_units": 32, "learning_rate_init": 0.01, "max_iter": 150, "n_iter_no_change": 20},
    "forest": {"n_estimators": 60, "num_leaves": 31, "min_child_samples": 5, "colsample_bynode": 1.0},
    "boosting": {"n_estimators": 120, "num_leaves": 7, "min_child_samples": 5, "learning_rate": 0.1},
}


def rng_and_features(n_features: int = 4) -> tuple[np.random.Generator, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng, rng.uniform(-1, 1, (N_ROWS, n_features))


def prices_that_no_feature_explains() -> tuple[np.ndarray, np.ndarray]:
    rng, x = rng_and_features()
    # Most are alike and a few far above: the median is right for most.
    return x, np.where(rng.random(N_ROWS) < 0.25, 1.0, 0.0) + rng.normal(0, 0.01, N_ROWS)


def prices_linear_in_the_features() -> tuple[np.ndarray, np.ndarray]:
    rng, x = rng_and_features()
    return x, x @ [0.8, -0.5, 0.3, 0.2] + rng.normal(0, 0.1, N_ROWS)


def prices_that_wave_smoothly() -> tuple[np.ndarray, np.ndarray]:
    rng, x = rng_and_features(5)
    return x, np.sin(2.5 * (x @ [1.0, 0.8, -0.6, 0.5, -0.7])) + rng.normal(0, 0.02, N_ROWS)


def prices_of_steps_under_heavy_noise() -> tuple[np.ndarray, np.ndarray]:
    rng, x = rng_and_features()
    steps = np.where((x[:, 0] > 0) ^ (x[:, 1] > 0), 1.0, 0.0)
    return x, steps + 0.8 * rng.standard_t(3, N_ROWS) / 1.7


def prices_that_add_up_of_stripes() -> tuple[np.ndarray, np.ndarray]:
    rng, x = rng_and_features(6)
    stripes = np.floor(2 * x + 2) % 2
    return x, stripes @ [0.5, 0.5, 0.4, 0.4, 0.3, 0.3] + rng.normal(0, 0.03, N_ROWS)


MADE_FOR: dict[str, tuple[str, Callable[[], tuple[np.ndarray, np.ndarray]]]] = {
    "median": ("mdape_pct", prices_that_no_feature_explains),
    "ridge": ("log_rmse", prices_linear_in_the_features),
    "network": ("log_rmse", prices_that_wave_smoothly),
    "forest": ("log_rmse", prices_of_steps_under_heavy_noise),
    "boosting": ("log_rmse", prices_that_add_up_of_stripes),
}


def training_data(family: str) -> TrainingData:
    metric, make = MADE_FOR[family]
    x, level = make()
    names = [f"x{n}" for n in range(x.shape[1])]
    contract = contract_of(
        f"made_for_{family}",
        [
            {"name": "price", "type": "number", "role": "target"},
            *({"name": n, "type": "number"} for n in names),
        ],
        search={"metric": metric, "folds": 3, "pruner": "none", "families": FAMILIES},
    )
    frame = pd.DataFrame(x, columns=names).assign(price=np.exp(10 + level))
    return TrainingData(contract, frame, columns_from_frame(contract, frame), split_rows(contract, frame))


def tuned(data: TrainingData, tmp_path: Path) -> Tuning:
    return search_recipe(
        data,
        budget=Budget(trials=5),
        seed=1,
        studies=tmp_path / "studies.journal",
        name=data.contract.name,
        attributes={},
        workers=1,
    )


@pytest.mark.parametrize("family", MADE_FOR)
def test_a_family_wins_on_the_data_made_for_it(family: str, tmp_path: Path) -> None:
    data = training_data(family)
    tuning = tuned(data, tmp_path)
    ranking = [trial.family for trial in tuning.study.leaderboard]
    assert ranking[0] == family, [(trial.family, trial.loss) for trial in tuning.study.leaderboard]
    assert sorted(ranking) == sorted(FAMILIES)
    # Well ahead of the next, and so not by the luck of the seed.
    first, second = (trial.loss for trial in tuning.study.leaderboard[:2])
    assert first < 0.98 * second
    assert tuning.recipe.family == family


def test_the_winner_is_what_is_trained(tmp_path: Path) -> None:
    data = training_data("network")
    tuning = tuned(data, tmp_path)
    folds = make_folds(data, n_clusters=None, seed=1, workers=1)
    candidate = fit_candidate(data.contract, data.columns, data.split, tuning.recipe, folds)
    holdout = take(data.columns, data.split.holdout)
    error = np.log(candidate.model.estimate(holdout).estimate / holdout["price"])
    assert candidate.model.family == "network"
    assert np.sqrt(np.mean(error**2)) < 0.4 * np.log(holdout["price"]).std()

"""How a model of King County behaves: a sixth of the sales and few trees, through the whole chain."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hedonic.data.contract import Contract
from hedonic.data.contract_file import load_contract
from hedonic.data.snapshot import SnapshotStore
from hedonic.data.split import split_rows
from hedonic.data.table import Columns, columns_from_frame, columns_from_records, take
from hedonic.data.training_data import TrainingData
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.model.metrics import measure
from hedonic.model.recipe import Recipe
from hedonic.model.training import fit_baselines, fit_candidate, refit
from hedonic.model.tuning import make_folds

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Recipe(
    family="boosting",
    parameters={"n_estimators": 80, "num_leaves": 15, "learning_rate": 0.1, "colsample_bytree": 0.4},
    n_clusters=8,
    seed=1,
)


@dataclass(frozen=True)
class Fitted:
    data: TrainingData
    model: PortableModel

    @property
    def contract(self) -> Contract:
        return self.data.contract

    @property
    def holdout(self) -> Columns:
        return take(self.data.columns, self.data.split.holdout)

    @property
    def holdout_frame(self) -> pd.DataFrame:
        return self.data.frame.iloc[self.data.split.holdout]


def fit(contract: Contract, frame: pd.DataFrame) -> Fitted:
    columns = columns_from_frame(contract, frame)
    data = TrainingData(contract, frame, columns, split_rows(contract, frame))
    folds = make_folds(data, n_clusters=RECIPE.n_clusters, seed=RECIPE.seed, workers=1)
    return Fitted(data, fit_candidate(contract, columns, data.split, RECIPE, folds).model)


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contract, pd.DataFrame]:
    contract = load_contract(ROOT / "expectations" / "king_county.yaml")
    store = SnapshotStore(tmp_path_factory.mktemp("snapshots"))
    frame = store.frame(store.ingest(contract, ROOT))
    return contract, frame.sample(3600, random_state=0).sort_index(ignore_index=True)


@pytest.fixture(scope="module")
def fitted(sales: tuple[Contract, pd.DataFrame]) -> Fitted:
    return fit(*sales)


def with_changed(columns: Columns, **changes: Any) -> dict[str, Any]:
    """Return the columns, some replaced by what a function makes of them."""
    return {**columns, **{name: change(columns[name]) for name, change in changes.items()}}


def mean_change(fitted: Fitted, **changes: Any) -> float:
    """Return by how much the estimates change on average, in log."""
    before = fitted.model.estimate(fitted.holdout).estimate
    return float(
        np.log(fitted.model.estimate(with_changed(fitted.holdout, **changes)).estimate / before).mean()
    )


# ---- better than the naive


def test_the_model_beats_the_median_and_is_not_behind_ridge_on_so_few_sales(fitted: Fitted) -> None:
    data, actual = fitted.data, fitted.holdout["price"]
    error = measure(actual, fitted.model.estimate(fitted.holdout).estimate).log_rmse
    naive = fit_baselines(data.contract, data.columns, data.split, {"median": {}, "ridge": {}}, seed=1)
    for family, margin in (("median", 0.4), ("ridge", 1.03)):
        assert error < margin * measure(actual, naive[family]).log_rmse
    assert error < 0.22


def test_intervals_cover_the_holdout_about_as_often_as_they_say(fitted: Fitted) -> None:
    estimates = fitted.model.estimate(fitted.holdout)
    for interval, stated in ((estimates.interval_80, 80), (estimates.interval_90, 90)):
        low, high = interval.T
        covered = 100 * ((low <= fitted.holdout["price"]) & (fitted.holdout["price"] <= high)).mean()
        assert covered == pytest.approx(stated, abs=6)


# ---- directions


@pytest.mark.parametrize(
    "changes",
    [
        {"sqft_living": lambda v: v * 1.2},
        {
            "sqft_living": lambda v: v * 1.2,
            "sqft_above": lambda v: v * 1.2,
            "sqft_basement": lambda v: v * 1.2,
        },
        {"grade": lambda v: v + 1},
        {"condition": lambda v: np.minimum(v + 1, 5)},
        {"view": lambda v: np.minimum(v + 1, 4)},
        {"waterfront": np.ones_like},
    ],
    ids=["living area", "all areas", "grade", "condition", "view", "waterfront"],
)
def test_more_of_what_is_good_does_not_lower_the_estimate_on_average(
    fitted: Fitted, changes: dict[str, Any]
) -> None:
    assert mean_change(fitted, **changes) >= 0


def test_a_fifth_more_living_area_is_worth_more_but_not_out_of_proportion(fitted: Fitted) -> None:
    areas = ("sqft_living", "sqft_above", "sqft_basement")
    assert 0.02 < mean_change(fitted, **{name: lambda v: v * 1.2 for name in areas}) < np.log(1.2)


def test_a_house_by_the_lake_in_medina_costs_more_than_the_same_in_the_south(fitted: Fitted) -> None:
    medina = mean_change(
        fitted, lat=lambda v: np.full_like(v, 47.63), long=lambda v: np.full_like(v, -122.23)
    )
    auburn = mean_change(
        fitted, lat=lambda v: np.full_like(v, 47.31), long=lambda v: np.full_like(v, -122.21)
    )
    assert medina > 0.2 > -0.2 > auburn


# ---- invariances


def test_the_order_of_rows_does_not_show_in_their_estimates(fitted: Fitted) -> None:
    order = np.random.default_rng(0).permutation(len(fitted.holdout["price"]))
    before = fitted.model.estimate(fitted.holdout)
    after = fitted.model.estimate(take(fitted.holdout, order))
    assert after.estimate.tobytes() == before.estimate[order].tobytes()
    assert after.interval_90.tobytes() == before.interval_90[order].tobytes()


def test_what_is_no_feature_does_not_show_in_an_estimate(fitted: Fitted) -> None:
    n_rows = len(fitted.holdout["price"])
    others = {
        **with_changed(fitted.holdout, price=lambda v: v * 3, id=lambda v: v + 1),
        "zipcode": np.full(n_rows, "98004", dtype=object),
        "stranger": np.arange(n_rows),
    }
    before = fitted.model.estimate(fitted.holdout).estimate
    assert fitted.model.estimate(others).estimate.tobytes() == before.tobytes()


def test_an_irrelevant_attribute_does_not_show_in_training(
    fitted: Fitted, sales: tuple[Contract, pd.DataFrame], tmp_path: Path
) -> None:
    contract, frame = sales
    agent = {"name": "agent", "type": "text", "role": "attribute", "description": "Who sold it"}
    content = contract.model_dump()
    wider = Contract.model_validate({**content, "columns": [*content["columns"], agent]})
    other = fit(wider, frame.assign(agent=[f"agent {n % 7}" for n in range(len(frame))]))
    before = fitted.model.estimate(fitted.holdout).estimate
    assert other.model.estimate(fitted.holdout).estimate.tobytes() == before.tobytes()


def test_the_same_sales_and_recipe_give_the_same_model_to_the_byte(
    fitted: Fitted, sales: tuple[Contract, pd.DataFrame], tmp_path: Path
) -> None:
    fitted.model.save(tmp_path / "one")
    fit(*sales).model.save(tmp_path / "other")
    assert folder_digest(tmp_path / "one") == folder_digest(tmp_path / "other")


# ---- parities


def test_a_model_that_is_saved_and_loaded_answers_with_the_same_bits(fitted: Fitted, tmp_path: Path) -> None:
    fitted.model.save(tmp_path / "model")
    before = fitted.model.estimate(fitted.holdout)
    after = PortableModel.load(tmp_path / "model").estimate(fitted.holdout)
    for name in ("estimate", "interval_80", "interval_90"):
        assert getattr(after, name).tobytes() == getattr(before, name).tobytes()


def test_a_row_of_json_is_answered_as_the_row_of_training_was(fitted: Fitted) -> None:
    contract, frame = fitted.contract, fitted.holdout_frame
    names = [column.name for column in contract.inputs]
    records = json.loads(frame[names].to_json(orient="records", double_precision=15))
    for record, sold in zip(records, frame["date"], strict=True):
        record["date"] = sold.date().isoformat()
    served = fitted.model.estimate(columns_from_records(contract, records)).estimate
    np.testing.assert_allclose(served, fitted.model.estimate(fitted.holdout).estimate, rtol=1e-9)
    one_by_one = [
        fitted.model.estimate(columns_from_records(contract, [r])).estimate[0] for r in records[:50]
    ]
    assert np.array(one_by_one).tobytes() == served[:50].tobytes()


def test_a_refit_agrees_with_the_judged_model_and_values_at_a_later_day(fitted: Fitted) -> None:
    data = fitted.data
    latest = refit(data.contract, data.columns, RECIPE, fitted.model)
    assert latest.valuation_date_default == data.columns["date"].max()
    before, after = (model.estimate(fitted.holdout).estimate for model in (fitted.model, latest))
    assert 100 * np.median(np.abs(after / before - 1)) < data.contract.refit.agreement_mdape_pct + 3

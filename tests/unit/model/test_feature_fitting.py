"""Features, learnt: from the training rows alone, and without a row's own target in its comparables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedonic.data.contract import Contract
from hedonic.data.split import split_rows
from hedonic.data.table import columns_from_frame, take
from hedonic.errors import UserError
from hedonic.model.feature_fitting import ClusterCurves, FittedFeatures, cluster_curves, fit_features
from hedonic.model.training import target_of
from tests.contracts import (
    HOUSE_FEATURES,
    car_contract,
    car_frame,
    contract_of,
    house_contract,
    house_frame,
)

CONTRACT = house_contract()


def house_columns(n: int = 300, seed: int = 0) -> dict[str, Any]:
    return columns_from_frame(CONTRACT, house_frame(n, seed))


def fit(
    columns: dict[str, Any], target: np.ndarray | None = None, contract: Contract = CONTRACT
) -> FittedFeatures:
    target = target_of(contract, columns) if target is None else target
    n_clusters = 4 if contract.features.place else None
    return fit_features(contract, columns, target, n_clusters=n_clusters, seed=1)


def files(fitted: FittedFeatures, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    fitted.map.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- the number of clusters


def test_the_greatest_silhouette_chooses_k_and_of_equal_ones_the_least() -> None:
    assert ClusterCurves((5, 6, 7), (3.0, 2.0, 1.0), (0.2, 0.5, 0.4)).chosen == 6
    assert ClusterCurves((5, 6, 7), (3.0, 2.0, 1.0), (0.2, 0.5, 0.5)).chosen == 6


def test_four_towns_are_four_clusters_and_the_elbow_curve_falls() -> None:
    curves = cluster_curves(CONTRACT, house_columns(), seed=1)
    assert curves is not None
    assert curves.k == (3, 4, 5, 6)
    assert curves.chosen == 4
    assert list(curves.inertia) == sorted(curves.inertia, reverse=True)
    assert all(-1 <= value <= 1 for value in curves.silhouette)


def test_no_more_clusters_are_tried_than_there_are_places() -> None:
    columns = house_columns()
    columns["lat"], columns["long"] = np.arange(300) % 5 * 0.1, np.zeros(300)
    curves = cluster_curves(CONTRACT, columns, seed=1)
    assert curves is not None
    assert curves.k == (3, 4)


@pytest.mark.parametrize("lat", [np.arange(300) % 3 * 0.1, np.full(300, np.nan)])
def test_too_few_places_are_the_user_s_error(lat: np.ndarray) -> None:
    columns = {**house_columns(), "lat": lat, "long": np.zeros(300)}
    with pytest.raises(UserError, match=r"needs more than 3 different places.*have [03]\. Lower features"):
        cluster_curves(CONTRACT, columns, seed=1)


def test_without_a_place_there_are_no_curves() -> None:
    contract = car_contract()
    assert cluster_curves(contract, columns_from_frame(contract, car_frame()), seed=1) is None


# ---- what is learnt, from which rows


def test_holdout_and_calibration_rows_change_nothing_that_is_learnt(tmp_path: Path) -> None:
    frame = house_frame(400)
    split = split_rows(CONTRACT, frame)
    columns = columns_from_frame(CONTRACT, frame)
    before = files(fit(take(columns, split.train)), tmp_path / "before")
    rest = np.concatenate([split.calibration, split.holdout])
    for name in ("price", "area", "lat", "built"):
        columns[name] = columns[name].copy()
        columns[name][rest] *= 1.7
    columns["quarter"][rest] = "Zinnia"
    assert files(fit(take(columns, split.train)), tmp_path / "after") == before
    columns["price"][split.train[0]] *= 1.7
    assert files(fit(take(columns, split.train)), tmp_path / "other") != before


@settings(max_examples=8, deadline=None)
@given(row=st.integers(0, 299))
def test_a_row_s_own_target_changes_none_of_its_own_comparables(row: int) -> None:
    columns = house_columns()
    target = target_of(CONTRACT, columns)
    dearer = target + np.where(np.arange(300) == row, 2.0, 0.0)
    one, other = fit(columns, target), fit(columns, dearer)
    # Premiums are left out: they are measured against a surface that is learnt from all rows together.
    levels = [
        n
        for n, name in enumerate(one.map.names)
        if name.startswith(("price_", "unit_price_", "area_of_", "km_"))
    ]
    np.testing.assert_array_equal(one.matrix[row, levels], other.matrix[row, levels])


def test_a_price_reaches_the_comparables_of_later_rows_nearby() -> None:
    columns = house_columns()
    target = target_of(CONTRACT, columns)
    one, other = fit(columns, target), fit(columns, target + (np.arange(300) == 10))
    level = list(one.map.names).index("price_of_8")
    changed = np.flatnonzero(~np.isclose(one.matrix[:, level], other.matrix[:, level], equal_nan=True))
    assert len(changed) > 0
    assert (columns["sold"][changed] > columns["sold"][10]).all()


def test_training_rows_are_described_without_themselves_and_others_like_new_rows() -> None:
    columns = house_columns()
    fitted = fit(columns)
    as_new = fitted.map.apply(columns)
    # Sales of the same day are no comparables, so a dated row is not its own even as a new one.
    np.testing.assert_array_equal(fitted.matrix, as_new)
    undated = undated_contract()
    fitted = fit(columns, contract=undated)
    assert not np.array_equal(fitted.matrix, fitted.map.apply(columns), equal_nan=True)
    nearest = list(fitted.map.names).index("km_to_nearest")
    placed = np.isfinite(columns["lat"])
    assert (fitted.matrix[placed, nearest] > 0).all()
    assert (fitted.map.apply(columns)[placed, nearest] == 0).all()


def undated_contract() -> Contract:
    columns = [c.model_dump() for c in CONTRACT.columns if c.role != "time"]
    features = {"place": HOUSE_FEATURES["place"], "comparables": {"neighbours": [3]}}
    return house_contract(columns=columns, features=features, split={"method": "hash"})


def test_rows_without_a_place_are_no_comparables() -> None:
    columns = house_columns()
    fitted = fit(columns)
    assert fitted.map.comparables is not None
    assert len(fitted.map.comparables.price) == np.isfinite(columns["lat"]).sum() < 300
    unplaced = fitted.matrix[np.isnan(columns["lat"])]
    assert np.isnan(unplaced[:, list(fitted.map.names).index("price_of_3")]).all()
    assert not np.isnan(unplaced[:, list(fitted.map.names).index("surface")]).any()


def test_comparables_are_in_order_of_date_whatever_the_order_of_the_rows() -> None:
    columns = house_columns()
    shuffled = np.random.default_rng(0).permutation(300)
    one, other = fit(columns), fit(take(columns, shuffled))
    assert other.map.comparables is not None
    assert other.map.comparables.days is not None
    assert (np.diff(other.map.comparables.days) >= 0).all()
    price = list(one.map.names).index("price_of_8")
    np.testing.assert_allclose(one.matrix[shuffled, price], other.matrix[:, price], rtol=1e-9)


def test_categories_are_the_contract_s_or_else_those_seen_in_order() -> None:
    assert fit(house_columns()).map.derivation.categories == {"quarter": ("Ash", "Birch", "Cedar")}
    cars = car_contract()
    columns = columns_from_frame(cars, car_frame(100))
    columns["make"][:] = "Saab"
    assert fit(columns, contract=cars).map.derivation.categories == {"make": ("Audi", "Fiat", "Saab")}


def test_without_a_place_there_is_neither_surface_nor_comparables() -> None:
    contract = car_contract()
    columns = columns_from_frame(contract, car_frame())
    fitted = fit(columns, contract=contract)
    assert fitted.map.surface is fitted.map.comparables is None
    assert fitted.map.names == ("age", "mileage", "make", "electric")
    assert fitted.map.categorical == (2,)
    np.testing.assert_array_equal(fitted.matrix[:, 0], columns["age"])


def test_a_place_without_comparables_has_a_surface_alone() -> None:
    contract = house_contract(features={"place": HOUSE_FEATURES["place"]})
    fitted = fit(house_columns(), contract=contract)
    assert fitted.map.comparables is None
    assert fitted.map.names[-1] == "surface"


def test_a_place_alone_is_enough() -> None:
    columns = [
        {"name": "price", "type": "number", "role": "target"},
        {"name": "lat", "type": "number"},
        {"name": "long", "type": "number"},
    ]
    contract = contract_of("dots", columns, features={"place": HOUSE_FEATURES["place"], "comparables": {}})
    frame = house_frame(200).dropna(subset=["lat"])
    fitted = fit(columns_from_frame(contract, frame), contract=contract)
    assert fitted.map.names[:2] == ("lat", "long")
    assert np.isfinite(fitted.matrix).all()


def test_the_surface_finds_prices_and_a_trend_that_are_linear() -> None:
    frame = house_frame(400).assign(quarter="Ash")
    columns = columns_from_frame(CONTRACT, frame)
    columns["area"] = np.where(np.isnan(columns["area"]), 100.0, columns["area"])
    columns["lat"], columns["long"] = (
        np.where(np.isnan(columns[n]), f, columns[n]) for n, f in (("lat", 47.5), ("long", -122.2))
    )
    years = (columns["sold"] - columns["sold"].max()) / 365.2425
    target = 12 + 0.5 * (np.log(columns["area"]) - 4.7) + 0.1 * years
    fitted = fit(columns, target)
    surface = fitted.map.surface
    assert surface is not None
    assert surface.trend * 365.2425 == pytest.approx(0.1, rel=0.15)
    error = fitted.matrix[:, list(fitted.map.names).index("surface")] - target
    assert np.sqrt(np.mean(error**2)) < 0.05 * target.std() + 0.01


def test_a_column_without_values_is_no_obstacle() -> None:
    columns = house_columns()
    columns["area"], columns["rooms"] = np.full(300, np.nan), np.full(300, 3.0)
    assert np.isfinite(fit(columns).map.apply(columns)[:, 0]).sum() == 0


def test_houses_at_few_places_leave_the_reach_of_a_cluster_above_nothing() -> None:
    columns = {**house_columns(), "lat": np.arange(300) % 2 * 0.1 + 47.0, "long": np.full(300, -122.0)}
    with pytest.warns(UserWarning, match="distinct clusters"):
        fitted = fit(columns)
    assert fitted.map.derivation.reach_km >= 0.1
    assert np.isfinite(fitted.matrix[:, [n.startswith("cluster") for n in fitted.map.names]]).all()


def test_the_same_rows_and_seed_give_the_same_files(tmp_path: Path) -> None:
    columns = house_columns()
    assert files(fit(columns), tmp_path / "one") == files(fit(columns), tmp_path / "other")

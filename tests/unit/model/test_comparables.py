"""Comparable sales, against a reference that looks at every sale of every row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedonic.data.contract import Comparables
from hedonic.model.comparables import ComparableSales, weighted_mean
from tests.contracts import HOUSE_FEATURES, house_contract

PART = Comparables(neighbours=(2, 5), size="area", similar={"log_area": 0.3, "age": 20.0}, averaged=("age",))


def sales_of(
    n: int, seed: int, *, dated: bool = True, n_days: int = 6, part: Comparables = PART
) -> ComparableSales:
    """Return sales on a coarse grid of places and few days, so that ties are common."""
    rng = np.random.default_rng(seed)
    attributes = {"log_area": rng.normal(4.7, 0.4, n), "age": rng.uniform(0, 100, n)}
    attributes["age"][rng.random(n) < 0.1] = np.nan
    return ComparableSales(
        contract_part=part,
        places=rng.integers(0, 6, (n, 2)).astype(float),
        days=np.sort(rng.integers(0, n_days, n)).astype(float) if dated else None,
        price=rng.normal(12, 0.5, n),
        surface=rng.normal(12, 0.4, n),
        attributes=attributes,
    )


def rows_of(n: int, seed: int, n_days: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed + 1)
    places = rng.integers(0, 6, (n, 2)) + rng.uniform(0, 0.4, (n, 2))
    places[rng.random(n) < 0.1] = np.nan
    return {
        "derived": {"log_area": rng.normal(4.7, 0.4, n), "age": rng.uniform(0, 100, n)},
        "places": places,
        "days": rng.integers(0, n_days + 1, n).astype(float),
        "surface": rng.normal(12, 0.4, n),
    }


def own_rows(sales: ComparableSales) -> dict[str, Any]:
    return {
        "derived": sales.attributes,
        "places": sales.places,
        "days": sales.days,
        "surface": sales.surface,
        "own": np.arange(len(sales.price)),
    }


def eligible(sales: ComparableSales, place: np.ndarray, day: float | None, own: int | None) -> np.ndarray:
    """Return the positions of all sales that may be compared with one row, nearest first."""
    km = np.hypot(*(sales.places - place).T)
    allowed = np.isfinite(km)
    if day is not None and sales.days is not None:
        allowed &= sales.days < day
    if own is not None:
        allowed[own] = False
    positions = np.flatnonzero(allowed)
    return positions[np.argsort(km[positions], kind="stable")]


# ---- which sales


@settings(max_examples=120, deadline=None)
@given(
    n=st.integers(1, 70),
    seed=st.integers(0, 10_000),
    dated=st.booleans(),
    own=st.booleans(),
    n_days=st.integers(1, 40),
)
def test_neighbours_are_the_nearest_of_all_earlier_sales(
    n: int, seed: int, dated: bool, own: bool, n_days: int
) -> None:
    sales = sales_of(n, seed, dated=dated, n_days=n_days)
    rows = own_rows(sales) if own else {**rows_of(25, seed, n_days), "own": None}
    days = rows["days"] if dated else None
    near = sales.nearest(rows["places"], days, rows["own"])
    for row, place in enumerate(rows["places"]):
        day = None if days is None else days[row]
        reference = eligible(sales, place, day, row if own else None)[: sales.n_neighbours]
        found = near.position[row][near.known[row]]
        distance = np.hypot(*(sales.places[reference] - place).T)
        np.testing.assert_allclose(near.km[row][near.known[row]], distance, rtol=1e-12)
        assert len(set(found)) == len(found) == len(reference)
        assert near.known[row].sum() == len(reference)
        assert set(found) <= set(eligible(sales, place, day, row if own else None))
        assert np.isinf(near.km[row][~near.known[row]]).all()


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 70), seed=st.integers(0, 10_000))
def test_no_sale_is_its_own_comparable_nor_is_one_of_the_same_day_or_later(n: int, seed: int) -> None:
    sales = sales_of(n, seed)
    rows = own_rows(sales)
    near = sales.nearest(rows["places"], rows["days"], rows["own"])
    own = np.broadcast_to(rows["own"][:, None], near.position.shape)
    days = np.broadcast_to(rows["days"][:, None], near.position.shape)
    assert (near.position != own)[near.known].all()
    assert (sales.days[near.position] < days)[near.known].all()  # type: ignore[index]


def test_without_dates_every_other_sale_counts() -> None:
    sales = sales_of(9, 0, dated=False)
    near = sales.nearest(sales.places, None, np.arange(9))
    assert near.known.all()
    assert not (near.position == np.arange(9)[:, None]).any()


# ---- what they tell


def reference_features(sales: ComparableSales, rows: dict[str, Any], row: int) -> dict[str, float]:
    """Return one row's features, by plain loops over its neighbours."""
    near = sales.nearest(rows["places"], rows["days"], rows["own"])
    found = near.position[row][near.known[row]]
    km = near.km[row][near.known[row]]

    def mean(values: np.ndarray, weights: np.ndarray) -> float:
        counted = ~np.isnan(values)
        total = weights[counted].sum()
        return float((values[counted] * weights[counted]).sum() / total) if total > 1e-12 else np.nan

    levels = {
        "price": sales.price[found],
        "premium": sales.price[found] - sales.surface[found],
        "unit_price": sales.price[found] - sales.attributes["log_area"][found],
    }
    gaps = {
        name: (rows["derived"][name][row] - sales.attributes[name][found]) / width
        for name, width in PART.similar.items()
    }
    likeness = np.exp(-sum(np.where(np.isnan(gap), 0.0, gap**2) for gap in gaps.values()))
    scale = km[4] if len(km) > 4 else 1.0
    nearness = np.exp(-km / max(scale, 0.1))
    recency = np.exp(-(((rows["days"][row] - sales.days[found]) / 180.0) ** 2))  # type: ignore[index]
    weights = {
        "of_2": (np.arange(len(found)) < 2) * 1.0,
        "of_5": np.ones(len(found)),
        "of_similar": likeness,
        "of_similar_and_near": likeness * nearness,
        "near": recency * nearness,
    }
    features = {
        f"{level}_{label}": mean(values, weight)
        for label, weight in weights.items()
        for level, values in levels.items()
    }
    features |= {
        f"age_of_{k}": mean(sales.attributes["age"][found][:k], np.ones(len(found))[:k]) for k in (2, 5)
    }
    features |= {f"km_to_{k}": km[k - 1] if len(km) >= k else np.nan for k in (2, 5)}
    features["km_to_nearest"] = km[0] if len(km) else np.nan
    spread = mean((levels["premium"] - features["premium_of_5"]) ** 2, np.ones(len(found)))
    features["premium_spread"] = float(np.sqrt(spread))
    features["surface_and_premium_near"] = rows["surface"][row] + features["premium_near"]
    return features


@settings(max_examples=30, deadline=None)
@given(n=st.integers(6, 60), seed=st.integers(0, 10_000), own=st.booleans())
def test_features_are_those_of_plain_loops_over_the_neighbours(n: int, seed: int, own: bool) -> None:
    sales = sales_of(n, seed)
    rows = own_rows(sales) if own else {**rows_of(12, seed), "own": None}
    described = sales.describe(**rows)
    for row in range(len(rows["surface"])):
        expected = reference_features(sales, rows, row)
        assert set(described) == set(expected)
        for name, value in expected.items():
            assert described[name][row] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


def test_a_row_s_own_price_never_reaches_its_own_features() -> None:
    sales = sales_of(40, 3)
    before = sales.describe(**own_rows(sales))
    for row in range(40):
        price = sales.price.copy()
        price[row] += 1.0
        dearer = replace(sales, price=price)
        after = dearer.describe(**own_rows(dearer))
        same = [np.array_equal(before[name][row], after[name][row], equal_nan=True) for name in before]
        assert all(same)


def test_a_later_sale_changes_nothing_for_an_earlier_row() -> None:
    sales = sales_of(60, 4, n_days=30)
    sales.places[:] += np.random.default_rng(0).uniform(
        0, 0.4, (60, 2)
    )  # which of two equals is nearer is open
    assert sales.days is not None
    rows = {**rows_of(30, 4, n_days=10), "own": None}
    earlier = sales.days < 11
    known_then = replace(
        sales,
        places=sales.places[earlier],
        days=sales.days[earlier],
        price=sales.price[earlier],
        surface=sales.surface[earlier],
        attributes={name: values[earlier] for name, values in sales.attributes.items()},
    )
    now, then = sales.describe(**rows), known_then.describe(**rows)
    for name in ("price_of_5", "premium_near", "unit_price_of_similar", "age_of_5", "premium_spread"):
        np.testing.assert_allclose(now[name], then[name], rtol=1e-12, err_msg=name)


def test_a_row_with_no_earlier_sale_or_no_place_has_no_comparables() -> None:
    sales = sales_of(30, 5)
    rows = {**rows_of(2, 5), "own": None, "days": np.array([0.0, 99.0])}
    rows["places"] = np.array([[1.0, 1.0], [np.nan, 1.0]])
    for name, values in sales.describe(**rows).items():
        assert np.isnan(values).all(), name


def test_fewer_sales_than_neighbours_are_all_used() -> None:
    sales = sales_of(3, 6, dated=False)
    described = sales.describe(**{**rows_of(4, 6), "own": None, "days": None, "places": np.ones((4, 2))})
    assert sales.n_neighbours == 3
    np.testing.assert_allclose(described["price_of_5"], sales.price.mean())
    np.testing.assert_allclose(described["price_of_2"], described["price_of_2"][0])


def test_only_what_is_asked_for_is_described() -> None:
    part = Comparables(neighbours=(3,))
    described = sales_of(20, 7, part=part).describe(**{**rows_of(4, 7), "own": None})
    assert list(described) == [
        "price_of_3",
        "premium_of_3",
        "km_to_3",
        "price_near",
        "premium_near",
        "premium_spread",
        "km_to_nearest",
        "surface_and_premium_near",
    ]


def test_a_batch_gives_the_bits_that_its_rows_give_alone() -> None:
    sales, rows = sales_of(300, 8, n_days=200), {**rows_of(60, 8, n_days=200), "own": None}
    batch = sales.describe(**rows)
    for row in range(60):
        one = {
            key: None if value is None else value[[row]] for key, value in rows.items() if key != "derived"
        }
        one["derived"] = {name: values[[row]] for name, values in rows["derived"].items()}
        for name, values in sales.describe(**one).items():
            assert values.tobytes() == batch[name][[row]].tobytes(), name


@pytest.mark.parametrize("dated", [True, False])
def test_sales_that_are_saved_and_loaded_give_the_same_bits(tmp_path: Path, dated: bool) -> None:
    contract = house_contract(features={**HOUSE_FEATURES, "comparables": PART.model_dump()})
    before = sales_of(50, 9, dated=dated)
    before.save(tmp_path)
    after = ComparableSales.load(tmp_path, contract)
    rows = {**rows_of(20, 9), "own": None}
    rows["days"] = rows["days"] if dated else None
    one, other = before.describe(**rows), after.describe(**rows)
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert {path.name for path in tmp_path.iterdir()} == {"comparables.json", "comparables.npy"}


def test_a_weighted_mean_leaves_out_what_is_missing_and_is_missing_without_weight() -> None:
    values = np.array([[1.0, 3.0, np.nan], [1.0, np.nan, 5.0], [np.nan, 1.0, 2.0]])
    weight = np.array([[1.0, 3.0, 9.0], [1.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(weighted_mean(values, weight), [2.5, 1.0, np.nan])

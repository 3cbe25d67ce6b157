"""Features, applied: formulas by hand, missing kept missing, a batch bit for bit its single rows."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedonic.data.contract import Contract
from hedonic.data.table import Columns, columns_from_frame, columns_from_records, days, n_rows, take
from hedonic.model import features as module
from hedonic.model.feature_fitting import fit_features
from hedonic.model.features import (
    Derivation,
    FeatureMap,
    code,
    log_positive,
    ratio,
    to_kilometres,
    years_since,
)
from hedonic.model.training import target_of
from tests.contracts import HOUSE_FEATURES, car_contract, car_frame, house_contract, house_frame


def house_columns(contract: Contract, n: int = 300, seed: int = 0) -> dict[str, Any]:
    return columns_from_frame(contract, house_frame(n, seed))


def fitted(contract: Contract, columns: Columns) -> FeatureMap:
    n_clusters = 4 if contract.features.place else None
    return fit_features(contract, columns, target_of(contract, columns), n_clusters=n_clusters, seed=1).map


@pytest.fixture(scope="module")
def contract() -> Contract:
    return house_contract()


@pytest.fixture(scope="module")
def house_map(contract: Contract) -> FeatureMap:
    return fitted(contract, house_columns(contract))


def derived(**features: Any) -> dict[str, np.ndarray]:
    """Return derived features of three houses worked by hand below."""
    contract = house_contract(features=features)
    rows = [
        {"sold": "2015-01-01", "area": 100, "lot": 0, "rooms": 4, "built": 1990, "renovated": 0},
        {"sold": "2015-01-01", "area": None, "lot": 50, "rooms": 0, "built": 1990, "renovated": 2010},
        {"sold": "2014-07-02", "area": 60, "lot": -1, "rooms": 0, "built": 2014, "renovated": 0},
    ]
    places = [{"lat": 47.0, "long": -122.0}, {"lat": None, "long": -122.0}, {"lat": 47.5, "long": -121.0}]
    columns = columns_from_records(
        contract,
        [{**row, **place, "lake": True, "quarter": "Ash"} for row, place in zip(rows, places, strict=True)],
    )
    return Derivation(
        contract=contract,
        categories={"quarter": ("Ash", "Birch")},
        origin_latitude=60.0,
        centres_km=np.array([[0.0, 0.0], [-122 * 111.2 / 2, 47 * 111.2 + 3.0]]),
        reach_km=3.0,
    ).apply(columns)


# ---- formulas


def test_an_age_is_the_years_from_the_year_s_start_to_the_sale() -> None:
    ages = derived(ages=HOUSE_FEATURES["ages"])
    np.testing.assert_allclose(ages["age"], [25.0, 25.0, 0.5], atol=0.002)
    np.testing.assert_allclose(ages["effective_age"], [25.0, 5.0, 0.5], atol=0.002)


@given(st.integers(1850, 2100), st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_years_since_agree_with_the_calendar_to_two_days(year: int, when: date) -> None:
    expected = when.year - year + (when.timetuple().tm_yday - 1) / 365.25
    measured = years_since(np.array([float(year)]), np.array([days(when)]))[0]
    assert measured == pytest.approx(expected, abs=2 / 365)


def test_a_ratio_over_zero_is_missing_and_never_infinite() -> None:
    assert np.isnan(derived(ratios=HOUSE_FEATURES["ratios"])["area_per_room"][1:]).all()
    numerator = np.array([1.0, 0.0, np.nan, 6.0])
    denominator = np.array([0.0, 0.0, 2.0, -3.0])
    np.testing.assert_array_equal(ratio(numerator, denominator), [np.nan, np.nan, np.nan, -2.0])


def test_a_logarithm_of_what_is_not_positive_is_missing() -> None:
    values = log_positive(np.array([np.e, 0.0, -1.0, np.nan, np.inf]))
    np.testing.assert_array_equal(values, [1.0, np.nan, np.nan, np.nan, np.inf])
    np.testing.assert_array_equal(np.isnan(derived(logs=["lot"])["log_lot"]), [True, False, True])


def test_a_category_becomes_its_position_and_an_unseen_or_missing_one_is_missing() -> None:
    values = np.array(["b", "a", None, "never seen", "c"], dtype=object)
    np.testing.assert_array_equal(code(("a", "b", "c"), values), [1.0, 0.0, np.nan, np.nan, 2.0])


def test_places_become_kilometres_at_the_origin_s_latitude() -> None:
    place = to_kilometres(np.array([47.0]), np.array([-122.0]), 60.0)
    np.testing.assert_allclose(place, [[-122 * 111.2 / 2, 47 * 111.2]])


def test_rotated_coordinates_turn_the_axes() -> None:
    place = {"latitude": "lat", "longitude": "long", "rotations_deg": [0, 30, 90]}
    values = derived(place=place)
    east, north = -122 * 111.2 / 2, 47 * 111.2
    assert values["rotated_0"][0] == pytest.approx(east)
    assert values["rotated_90"][0] == pytest.approx(north)
    assert values["rotated_30"][0] == pytest.approx(east * 3**0.5 / 2 + north / 2)


def test_similarity_to_a_centre_falls_by_e_over_the_reach() -> None:
    values = derived(place={"latitude": "lat", "longitude": "long"})
    assert values["cluster_1"][0] == pytest.approx(np.exp(-1))
    assert values["cluster_0"][0] == pytest.approx(0, abs=1e-9)


def test_a_row_without_a_place_has_no_feature_of_place() -> None:
    values = derived(place={"latitude": "lat", "longitude": "long", "rotations_deg": [30]})
    assert all(np.isnan(values[name][1]) for name in ("lat", "rotated_30", "cluster_0", "cluster_1"))


def test_missing_values_are_kept_missing_and_text_is_no_feature() -> None:
    values = derived()
    assert np.isnan(values["area"][1])
    assert "note" not in values
    assert "agent" not in values


def test_the_contract_says_which_columns_are_features_and_others_may_still_be_derived_from() -> None:
    values = derived(columns=["rooms"], logs=["area"])
    assert list(values) == ["rooms", "log_area"]
    values = derived(columns=["quarter", "area"])
    assert list(values) == ["quarter", "area"]
    assert values["quarter"].tolist() == [0.0, 0.0, 0.0]


# ---- the map


def test_a_batch_gives_the_bits_that_its_rows_give_alone(contract: Contract, house_map: FeatureMap) -> None:
    columns = house_columns(contract, 80, seed=5)
    batch = house_map.apply(columns)
    singles = np.vstack([house_map.apply(take(columns, np.array([n]))) for n in range(80)])
    assert batch.tobytes() == singles.tobytes()
    assert np.isnan(batch).any()


@given(st.lists(st.integers(0, 79), min_size=1, max_size=20))
def test_any_choice_of_rows_in_any_order_gives_the_same_bits(
    contract: Contract, house_map: FeatureMap, rows: list[int]
) -> None:
    columns = house_columns(contract, 80, seed=5)
    chosen = np.array(rows)
    assert house_map.apply(take(columns, chosen)).tobytes() == house_map.apply(columns)[chosen].tobytes()


def test_blocks_of_rows_do_not_show(
    contract: Contract, house_map: FeatureMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = house_columns(contract, 80, seed=5)
    own = np.arange(80) % 50
    whole = house_map.apply(columns, own)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    assert house_map.apply(columns, own).tobytes() == whole.tobytes()


@pytest.mark.parametrize("kind", ["houses", "cars", "places without comparables", "undated comparables"])
def test_a_map_that_is_saved_and_loaded_gives_the_same_bits(kind: str, tmp_path: Path) -> None:
    contract, frame = house_contract(), house_frame(200)
    if kind == "cars":
        contract, frame = car_contract(), car_frame(200)
    elif kind == "places without comparables":
        contract = house_contract(features={**HOUSE_FEATURES, "comparables": None})
    elif kind == "undated comparables":
        contract = undated_contract()
    columns = columns_from_frame(contract, frame)
    before = fitted(contract, columns)
    before.save(tmp_path)
    after = FeatureMap.load(tmp_path, contract)
    assert (after.names, after.categorical) == (before.names, before.categorical)
    assert after.apply(columns).tobytes() == before.apply(columns).tobytes()
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npy"}


def undated_contract() -> Contract:
    columns = [c.model_dump() for c in house_contract().columns if c.role != "time"]
    place = {"latitude": "lat", "longitude": "long"}
    features = {"place": place, "comparables": {"neighbours": [3]}}
    return house_contract(columns=columns, features=features, split={"method": "hash"})


def test_names_are_those_of_the_matrix_s_columns(contract: Contract, house_map: FeatureMap) -> None:
    columns = house_columns(contract, 30)
    described, matrix = house_map.describe(columns), house_map.apply(columns)
    assert tuple(described) == house_map.names
    assert matrix.shape == (n_rows(columns), len(house_map.names))
    np.testing.assert_array_equal(matrix[:, house_map.names.index("premium_near")], described["premium_near"])
    assert [house_map.names[n] for n in house_map.categorical] == ["quarter"]


def test_no_feature_is_ever_infinite(contract: Contract, house_map: FeatureMap) -> None:
    columns = house_columns(contract, 200, seed=9)
    first = np.arange(200) < 50
    columns["rooms"] = np.zeros(200)
    columns["lot"] = np.where(first, 0.0, columns["lot"])
    columns["lat"] = np.where(first, 0.0, columns["lat"])
    assert not np.isinf(house_map.apply(columns)).any()

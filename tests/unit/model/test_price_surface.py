"""The price surface: its formula, what is missing in it, and its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hedonic.model.price_surface import PriceSurface, gather, radial, row_sums, standardise

SURFACE = PriceSurface(
    names=("area", "age"),
    fill=np.array([100.0, 30.0]),
    mean=np.array([100.0, 20.0]),
    scale=np.array([10.0, 10.0]),
    linear=np.array([0.5, -0.1]),
    square=np.array([0.01, 0.02]),
    centres_km=np.array([[0.0, 0.0], [3.0, 4.0]]),
    reach_km=5.0,
    place=np.array([1.0, 0.25]),
    trend=0.001,
    origin_day=1000.0,
    intercept=12.0,
)
DERIVED = {"area": np.array([110.0, np.nan]), "age": np.array([20.0, 1e9]), "other": np.zeros(2)}
PLACES = np.array([[0.0, 0.0], [np.nan, 4.0]])


def test_the_surface_adds_attributes_squares_places_and_trend() -> None:
    estimate = SURFACE.apply(DERIVED, PLACES, np.array([1100.0, 1000.0]))
    by_place = 1.0 + 0.25 * np.exp(-25 / 50)
    assert estimate[0] == pytest.approx(12 + 0.5 + 0.01 + by_place + 0.1)
    # Filled with the median, clipped at five deviations, without a place.
    assert estimate[1] == pytest.approx(12 - 0.1 * 5 + 0.02 * 25)


def test_rows_without_date_or_place_are_priced_by_their_attributes() -> None:
    estimate = SURFACE.apply(DERIVED, None, None)
    assert estimate[0] == pytest.approx(12 + 0.5 + 0.01)


def test_standardised_attributes_are_filled_and_clipped() -> None:
    values = standardise(DERIVED, SURFACE.names, SURFACE.fill, SURFACE.mean, SURFACE.scale)
    np.testing.assert_array_equal(values, [[1.0, 0.0], [0.0, 5.0]])
    assert standardise(DERIVED, (), *np.empty((3, 0))).shape == (2, 0)


def test_features_are_gathered_in_the_order_of_their_names() -> None:
    np.testing.assert_array_equal(gather(DERIVED, ("other", "age")), [[0.0, 20.0], [0.0, 1e9]])


def test_a_radial_function_is_one_at_its_centre_and_nothing_without_a_place() -> None:
    values = radial(PLACES, SURFACE.centres_km, 5.0)
    np.testing.assert_allclose(values, [[1.0, np.exp(-0.5)], [0.0, 0.0]])


def test_a_sum_has_the_same_bits_alone_as_in_a_batch() -> None:
    matrix = np.asfortranarray(np.random.default_rng(0).normal(size=(500, 131)))
    alone = np.array([row_sums(matrix[n : n + 1])[0] for n in range(500)])
    assert row_sums(matrix).tobytes() == alone.tobytes()


@pytest.mark.parametrize("n_attributes", [0, 2])
def test_a_surface_that_is_saved_and_loaded_gives_the_same_bits(tmp_path: Path, n_attributes: int) -> None:
    parts = ("fill", "mean", "scale", "linear", "square")
    cut = {name: getattr(SURFACE, name)[:n_attributes] for name in parts}
    before = replace(SURFACE, names=SURFACE.names[:n_attributes], **cut)
    before.save(tmp_path)
    after = PriceSurface.load(tmp_path)
    days = np.array([1100.0, 1000.0])
    assert after.apply(DERIVED, PLACES, days).tobytes() == before.apply(DERIVED, PLACES, days).tobytes()
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npy"}


@pytest.mark.parametrize("days", [np.array([1100.0, 1000.0]), None])
def test_parts_differ_from_the_estimate_by_what_is_usual_of_every_row(days: np.ndarray | None) -> None:
    by_attribute, by_place, by_date = SURFACE.parts(gather(DERIVED, SURFACE.names), PLACES, days)
    beside = SURFACE.apply(DERIVED, PLACES, days) - by_attribute.sum(axis=1) - by_place - by_date
    usual_place = np.mean([1.0 + 0.25 * np.exp(-0.5), np.exp(-0.5) + 0.25])
    np.testing.assert_allclose(beside, 12.0 + 0.01 + 0.02 + usual_place)
    np.testing.assert_allclose(by_attribute[0], [0.5, -0.02])  # the mean age adds its square's shortfall
    assert np.all(by_date == (0.0 if days is None else [0.1, 0.0]))

"""The price surface, applied: a linear hedonic regression on attributes, their squares, time and place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hedonic.model.plain_files import read_array, read_json

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

CLIP = 5.0


@dataclass(frozen=True, slots=True)
class PriceSurface:
    """A ridge regression whose answer is a feature, and whose residuals price a comparable sale.

    Source of the form: Rosen (1974), "Hedonic prices and implicit markets"; place by radial basis
    functions about k-means centres.

    Attributes:
        names: attributes, by their feature names, p of them.
        fill, mean, scale: of the attributes, shape (p,).
        linear, square: coefficients of the standardised attributes and of their squares, shape (p,).
        centres_km: shape (n_centres, 2); empty where rows have no place.
        reach_km: standard deviation of the radial functions.
        place: their coefficients, shape (n_centres,).
        trend: change a day on the model's scale; 0 where rows have no date.
        origin_day: the day at which the trend is zero.
        intercept: on the model's scale.
    """

    names: tuple[str, ...]
    fill: Vector
    mean: Vector
    scale: Vector
    linear: Vector
    square: Vector
    centres_km: Matrix
    reach_km: float
    place: Vector
    trend: float
    origin_day: float
    intercept: float

    def apply(self, derived: dict[str, Vector], places: Matrix | None, days: Vector | None) -> Vector:
        """Return the surface's estimates on the model's scale, shape (n_rows,)."""
        return self.price(gather(derived, self.names), places, days)

    def price(self, attributes: Matrix, places: Matrix | None, days: Vector | None) -> Vector:
        """Return the same from the attributes side by side, shape (n_rows, p)."""
        standard = _standardised(attributes, self.fill, self.mean, self.scale)
        terms = np.empty((2, *standard.shape))
        np.multiply(standard, self.linear, out=terms[0])
        np.multiply(np.square(standard), self.square, out=terms[1])
        linear, square = np.add.reduce(terms, axis=2)
        estimate: Vector = self.intercept + linear + square
        if places is not None:
            estimate = estimate + row_sums(radial(places, self.centres_km, self.reach_km) * self.place)
        if days is not None:
            estimate = estimate + self.trend * (days - self.origin_day)
        return estimate

    def parts(
        self, attributes: Matrix, places: Matrix, days: Vector | None
    ) -> tuple[Matrix, Vector, Vector | float]:
        """Return what each attribute, the place and the date add, beside what is usual of them.

        Usual are the training's mean attribute and mean square, the mean over the centres of places,
        and the day at which the trend is zero.

        Args:
            attributes: side by side, shape (n_rows, p).
            places: kilometres east and north, shape (n_rows, 2).
            days: dates of the rows; None without time.
        """
        standard = _standardised(attributes, self.fill, self.mean, self.scale)
        by_attribute = standard * self.linear + (standard * standard - 1.0) * self.square
        here, usual = (
            radial(at, self.centres_km, self.reach_km) @ self.place for at in (places, self.centres_km)
        )
        by_date = 0.0 if days is None else self.trend * (days - self.origin_day)
        return by_attribute, here - usual.mean(), by_date

    def save(self, folder: Path) -> None:
        """Write ``surface.json`` and two arrays."""
        facts = {
            "names": list(self.names),
            "reach_km": self.reach_km,
            "trend": self.trend,
            "origin_day": self.origin_day,
            "intercept": self.intercept,
        }
        (folder / "surface.json").write_text(json.dumps(facts, sort_keys=True, indent=1) + "\n")
        attributes = [self.fill, self.mean, self.scale, self.linear, self.square]
        np.save(folder / "surface_attributes.npy", np.vstack(attributes))
        np.save(folder / "surface_places.npy", np.column_stack([self.centres_km, self.place]))

    @classmethod
    def load(cls, folder: Path) -> PriceSurface:
        """Return the surface in ``folder``."""
        facts = read_json(folder / "surface.json")
        attributes = read_array(folder / "surface_attributes.npy")
        places = read_array(folder / "surface_places.npy")
        fill, mean, scale, linear, square = attributes
        return cls(
            names=tuple(facts["names"]),
            fill=fill,
            mean=mean,
            scale=scale,
            linear=linear,
            square=square,
            centres_km=np.ascontiguousarray(places[:, :2]),
            reach_km=facts["reach_km"],
            place=np.ascontiguousarray(places[:, 2]),
            trend=facts["trend"],
            origin_day=facts["origin_day"],
            intercept=facts["intercept"],
        )


def row_sums(matrix: Matrix) -> Vector:
    """Return the sum of each row, the same bits for a row alone as in a batch."""
    sums: Vector = np.add.reduce(np.ascontiguousarray(matrix), axis=1)
    return sums


def standardise(
    derived: dict[str, Vector], names: tuple[str, ...], fill: Vector, mean: Vector, scale: Vector
) -> Matrix:
    """Return the attributes filled, standardised and clipped, shape (n_rows, len(names))."""
    return _standardised(gather(derived, names), fill, mean, scale)


def _standardised(attributes: Matrix, fill: Vector, mean: Vector, scale: Vector) -> Matrix:
    values = np.where(np.isnan(attributes), fill, attributes)
    values -= mean
    values /= scale
    np.maximum(values, -CLIP, out=values)
    return np.minimum(values, CLIP, out=values)


def gather(derived: dict[str, Vector], names: tuple[str, ...]) -> Matrix:
    """Return the named features side by side, shape (n_rows, len(names))."""
    matrix = np.empty((len(next(iter(derived.values()))), len(names)))
    for position, name in enumerate(names):
        matrix[:, position] = derived[name]
    return matrix


def radial(places: Matrix, centres_km: Matrix, reach_km: float) -> Matrix:
    """Return Gaussian radial functions of the places, shape (n_rows, n_centres); 0 without a place."""
    east = places[:, :1] - centres_km[:, 0]
    north = places[:, 1:] - centres_km[:, 1]
    values: Matrix = east * east + north * north
    values /= -2 * reach_km * reach_km
    np.exp(values, out=values)
    return np.fmax(values, 0.0, out=values)  # of a number and NaN the number

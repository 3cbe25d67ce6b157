"""Features that follow from a row's own columns, applied: formulas in numpy."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract
from hedonic.data.table import Columns

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

DAYS_PER_YEAR = 365.2425
KM_PER_DEGREE = 111.2


def ratio(numerator: Vector, denominator: Vector) -> Vector:
    """Return ``numerator / denominator``, missing where the denominator is zero or missing."""
    safe = np.where(denominator == 0, np.nan, denominator)
    return np.asarray(numerator / safe)


def log_positive(values: Vector) -> Vector:
    """Return the natural logarithm, missing where a value is not positive."""
    return np.log(np.where(values > 0, values, np.nan))


def years_since(year: Vector, days: Vector) -> Vector:
    """Return the years from the start of ``year`` to a date in days since 1970-01-01."""
    return 1970.0 + days / DAYS_PER_YEAR - year


def code(categories: tuple[str, ...], values: npt.NDArray[Any]) -> Vector:
    """Return each value's position among the categories; a value not among them is missing."""
    positions = _positions(categories)
    return np.array([positions.get(value, np.nan) for value in values], dtype=np.float64)


@functools.lru_cache(maxsize=64)
def _positions(categories: tuple[str, ...]) -> dict[str, float]:
    return {category: float(n) for n, category in enumerate(categories)}


def east_km_per_degree(latitude: float) -> float:
    """Return how many kilometres a degree of longitude is long at a latitude in degrees."""
    return float(KM_PER_DEGREE * np.cos(np.radians(latitude)))


def to_kilometres(latitude: Vector, longitude: Vector, origin_latitude: float) -> Matrix:
    """Return equirectangular kilometres east and north, shape (n_rows, 2)."""
    return _kilometres(latitude, longitude, east_km_per_degree(origin_latitude))


def _kilometres(latitude: Vector, longitude: Vector, east_km: float) -> Matrix:
    places = np.empty((len(latitude), 2))
    np.multiply(longitude, east_km, out=places[:, 0])
    np.multiply(latitude, KM_PER_DEGREE, out=places[:, 1])
    return places


class Derived(NamedTuple):
    """What follows from the rows' own columns.

    Attributes:
        features: by feature, shape (n_features, n_rows); see ``Derivation.names``.
        places: kilometres east and north, shape (n_rows, 2); None without a place.
        days: dates of the rows; None where the contract knows no time.
    """

    features: Matrix
    places: Matrix | None
    days: Vector | None


@dataclass(frozen=True, slots=True)
class Sources:
    """Which columns are read, and from which of them each feature comes.

    Attributes:
        numeric: columns read as they are; ``coded``, the category columns, are read after them.
        names: of the features, in their order.
        first: of each feature that comes from columns, the position of its first among the columns read:
            columns themselves, years of the ages, logarithms, numerators of the ratios.
        second: of ages and ratios, the position of the other: the year of renewal (an age without
            renewal has its year again), the denominator.
        ages, logs, ratios: where these stand among the features.
    """

    numeric: tuple[str, ...]
    coded: tuple[str, ...]
    names: tuple[str, ...]
    first: Positions
    second: Positions
    ages: slice
    logs: slice
    ratios: slice

    @classmethod
    def of(cls, contract: Contract, n_centres: int) -> Sources:
        """Return the sources of the features that the contract asks for."""
        features = contract.features
        inputs = [column for column in contract.inputs if column.type != "text"]
        used = [c for c in inputs if features.columns is None or c.name in features.columns]
        coded = tuple(column.name for column in used if column.type == "category")
        numeric = tuple(column.name for column in inputs if column.type != "category")
        at = {name: position for position, name in enumerate([*numeric, *coded])}
        chosen = [column.name for column in used] if features.columns is None else features.columns
        names = [*chosen, *features.derived_names]
        if features.place is not None:
            names += [f"rotated_{degrees:g}" for degrees in features.place.rotations_deg]
            names += [f"cluster_{n}" for n in range(n_centres)]
        years = [age.year for age in features.ages]
        numerators = [derived.numerator for derived in features.ratios]
        second = [age.renewed or age.year for age in features.ages]
        second += [derived.denominator for derived in features.ratios]
        logs = len(chosen) + len(years)
        ratios = logs + len(features.logs)
        return cls(
            numeric=numeric,
            coded=coded,
            names=tuple(names),
            first=_positions_of([*chosen, *years, *features.logs, *numerators], at),
            second=_positions_of(second, at),
            ages=slice(len(chosen), logs),
            logs=slice(logs, ratios),
            ratios=slice(ratios, ratios + len(numerators)),
        )


def _positions_of(names: Iterable[str], at: dict[str, int]) -> Positions:
    return np.array([at[name] for name in names], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Derivation:
    """Features that follow from a row's own columns, with what little had to be learnt for them.

    Attributes:
        contract: says which.
        categories: of each category column, the values known, in the order of their codes.
        origin_latitude: degrees; at it a degree of longitude is scaled to kilometres.
        centres_km: k-means centres of places, shape (n_clusters, 2), east and north.
        reach_km: distance over which similarity to a centre falls by a factor e.
    """

    contract: Contract
    categories: dict[str, tuple[str, ...]]
    origin_latitude: float
    centres_km: Matrix
    reach_km: float
    _sources: Sources = field(init=False, repr=False, compare=False)
    _east_km: float = field(init=False, repr=False, compare=False)
    _cosines: Matrix = field(init=False, repr=False, compare=False)
    _sines: Matrix = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out what is the same for every row."""
        place = self.contract.features.place
        angles = np.radians(place.rotations_deg if place else ())[:, None]
        for name, value in {
            "_sources": Sources.of(self.contract, len(self.centres_km)),
            "_east_km": east_km_per_degree(self.origin_latitude),
            "_cosines": np.cos(angles),
            "_sines": np.sin(angles),
        }.items():
            object.__setattr__(self, name, value)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the features, in their order."""
        return self._sources.names

    def apply(self, columns: Columns) -> dict[str, Vector]:
        """Return the features of the rows themselves by name, each of shape (n_rows,)."""
        return dict(zip(self.names, self.derive(columns).features, strict=True))

    def derive(self, columns: Columns) -> Derived:
        """Return the features of the rows themselves, their places and their dates."""
        sources, days, places = self._sources, self.days(columns), None
        values = [columns[name] for name in sources.numeric]
        values += [code(self.categories[name], columns[name]) for name in sources.coded]
        read = np.concatenate(values).reshape(len(values), -1)
        features = read.take(sources.first, axis=0)
        ages, logs, ratios = features[sources.ages], features[sources.logs], features[sources.ratios]
        second = read.take(sources.second, axis=0)
        if len(ages):
            assert days is not None  # the contract refuses ages without a time column
            renewed = second[: len(ages)]
            ages[:] = years_since(np.where(renewed > 0, renewed, ages), days)
        if len(logs):
            logs[:] = log_positive(logs)
        if len(ratios):
            ratios[:] = ratio(ratios, second[len(ages) :])
        if self.contract.features.place is not None:
            places = self.kilometres(columns)
            features = np.concatenate([features, *self._of_place(places)])
        return Derived(features, places, days)

    def _of_place(self, places: Matrix) -> tuple[Matrix, Matrix]:
        """Return rotated coordinates and likenesses to the centres, by feature."""
        east, north = places[:, 0], places[:, 1]
        turned = east * self._cosines + north * self._sines
        km = np.hypot(east - self.centres_km[:, :1], north - self.centres_km[:, 1:])
        km /= -self.reach_km
        return turned, np.exp(km, out=km)

    def kilometres(self, columns: Columns) -> Matrix:
        """Return the places as kilometres east and north of (0, 0), shape (n_rows, 2)."""
        place = self.contract.features.place
        assert place is not None
        return _kilometres(columns[place.latitude], columns[place.longitude], self._east_km)

    def days(self, columns: Columns) -> Vector | None:
        """Return the dates of the rows; None where the contract knows no time."""
        name = self.contract.time_column
        return columns[name] if name else None

"""Features, applied: canonical columns in, the model's matrix out; one code for training and serving.

Nothing here learns (that is ``feature_fitting``), and nothing here needs pandas or scikit-learn.
Every row is computed by itself, so that a batch gives the bits that its rows give alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract
from hedonic.data.table import Columns, n_rows
from hedonic.model.comparables import ComparableSales
from hedonic.model.price_surface import PriceSurface, gather

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

DAYS_PER_YEAR = 365.2425
KM_PER_DEGREE = 111.2
BLOCK_ROWS = 1024


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
    positions = {category: float(n) for n, category in enumerate(categories)}
    return np.array([positions.get(value, np.nan) for value in values], dtype=np.float64)


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

    def apply(self, columns: Columns) -> dict[str, Vector]:
        """Return the features of the rows themselves by name, each of shape (n_rows,)."""
        features = self.contract.features
        values: dict[str, Vector] = {}
        for column in self.contract.inputs:
            if column.type == "category" and self._uses(column.name):
                values[column.name] = code(self.categories[column.name], columns[column.name])
            elif column.type not in ("category", "text"):
                values[column.name] = columns[column.name]
        raw = dict(values)
        if features.columns is not None:
            values = {name: values[name] for name in features.columns}
        days = self.days(columns)
        for age in features.ages:
            assert days is not None  # the contract refuses ages without a time column
            year = raw[age.year]
            if age.renewed is not None:
                renewed = raw[age.renewed]
                year = np.where(renewed > 0, renewed, year)
            values[age.name] = years_since(year, days)
        for name in features.logs:
            values[f"log_{name}"] = log_positive(raw[name])
        for derived in features.ratios:
            values[derived.name] = ratio(raw[derived.numerator], raw[derived.denominator])
        if features.place is not None:
            values.update(self._of_place(columns))
        return values

    def _uses(self, name: str) -> bool:
        chosen = self.contract.features.columns
        return chosen is None or name in chosen

    def _of_place(self, columns: Columns) -> dict[str, Vector]:
        place = self.contract.features.place
        assert place is not None
        east, north = self.kilometres(columns).T[:, :, None]
        angles = np.radians(place.rotations_deg)
        turned = east * np.cos(angles) + north * np.sin(angles)
        km = np.hypot(east - self.centres_km[:, 0], north - self.centres_km[:, 1])
        likeness = np.exp(-km / self.reach_km)
        names = [f"rotated_{degrees:g}" for degrees in place.rotations_deg]
        names += [f"cluster_{n}" for n in range(len(self.centres_km))]
        return dict(zip(names, [*turned.T, *likeness.T], strict=True))

    def kilometres(self, columns: Columns) -> Matrix:
        """Return the places as kilometres east and north of (0, 0), shape (n_rows, 2)."""
        place = self.contract.features.place
        assert place is not None
        return to_kilometres(columns[place.latitude], columns[place.longitude], self.origin_latitude)

    def days(self, columns: Columns) -> Vector | None:
        """Return the dates of the rows; None where the contract knows no time."""
        name = self.contract.time_column
        return columns[name] if name else None


def to_kilometres(latitude: Vector, longitude: Vector, origin_latitude: float) -> Matrix:
    """Return equirectangular kilometres east and north, shape (n_rows, 2)."""
    east = longitude * (KM_PER_DEGREE * np.cos(np.radians(origin_latitude)))
    return np.column_stack([east, latitude * KM_PER_DEGREE])


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """The learnt map from columns to the model's matrix.

    Attributes:
        derivation: features of the row itself.
        surface: the linear price of attributes, time and place; None where it was not asked for.
        comparables: sales known in training; None where they were not asked for.
        names: of the features, in the order of the matrix's columns.
        categorical: positions of coded features.
    """

    derivation: Derivation
    surface: PriceSurface | None
    comparables: ComparableSales | None
    names: tuple[str, ...]
    categorical: tuple[int, ...]

    def apply(self, columns: Columns, own: npt.NDArray[np.int64] | None = None) -> Matrix:
        """Return the feature matrix, shape (n_rows, n_features), NaN where a value is missing.

        Args:
            columns: canonical columns.
            own: for rows that are themselves among the comparable sales, their positions there, so
                that no row is its own comparable.
        """
        matrix = np.empty((n_rows(columns), len(self.names)))
        for start in range(0, len(matrix), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            block = {name: values[rows] for name, values in columns.items()}
            features = self.describe(block, None if own is None else own[rows])
            matrix[rows] = gather(features, self.names)
        return matrix

    def describe(self, columns: Columns, own: npt.NDArray[np.int64] | None = None) -> dict[str, Vector]:
        """Return the features by name, each of shape (n_rows,), in the order of ``names``."""
        features = self.derivation.apply(columns)
        if self.surface is not None:
            places, days = self.derivation.kilometres(columns), self.derivation.days(columns)
            features["surface"] = surface = self.surface.apply(features, places, days)
            if self.comparables is not None:
                features |= self.comparables.describe(features, places, days, surface, own)
        return features

    def save(self, folder: Path) -> None:
        """Write the map into an existing folder."""
        facts = {
            "names": list(self.names),
            "categorical": list(self.categorical),
            "categories": {name: list(known) for name, known in self.derivation.categories.items()},
            "origin_latitude": self.derivation.origin_latitude,
            "reach_km": self.derivation.reach_km,
            "surface": self.surface is not None,
            "comparables": self.comparables is not None,
        }
        (folder / "features.json").write_text(json.dumps(facts, sort_keys=True, indent=1) + "\n")
        np.save(folder / "centres_km.npy", self.derivation.centres_km)
        if self.surface is not None:
            self.surface.save(folder)
        if self.comparables is not None:
            self.comparables.save(folder)

    @classmethod
    def load(cls, folder: Path, contract: Contract) -> FeatureMap:
        """Return the map in ``folder``."""
        facts = json.loads((folder / "features.json").read_text())
        derivation = Derivation(
            contract=contract,
            categories={name: tuple(known) for name, known in facts["categories"].items()},
            origin_latitude=facts["origin_latitude"],
            centres_km=np.load(folder / "centres_km.npy", allow_pickle=False),
            reach_km=facts["reach_km"],
        )
        return cls(
            derivation=derivation,
            surface=PriceSurface.load(folder) if facts["surface"] else None,
            comparables=ComparableSales.load(folder, contract) if facts["comparables"] else None,
            names=tuple(facts["names"]),
            categorical=tuple(facts["categorical"]),
        )

"""Features, applied: canonical columns in, the model's matrix out; one code for training and serving.

Nothing here learns (that is ``feature_fitting``), and nothing here needs pandas or scikit-learn.
Every row is computed by itself, so that a batch gives the bits that its rows give alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract
from hedonic.data.table import Columns, n_rows
from hedonic.model.comparables import ComparableSales
from hedonic.model.derivation import Derivation, code, log_positive, ratio, to_kilometres, years_since
from hedonic.model.plain_files import read_array, read_json
from hedonic.model.price_surface import PriceSurface

__all__ = [
    "BLOCK_ROWS", "Derivation", "FeatureMap", "code", "log_positive", "ratio", "to_kilometres", "years_since",
]  # fmt: skip

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

BLOCK_ROWS = 1024


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
    _known: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _order: Positions | None = field(init=False, repr=False, compare=False)
    _of_surface: Positions = field(init=False, repr=False, compare=False)
    _of_likeness: Positions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out where each part finds its features."""
        own, known = self.derivation.names, list(self.derivation.names)
        if self.surface is not None:
            known.append("surface")
            if self.comparables is not None:
                known += self.comparables.names
        same = self.names == tuple(known)
        likeness = () if self.comparables is None else self.comparables.contract_part.similar
        for name, value in {
            "_known": tuple(known),
            "_order": None if same else _positions(self.names, known),
            "_of_surface": _positions(self.surface.names if self.surface else (), own),
            "_of_likeness": _positions(likeness, own),
        }.items():
            object.__setattr__(self, name, value)

    def apply(self, columns: Columns, own: Positions | None = None) -> Matrix:
        """Return the feature matrix, shape (n_rows, n_features), NaN where a value is missing.

        Args:
            columns: canonical columns.
            own: for rows that are themselves among the comparable sales, their positions there, so
                that no row is its own comparable.
        """
        n = n_rows(columns)
        if 0 < n <= BLOCK_ROWS:
            return self._matrix(columns, own)
        matrix = np.empty((n, len(self.names)))
        for start in range(0, n, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            block = {name: values[rows] for name, values in columns.items()}
            matrix[rows] = self._matrix(block, None if own is None else own[rows])
        return matrix

    def _matrix(self, columns: Columns, own: Positions | None) -> Matrix:
        """Return the matrix of one block of rows."""
        known = np.ascontiguousarray(self._features(columns, own).T)
        return known if self._order is None else known.take(self._order, axis=1)

    def describe(self, columns: Columns, own: Positions | None = None) -> dict[str, Vector]:
        """Return the features by name, each of shape (n_rows,), in the order of ``names``."""
        return dict(zip(self._known, self._features(columns, own), strict=True))

    def _features(self, columns: Columns, own: Positions | None) -> Matrix:
        """Return the known features, by feature: shape (n_known, n_rows)."""
        features, places, days = self.derivation.derive(columns)
        if self.surface is None:
            return features
        attributes = np.ascontiguousarray(features.take(self._of_surface, axis=0).T)
        surface = self.surface.price(attributes, places, days)
        parts = [features, surface[None]]
        if self.comparables is not None:
            assert places is not None  # the contract refuses comparables without a place
            likeness = features.take(self._of_likeness, axis=0)
            parts.append(self.comparables.compare(likeness, places, days, surface, own))
        return np.concatenate(parts)

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
        facts = read_json(folder / "features.json")
        derivation = Derivation(
            contract=contract,
            categories={name: tuple(known) for name, known in facts["categories"].items()},
            origin_latitude=facts["origin_latitude"],
            centres_km=read_array(folder / "centres_km.npy"),
            reach_km=facts["reach_km"],
        )
        return cls(
            derivation=derivation,
            surface=PriceSurface.load(folder) if facts["surface"] else None,
            comparables=ComparableSales.load(folder, contract) if facts["comparables"] else None,
            names=tuple(facts["names"]),
            categorical=tuple(facts["categorical"]),
        )


def _positions(names: Iterable[str], among: Sequence[str]) -> Positions:
    return np.array([among.index(name) for name in names], dtype=np.int64)

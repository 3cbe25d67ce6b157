"""Which attribute group each feature belongs to: contributions by feature in, by group out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract
from hedonic.data.table import Columns
from hedonic.model.features import FeatureMap
from hedonic.model.price_surface import PriceSurface

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

COMPARABLE_SALES = "Comparable sales"
"""The group of what nearby earlier sales tell: their prices, premiums, attributes and distances."""
MARKET = "Market"
"""The group of the date, of the level of the market, and of what the price surface does not divide."""

OF_SURFACE = ("surface", "surface_and_premium_near")


@dataclass(frozen=True, slots=True)
class FeatureGroups:
    """The features of a map, divided among groups.

    | feature | group |
    |---|---|
    | a column | its ``group`` in the contract; without one, a group of its own name |
    | age, logarithm, ratio | the columns that it is derived from, in equal parts |
    | ``rotated_``, ``cluster_`` | latitude and longitude, in equal parts |
    | of comparable sales | ``COMPARABLE_SALES`` |
    | ``surface`` | its attributes, its place, and its trend, which is ``MARKET`` |
    | ``surface_and_premium_near`` | as ``surface``, and the premium is ``COMPARABLE_SALES`` |

    A contribution of the last two is divided as the price surface's own sum is, term by term (the
    rescale rule of Chen, Lundberg & Lee 2022, "Explaining a series of models by propagating Shapley
    values"). A term gets at most what it adds to the surface, and nothing against its sign: where
    terms cancel, the rule alone would divide by almost nothing. What is left is ``MARKET``.

    Attributes:
        features: the map.
        names: of the groups, as the contract has them, then the two above.
        attributes: of each group, the input columns that the model uses.
    """

    features: FeatureMap
    names: tuple[str, ...] = field(init=False)
    attributes: dict[str, tuple[str, ...]] = field(init=False)
    _columns: dict[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    _shares: Matrix = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the share of each group in each feature, shape (n_features, n_groups)."""
        contract = self.features.derivation.contract
        columns = _columns_of(contract)
        used = {column for name in self.features.names for column in columns.get(name, ())}
        attributes: dict[str, tuple[str, ...]] = {}
        for column in contract.inputs:
            if column.name in used:
                group = column.group or column.name
                attributes[group] = (*attributes.get(group, ()), column.name)
        for name, value in {
            "names": tuple(dict.fromkeys([*attributes, COMPARABLE_SALES, MARKET])),
            "attributes": attributes,
            "_columns": columns,
        }.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_shares", self._shares_of(self.features.names))

    def sources(self, name: str) -> tuple[str, ...]:
        """Return the groups among which a feature is divided in equal parts.

        There are none for a feature that holds the price surface: that is divided row by row.
        """
        if name in OF_SURFACE:
            return ()
        found = self._columns.get(name, ())
        groups = [group for column in found for group, own in self.attributes.items() if column in own]
        return tuple(groups) or (COMPARABLE_SALES,)

    def divide(self, parts: Matrix, matrix: Matrix, columns: Columns) -> Matrix:
        """Return contributions by group, shape (n_rows, n_groups); a row's sum is that of its parts.

        Args:
            parts: contributions by feature, shape (n_rows, n_features).
            matrix: the features themselves.
            columns: the rows' canonical columns, dated.
        """
        divided: Matrix = parts @ self._shares
        surface = self.features.surface
        if surface is None:
            return divided
        terms = self._terms(surface, columns)
        at = self.features.names.index
        divided += self._rescaled(parts[:, at(OF_SURFACE[0])], terms)
        if self.features.comparables is not None:
            terms[:, self.names.index(COMPARABLE_SALES)] += np.nan_to_num(matrix[:, at("premium_near")])
            divided += self._rescaled(parts[:, at(OF_SURFACE[1])], terms)
        return divided

    def _rescaled(self, part: Vector, terms: Matrix) -> Matrix:
        """Return a feature's contribution, divided as the terms of its sum."""
        total = terms.sum(axis=1)
        rate = np.clip(np.divide(part, total, out=np.zeros(len(part)), where=total != 0), 0.0, 1.0)
        divided: Matrix = terms * rate[:, None]
        divided[:, self.names.index(MARKET)] += part - rate * total
        return divided

    def _terms(self, surface: PriceSurface, columns: Columns) -> Matrix:
        """Return the price surface's terms by group, beside what is usual, shape (n_rows, n_groups)."""
        derivation = self.features.derivation
        derived, place = derivation.apply(columns), derivation.contract.features.place
        assert place is not None  # the contract has no price surface without a place
        attributes = np.column_stack([derived[name] for name in surface.names])
        by_attribute, by_place, by_date = surface.parts(
            attributes, derivation.kilometres(columns), derivation.days(columns)
        )
        terms: Matrix = by_attribute @ self._shares_of(surface.names)
        terms += by_place[:, None] * self._shares_of([place.latitude, place.longitude]).mean(axis=0)
        terms[:, self.names.index(MARKET)] += by_date
        return terms

    def _shares_of(self, features: Sequence[str]) -> Matrix:
        shares = np.zeros((len(features), len(self.names)))
        for row, feature in enumerate(features):
            groups = self.sources(feature)
            for group in groups:
                shares[row, self.names.index(group)] += 1 / len(groups)
        return shares


def _columns_of(contract: Contract) -> dict[str, tuple[str, ...]]:
    """Return the input columns from which each feature of a row itself is derived."""
    features = contract.features
    columns: dict[str, tuple[str, ...]] = {column.name: (column.name,) for column in contract.inputs}
    columns |= {age.name: (age.year, *([age.renewed] if age.renewed else [])) for age in features.ages}
    columns |= {f"log_{column}": (column,) for column in features.logs}
    columns |= {r.name: (r.numerator, r.denominator) for r in features.ratios}
    if (place := features.place) is not None:
        names = [f"rotated_{degrees:g}" for degrees in place.rotations_deg]
        names += [f"cluster_{n}" for n in range(place.max_clusters)]
        columns |= dict.fromkeys(names, (place.latitude, place.longitude))
    return columns

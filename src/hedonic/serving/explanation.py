"""Why an estimate is what it is: contributions in money by attribute group, and comparable sales."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hedonic.data.table import Columns, day, n_rows, take
from hedonic.errors import HedonicError
from hedonic.model.artifact import PortableModel
from hedonic.model.comparables import ComparableSales
from hedonic.model.feature_groups import MARKET, FeatureGroups
from hedonic.model.scorers import ConstantScorer

N_COMPARABLES = 5
TOLERANCE = 1e-6
"""How far, relative to the estimate, contributions may be from adding up before they are refused."""

NO_CONTRIBUTIONS = "this family of model has no exact contributions; see the comparable sales"
ALIKE = "this model values every row alike: no attribute contributes"
NO_SALES = "this model keeps no sales to compare with"
NO_EARLIER_SALES = "no earlier sale is known to compare with, or the row has no place"

Explanation = dict[str, Any]


class Explainer:
    """A model, asked for reasons.

    A row's explanation, in the target's unit:

    - ``estimate``, ``unit``: as the same row's prediction has them.
    - ``base``: where the contributions start: the model's typical (for a log target, geometric mean)
      estimate over its training. None without contributions.
    - ``contributions``: ``group``, ``amount`` and the ``attributes`` of that group, the largest amount
      first. The base and all amounts add up to the estimate. See ``FeatureGroups`` for the groups.
    - ``exact``: whether there are such contributions; the notes say why not.
    - ``comparable_sales``: up to five nearest earlier sales, nearest first: ``distance_km``,
      ``sale_date`` (None in a data set without time), ``sale_price``, ``adjusted_price`` and
      ``attributes`` (as of the sale; None where unknown). The adjusted price is the sale's price, moved
      by the difference that the price surface makes between the sale and this row: attributes, place
      and date.
    - ``notes``: what is to be said beside, in sentences.
    """

    def __init__(self, model: PortableModel) -> None:
        """Take the model."""
        self._model = model
        self._groups = FeatureGroups(model.features)
        self._log = model.contract.target.scale == "log"

    def explain(self, columns: Columns) -> list[Explanation]:
        """Return the explanation of each row; a batch gives what its rows give alone.

        Raises:
            HedonicError: contributions do not add up to an estimate, or a number is not finite.
        """
        dated = self._model.dated(columns)
        return [self._explain(take(dated, np.array([row]))) for row in range(n_rows(dated))]

    def _explain(self, row: Columns) -> Explanation:
        model = self._model
        estimate = float(model.estimate(row).estimate[0])
        matrix = model.features.apply(row)
        parts = model.point.contributions(matrix)
        sales, notes = self._comparable_sales(row)
        base, contributions = None, []
        if parts is None:
            notes.insert(0, NO_CONTRIBUTIONS)
        else:
            if isinstance(model.point, ConstantScorer):
                notes.insert(0, ALIKE)
            by_group = self._groups.divide(parts[:, :-1], matrix, row)[0]
            by_group[self._groups.names.index(MARKET)] += model.level
            base, amounts = self._in_money(estimate, float(parts[0, -1]), by_group)
            contributions = [
                {"group": group, "amount": amount, "attributes": list(self._groups.attributes.get(group, ()))}
                for group, amount in sorted(amounts.items(), key=lambda item: -abs(item[1]))
            ]
        return {
            "estimate": estimate,
            "unit": model.contract.target.unit,
            "base": base,
            "contributions": contributions,
            "exact": parts is not None,
            "comparable_sales": sales,
            "notes": notes,
        }

    def _in_money(
        self, estimate: float, base: float, by_group: npt.NDArray[np.float64]
    ) -> tuple[float, dict[str, float]]:
        """Return the base and each group's amount in the target's unit.

        On a log target, ``amount = part * (estimate - base) / ln(estimate / base)``: the logarithmic
        mean of estimate and base, by which parts of a logarithm become parts of the difference (Ang &
        Choi 1997, "Decomposition of aggregate energy and gas emission intensities", LMDI).
        """
        mean = 1.0
        if self._log:
            base, change = math.exp(base), float(by_group.sum())
            mean = base * math.expm1(change) / change if change else base
        amounts = {name: float(part) * mean for name, part in zip(self._groups.names, by_group, strict=True)}
        rest = estimate - base - math.fsum(amounts.values())
        if not abs(rest) <= TOLERANCE * max(abs(estimate), abs(base)):  # a NaN is refused, too
            raise HedonicError(f"the contributions to {estimate} miss it by {rest}, and are not served")
        largest = max(amounts, key=lambda name: abs(amounts[name]))
        amounts[largest] += rest  # what rounding left
        return base, amounts

    def _comparable_sales(self, row: Columns) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the nearest earlier sales, and what is to be noted where there are none."""
        features = self._model.features
        sales, surface = features.comparables, features.surface
        if sales is None or surface is None:
            return [], [NO_SALES]
        places, days = features.derivation.kilometres(row), features.derivation.days(row)
        here = float(surface.apply(features.derivation.apply(row), places, days)[0])
        near = sales.nearest(places, days, None)
        found = [
            self._comparable_sale(sales, int(position), float(km), here)
            for position, km, known in zip(near.position[0], near.km[0], near.known[0], strict=True)
            if known
        ]
        return found[:N_COMPARABLES], [] if found else [NO_EARLIER_SALES]

    def _comparable_sale(
        self, sales: ComparableSales, position: int, km: float, here: float
    ) -> dict[str, Any]:
        price, surface = float(sales.price[position]), float(sales.surface[position])
        to_unit = math.exp if self._log else float
        return {
            "distance_km": round(km, 3),
            "sale_date": None if sales.days is None else day(sales.days[position]).isoformat(),
            "sale_price": _shown(to_unit(price)),
            "adjusted_price": _shown(to_unit(price + here - surface)),
            "attributes": _attributes(sales, position),
        }


def explain(model: PortableModel, columns: Columns) -> list[Explanation]:
    """Return the explanation of each row, JSON-ready; see ``Explainer``."""
    return Explainer(model).explain(columns)


def _attributes(sales: ComparableSales, position: int) -> dict[str, float | None]:
    """Return what is stored of a sale; a logarithm as the number that it is of."""
    attributes: dict[str, float | None] = {}
    for name, values in sales.attributes.items():
        value = float(values[position])
        plain = name.removeprefix("log_")
        if plain == name or plain not in sales.attributes:
            known = value if plain == name else math.exp(value)
            attributes[plain] = None if math.isnan(known) else _shown(known)
    return attributes


def _shown(value: float) -> float:
    """Return a number to twelve digits: a price that went through a logarithm comes back as it was.

    Raises:
        HedonicError: it is not finite.
    """
    if not math.isfinite(value):
        raise HedonicError(f"a number of an explanation is {value}, and is not served")
    return float(f"{value:.12g}")

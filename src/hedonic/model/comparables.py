"""Comparable sales: what the nearest earlier sales tell about a row (numpy alone)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Comparables, Contract
from hedonic.model.neighbours import Neighbours, SaleMap
from hedonic.model.plain_files import read_array, read_json

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

RECENCY_DAYS = 180.0
NEAR_RANK = 5
FLOOR_KM = 0.1
CACHED = 1000


@dataclass(frozen=True, slots=True)
class ComparableSales:
    """Sales by place, with what is needed to compare a row with them.

    Attributes:
        contract_part: how many neighbours, and what makes a sale similar.
        places: kilometres east and north, shape (n_sales, 2).
        days: of sale, shape (n_sales,), ascending; None without time.
        price: on the model's scale, shape (n_sales,).
        surface: the price surface's estimate of the same sales, shape (n_sales,).
        attributes: of the sales, by the names that similarity, size and averages need.
    """

    contract_part: Comparables
    places: Matrix
    days: Vector | None
    price: Vector
    surface: Vector
    attributes: dict[str, Vector]
    _layout: _Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Lay out what is looked up for every row."""
        object.__setattr__(self, "_layout", _Layout.of(self))

    @property
    def n_neighbours(self) -> int:
        """Return how many sales are looked up a row."""
        return self._layout.map.n_neighbours

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the features, in their order."""
        return self._layout.names

    def nearest(self, places: Matrix, days: Vector | None, own: Positions | None) -> Neighbours:
        """Return the nearest sales; see ``SaleMap.nearest``."""
        return self._layout.map.nearest(places, days, own)

    def describe(
        self,
        derived: dict[str, Vector],
        places: Matrix | None,
        days: Vector | None,
        surface: Vector,
        own: Positions | None,
    ) -> dict[str, Vector]:
        """Return the comparables' features by name, each of shape (n_rows,); see ``compare``."""
        assert places is not None  # the contract refuses comparables without a place
        similar = [derived[name] for name in self.contract_part.similar]
        likeness = np.array(similar).reshape(-1, len(places))
        return dict(zip(self.names, self.compare(likeness, places, days, surface, own), strict=True))

    def compare(
        self,
        likeness: Matrix,
        places: Matrix,
        days: Vector | None,
        surface: Vector,
        own: Positions | None,
    ) -> Matrix:
        """Return the comparables' features, by feature: shape (n_features, n_rows).

        NaN without a comparable. Levels are on the model's scale; ``premium`` is a sale's price above
        its price surface.

        Args:
            likeness: the rows' attributes by which sales are similar, shape (n_similar, n_rows).
            places: kilometres east and north, shape (n_rows, 2).
            days: dates of the rows; None without time.
            surface: the price surface's estimates of the rows.
            own: positions of the rows among the sales, where they are among them.
        """
        layout, near = self._layout, self.nearest(places, days, own)
        told = layout.told.take(near.position, axis=1)
        weights = self._weights(likeness, days, near)
        means = weighted_mean(told[:, None], weights, gaps=layout.gaps)
        premium, of_all = told[1], means[1, layout.widest]
        known = weights[layout.widest]  # of the widest count every neighbour is one
        spread = weighted_mean(np.square(premium - of_all[:, None]), known, gaps=layout.gaps)
        km = near.km.take(layout.km_ranks, axis=1).T
        parts = (
            means.reshape(-1, len(places)),
            km if near.complete else np.where(np.isfinite(km), km, np.nan),
            np.sqrt(spread)[None],
            (surface + means[1, -1])[None],
        )
        features: Matrix = np.concatenate(parts).take(layout.order, axis=0)
        return features

    def _weights(self, likeness: Matrix, days: Vector | None, near: Neighbours) -> Matrix:
        """Return how much each neighbour counts by label, shape (n_labels, n_rows, k); "near" is last."""
        layout, n_counts = self._layout, self._layout.n_counts
        weights = np.empty((len(layout.labels), *near.km.shape))
        weights[:n_counts] = layout.within
        nearness = weights[-1]
        _nearness(near, out=nearness)
        if len(layout.similar):
            similar, similar_and_near = weights[n_counts : n_counts + 2]
            self._likeness(likeness, near, out=similar)
            np.multiply(similar, nearness, out=similar_and_near)
        if days is not None and self.days is not None:
            age = days[:, None] - self.days.take(near.position)
            age /= RECENCY_DAYS
            np.negative(np.square(age, out=age), out=age)
            nearness *= np.exp(age, out=age)
        if not near.complete:
            weights *= near.known
        return weights

    def _likeness(self, likeness: Matrix, near: Neighbours, out: Matrix) -> None:
        """Write how alike each sale is to its row, from 0 to 1; a missing attribute does not count."""
        layout = self._layout
        gap = likeness[:, :, None] - layout.similar.take(near.position, axis=1)
        gap /= layout.bandwidths
        np.fmax(np.square(gap, out=gap), 0.0, out=gap)  # of a number and NaN the number
        exponent = gap[0]
        for square in gap[1:]:  # one after the other: a sum over the first axis may pair them otherwise
            exponent += square
        np.exp(np.negative(exponent, out=exponent), out=out)

    def save(self, folder: Path) -> None:
        """Write ``comparables.json`` and ``comparables.npy``."""
        names = sorted(self.attributes)
        facts = {"names": names, "dated": self.days is not None}
        (folder / "comparables.json").write_text(json.dumps(facts) + "\n")
        rows = [*self.places.T, self.price, self.surface, *(self.attributes[name] for name in names)]
        rows += [] if self.days is None else [self.days]
        np.save(folder / "comparables.npy", np.vstack(rows))

    @classmethod
    def load(cls, folder: Path, contract: Contract) -> ComparableSales:
        """Return the sales in ``folder``."""
        assert contract.features.comparables is not None
        facts = read_json(folder / "comparables.json")
        rows = read_array(folder / "comparables.npy")
        return cls(
            contract_part=contract.features.comparables,
            places=np.ascontiguousarray(rows[:2].T),
            days=rows[-1] if facts["dated"] else None,
            price=rows[2],
            surface=rows[3],
            attributes=dict(zip(facts["names"], rows[4:-1] if facts["dated"] else rows[4:], strict=True)),
        )


@dataclass(frozen=True, slots=True)
class _Layout:
    """What is the same for every row: the sales' values stacked, and the order of the features.

    Attributes:
        map: where and when the sales were.
        names: of the features, in their order.
        labels: of the weights: the counts, then the similar, then the near.
        n_counts: how many of the labels are counts of neighbours.
        widest: which of these is the greatest.
        order: positions of the features among what is computed.
        told: what is averaged over neighbours: levels, then averaged attributes; by value, (n, n_sales).
        gaps: whether one of these is missing.
        similar: attributes by which sales are similar, shape (n_similar, n_sales).
        bandwidths: of these, shape (n_similar, 1, 1).
        within: 1 for the neighbours within a count, shape (n_counts, 1, k).
        km_ranks: which neighbours' distances are told.
    """

    map: SaleMap
    names: tuple[str, ...]
    labels: tuple[str, ...]
    n_counts: int
    widest: int
    order: Positions
    told: Matrix
    gaps: bool
    similar: Matrix
    bandwidths: Matrix
    within: Matrix
    km_ranks: Positions

    @classmethod
    def of(cls, sales: ComparableSales) -> _Layout:
        """Return the layout of the sales."""
        part, attributes = sales.contract_part, sales.attributes
        k = min(max(part.neighbours), len(sales.price))
        levels = {"price": sales.price, "premium": sales.price - sales.surface}
        if part.size is not None:
            levels["unit_price"] = sales.price - attributes[f"log_{part.size}"]
        told = np.array([*levels.values(), *(attributes[name] for name in part.averaged)])
        counts = tuple(f"of_{count}" for count in part.neighbours)
        labels = (*counts, *(("of_similar", "of_similar_and_near") if part.similar else ()), "near")
        n_means = len(told) * len(labels)
        computed: dict[str, int] = {}
        for n, label in enumerate(labels):
            computed |= {f"{level}_{label}": m * len(labels) + n for m, level in enumerate(levels)}
            if label in counts:
                averaged = enumerate(part.averaged, start=len(levels))
                computed |= {f"{name}_{label}": m * len(labels) + n for m, name in averaged}
                computed[f"km_to_{part.neighbours[n]}"] = n_means + n
        others = ("km_to_nearest", "premium_spread", "surface_and_premium_near")
        last = {name: n_means + len(counts) + n for n, name in enumerate(others)}
        computed |= {name: last[name] for name in ("premium_spread", "km_to_nearest", others[-1])}
        similar = [attributes[name] for name in part.similar]
        return cls(
            map=SaleMap(sales.places, sales.days, k),
            names=tuple(computed),
            labels=labels,
            n_counts=len(counts),
            widest=part.neighbours.index(max(part.neighbours)),
            order=np.array(list(computed.values())),
            told=told,
            gaps=bool(np.isnan(told).any()),
            similar=np.array(similar).reshape(-1, len(sales.price)),
            bandwidths=np.array(list(part.similar.values()), dtype=np.float64)[:, None, None],
            within=(np.arange(k) < np.array(part.neighbours)[:, None, None]).astype(np.float64),
            km_ranks=np.array([*(min(count, k) - 1 for count in part.neighbours), 0]),
        )


def _nearness(near: Neighbours, out: Matrix) -> None:
    """Write weights that fall by a factor e over the distance to the fifth nearest sale."""
    scale, km = near.km[:, min(NEAR_RANK, near.km.shape[1]) - 1], near.km
    if not near.complete:
        scale, km = np.where(np.isfinite(scale), scale, 1.0), np.where(near.known, km, 0.0)
    np.divide(km, -np.maximum(scale, FLOOR_KM)[:, None], out=out)
    np.exp(out, out=out)


def weighted_mean(values: Matrix, weight: Matrix, *, gaps: bool = True) -> Vector:
    """Return the mean over the last axis; missing where the weights sum to (almost) nothing.

    A missing value has no weight. Without ``gaps`` no value is missing that has any.
    """
    if gaps:
        missing = np.isnan(values)
        weight, values = np.where(missing, 0.0, weight), np.where(missing, 0.0, values)
    total = np.add.reduce(weight, axis=-1)
    if values.ndim > weight.ndim and values.size > CACHED:  # one by one: the same sums, in the cache
        summed = np.array([np.add.reduce(part * weight, axis=-1) for part in values])
    else:
        summed = np.add.reduce(values * weight, axis=-1)
    enough = total > 1e-12
    if enough.all():
        return np.asarray(summed / total)
    return np.where(enough, summed / np.where(enough, total, 1.0), np.nan)

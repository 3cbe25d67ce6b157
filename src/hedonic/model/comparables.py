"""Comparable sales: what the nearest earlier sales tell about a row (numpy, and SciPy's k-d tree)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from hedonic.data.contract import Comparables, Contract

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

RECENCY_DAYS = 180.0
NEAR_RANK = 5
FLOOR_KM = 0.1


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest sales of each row, nearest first.

    Attributes:
        position: among the sales, shape (n_rows, k); 0 where ``known`` is False.
        km: distance, shape (n_rows, k); infinite where unknown.
        known: False where a row has fewer than k earlier sales.
    """

    position: Positions
    km: Matrix
    known: npt.NDArray[np.bool_]


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
    tree: cKDTree = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", cKDTree(self.places))

    @property
    def n_neighbours(self) -> int:
        """Return how many sales are looked up a row."""
        return min(max(self.contract_part.neighbours), len(self.price))

    def nearest(self, places: Matrix, days: Vector | None, own: Positions | None) -> Neighbours:
        """Return the nearest sales, each strictly earlier than the row, none the row itself.

        Args:
            places: kilometres east and north, shape (n_rows, 2).
            days: dates of the rows; None without time.
            own: positions of the rows among the sales, where they are among them.
        """
        n, k = len(places), self.n_neighbours
        near = Neighbours(
            position=np.zeros((n, k), dtype=np.int64),
            km=np.full((n, k), np.inf),
            known=np.zeros((n, k), dtype=bool),
        )
        placed = np.isfinite(places).all(axis=1)
        n_earlier = np.full(n, len(self.price))
        if days is not None and self.days is not None:
            n_earlier = np.searchsorted(self.days, days, side="left")
        # Trees over ever shorter beginnings: in a row's own tree at least half the sales are earlier.
        length = len(self.price)
        while length:
            rows = np.flatnonzero(placed & (n_earlier <= length) & (n_earlier > length // 2))
            if len(rows):
                tree = self.tree if length == len(self.price) else cKDTree(self.places[:length])
                self._search(tree, length, near, rows, places, n_earlier, own)
            length //= 2
        return near

    def _search(
        self,
        tree: cKDTree,
        length: int,
        near: Neighbours,
        rows: Positions,
        places: Matrix,
        n_earlier: Positions,
        own: Positions | None,
    ) -> None:
        """Fill in the neighbours of some rows, asking the tree for more until each has enough."""
        k = self.n_neighbours
        reach = k + (own is not None)
        while len(rows):
            reach = min(reach, length)
            found_km, found = tree.query(places[rows], reach)
            found_km, found = found_km.reshape(-1, reach), found.reshape(-1, reach)
            allowed = found < n_earlier[rows, None]
            if own is not None:
                allowed &= found != own[rows, None]
            complete = (allowed.sum(axis=1) >= k) | (reach == length)
            rank = np.cumsum(allowed, axis=1) - 1
            row, column = np.nonzero(allowed & (rank < k) & complete[:, None])
            at = (rows[row], rank[row, column])
            near.position[at] = found[row, column]
            near.km[at] = found_km[row, column]
            near.known[at] = True
            rows, reach = rows[~complete], reach * 2

    def describe(
        self,
        derived: dict[str, Vector],
        places: Matrix | None,
        days: Vector | None,
        surface: Vector,
        own: Positions | None,
    ) -> dict[str, Vector]:
        """Return the comparables' features by name, each of shape (n_rows,); NaN without a comparable.

        Levels are on the model's scale; ``premium`` is a sale's price above its price surface.
        """
        assert places is not None  # the contract refuses comparables without a place
        near = self.nearest(places, days, own)
        price, known = self.price[near.position], near.known.astype(np.float64)
        premium = price - self.surface[near.position]
        size = self.contract_part.size
        unit = None if size is None else price - self.attributes[f"log_{size}"][near.position]
        features: dict[str, Vector] = {}

        def add(label: str, weight: Matrix) -> None:
            features[f"price_{label}"] = weighted_mean(price, weight)
            features[f"premium_{label}"] = weighted_mean(premium, weight)
            if unit is not None:
                features[f"unit_price_{label}"] = weighted_mean(unit, weight)

        for k in self.contract_part.neighbours:
            first = np.where(np.arange(known.shape[1]) < k, known, 0.0)
            add(f"of_{k}", first)
            for name in self.contract_part.averaged:
                mean = weighted_mean(self.attributes[name][near.position], first)
                features[f"{name}_of_{k}"] = mean
            features[f"km_to_{k}"] = near.km[:, min(k, near.km.shape[1]) - 1]
        nearness = _nearness(near)
        if self.contract_part.similar:
            likeness = self._likeness(derived, near)
            add("of_similar", known * likeness)
            add("of_similar_and_near", known * likeness * nearness)
        recency = 1.0
        if days is not None and self.days is not None:
            recency = np.exp(-(((days[:, None] - self.days[near.position]) / RECENCY_DAYS) ** 2))
        add("near", known * recency * nearness)
        features["premium_spread"] = np.sqrt(
            weighted_mean(
                (premium - features[f"premium_of_{max(self.contract_part.neighbours)}"][:, None]) ** 2, known
            )
        )
        features["km_to_nearest"] = near.km[:, 0]
        features["surface_and_premium_near"] = surface + features["premium_near"]
        for name, values in features.items():
            if name.startswith("km_to"):
                features[name] = np.where(np.isfinite(values), values, np.nan)
        return features

    def _likeness(self, derived: dict[str, Vector], near: Neighbours) -> Matrix:
        """Return how alike each sale is to its row, from 0 to 1; a missing attribute does not count."""
        exponent = np.zeros(near.km.shape)
        for name, bandwidth in self.contract_part.similar.items():
            gap = (derived[name][:, None] - self.attributes[name][near.position]) / bandwidth
            exponent += np.where(np.isnan(gap), 0.0, gap * gap)
        return np.exp(-exponent)

    def save(self, folder: Path) -> None:
        """Write ``comparables.json`` and ``comparables.npy``."""
        dated = self.days is not None
        names = sorted(self.attributes)
        (folder / "comparables.json").write_text(json.dumps({"names": names, "dated": dated}) + "\n")
        columns = [*self.places.T, self.price, self.surface, *(self.attributes[name] for name in names)]
        np.save(folder / "comparables.npy", np.vstack([*columns, *([self.days] if dated else [])]))

    @classmethod
    def load(cls, folder: Path, contract: Contract) -> ComparableSales:
        """Return the sales in ``folder``."""
        assert contract.features.comparables is not None
        facts = json.loads((folder / "comparables.json").read_text())
        rows = np.load(folder / "comparables.npy", allow_pickle=False)
        return cls(
            contract_part=contract.features.comparables,
            places=np.ascontiguousarray(rows[:2].T),
            days=rows[-1] if facts["dated"] else None,
            price=rows[2],
            surface=rows[3],
            attributes=dict(zip(facts["names"], rows[4:], strict=False)),
        )


def _nearness(near: Neighbours) -> Matrix:
    """Return weights that fall by a factor e over the distance to the fifth nearest sale."""
    scale = near.km[:, min(NEAR_RANK, near.km.shape[1]) - 1]
    scale = np.maximum(np.where(np.isfinite(scale), scale, 1.0), FLOOR_KM)
    return np.exp(-np.where(near.known, near.km, 0.0) / scale[:, None])


def weighted_mean(values: Matrix, weight: Matrix) -> Vector:
    """Return the weighted mean of each row; missing where the weights sum to (almost) nothing."""
    total = np.ascontiguousarray(weight).sum(axis=1)
    summed = np.ascontiguousarray(np.where(weight > 0, values, 0.0) * weight).sum(axis=1)
    enough = total > 1e-12
    return np.where(enough, summed / np.where(enough, total, 1.0), np.nan)

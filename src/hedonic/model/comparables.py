"""Comparable sales: what the nearest earlier sales tell about a row (numpy, and SciPy's k-d tree)."""

from __future__ import annotations

import json
from collections.abc import Iterable
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
    _trees: dict[int, cKDTree] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def _counts(self) -> dict[str, int]:
        """Return by label how many of the nearest sales it is about."""
        return {f"of_{k}": k for k in self.contract_part.neighbours}

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
        shape = (len(places), self.n_neighbours)
        near = Neighbours(
            position=np.zeros(shape, dtype=np.int64),
            km=np.full(shape, np.inf),
            known=np.zeros(shape, dtype=bool),
        )
        n_earlier = np.full(len(places), len(self.price))
        if days is not None and self.days is not None:
            n_earlier = np.searchsorted(self.days, days, side="left")
        searched = np.isfinite(places).all(axis=1) & (n_earlier > 0)
        # The shortest tree that holds a row's earlier sales: at least half of what it holds are earlier.
        lengths = self._lengths()
        level = np.searchsorted(lengths, n_earlier, side="left")
        for n in sorted(set(level[searched].tolist())):
            rows = np.flatnonzero(searched & (level == n))
            self._search(int(lengths[n]), near, rows, places, n_earlier, own)
        return near

    def _lengths(self) -> Positions:
        """Return the lengths of the trees, ascending: all sales, the first half of them, and so on."""
        halvings = range(len(self.price).bit_length())
        return np.array([len(self.price) >> n for n in reversed(halvings)], dtype=np.int64)

    def _tree(self, length: int) -> cKDTree:
        """Return the tree of the first sales; it is made once."""
        if length not in self._trees:
            self._trees[length] = cKDTree(self.places[:length])
        return self._trees[length]

    def _search(
        self,
        length: int,
        near: Neighbours,
        rows: Positions,
        places: Matrix,
        n_earlier: Positions,
        own: Positions | None,
    ) -> None:
        """Fill in the neighbours of some rows, asking the tree for more until each has enough."""
        k, tree = self.n_neighbours, self._tree(length)
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
        part, near = self.contract_part, self.nearest(places, days, own)
        price = self.price[near.position]
        levels = {"price": price, "premium": price - self.surface[near.position]}
        if part.size is not None:
            levels["unit_price"] = price - self.attributes[f"log_{part.size}"][near.position]
        weights, counts = self._weights(derived, days, near), self._counts
        of_levels = weighted_mean(_layers(levels.values(), near), np.array(list(weights.values())))
        averaged = [self.attributes[name][near.position] for name in part.averaged]
        averages = weighted_mean(_layers(averaged, near), np.array([weights[label] for label in counts]))
        features: dict[str, Vector] = {}
        for n, label in enumerate(weights):
            features |= {f"{level}_{label}": of_levels[m, n] for m, level in enumerate(levels)}
            if label in counts:
                features |= {f"{name}_{label}": averages[m, n] for m, name in enumerate(part.averaged)}
                features[f"km_to_{counts[label]}"] = _known_km(near, counts[label])
        spread = levels["premium"] - features[f"premium_of_{max(part.neighbours)}"][:, None]
        features["premium_spread"] = np.sqrt(weighted_mean(spread**2, near.known.astype(np.float64)))
        features["km_to_nearest"] = _known_km(near, 1)
        features["surface_and_premium_near"] = surface + features["premium_near"]
        return features

    def _weights(
        self, derived: dict[str, Vector], days: Vector | None, near: Neighbours
    ) -> dict[str, Matrix]:
        """Return by label how much each neighbour counts, each of shape (n_rows, k); counts come first."""
        known, nearness = near.known.astype(np.float64), _nearness(near)
        rank = np.arange(known.shape[1])
        weights = {label: np.where(rank < k, known, 0.0) for label, k in self._counts.items()}
        if self.contract_part.similar:
            weights["of_similar"] = known * self._likeness(derived, near)
            weights["of_similar_and_near"] = weights["of_similar"] * nearness
        weights["near"] = known * nearness
        if days is not None and self.days is not None:
            age = (days[:, None] - self.days[near.position]) / RECENCY_DAYS
            weights["near"] = known * np.exp(-(age**2)) * nearness
        return weights

    def _likeness(self, derived: dict[str, Vector], near: Neighbours) -> Matrix:
        """Return how alike each sale is to its row, from 0 to 1; a missing attribute does not count."""
        exponent = np.zeros(near.km.shape)
        for name, bandwidth in self.contract_part.similar.items():
            gap = (derived[name][:, None] - self.attributes[name][near.position]) / bandwidth
            exponent += np.where(np.isnan(gap), 0.0, gap * gap)
        return np.exp(-exponent)

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
        facts = json.loads((folder / "comparables.json").read_text())
        rows = np.load(folder / "comparables.npy", allow_pickle=False)
        return cls(
            contract_part=contract.features.comparables,
            places=np.ascontiguousarray(rows[:2].T),
            days=rows[-1] if facts["dated"] else None,
            price=rows[2],
            surface=rows[3],
            attributes=dict(zip(facts["names"], rows[4:-1] if facts["dated"] else rows[4:], strict=True)),
        )


def _nearness(near: Neighbours) -> Matrix:
    """Return weights that fall by a factor e over the distance to the fifth nearest sale."""
    scale = near.km[:, min(NEAR_RANK, near.km.shape[1]) - 1]
    scale = np.maximum(np.where(np.isfinite(scale), scale, 1.0), FLOOR_KM)
    return np.exp(-np.where(near.known, near.km, 0.0) / scale[:, None])


def _layers(values: Iterable[Matrix], near: Neighbours) -> Matrix:
    """Return the matrices as one array of shape (n_matrices, 1, n_rows, k)."""
    return np.array(list(values), dtype=np.float64).reshape(-1, 1, *near.km.shape)


def _known_km(near: Neighbours, k: int) -> Vector:
    """Return the distance to the k-th nearest sale; missing where there is none."""
    km = near.km[:, min(k, near.km.shape[1]) - 1]
    return np.where(np.isfinite(km), km, np.nan)


def weighted_mean(values: Matrix, weight: Matrix) -> Vector:
    """Return the mean over the last axis; missing where the weights sum to (almost) nothing.

    A missing value has no weight.
    """
    missing = np.isnan(values)
    weight = np.where(missing, 0.0, weight)
    total = weight.sum(axis=-1)
    summed = (np.where(missing, 0.0, values) * weight).sum(axis=-1)
    enough = total > 1e-12
    return np.where(enough, summed / np.where(enough, total, 1.0), np.nan)

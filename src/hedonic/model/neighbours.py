"""Neighbours: the nearest earlier sales of a row (SciPy's k-d tree)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest sales of each row, nearest first.

    Attributes:
        position: among the sales, shape (n_rows, k); 0 where ``known`` is False.
        km: distance, shape (n_rows, k); infinite where unknown.
        known: False where a row has fewer than k earlier sales.
        complete: whether none is unknown.
    """

    position: Positions
    km: Matrix
    known: npt.NDArray[np.bool_]
    complete: bool


@dataclass(frozen=True, slots=True)
class SaleMap:
    """Places and dates of sales, searched for those near a row and earlier than it.

    Attributes:
        places: kilometres east and north, shape (n_sales, 2).
        days: of sale, shape (n_sales,), ascending; None without time.
        n_neighbours: how many sales are looked up a row, at most ``n_sales``.
    """

    places: Matrix
    days: Vector | None
    n_neighbours: int
    _lengths: Positions = field(init=False, repr=False, compare=False)
    _trees: dict[int, cKDTree] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Work out the lengths of the trees, ascending: all sales, the first half of them, and so on."""
        n = len(self.places)
        lengths = [n >> halvings for halvings in reversed(range(n.bit_length()))]
        object.__setattr__(self, "_lengths", np.array(lengths, dtype=np.int64))

    def nearest(self, places: Matrix, days: Vector | None, own: Positions | None) -> Neighbours:
        """Return the nearest sales, each strictly earlier than the row, none the row itself.

        Args:
            places: kilometres east and north, shape (n_rows, 2).
            days: dates of the rows; None without time.
            own: positions of the rows among the sales, where they are among them.
        """
        if days is None or self.days is None:
            n_earlier = np.full(len(places), len(self.places))
        else:
            n_earlier = self.days.searchsorted(days, side="left")
        # The shortest tree that holds a row's earlier sales: at least half of what it holds are earlier.
        level = self._lengths.searchsorted(n_earlier, side="left")
        placed = np.isfinite(places).all(axis=1)
        if own is None and placed.all() and (usual := self._usual(places, level, n_earlier)):
            return usual
        shape = (len(places), self.n_neighbours)
        position, km = np.zeros(shape, dtype=np.int64), np.full(shape, np.inf)
        near = Neighbours(position, km, np.zeros(shape, dtype=np.bool_), complete=False)
        searched = placed & (n_earlier > 0)
        for n in set(level[searched].tolist()):
            rows = np.flatnonzero(searched & (level == n))
            self._search(int(self._lengths[n]), near, rows, places, n_earlier, own)
        return replace(near, complete=bool(near.known.all()))

    def _usual(self, places: Matrix, level: Positions, n_earlier: Positions) -> Neighbours | None:
        """Return the nearest sales where all rows look in one tree and the first found are earlier."""
        k, length = self.n_neighbours, int(self._lengths[level[0]]) if len(level) else 0
        if length < k or (level != level[0]).any():
            return None
        km, position = self._tree(length).query(places, k)
        km, position = km.reshape(-1, k), position.reshape(-1, k)
        known = position < n_earlier[:, None]
        return Neighbours(position, km, known, complete=True) if known.all() else None

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
            if reach >= k:
                free = allowed[:, :k].all(axis=1)  # nothing to pass over: the first are the nearest
                if free.all():
                    near.position[rows], near.km[rows], near.known[rows] = found[:, :k], found_km[:, :k], True
                    return
                at, rest = rows[free], ~free
                near.position[at], near.km[at], near.known[at] = found[free, :k], found_km[free, :k], True
                rows, allowed, found, found_km = rows[rest], allowed[rest], found[rest], found_km[rest]
            complete = (allowed.sum(axis=1) >= k) | (reach == length)
            rank = np.cumsum(allowed, axis=1) - 1
            row, column = np.nonzero(allowed & (rank < k) & complete[:, None])
            position = (rows[row], rank[row, column])
            near.position[position] = found[row, column]
            near.km[position] = found_km[row, column]
            near.known[position] = True
            rows, reach = rows[~complete], reach * 2

"""Features, learnt from training rows alone (scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract
from hedonic.data.table import Columns, n_rows, take
from hedonic.errors import UserError
from hedonic.model.comparables import ComparableSales
from hedonic.model.features import Derivation, FeatureMap, to_kilometres
from hedonic.model.price_surface import PriceSurface, gather, radial, standardise

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

SURFACE_CENTRES = 40
SURFACE_ALPHAS = (0.1, 1.0, 10.0, 100.0)
SILHOUETTE_ROWS = 2000
ROWS_PER_CENTRE = 50
LEAST_REACH_KM = 0.1


@dataclass(frozen=True, slots=True)
class ClusterCurves:
    """How well k clusters describe the places, by which k is chosen.

    Attributes:
        k: numbers of clusters tried.
        inertia: within-cluster sums of squares in square kilometres (the elbow curve).
        silhouette: mean silhouettes, from -1 to 1.
        chosen: the k of the best silhouette.
    """

    k: tuple[int, ...]
    inertia: tuple[float, ...]
    silhouette: tuple[float, ...]

    @property
    def chosen(self) -> int:
        """Return the k of the greatest silhouette; of equal ones the least."""
        return self.k[int(np.argmax(self.silhouette))]


@dataclass(frozen=True, slots=True)
class FittedFeatures:
    """A learnt map and the matrix of the very rows that it was learnt from.

    The matrix is not ``map.apply`` of those rows: no row is its own comparable.
    """

    map: FeatureMap
    matrix: Matrix


def cluster_curves(contract: Contract, columns: Columns, seed: int) -> ClusterCurves | None:
    """Return the elbow and silhouette curves of the training places; None without a place.

    Raises:
        UserError: there are too few different places.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    place = contract.features.place
    if place is None:
        return None
    places = _places(contract, columns)
    n_distinct = len(np.unique(places, axis=0))
    tried = tuple(k for k in range(place.min_clusters, place.max_clusters + 1) if k < n_distinct)
    if not tried:
        raise UserError(
            f"{contract.name}: features.place needs more than {place.min_clusters} different places, the "
            f"training rows have {n_distinct}. Lower features.place.min_clusters, or take place out."
        )
    models = [KMeans(k, n_init=1, random_state=seed).fit(places) for k in tried]
    rows = min(SILHOUETTE_ROWS, len(places))
    return ClusterCurves(
        k=tried,
        inertia=tuple(float(model.inertia_) for model in models),
        silhouette=tuple(
            float(silhouette_score(places, model.labels_, sample_size=rows, random_state=seed))
            for model in models
        ),
    )


def fit_features(
    contract: Contract, columns: Columns, target: Vector, *, n_clusters: int | None, seed: int
) -> FittedFeatures:
    """Return the feature map learnt from these rows, and their own matrix.

    Args:
        contract: says which features there are.
        columns: canonical columns of the training rows.
        target: on the model's scale, shape (n_rows,).
        n_clusters: of places; see ``cluster_curves``. None without a place.
        seed: of k-means.
    """
    derivation = _fit_derivation(contract, columns, n_clusters, seed)
    derived = derivation.apply(columns)
    surface = comparables = None
    own = np.full(n_rows(columns), -1, dtype=np.int64)
    if contract.features.place is not None:
        days = columns[contract.time_column] if contract.time_column else None
        surface = _fit_surface(derivation, derived, columns, days, target, seed)
        if contract.features.comparables is not None:
            order = np.arange(len(own)) if days is None else np.argsort(days, kind="stable")
            order = order[np.isfinite(derivation.kilometres(columns)[order]).all(axis=1)]
            own[order] = np.arange(len(order))
            comparables = _fit_comparables(derivation, surface, take(columns, order), target[order])
    draft = FeatureMap(derivation, surface, comparables, names=(), categorical=())
    names = tuple(draft.describe(take(columns, np.arange(1))))
    coded = {column.name for column in contract.inputs if column.type == "category"}
    positions = tuple(n for n, name in enumerate(names) if name in coded)
    feature_map = replace(draft, names=names, categorical=positions)
    return FittedFeatures(feature_map, feature_map.apply(columns, own))


def _places(contract: Contract, columns: Columns) -> Matrix:
    """Return the known places in kilometres, as ``Derivation.kilometres`` has them."""
    place = contract.features.place
    assert place is not None
    latitude = columns[place.latitude]
    places = to_kilometres(latitude, columns[place.longitude], _origin(latitude))
    return places[np.isfinite(places).all(axis=1)]


def _origin(latitude: Vector) -> float:
    known = latitude[np.isfinite(latitude)]
    return float(known.mean()) if len(known) else 0.0


def _fit_derivation(contract: Contract, columns: Columns, n_clusters: int | None, seed: int) -> Derivation:
    from sklearn.cluster import KMeans

    place, centres, origin, reach = contract.features.place, np.empty((0, 2)), 0.0, 1.0
    if place is not None:
        origin = _origin(columns[place.latitude])
        model = KMeans(n_clusters, n_init=1, random_state=seed).fit(_places(contract, columns))
        centres = np.ascontiguousarray(model.cluster_centers_)
        reach = _reach(centres)
    coded = [column for column in contract.inputs if column.type == "category"]
    categories = {c.name: c.categories or _seen(columns[c.name]) for c in coded}
    return Derivation(contract, categories, origin, centres, reach)


def _seen(values: npt.NDArray[np.object_]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value is not None}))


def _reach(centres: Matrix) -> float:
    """Return the median distance from a centre to the nearest other, in kilometres, at least 0.1."""
    gaps = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))
    np.fill_diagonal(gaps, np.inf)
    nearest = gaps.min(axis=1)
    return max(LEAST_REACH_KM, float(np.median(nearest)))


def _fit_surface(
    derivation: Derivation,
    derived: dict[str, Vector],
    columns: Columns,
    days: Vector | None,
    target: Vector,
    seed: int,
) -> PriceSurface:
    """Return the ridge regression of the target; its penalty by leave-one-out cross-validation."""
    from sklearn.cluster import KMeans
    from sklearn.linear_model import RidgeCV

    names = tuple(name for name in derived if not _of_place(name, derivation.contract))
    matrix = gather(derived, names)
    fill = _fill(matrix)
    filled = np.where(np.isnan(matrix), fill, matrix)
    mean, scale = filled.mean(axis=0), filled.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = standardise(derived, names, fill, mean, scale)
    places = _places(derivation.contract, columns)
    n_centres = max(2, min(SURFACE_CENTRES, len(places) // ROWS_PER_CENTRE))
    centres = np.ascontiguousarray(
        KMeans(n_centres, n_init=1, random_state=seed).fit(places).cluster_centers_
    )
    reach = _reach(centres)
    functions = radial(derivation.kilometres(columns), centres, reach)
    origin_day = float(days.max()) if days is not None else 0.0
    # Years, so that the penalty treats the trend as it treats a standardised attribute.
    years = np.zeros((len(target), 0)) if days is None else (days[:, None] - origin_day) / 365.2425
    model = RidgeCV(SURFACE_ALPHAS).fit(np.hstack([standard, standard**2, functions, years]), target)
    p, parts = len(names), model.coef_
    return PriceSurface(
        names=names,
        fill=fill,
        mean=mean,
        scale=scale,
        linear=np.ascontiguousarray(parts[:p]),
        square=np.ascontiguousarray(parts[p : 2 * p]),
        centres_km=centres,
        reach_km=reach,
        place=np.ascontiguousarray(parts[2 * p : 2 * p + n_centres]),
        trend=0.0 if days is None else float(parts[-1]) / 365.2425,
        origin_day=origin_day,
        intercept=float(model.intercept_),
    )


def _of_place(name: str, contract: Contract) -> bool:
    """Return whether a feature says where a row is, or is a code: neither is linear in the price."""
    place = contract.features.place
    assert place is not None
    coded = {column.name for column in contract.inputs if column.type == "category"}
    return name.startswith(("rotated_", "cluster_")) or name in {place.latitude, place.longitude, *coded}


def _fill(matrix: Matrix) -> Vector:
    """Return each column's median; 0 where a column has no value."""
    known = ~np.isnan(matrix)
    return np.array(
        [np.median(matrix[known[:, n], n]) if known[:, n].any() else 0.0 for n in range(matrix.shape[1])]
    )


def _fit_comparables(
    derivation: Derivation, surface: PriceSurface, columns: Columns, target: Vector
) -> ComparableSales:
    """Return the rows as comparable sales; they are in order of date."""
    contract = derivation.contract
    part = contract.features.comparables
    assert part is not None
    places = derivation.kilometres(columns)
    days = columns[contract.time_column] if contract.time_column else None
    derived = derivation.apply(columns)
    needed = {*part.similar, *part.averaged, *([f"log_{part.size}"] if part.size else [])}
    return ComparableSales(
        contract_part=part,
        places=places,
        days=days,
        price=target,
        surface=surface.apply(derived, places, days),
        attributes={name: derived[name] for name in sorted(needed)},
    )

"""Evaluations and comparisons on the holdout, overall and per slice, as immutable reports."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from hedonic.data.contract import Column, Contract, Frozen, Slice
from hedonic.data.table import Columns, day
from hedonic.errors import HedonicError
from hedonic.model.metrics import (
    IntervalFigures,
    Metrics,
    RatioStudy,
    interval_figures,
    measure,
    paired_losses,
    ratio_study,
)

if TYPE_CHECKING:
    from hedonic.model.artifact import Estimates

__all__ = [
    "Comparison",
    "Evaluation",
    "compare",
    "evaluate",
    "is_price",
    "paired_losses",
    "priced_losses",
    "slice_labels",
]

Vector = npt.NDArray[np.float64]
Labels = npt.NDArray[np.object_]

# With fewer rows a slice's figures say nothing: its count alone is reported.
MINIMUM_SLICE_ROWS = 10
MISSING = "missing"


class Report(Frozen):
    """A value written once, as canonical JSON in a file named by its own digest."""

    kind: ClassVar[str] = "report"

    @property
    def content(self) -> bytes:
        """Return the canonical JSON: sorted keys, one form for one value, no clock and no host."""
        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1) + "\n").encode()

    @property
    def sha256(self) -> str:
        """Return the sha256 of the content, 64 hex digits."""
        return hashlib.sha256(self.content).hexdigest()

    def write(self, folder: Path) -> Path:
        """Return the file ``<kind>-<first 16 digits>.json`` below ``folder``, written if it is new.

        Raises:
            HedonicError: a file of that name is there and holds something else.
        """
        path = folder / f"{self.kind}-{self.sha256[:16]}.json"
        if path.exists():
            if path.read_bytes() != self.content:
                raise HedonicError(f"{path}: changed since it was written. Delete it and run again.")
            return path
        folder.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=folder, prefix=f".{self.kind}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.content)
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            os.replace(scratch, path)
        except OSError:
            Path(scratch).unlink(missing_ok=True)
            raise
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the report in ``path``.

        Raises:
            HedonicError: the file is missing, or its content is not what its name says.
        """
        try:
            content = path.read_bytes()
        except OSError as err:
            raise HedonicError(f"{path}: cannot be read: {err.strerror}. Run the evaluation again.") from err
        digest = hashlib.sha256(content).hexdigest()
        if path.stem != f"{cls.kind}-{digest[:16]}":
            raise HedonicError(
                f"{path}: its content has digest {digest[:16]}, so it was changed since it was written. "
                "Delete it and run the evaluation again."
            )
        return cls.model_validate_json(content)


class SliceMetrics(Frozen):
    """The figures of the rows with one label of one slice; below 10 rows the count alone."""

    slice: str
    label: str
    n_rows: int
    metrics: Metrics | None = None
    ratio_study: RatioStudy | None = None
    intervals: tuple[IntervalFigures, ...] = ()


class Evaluation(Report):
    """What a candidate is worth on the holdout; in the target's unit.

    Rows that it gives no price above 0 are counted in ``n_unpriced``; the figures are of the others.
    """

    kind: ClassVar[str] = "evaluation"

    format_version: int = 1
    dataset: str
    candidate_digest: str
    unit: str
    n_rows: int
    overall: Metrics
    ratio_study: RatioStudy
    intervals: tuple[IntervalFigures, ...]
    slices: tuple[SliceMetrics, ...]
    baselines: dict[str, Metrics]
    n_unpriced: int = Field(default=0, exclude_if=lambda count: count == 0)

    @property
    def figures(self) -> dict[str, float]:
        """Return the overall figures by name, as gate limits and MLflow know them.

        All of ``Metrics`` and ``RatioStudy``, and for 80 and 90 ``coverage_90_pct``,
        ``mean_width_90_pct`` and ``median_width_90_pct``. What is undefined is left out.
        """
        named = self.overall.model_dump() | self.ratio_study.model_dump()
        for interval in self.intervals:
            level = interval.level_pct
            named[f"coverage_{level}_pct"] = interval.coverage_pct
            named[f"mean_width_{level}_pct"] = interval.mean_relative_width_pct
            named[f"median_width_{level}_pct"] = interval.median_relative_width_pct
        return {name: float(value) for name, value in named.items() if value is not None}


class ComparedSlice(Frozen):
    """Candidate beside champion on the same rows.

    ``gain`` is the champion's mean absolute log error less the candidate's: above 0 the candidate
    is better, and 0.01 is about 1 % of the price. Below 10 rows there is the count alone.
    """

    slice: str
    label: str
    n_rows: int
    candidate: Metrics | None = None
    champion: Metrics | None = None
    gain: float | None = None


class Comparison(Report):
    """Candidate against champion on the same holdout rows, overall and per slice."""

    kind: ClassVar[str] = "comparison"

    format_version: int = 1
    dataset: str
    candidate_digest: str
    champion_digest: str
    unit: str
    n_rows: int
    candidate: Metrics
    champion: Metrics
    gain: float
    slices: tuple[ComparedSlice, ...]


def evaluate(
    contract: Contract,
    columns: Columns,
    actual: Vector,
    estimates: Estimates,
    baselines: Mapping[str, Vector],
    *,
    candidate_digest: str,
) -> Evaluation:
    """Return the evaluation of a candidate's estimates of the holdout.

    Args:
        contract: names the slices and the unit.
        columns: of the holdout, with every column that a slice is cut by (but the target).
        actual: sale prices, shape (n_rows,), in the target's unit.
        estimates: the candidate's, row i the same sale.
        baselines: the point estimates of the naive models, by name, each of shape (n_rows,).
        candidate_digest: the candidate's.

    A naive model that gives a row no price above 0 is left out.

    Raises:
        HedonicError: a sale price or an interval is not a number that can be measured, or no estimate is.
        ValueError: shapes that differ, or a slice's column that is not given.
    """
    point = estimates.estimate
    levels = {80: estimates.interval_80, 90: estimates.interval_90}
    priced = is_price(point)
    if not priced.all() and priced.sum() < MINIMUM_SLICE_ROWS:
        raise HedonicError(
            f"{contract.name}: the candidate gives {priced.sum()} of {len(actual):,} rows a price above 0"
        )

    def intervals(rows: npt.NDArray[np.bool_]) -> tuple[IntervalFigures, ...]:
        return tuple(interval_figures(pct, actual[rows], point[rows], b[rows]) for pct, b in levels.items())

    def figures(name: str, label: str, rows: npt.NDArray[np.bool_]) -> SliceMetrics:
        n_rows = int(rows.sum())
        rows = rows & priced
        if rows.sum() < MINIMUM_SLICE_ROWS:
            return SliceMetrics(slice=name, label=label, n_rows=n_rows)
        return SliceMetrics(
            slice=name,
            label=label,
            n_rows=n_rows,
            metrics=measure(actual[rows], point[rows]),
            ratio_study=ratio_study(actual[rows], point[rows]),
            intervals=intervals(rows),
        )

    return Evaluation(
        dataset=contract.name,
        candidate_digest=candidate_digest,
        unit=contract.target.unit,
        n_rows=len(actual),
        overall=measure(actual[priced], point[priced]),
        ratio_study=ratio_study(actual[priced], point[priced]),
        intervals=intervals(priced),
        slices=tuple(figures(*part) for part in _parts(contract, columns, actual)),
        baselines={
            name: measure(actual, baseline)
            for name, baseline in sorted(baselines.items())
            if is_price(baseline).all()
        },
        n_unpriced=int((~priced).sum()),
    )


def is_price(estimate: Vector) -> npt.NDArray[np.bool_]:
    """Return which estimates are prices: finite and above 0, shape (n_rows,)."""
    return np.asarray(np.isfinite(estimate) & (estimate > 0))


def priced_losses(actual: Vector, estimate: Vector) -> Vector:
    """Return each row's absolute log error, shape (n_rows,); NaN where the estimate is no price."""
    losses, priced = np.full(len(actual), np.nan), is_price(estimate)
    if priced.any():
        losses[priced] = paired_losses(actual[priced], estimate[priced])
    return losses


def compare(
    contract: Contract,
    columns: Columns,
    actual: Vector,
    candidate: Vector,
    champion: Vector,
    *,
    candidate_digest: str,
    champion_digest: str,
) -> Comparison:
    """Return candidate beside champion on the same rows; all vectors of shape (n_rows,).

    Raises:
        HedonicError: a price or an estimate is not a number that can be measured.
        ValueError: shapes that differ, or a slice's column that is not given.
    """
    gains = paired_losses(actual, champion) - paired_losses(actual, candidate)

    def compared(name: str, label: str, rows: npt.NDArray[np.bool_]) -> ComparedSlice:
        n_rows = int(rows.sum())
        if n_rows < MINIMUM_SLICE_ROWS:
            return ComparedSlice(slice=name, label=label, n_rows=n_rows)
        return ComparedSlice(
            slice=name,
            label=label,
            n_rows=n_rows,
            candidate=measure(actual[rows], candidate[rows]),
            champion=measure(actual[rows], champion[rows]),
            gain=float(gains[rows].mean()),
        )

    return Comparison(
        dataset=contract.name,
        candidate_digest=candidate_digest,
        champion_digest=champion_digest,
        unit=contract.target.unit,
        n_rows=len(actual),
        candidate=measure(actual, candidate),
        champion=measure(actual, champion),
        gain=float(gains.mean()),
        slices=tuple(compared(*part) for part in _parts(contract, columns, actual)),
    )


def slice_labels(contract: Contract, columns: Columns, actual: Vector) -> dict[str, Labels]:
    """Return, for each slice of the contract, the label of each row, shape (n_rows,).

    Bands hold their lower edge and not their upper. A slice of the target is cut by ``actual``.

    Raises:
        ValueError: a slice's column is not among ``columns``.
    """
    return {part.name: _labels(contract, part, columns, actual)[0] for part in contract.slices}


def _parts(
    contract: Contract, columns: Columns, actual: Vector
) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Give each slice's name, label and rows; bands in order of their edges, values sorted."""
    for part in contract.slices:
        labels, ordered = _labels(contract, part, columns, actual)
        present = set(labels.tolist())
        yield from ((part.name, label, labels == label) for label in ordered if label in present)


def _labels(contract: Contract, part: Slice, columns: Columns, actual: Vector) -> tuple[Labels, list[str]]:
    """Return the label of each row, and all labels in the order in which they are told."""
    column = contract.column(part.column)
    if column.role != "target" and column.name not in columns:
        raise ValueError(f"slice {part.name}: column {column.name!r} is not among the columns given")
    values = actual if column.role == "target" else columns[column.name]
    if values.dtype == object:
        known = sorted({value for value in values.tolist() if value is not None})
        labels = np.array([MISSING if value is None else value for value in values.tolist()], dtype=object)
        return labels, [*known, MISSING]
    there = ~np.isnan(values)
    if not part.edges:
        cuts = np.unique(values[there])
        names = [_spoken(column, value) for value in cuts.tolist()]
        places = np.searchsorted(cuts, values)
    else:
        edges = [_spoken(column, edge) for edge in sorted(part.edges)]
        between = [f"{low} to {high}" for low, high in pairwise(edges)]
        names = [f"under {edges[0]}", *between, f"{edges[-1]} and over"]
        places = np.searchsorted(np.sort(part.edges), values, side="right")
    told = np.array([*names, MISSING], dtype=object)
    return told[np.where(there, places, len(names))], told.tolist()


def _spoken(column: Column, value: float) -> str:
    """Return the value as people write it: dates as dates, thousands apart from 10,000 on."""
    if column.type == "boolean":
        return "yes" if value else "no"
    if column.type == "date":
        return day(value).isoformat()
    grouped = abs(value) >= 10_000 and column.unit is not None
    return f"{value:,.15g}" if grouped else f"{value:.15g}"

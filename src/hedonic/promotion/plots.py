"""Plots of an evaluation: each function takes plain values and returns one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hedonic.model.plots import COLOURS, new_figure, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Vector = npt.NDArray[np.float64]

_MAP_LIMIT_PCT = 30


def predicted_against_actual(actual: Vector, estimate: Vector, *, unit: str, title: str) -> Figure:
    """Return estimates against sale prices on logarithmic axes, with the bands of 10 and 20 %."""
    from matplotlib.ticker import NullFormatter

    figure, axes = new_figure(7.5, 7)
    low = float(min(actual.min(), estimate.min())) * 0.9
    high = float(max(actual.max(), estimate.max())) * 1.1
    line = np.array([low, high])
    for share, alpha in ((0.2, 0.12), (0.1, 0.2)):
        axes.fill_between(
            line,
            line * (1 - share),
            line * (1 + share),
            color=COLOURS[0],
            alpha=alpha,
            lw=0,
            label=f"within {100 * share:.0f} %",
        )
    size = 10 if len(actual) < 2000 else 5
    axes.scatter(actual, estimate, s=size, color="#1b1b1b", alpha=0.35, lw=0, rasterized=True)
    axes.plot(line, line, color=COLOURS[1], lw=1.5, label="estimate = price")
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(_money_ticks(low, high))
        axis.set_major_formatter(_money)
        axis.set_minor_formatter(NullFormatter())
    tell(axes, title, f"Sale price ({unit})", f"Estimate ({unit})")
    axes.legend(loc="upper left", frameon=False)
    return figure


def residuals_by_band(
    actual: Vector, estimate: Vector, labels: npt.NDArray[Any], *, bands: Sequence[str], title: str
) -> Figure:
    """Return the spread of relative errors in each band, lowest band at the bottom.

    Args:
        actual: sale prices, shape (n_rows,).
        estimate: of the same rows, shape (n_rows,).
        labels: the band of each row, shape (n_rows,).
        bands: the labels to show, in order.
        title: above the plot.
    """
    there = [band for band in bands if np.any(labels == band)]
    figure, axes = new_figure(9, 1.8 + 0.55 * max(3, len(there)))
    errors = [100 * (estimate[labels == band] / actual[labels == band] - 1) for band in there]
    boxes = axes.boxplot(
        errors,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        medianprops={"color": "black", "lw": 2},
    )
    for box in boxes["boxes"]:
        box.set(facecolor=COLOURS[5], alpha=0.7)
    axes.axvline(0, color=COLOURS[1], lw=1.2)
    axes.set_yticks(
        range(1, len(there) + 1), [f"{b}\n(n = {len(e):,})" for b, e in zip(there, errors, strict=True)]
    )
    axes.xaxis.set_major_formatter(_signed_pct)
    tell(axes, title, "Estimate above (+) or below (-) the sale price; box: middle half, line: 5 to 95 %", "")
    axes.grid(axis="y", visible=False)
    return figure


def residuals_on_map(
    latitude: Vector, longitude: Vector, actual: Vector, estimate: Vector, *, title: str
) -> Figure:
    """Return the median relative error of each small hexagon of the map, north up."""
    error = 100 * (estimate / actual - 1)
    # Degrees of longitude shrink with the cosine of the latitude.
    stretch = 1 / float(np.cos(np.radians(np.median(latitude))))
    width, height = float(np.ptp(longitude)) / stretch, float(np.ptp(latitude))
    tallness = float(np.clip(height / max(width, 1e-9), 0.4, 1.6))
    n_across = int(np.clip(np.sqrt(len(actual)) * 0.65, 8, 60))
    n_up = max(4, round(n_across * tallness / np.sqrt(3)))
    figure, axes = new_figure(8.5, 1.2 + 6.5 * tallness)
    cells = axes.hexbin(
        longitude,
        latitude,
        C=error,
        reduce_C_function=np.median,
        gridsize=(n_across, n_up),
        mincnt=1,
        cmap="RdBu_r",
        vmin=-_MAP_LIMIT_PCT,
        vmax=_MAP_LIMIT_PCT,
        linewidths=0.15,
        edgecolors="#bbbbbb",
    )
    axes.set_aspect(stretch)
    bar = figure.colorbar(cells, ax=axes, extend="both", shrink=0.8, format=_signed_pct)
    bar.set_label("Median of estimate / sale price - 1: red is too high, blue too low")
    tell(axes, title, "Longitude (degrees)", "Latitude (degrees)")
    return figure


def _money(value: float, _position: float = 0) -> str:
    """Return the amount in few characters: 250k, 1.2M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _money_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between both ends."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]


def _signed_pct(value: float, _position: float = 0) -> str:
    return f"{value:+.0f} %" if round(value) else "0 %"

"""Plots of a search and of a training: each function takes plain values and returns one figure."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#8a8a8a"
_MAX_BARS = 20


def study_history(
    losses: Sequence[float | None], families: Sequence[str], *, metric: str, title: str
) -> Figure:
    """Return each trial's loss by number and family, with the best so far; None was pruned."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(9, 5)
    numbers = np.arange(len(losses))
    values = np.array([np.nan if loss is None else loss for loss in losses], dtype=np.float64)
    done = np.isfinite(values)
    if done.any() and 0 < 3 * np.median(values[done]) < np.max(values[done]):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.3g}")
        axes.yaxis.set_minor_formatter("{x:.2g}")
    across = axes.get_xaxis_transform()
    for family, colour in zip(dict.fromkeys(families), _cycle(), strict=False):
        mine = np.array([other == family for other in families])
        axes.scatter(numbers[mine & done], values[mine & done], s=42, color=colour, label=family, zorder=3)
        cut = numbers[mine & ~done]
        axes.scatter(cut, np.full(len(cut), 0.97), marker="x", s=30, color=colour, transform=across)
    if not done.all():
        axes.scatter([], [], marker="x", s=30, color=_GREY, label="pruned or failed")
    if done.any():
        best = np.fmin.accumulate(values)
        axes.step(numbers, best, where="post", color="black", lw=1.5, label=f"best so far: {best[-1]:.4g}")
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tell(axes, title, "Trial", metric)
    _legend_beside(axes)
    return figure


def parallel_coordinates(
    parameters: Sequence[Mapping[str, float | int | str | bool]],
    losses: Sequence[float],
    *,
    metric: str,
    title: str,
) -> Figure:
    """Return one line a trial through what was varied, the best trials dark and on top.

    Args:
        parameters: of the finished trials of one family.
        losses: of the same trials.
        metric: what the losses are.
        title: above the plot.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    named = dict.fromkeys(name for trial in parameters for name in trial)
    varied = [name for name in named if len({str(trial.get(name)) for trial in parameters}) > 1]
    names = varied or list(named)
    figure, axes = new_figure(max(7.0, 1.5 * len(names) + 3), 5.5)
    shade = ScalarMappable(Normalize(min(losses), max(losses)), cmap="viridis")
    places = [_axis([trial.get(name) for trial in parameters]) for name in names]
    for trial in np.argsort(-np.asarray(losses)):
        heights = [place[0][trial] for place in places]
        best = losses[trial] == min(losses)
        axes.plot(
            range(len(names)),
            heights,
            color=shade.to_rgba(losses[trial]),
            lw=2.6 if best else 1.2,
            alpha=1 if best else 0.75,
            marker="o",
            ms=3,
        )
    for x, (_, marks) in enumerate(places):
        axes.axvline(x, color=_GREY, lw=0.8, zorder=0)
        for height, told in marks:
            axes.annotate(
                told,
                (x, height),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8},
                zorder=5,
            )
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set(xlim=(-0.2, len(names) - 1 + 0.55), ylim=(-0.05, 1.05), yticks=[])
    tell(axes, title, "", "")
    axes.grid(visible=False)
    figure.colorbar(shade, ax=axes, label=metric, pad=0.02)
    return figure


def importances(values: Mapping[str, float], *, quantity: str, title: str) -> Figure:
    """Return the greatest 20 importances as shares of all, the greatest on top."""
    total = sum(values.values()) or 1.0
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    shown = [(name, 100 * value / total) for name, value in ordered[:_MAX_BARS]]
    rest = ordered[_MAX_BARS:]
    if rest:
        shown.append((f"the other {len(rest)}", 100 * sum(value for _, value in rest) / total))
    figure, axes = new_figure(8.5, 1.5 + 0.3 * max(3, len(shown)))
    colours = [COLOURS[0]] * min(len(ordered), _MAX_BARS) + [_GREY] * bool(rest)
    bars = axes.barh([name for name, _ in shown], [share for _, share in shown], color=colours)
    axes.bar_label(bars, [f"{share:.1f} %" for _, share in shown], padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.02)
    tell(axes, title, f"Share of {quantity} (%)", "")
    axes.grid(axis="y", visible=False)
    return figure


def cluster_curves(
    n_clusters: Sequence[int], silhouettes: Sequence[float], inertias: Sequence[float], *, chosen: int
) -> Figure:
    """Return silhouette (higher is better) and elbow (inertia) by number of clusters."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, values, told in (
        (upper, silhouettes, "Silhouette (higher is better)"),
        (lower, inertias, "Inertia (sum of squared distances)"),
    ):
        axes.plot(n_clusters, values, marker="o", color=COLOURS[0], lw=1.8)
        axes.axvline(chosen, color=COLOURS[1], lw=1.2, ls="--", label=f"chosen: k = {chosen}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        tell(axes, "", "", told)
    lower.set_xlabel("Number of clusters (k)")
    upper.set_title("Geographic clusters: silhouette and elbow", loc="left", fontsize=13)
    upper.legend(frameon=False)
    return figure


def loss_by_iteration(curves: Mapping[str, Sequence[float]], *, metric: str, title: str) -> Figure:
    """Return loss by iteration, one line for each named set of rows, the least of each marked."""
    figure, axes = new_figure(9, 5)
    for (name, values), colour in zip(curves.items(), _cycle(), strict=False):
        least = int(np.argmin(values))
        axes.plot(range(1, len(values) + 1), values, color=colour, lw=1.8, label=name)
        axes.scatter(
            least + 1,
            values[least],
            color=colour,
            s=45,
            zorder=3,
            label=f"least: {values[least]:.4g} at {least + 1}",
        )
    tell(axes, title, "Iteration", metric)
    axes.legend(frameon=False)
    return figure


def write_png(figure: Figure, path: Path) -> Path:
    """Return ``path``, written whole or not at all; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".plot-", suffix=".png")
    with os.fdopen(handle, "wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
        os.fchmod(file.fileno(), 0o644)
    return Path(scratch).replace(path)


def new_figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """Return a figure of that size in inches, and its one pair of axes."""
    # A Figure of its own draws with Agg; pyplot would keep global state and look for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=120, layout="constrained")
    return figure, figure.add_subplot()


def tell(axes: Axes, title: str, x: str, y: str) -> None:
    """Put title and labels on the axes, in the one style of all plots."""
    axes.set_title(title, loc="left", fontsize=13)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend_beside(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _cycle() -> tuple[str, ...]:
    return COLOURS * 10


def _axis(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Return each value's height between 0 and 1, and the marks (height, text) of the axis.

    Positive numbers over a range of 20 and more are spread by their logarithm; what is not a number, or
    is absent, has a height for each of its values.
    """
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < len(values) or not numbers:
        known = sorted({str(v) if v is not None else "none" for v in values})
        heights = {told: (n + 0.5) / len(known) for n, told in enumerate(known)}
        return [heights[str(v) if v is not None else "none"] for v in values], [
            (h, t) for t, h in heights.items()
        ]
    low, high = min(numbers), max(numbers)
    if low == high:
        return [0.5] * len(values), [(0.5, f"{low:.3g}")]
    logarithmic = low > 0 and high / low >= 20
    scale = np.log if logarithmic else np.asarray
    spread = (scale(np.array(numbers, dtype=np.float64)) - scale(low)) / (scale(high) - scale(low))
    middle = float(np.sqrt(low * high)) if logarithmic else (low + high) / 2
    return spread.tolist(), [(0.0, f"{low:.3g}"), (0.5, f"{middle:.3g}"), (1.0, f"{high:.3g}")]

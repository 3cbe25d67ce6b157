"""Figures of a champion, named and with their units, the telling ones first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hedonic.front_page.state import Figure

# Title and unit; "target" is the unit of the price.
_KNOWN = {
    "mdape_pct": ("Median error", "%"),
    "within_10_pct": ("Within 10 % of the price", "%"),
    "rmse": ("RMSE", "target"),
    "r2": ("R²", ""),
    "coverage_90_pct": ("90 % interval holds", "%"),
    "cod": ("COD, horizontal equity", "%"),
    "prd": ("PRD, vertical equity", ""),
    "n_rows": ("Judged on a holdout of", "rows"),
    "mae": ("Mean error", "target"),
    "mape_pct": ("Mean error in percent", "%"),
    "wmape_pct": ("Mean error, weighted by price", "%"),
    "within_20_pct": ("Within 20 % of the price", "%"),
    "log_rmse": ("RMSE of the log price", ""),
    "median_ratio": ("Median ratio of estimate to price", ""),
    "prb": ("PRB, vertical equity", ""),
    "coverage_80_pct": ("80 % interval holds", "%"),
    "median_width_80_pct": ("80 % interval, median width", "%"),
    "mean_width_80_pct": ("80 % interval, mean width", "%"),
    "median_width_90_pct": ("90 % interval, median width", "%"),
    "mean_width_90_pct": ("90 % interval, mean width", "%"),
}
_LEADING = 8
_LEFT_OUT = {"rss"}


def named_figures(figures: Mapping[str, float | None], target_unit: str) -> tuple[Figure, ...]:
    """Return the figures in the order in which a reader asks for them; those without a title come last."""
    return tuple(_named(figures, target_unit))


def _named(figures: Mapping[str, float | None], target_unit: str) -> Iterator[Figure]:
    for number, (name, (title, unit)) in enumerate(_KNOWN.items()):
        if name in figures:
            yield _figure(name, title, target_unit if unit == "target" else unit, figures[name], number)
    for name, value in figures.items():
        if name not in _KNOWN and name not in _LEFT_OUT:
            yield _figure(name, name, "%" if name.endswith("_pct") else "", value, _LEADING)


def _figure(name: str, title: str, unit: str, value: float | None, number: int) -> Figure:
    told = "undefined" if value is None else f"{_number(value, unit)} {unit}".rstrip()
    return Figure(name=name, title=title, value=value, unit=unit, shown=told, leads=number < _LEADING)


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value:.1f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

"""Plots say what they show, in which unit, and come out the same twice without a screen."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from hedonic.model.plots import (
    cluster_curves,
    importances,
    loss_by_iteration,
    parallel_coordinates,
    study_history,
    write_png,
)
from hedonic.promotion.plots import predicted_against_actual, residuals_by_band, residuals_on_map

RANDOM = np.random.default_rng(0)
ACTUAL = np.exp(RANDOM.normal(13, 0.5, 300))
ESTIMATE = ACTUAL * np.exp(RANDOM.normal(0, 0.1, 300))
BANDS = np.where(ACTUAL < 400_000, "under 400,000", "400,000 and over").astype(object)


def texts(axes) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def figures():
    yield predicted_against_actual(ACTUAL, ESTIMATE, unit="USD", title="t")
    yield residuals_by_band(ACTUAL, ESTIMATE, BANDS, bands=["under 400,000", "400,000 and over"], title="t")
    yield residuals_on_map(
        RANDOM.normal(47, 0.1, 300), RANDOM.normal(-122, 0.1, 300), ACTUAL, ESTIMATE, title="t"
    )
    yield study_history([0.3, None, 0.2], ["ridge", "forest", "ridge"], metric="log_rmse", title="t")
    yield parallel_coordinates([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], [0.2, 0.1], metric="rmse", title="t")
    yield importances({"grade": 3.0, "lat": 1.0}, quantity="gain", title="t")
    yield cluster_curves([5, 6, 7], [0.3, 0.4, 0.35], [9.0, 7.0, 6.0], chosen=6)
    yield loss_by_iteration({"train": [3.0, 2.0, 1.0], "valid": [3.0, 2.0, 2.5]}, metric="RMSE", title="t")


def test_every_plot_is_written_as_a_png_of_readable_size(tmp_path):
    for n, figure in enumerate(figures()):
        content = write_png(figure, tmp_path / "plots" / f"{n}.png").read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(content[16:20], "big") >= 700
    assert len(list((tmp_path / "plots").iterdir())) == 8


def test_the_same_values_give_the_same_bytes(tmp_path):
    draws = [predicted_against_actual(ACTUAL, ESTIMATE, unit="USD", title="t") for _ in range(2)]
    first, second = (write_png(f, tmp_path / f"{n}.png").read_bytes() for n, f in enumerate(draws))
    assert first == second


def test_drawing_leaves_pyplot_and_its_global_state_alone():
    draw = (
        "import sys, numpy as np\n"
        "from hedonic.promotion.plots import residuals_on_map\n"
        "residuals_on_map(np.arange(9.), np.arange(9.), np.arange(1., 10), np.arange(1., 10), title='t')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", draw], check=False).returncode == 0


def test_importing_the_plots_does_not_import_matplotlib():
    check = "import sys, hedonic.promotion.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_prices_are_told_with_their_unit_on_equal_axes():
    (axes,) = predicted_against_actual(ACTUAL, ESTIMATE, unit="USD", title="village").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Sale price (USD)", "Estimate (USD)")
    assert axes.get_title(loc="left") == "village"
    assert axes.get_xlim() == axes.get_ylim()
    assert "500k" in [label.get_text() for label in axes.get_xticklabels()]


def test_bands_stand_in_the_order_given_with_their_counts_and_empty_ones_are_left_out():
    bands = ["under 400,000", "400,000 and over", "nowhere"]
    (axes,) = residuals_by_band(ACTUAL, ESTIMATE, BANDS, bands=bands, title="t").axes
    counts = [int((band == BANDS).sum()) for band in bands[:2]]
    told = [label.get_text() for label in axes.get_yticklabels()]
    assert told == [f"under 400,000\n(n = {counts[0]})", f"400,000 and over\n(n = {counts[1]})"]


def test_the_map_shows_the_median_error_of_each_cell_and_keeps_the_shape_of_the_land():
    latitude, longitude = np.repeat([47.0, 48.0], 5), np.repeat([-122.0, -121.0], 5)
    estimate = np.repeat([1.1, 0.8], 5)
    figure = residuals_on_map(latitude, longitude, np.ones(10), estimate, title="t")
    cells = figure.axes[0].collections[0]
    assert sorted(cells.get_array().tolist()) == pytest.approx([-20, 10])
    assert figure.axes[0].get_aspect() == pytest.approx(1 / math.cos(math.radians(47.5)))


def test_the_history_marks_pruned_trials_and_tells_the_best_loss():
    (axes,) = study_history([0.3, None, 0.2], ["ridge", "forest", "ridge"], metric="log_rmse", title="t").axes
    assert texts(axes) == ["ridge", "forest", "pruned or failed", "best so far: 0.2"]
    assert axes.get_ylabel() == "log_rmse"


def test_the_history_of_a_study_that_finished_nothing_is_still_drawn(tmp_path):
    figure = study_history([None, None], ["ridge", "ridge"], metric="rmse", title="t")
    assert write_png(figure, tmp_path / "history.png").stat().st_size > 0


def test_parallel_coordinates_show_what_was_varied_and_leave_out_the_rest():
    parameters = [
        {"rate": 0.001, "leaves": 8, "fixed": 3},
        {"rate": 0.1, "leaves": 31, "fixed": 3},
        {"rate": 0.01, "leaves": 20, "fixed": 3, "kind": "x"},
    ]
    axes = parallel_coordinates(parameters, [0.3, 0.1, 0.2], metric="rmse", title="t").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["rate", "leaves", "kind"]
    middle = next(line for line in axes.lines if len(line.get_ydata()) == 3 and line.get_ydata()[2] > 0.5)
    assert middle.get_ydata()[0] == pytest.approx(0.5)  # 0.01 lies halfway between 0.001 and 0.1


def test_importances_are_shares_in_order_and_the_tail_is_summed():
    values = {f"f{n:02}": float(n) for n in range(1, 31)}
    (axes,) = importances(values, quantity="gain", title="t").axes
    told = [label.get_text() for label in axes.get_yticklabels()]
    assert (told[0], told[-1], len(told)) == ("f30", "the other 10", 21)
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(100)


def test_the_loss_curve_marks_the_least_loss_by_its_iteration():
    (axes,) = loss_by_iteration({"valid": [3.0, 2.0, 2.5]}, metric="RMSE", title="t").axes
    assert texts(axes) == ["valid", "least: 2 at 2"]


def test_cluster_curves_mark_the_chosen_number():
    upper, lower = cluster_curves([5, 6], [0.3, 0.4], [9.0, 7.0], chosen=6).axes
    assert texts(upper) == ["chosen: k = 6"]
    assert lower.get_xlabel() == "Number of clusters (k)"

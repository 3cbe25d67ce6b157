"""Evaluations and comparisons: figures overall and per slice, in reports that cannot be changed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hedonic.data.contract import Contract
from hedonic.errors import HedonicError
from hedonic.model.artifact import Estimates
from hedonic.model.metrics import measure, ratio_study
from hedonic.promotion.evaluation import (
    Comparison,
    Evaluation,
    compare,
    evaluate,
    paired_losses,
    priced_losses,
    slice_labels,
)

N = 120


@pytest.fixture(scope="module")
def contract() -> Contract:
    column = {"description": "x"}
    return Contract.model_validate(
        {
            "format_version": 1,
            "name": "village",
            "title": "A village",
            "source": {"uri": "village.csv"},
            "target": {"column": "price", "unit": "USD"},
            "columns": [
                {"name": "price", "type": "number", "role": "target", "unit": "USD", **column},
                {"name": "sold", "type": "date", "role": "time", **column},
                {"name": "district", "type": "category", "nullable": True, **column},
                {"name": "yr_built", "type": "integer", "unit": "year", "nullable": True, **column},
                {"name": "waterfront", "type": "boolean", **column},
                {"name": "grade", "type": "integer", **column},
            ],
            "slices": [
                {"name": "district", "column": "district"},
                {"name": "price_band", "column": "price", "edges": [200_000, 400_000]},
                {"name": "age_band", "column": "yr_built", "edges": [1950, 2000]},
                {"name": "waterfront", "column": "waterfront"},
                {"name": "grade", "column": "grade"},
            ],
            "search": {"families": {"ridge": {}}},
            "split": {"method": "time"},
            "gate": {"limits": [{"metric": "mdape_pct", "maximum": 10}]},
        }
    )


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    district = np.array(["north"] * 60 + ["south"] * 52 + [None] * 8, dtype=object)
    yr_built = np.tile([1930.0, 1950.0, 2010.0, np.nan], N // 4)
    return {
        "district": district,
        "yr_built": yr_built,
        "waterfront": np.arange(N) % 2.0,
        "grade": np.where(np.arange(N) < 30, 10.0, 9.0),
    }


@pytest.fixture(scope="module")
def actual() -> np.ndarray:
    return np.linspace(100_000, 600_000, N)


@pytest.fixture(scope="module")
def estimates(actual: np.ndarray) -> Estimates:
    point = actual * np.exp(np.random.default_rng(0).normal(0, 0.1, N))
    return Estimates(
        point, np.column_stack([point * 0.88, point * 1.12]), np.column_stack([point * 0.84, point * 1.16])
    )


@pytest.fixture(scope="module")
def evaluation(contract, columns, actual, estimates) -> Evaluation:  # type: ignore[no-untyped-def]
    baselines = {"ridge": actual * 1.2, "median": np.full(N, np.median(actual))}
    return evaluate(contract, columns, actual, estimates, baselines, candidate_digest="c" * 64)


def part(report: Evaluation | Comparison, name: str, label: str):  # type: ignore[no-untyped-def]
    (found,) = [s for s in report.slices if (s.slice, s.label) == (name, label)]
    return found


def test_an_evaluation_holds_the_figures_of_all_rows_and_of_the_baselines(evaluation, actual, estimates):
    assert (evaluation.dataset, evaluation.unit, evaluation.n_rows) == ("village", "USD", N)
    assert evaluation.overall == measure(actual, estimates.estimate)
    assert evaluation.ratio_study == ratio_study(actual, estimates.estimate)
    assert list(evaluation.baselines) == ["median", "ridge"]
    assert evaluation.baselines["ridge"].mdape_pct == pytest.approx(20)
    assert [interval.level_pct for interval in evaluation.intervals] == [80, 90]


def test_bands_hold_their_lower_edge_and_are_told_in_order(evaluation):
    told = [(s.label, s.n_rows) for s in evaluation.slices if s.slice == "price_band"]
    assert told == [("under 200,000", 24), ("200,000 to 400,000", 48), ("400,000 and over", 48)]
    assert [s.label for s in evaluation.slices if s.slice == "age_band"] == [
        "under 1950",
        "1950 to 2000",
        "2000 and over",
        "missing",
    ]
    assert part(evaluation, "age_band", "1950 to 2000").n_rows == 30


def test_slices_by_value_are_sorted_as_what_they_are(evaluation):
    assert [s.label for s in evaluation.slices if s.slice == "district"] == ["north", "south", "missing"]
    assert [s.label for s in evaluation.slices if s.slice == "waterfront"] == ["no", "yes"]
    assert [s.label for s in evaluation.slices if s.slice == "grade"] == ["9", "10"]


def test_a_slice_holds_metrics_ratio_study_and_intervals_of_its_own_rows(evaluation, actual, estimates):
    north = part(evaluation, "district", "north")
    assert north.metrics == measure(actual[:60], estimates.estimate[:60])
    assert north.ratio_study == ratio_study(actual[:60], estimates.estimate[:60])
    inside = (estimates.interval_90[:60, 0] <= actual[:60]) & (actual[:60] <= estimates.interval_90[:60, 1])
    assert north.intervals[1].coverage_pct == pytest.approx(100 * inside.mean())


def test_a_slice_of_fewer_than_ten_rows_is_reported_with_its_count_alone(evaluation):
    few = part(evaluation, "district", "missing")
    assert (few.n_rows, few.metrics, few.ratio_study, few.intervals) == (8, None, None, ())


def test_every_slice_has_each_row_once(evaluation):
    for name in ("district", "price_band", "age_band", "waterfront", "grade"):
        assert sum(s.n_rows for s in evaluation.slices if s.slice == name) == N


def test_figures_go_by_the_names_that_gate_limits_use(evaluation):
    figures = evaluation.figures
    assert figures["mdape_pct"] == evaluation.overall.mdape_pct
    assert figures["coverage_90_pct"] == evaluation.intervals[1].coverage_pct
    assert figures["median_width_80_pct"] == pytest.approx(24)
    assert {"cod", "prd", "prb", "median_ratio", "log_rmse", "r2"} <= set(figures)
    assert all(isinstance(value, float) for value in figures.values())


def test_an_undefined_figure_is_left_out_so_that_a_limit_on_it_refuses(contract, columns, estimates):
    same = np.full(N, 300_000.0)
    flat = Estimates(same, np.column_stack([same, same]), np.column_stack([same, same]))
    figures = evaluate(contract, columns, same, flat, {}, candidate_digest="c").figures
    assert "r2" not in figures
    assert "prb" not in figures


def test_the_report_is_read_back_as_it_was_written(evaluation, tmp_path):
    path = evaluation.write(tmp_path / "deep" / "reports")
    assert path.name == f"evaluation-{evaluation.sha256[:16]}.json"
    assert Evaluation.read(path) == evaluation
    assert json.loads(path.read_text())["overall"]["n_rows"] == N
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_writing_again_leaves_the_file_alone(evaluation, tmp_path):
    path = evaluation.write(tmp_path)
    before = path.stat()
    assert evaluation.write(tmp_path) == path
    assert path.stat().st_ino == before.st_ino
    assert before.st_mode & 0o222 == 0


def test_the_same_evaluation_has_the_same_digest_and_another_has_another(
    contract, columns, actual, estimates, evaluation
):
    baselines = {"median": np.full(N, np.median(actual)), "ridge": actual * 1.2}
    again = evaluate(contract, columns, actual, estimates, baselines, candidate_digest="c" * 64)
    other = evaluate(contract, columns, actual, estimates, baselines, candidate_digest="d" * 64)
    assert again.sha256 == evaluation.sha256
    assert other.sha256 != evaluation.sha256


def test_a_report_that_was_changed_is_refused(evaluation, tmp_path):
    path = evaluation.write(tmp_path)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"n_rows": 120', b'"n_rows": 121'))
    with pytest.raises(HedonicError, match="was changed since it was written"):
        Evaluation.read(path)
    with pytest.raises(HedonicError, match="changed since it was written"):
        evaluation.write(tmp_path)


def test_a_missing_report_is_refused_by_name(tmp_path):
    with pytest.raises(HedonicError, match=r"evaluation-0\.json: cannot be read: No such file"):
        Evaluation.read(tmp_path / "evaluation-0.json")


def test_an_estimate_that_is_not_a_number_is_no_price(contract, columns, actual, estimates):
    point = estimates.estimate.copy()
    point[7] = np.nan
    broken = Estimates(point, estimates.interval_80, estimates.interval_90)
    assert evaluate(contract, columns, actual, broken, {}, candidate_digest="c").n_unpriced == 1


def test_a_slice_whose_column_is_not_given_is_refused(contract, columns, actual):
    partial = {name: values for name, values in columns.items() if name != "grade"}
    with pytest.raises(ValueError, match="slice grade: column 'grade' is not among the columns given"):
        slice_labels(contract, partial, actual)


def test_slice_labels_name_the_label_of_every_row(contract, columns, actual):
    labels = slice_labels(contract, columns, actual)
    assert list(labels) == ["district", "price_band", "age_band", "waterfront", "grade"]
    assert labels["price_band"][[0, 60, 119]].tolist() == [
        "under 200,000",
        "200,000 to 400,000",
        "400,000 and over",
    ]
    assert labels["age_band"][:4].tolist() == ["under 1950", "1950 to 2000", "2000 and over", "missing"]


def test_dates_are_banded_and_told_as_dates(contract, columns, actual):
    by_day = {"name": "season", "column": "sold", "edges": [16436]}
    dated = Contract.model_validate(contract.model_dump() | {"slices": [by_day]})
    labels = slice_labels(dated, columns | {"sold": np.arange(N) + 16400.0}, actual)
    assert set(labels["season"]) == {"under 2015-01-01", "2015-01-01 and over"}


def test_a_comparison_tells_the_gain_overall_and_per_slice(contract, columns, actual):
    candidate = actual * 1.05
    champion = np.where(np.arange(N) < 60, actual * 1.2, actual)
    report = compare(
        contract, columns, actual, candidate, champion, candidate_digest="c", champion_digest="d"
    )
    gains = paired_losses(actual, champion) - paired_losses(actual, candidate)
    assert report.gain == pytest.approx(gains.mean())
    assert report.candidate.mdape_pct == pytest.approx(5)
    assert part(report, "district", "north").gain == pytest.approx(np.log(1.2) - np.log(1.05))
    assert part(report, "district", "south").gain == pytest.approx(-np.log(1.05))
    assert part(report, "district", "missing").gain is None


def test_a_comparison_is_kept_like_an_evaluation(contract, columns, actual, tmp_path):
    report = compare(
        contract, columns, actual, actual, actual * 1.1, candidate_digest="c", champion_digest="d"
    )
    path = report.write(tmp_path)
    assert path.name.startswith("comparison-")
    assert Comparison.read(path) == report


# Rows that are given no price


def test_rows_without_a_price_are_counted_and_the_figures_are_of_the_others(contract, columns, actual):
    point = actual * 1.1
    point[[0, 70]] = -5.0, 0.0
    bounds = np.column_stack([point - 1, point + 1])
    estimates = Estimates(point, bounds, bounds)
    found = evaluate(
        contract, columns, actual, estimates, {"ridge": point, "median": actual}, candidate_digest="c"
    )
    rest = np.delete(np.arange(N), [0, 70])
    assert (found.n_unpriced, found.n_rows) == (2, N)
    assert found.overall == measure(actual[rest], point[rest])
    assert found.ratio_study == ratio_study(actual[rest], point[rest])
    assert {interval.n_rows for interval in found.intervals} == {N - 2}
    assert list(found.baselines) == ["median"]
    assert part(found, "district", "north").metrics == measure(actual[1:60], point[1:60])
    assert b"n_unpriced" in found.content


def test_an_evaluation_of_prices_alone_says_nothing_of_it(evaluation):
    assert evaluation.n_unpriced == 0
    assert b"n_unpriced" not in evaluation.content


def test_what_prices_hardly_a_row_has_no_figures(contract, columns, actual):
    point = np.full(N, -1.0)
    point[:9] = actual[:9]
    with pytest.raises(HedonicError, match="gives 9 of 120 rows a price above 0"):
        evaluate(
            contract,
            columns,
            actual,
            Estimates(point, *2 * [np.column_stack([point] * 2)]),
            {},
            candidate_digest="c",
        )


def test_a_loss_without_a_price_is_not_a_number():
    losses = priced_losses(np.array([1.0, 1.0, 1.0, 1.0]), np.array([np.e, 0.0, -1.0, np.nan]))
    assert losses[0] == pytest.approx(1.0)
    assert np.isnan(losses[1:]).all()
    assert np.isnan(priced_losses(np.ones(2), np.zeros(2))).all()

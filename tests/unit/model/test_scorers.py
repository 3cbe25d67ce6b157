"""Scorers: what a family leaves behind, in files without pickle, the same bits after and before."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hedonic.errors import ReleaseRefused
from hedonic.model.families import make_estimator, portable
from hedonic.model.scorers import ConstantScorer, Design, NetworkScorer, Scorer, load_scorer
from hedonic.model.search import fit_quietly

DESIGN = Design(
    numbers=np.array([0, 2]),
    fill=np.array([5.0, 1.0]),
    mean=np.array([4.0, 1.0]),
    scale=np.array([2.0, 0.5]),
    clip=3.0,
    categories=(1,),
    codes=(np.array([0.0, 2.0, np.nan]),),
)
MATRIX = np.array([[6.0, 0.0, 1.5], [np.nan, 2.0, 99.0], [4.0, np.nan, np.nan], [4.0, 1.0, -99.0]])
SMALL: dict[str, dict[str, Any]] = {
    "median": {},
    "ridge": {},
    "network": {"hidden_units": 8, "max_iter": 5},
    "forest": {"n_estimators": 8, "num_leaves": 5},
    "boosting": {"n_estimators": 8, "num_leaves": 5},
}


def scorer_of(family: Any) -> Scorer:
    rng = np.random.default_rng(0)
    matrix = np.column_stack([rng.normal(size=300), rng.integers(0, 4, 300), rng.normal(size=300)])
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    target = np.nan_to_num(matrix[:, 0]) - np.nan_to_num(matrix[:, 1]) + rng.normal(0, 0.1, 300)
    estimator = make_estimator(family, SMALL[family], categorical=(1,), seed=0)
    return portable(fit_quietly(estimator, matrix, target))


def test_a_constant_is_answered_once_a_row() -> None:
    assert ConstantScorer(12.5).predict(np.empty((3, 7))).tolist() == [12.5, 12.5, 12.5]


def test_a_design_fills_standardises_clips_and_spreads_codes() -> None:
    np.testing.assert_allclose(
        DESIGN.apply(MATRIX),
        [
            [1.0, 1.0, 1.0, 0.0, 0.0],
            [0.5, 3.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 1.0],  # a missing code is a code of its own
            [0.0, -3.0, 0.0, 0.0, 0.0],  # one never seen is none
        ],
    )


def test_a_network_of_one_layer_is_a_linear_model_and_more_rectify_between() -> None:
    linear = NetworkScorer(DESIGN, (np.array([[1.0], [2.0], [0.0], [0.0], [10.0]]),), (np.array([0.5]),))
    np.testing.assert_allclose(linear.predict(MATRIX), [3.5, 7.0, 10.5, -5.5])
    doubled = NetworkScorer(DESIGN, (*linear.weights, np.array([[2.0]])), (*linear.biases, np.array([1.0])))
    np.testing.assert_allclose(doubled.predict(MATRIX), [8.0, 15.0, 22.0, 1.0])


@pytest.mark.parametrize("family", SMALL)
def test_a_scorer_that_is_saved_and_loaded_gives_the_same_bits(family: str, tmp_path: Path) -> None:
    before = scorer_of(family)
    before.save(tmp_path)
    after = load_scorer(tmp_path)
    assert after.predict(MATRIX).tobytes() == before.predict(MATRIX).tobytes()
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".npy", ".txt"}


@pytest.mark.parametrize("family", SMALL)
def test_a_batch_gives_the_bits_that_its_rows_give_alone(family: str) -> None:
    scorer = scorer_of(family)
    singles = np.concatenate([scorer.predict(MATRIX[[n]]) for n in range(len(MATRIX))])
    assert scorer.predict(MATRIX).tobytes() == singles.tobytes()


@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_batch_of_many_numbers_gives_the_bits_that_its_rows_give_alone(n_layers: int) -> None:
    rng = np.random.default_rng(3)
    n = 60
    plain = {"fill": np.zeros(n), "mean": np.zeros(n), "scale": np.ones(n), "clip": 9.0}
    design = Design(numbers=np.arange(n), categories=(), codes=(), **plain)
    sizes = [n, *[20] * (n_layers - 1), 1]
    weights = tuple(rng.normal(size=shape) for shape in itertools.pairwise(sizes))
    scorer = NetworkScorer(design, weights, tuple(np.zeros(size) for size in sizes[1:]))
    matrix = rng.normal(size=(200, n))
    singles = np.concatenate([scorer.predict(matrix[[row]]) for row in range(len(matrix))])
    assert scorer.predict(matrix).tobytes() == singles.tobytes()


@pytest.mark.parametrize("family", SMALL)
def test_the_same_scorer_is_written_in_the_same_bytes(family: str, tmp_path: Path) -> None:
    written = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        scorer_of(family).save(tmp_path / name)
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1]


def test_a_scorer_of_a_kind_that_is_not_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scorer.json").write_text(json.dumps({"kind": "oracle"}))
    with pytest.raises(ReleaseRefused, match="unknown kind of scorer 'oracle'. Upgrade"):
        load_scorer(tmp_path)


@pytest.mark.parametrize("family", ["median", "ridge", "forest", "boosting"])
def test_contributions_add_up_to_the_estimate(family: str) -> None:
    scorer = scorer_of(family)
    parts = scorer.contributions(MATRIX)
    assert parts is not None
    assert parts.shape == (len(MATRIX), MATRIX.shape[1] + 1)
    np.testing.assert_allclose(parts.sum(axis=1), scorer.predict(MATRIX), rtol=1e-12)
    assert np.ptp(parts[:, -1]) == 0


def test_a_network_of_several_layers_has_no_exact_contributions() -> None:
    assert scorer_of("network").contributions(MATRIX) is None


def test_contributions_of_a_linear_model_start_at_the_mean_and_at_the_mean_of_the_codes() -> None:
    linear = NetworkScorer(DESIGN, (np.array([[1.0], [2.0], [0.0], [3.0], [6.0]]),), (np.array([0.5]),))
    np.testing.assert_allclose(
        linear.contributions(MATRIX),
        [
            [1.0, -3.0, 2.0, 3.5],
            [0.5, 0.0, 6.0, 3.5],
            [0.0, 3.0, 0.0, 3.5],
            [0.0, -3.0, -6.0, 3.5],
        ],
    )

"""The portable model: the same answers after a round trip, no pickle, nothing corrupt answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hedonic.data.contract import Contract
from hedonic.data.split import split_rows
from hedonic.data.table import Columns, columns_from_frame, take
from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.model.recipe import Recipe
from hedonic.model.scorers import ConstantScorer
from hedonic.model.training import fit_candidate, fold_rows, make_fold
from tests.contracts import HOUSE_FEATURES, TREES, car_contract, car_frame, house_contract, house_frame


def model_of(contract: Contract, frame: Any, family: Any = "boosting") -> PortableModel:
    columns, split = columns_from_frame(contract, frame), split_rows(contract, frame)
    n_clusters = 4 if contract.features.place else None
    parameters = TREES if family in ("forest", "boosting") else {}
    recipe = Recipe(family=family, parameters=parameters, n_clusters=n_clusters, seed=1)
    train = take(columns, split.train)
    folds = [
        make_fold(contract, train, *rows, n_clusters=n_clusters, seed=1)
        for rows in fold_rows(contract, train, 1)
    ]
    return fit_candidate(contract, columns, split, recipe, folds).model


@pytest.fixture(scope="module")
def houses() -> PortableModel:
    return model_of(house_contract(), house_frame())


@pytest.fixture(scope="module")
def rows() -> Columns:
    return columns_from_frame(house_contract(), house_frame(60, seed=7))


def all_bytes(model: PortableModel, rows: Columns) -> bytes:
    estimates = model.estimate(rows)
    return b"".join(
        values.tobytes() for values in (estimates.estimate, estimates.interval_80, estimates.interval_90)
    )


# ---- answers


def test_intervals_hold_their_estimate_and_the_wider_holds_the_narrower(
    houses: PortableModel, rows: Columns
) -> None:
    estimates = houses.estimate(rows)
    (low_80, high_80), (low_90, high_90) = estimates.interval_80.T, estimates.interval_90.T
    assert estimates.estimate.shape == (60,)
    assert estimates.interval_90.shape == (60, 2)
    assert (low_90 <= low_80).all()
    assert (low_80 <= estimates.estimate).all()
    assert (estimates.estimate <= high_80).all()
    assert (high_80 <= high_90).all()
    assert len(np.unique(np.round(high_90 / low_90, 6))) > 10  # adaptive to the row


def test_a_batch_gives_the_bits_that_its_rows_give_alone(houses: PortableModel, rows: Columns) -> None:
    batch = houses.estimate(rows)
    for n in range(60):
        one = houses.estimate(take(rows, np.array([n])))
        assert one.estimate.tobytes() == batch.estimate[[n]].tobytes()
        assert one.interval_80.tobytes() == batch.interval_80[[n]].tobytes()
        assert one.interval_90.tobytes() == batch.interval_90[[n]].tobytes()


def test_a_missing_valuation_date_is_the_last_day_of_training(houses: PortableModel, rows: Columns) -> None:
    last = np.full(60, houses.valuation_date_default)
    dated = all_bytes(houses, {**rows, "sold": last})
    assert all_bytes(houses, {**rows, "sold": np.full(60, np.nan)}) == dated
    assert all_bytes(houses, {name: values for name, values in rows.items() if name != "sold"}) == dated
    assert all_bytes(houses, rows) != dated


@pytest.mark.parametrize("value", [np.nan, np.inf, 800.0])
def test_an_estimate_that_is_no_finite_number_never_leaves(
    houses: PortableModel, rows: Columns, value: float
) -> None:
    broken = replace(houses, point=ConstantScorer(value))
    with pytest.raises(HedonicError, match="houses: the estimate of row 0 is not a finite number"):
        broken.estimate(rows)


# ---- files


@pytest.mark.parametrize("family", ["median", "ridge", "network", "forest", "boosting"])
def test_a_model_that_is_saved_and_loaded_gives_the_same_bits(family: str, tmp_path: Path) -> None:
    before = model_of(car_contract(), car_frame(), family)
    before.save(tmp_path / "model")
    after = PortableModel.load(tmp_path / "model")
    rows = columns_from_frame(car_contract(), car_frame(50, seed=7))
    assert all_bytes(after, rows) == all_bytes(before, rows)
    assert (after.contract, after.family, after.level) == (before.contract, family, before.level)
    assert (after.training_ranges, after.valuation_date_default) == (before.training_ranges, None)


def test_a_model_with_every_kind_of_feature_makes_the_round_trip(
    houses: PortableModel, rows: Columns, tmp_path: Path
) -> None:
    houses.save(tmp_path / "model")
    after = PortableModel.load(tmp_path / "model")
    assert all_bytes(after, rows) == all_bytes(houses, rows)
    assert after.training_ranges == houses.training_ranges
    assert after.valuation_date_default == houses.valuation_date_default


def test_features_are_the_same_bits_after_a_round_trip_whatever_the_order_of_names(
    rows: Columns, tmp_path: Path
) -> None:
    similar = {"log_lot": 0.7, "age": 20, "log_area": 0.3, "area_per_room": 9}
    comparables = {**HOUSE_FEATURES["comparables"], "similar": similar}
    contract = house_contract(features={**HOUSE_FEATURES, "comparables": comparables})
    before = model_of(contract, house_frame(), "median")
    before.save(tmp_path / "model")
    after = PortableModel.load(tmp_path / "model")
    assert after.features.apply(rows).tobytes() == before.features.apply(rows).tobytes()


def test_a_folder_holds_no_pickle_and_the_same_model_gives_the_same_bytes(
    houses: PortableModel, tmp_path: Path
) -> None:
    houses.save(tmp_path / "one")
    PortableModel.load(tmp_path / "one").save(tmp_path / "other")
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".npy", ".txt"}
    assert all(
        np.load(path, allow_pickle=False).dtype == np.float64 for path in files if path.suffix == ".npy"
    )
    assert folder_digest(tmp_path / "one") == folder_digest(tmp_path / "other")


def test_a_folder_s_digest_follows_names_and_contents_alone(tmp_path: Path) -> None:
    digests = set()
    for names in (("a", "b"), ("a", "c")):
        for content in ("1", "2"):
            folder = tmp_path / f"{names}{content}"
            (folder / "deep").mkdir(parents=True)
            (folder / names[0]).write_text("0")
            (folder / "deep" / names[1]).write_text(content)
            digests.add(folder_digest(folder))
    assert len(digests) == 4


def saved_files() -> list[str]:
    return [
        "model.json",
        "contract.json",
        "features/features.json",
        "features/centres_km.npy",
        "features/surface.json",
        "features/surface_attributes.npy",
        "features/surface_places.npy",
        "features/comparables.json",
        "features/comparables.npy",
        "point/scorer.json",
        "point/trees.txt",
        "width/scorer.json",
        "width/trees.txt",
    ]


def test_these_are_a_model_s_files(houses: PortableModel, tmp_path: Path) -> None:
    houses.save(tmp_path / "model")
    files = {
        p.relative_to(tmp_path / "model").as_posix() for p in (tmp_path / "model").rglob("*") if p.is_file()
    }
    assert files == set(saved_files())


@pytest.mark.parametrize("damage", ["gone", "empty", "half", "nonsense"])
@pytest.mark.parametrize("name", saved_files())
def test_a_damaged_file_is_refused(houses: PortableModel, tmp_path: Path, name: str, damage: str) -> None:
    houses.save(tmp_path / "model")
    path = tmp_path / "model" / name
    content = path.read_bytes()
    match damage:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "nonsense":
            path.write_bytes(b"\x80\x04}q\x00.")
    with pytest.raises(ReleaseRefused, match="model"):
        PortableModel.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("model.json", {"format_version": 2}, "model format 2 is newer than 1. Upgrade Hedonic"),
        ("model.json", {"conformal": {"q_80": 1.0}}, "cannot be read"),
        ("point/scorer.json", {"kind": "oracle"}, "unknown kind of scorer"),
        ("features/features.json", {"names": ["area"]}, "cannot be read: .*features"),
        ("features/comparables.json", {"names": ["age", "log_area"]}, "cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    houses: PortableModel, tmp_path: Path, name: str, change: dict[str, Any], match: str
) -> None:
    houses.save(tmp_path / "model")
    path = tmp_path / "model" / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ReleaseRefused, match=match):
        PortableModel.load(tmp_path / "model")


def test_a_pickle_in_place_of_an_array_is_not_opened(houses: PortableModel, tmp_path: Path) -> None:
    houses.save(tmp_path / "model")
    np.save(tmp_path / "model/features/centres_km.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ReleaseRefused, match="Python objects"):
        PortableModel.load(tmp_path / "model")

"""A fair comparison: what the champion has seen, when it is not scored, how often a holdout decided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hedonic.data.contract import Contract
from hedonic.data.split import identity_columns, split_rows
from hedonic.data.table import columns_from_frame, take
from hedonic.data.training_data import TrainingData
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.model.manifest import Golden, ManifestFacts
from hedonic.model.recipe import Recipe
from hedonic.model.training import fit_candidate
from hedonic.model.tuning import make_folds
from hedonic.promotion.comparison import KNOWN_BY, contest, count_looks
from hedonic.promotion.evaluation import paired_losses
from hedonic.promotion.gate import decide
from hedonic.promotion.record import Record
from hedonic.promotion.release import ReleaseContent, write_release
from hedonic.promotion.verdict import Verdict
from tests.contracts import DESCRIBED, HOUSE_COLUMNS, house_contract, house_frame

COLUMNS = [{**DESCRIBED, **column} for column in HOUSE_COLUMNS]
FEATURES: dict[str, Any] = {"columns": ["area", "rooms", "built", "quarter"]}


def houses(**changes: Any) -> Contract:
    return house_contract(**{"features": FEATURES, **changes})


def data_of(contract: Contract, frame: pd.DataFrame | None = None) -> TrainingData:
    frame = house_frame() if frame is None else frame
    frame = frame[[column.name for column in contract.columns]]
    return TrainingData(contract, frame, columns_from_frame(contract, frame), split_rows(contract, frame))


def model_of(data: TrainingData) -> PortableModel:
    recipe = Recipe(family="ridge", parameters={}, n_clusters=None, seed=0)
    folds = make_folds(data, n_clusters=None, seed=0, workers=1)
    return fit_candidate(data.contract, data.columns, data.split, recipe, folds).model


def released(store: Path, data: TrainingData, model: PortableModel, **configuration: Any) -> Path:
    facts = ManifestFacts(
        dataset="houses", snapshot="a" * 64, split=data.split.digest, seed=0, lock="c" * 64, code="d" * 64,
        configuration=configuration,
    )  # fmt: skip
    golden = Golden(instances=({},), answers=({},))
    return write_release(store, ReleaseContent(model, model, data.seen, golden, facts))


@pytest.fixture(scope="module")
def model() -> PortableModel:
    return model_of(data_of(houses()))


@pytest.fixture(scope="module")
def champion(model: PortableModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose rows are known by id and date."""
    data = data_of(houses())
    return released(
        tmp_path_factory.mktemp("store"), data, model, **{KNOWN_BY: list(identity_columns(data.contract))}
    )


def later(contract: Contract) -> pd.DataFrame:
    """Two years of sales, of which the champion knows the first."""
    first, second = house_frame(), house_frame(seed=1)
    second = second.assign(sold=second["sold"] + np.timedelta64(365, "D"), id=second["id"] + 10_000)
    return pd.concat([first, second], ignore_index=True)[[column.name for column in contract.columns]]


def test_both_are_scored_on_the_same_rows_that_neither_has_seen(model: PortableModel, champion: Path) -> None:
    data = data_of(houses(), later(houses()))
    found = contest(data, model, "c" * 64, champion)
    assert (found.n_leaked, found.n_own_leaked, found.unscored) == (0, 0, "")
    assert found.champion == folder_digest(champion / "judged")
    rows = take(data.columns, data.split.holdout)
    losses = paired_losses(rows["price"], model.estimate(rows).estimate)
    assert found.scores.champion.tolist() == found.scores.candidate.tolist() == losses.tolist()
    assert found.comparison.gain == 0.0


def test_without_a_champion_there_is_nothing_to_compare_with(model: PortableModel) -> None:
    found = contest(data_of(houses()), model, "c" * 64, None)
    assert (found.champion, found.scores, found.comparison, found.n_leaked) == (None, None, None, 0)
    assert found.n_own_leaked == 0


def leaked(model: PortableModel, champion: Path, data: TrainingData) -> int | None:
    return contest(data, model, "c" * 64, champion).n_leaked


def test_rows_that_the_champion_trained_on_are_counted(model: PortableModel, champion: Path) -> None:
    moved = data_of(houses(split={"method": "random", "seed": 3}))
    known = data_of(houses())
    expected = np.isin(moved.split.holdout, np.r_[known.split.train, known.split.calibration]).sum()
    assert leaked(model, champion, moved) == expected > 40


def test_a_corrected_value_or_a_column_more_leaves_it_the_same_row(
    model: PortableModel, champion: Path
) -> None:
    frame = house_frame()
    frame = frame.assign(price=frame["price"] * 1.01, lot=frame["lot"] + 1, garden=1.0)
    columns = [*COLUMNS, {"name": "garden", "type": "number", "description": "x"}]
    random = {"split": {"method": "random", "seed": 3}}
    plain = leaked(model, champion, data_of(houses(**random)))
    assert leaked(model, champion, data_of(houses(columns=columns, **random), frame)) == plain > 40


def test_a_release_from_before_rows_were_known_by_their_id_is_held_to_their_content(
    model: PortableModel, tmp_path: Path
) -> None:
    from hedonic.data.split import row_hashes

    data = data_of(houses())
    content = row_hashes(data.contract, data.frame, [column.name for column in data.contract.columns])
    seen = np.unique(content[np.r_[data.split.train, data.split.calibration]])
    facts = ManifestFacts(
        dataset="houses",
        snapshot="a" * 64,
        split="b" * 64,
        seed=0,
        lock="c" * 64,
        code="d" * 64,
        configuration={},
    )
    golden = Golden(instances=({},), answers=({},))
    old = write_release(tmp_path, ReleaseContent(model, model, seen, golden, facts))
    moved = data_of(houses(split={"method": "random", "seed": 3}))
    assert leaked(model, old, moved) > 40
    without = [column for column in COLUMNS if column["name"] != "note"]
    assert leaked(model, old, replace(moved, contract=houses(columns=without))) is None


def test_what_a_candidate_of_rows_without_an_id_has_seen_is_not_told(model: PortableModel) -> None:
    columns = [{**c, "role": "attribute"} if c["name"] == "id" else c for c in COLUMNS]
    assert contest(data_of(houses(columns=columns)), model, "c" * 64, None).n_own_leaked is None


# A champion that cannot be scored


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: None if c["name"] == "rooms" else c, "it needs the column 'rooms', which is gone"),
        (
            lambda c: {**c, "type": "number"} if c["name"] == "rooms" else c,
            "it needs the column 'rooms' as integer, which is number now",
        ),
        (lambda c: None if c["name"] == "quarter" else c, "it needs the column 'quarter', which is gone"),
    ],
)
def test_a_champion_whose_column_is_gone_or_is_another_is_not_scored(
    change: Any, told: str, model: PortableModel, champion: Path
) -> None:
    columns = [changed for column in COLUMNS if (changed := change(column)) is not None]
    used = [name for name in FEATURES["columns"] if name in {column["name"] for column in columns}]
    data = data_of(houses(columns=columns, features={"columns": used}))
    found = contest(data, model, "c" * 64, champion)
    assert (found.unscored, found.scores, found.comparison) == (told, None, None)
    assert found.champion == folder_digest(champion / "judged")


def in_unit(name: str, unit: str | None) -> list[dict[str, Any]]:
    return [{**column, "unit": unit} if column["name"] == name else column for column in COLUMNS]


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("sqft", "m2", "it needs the column 'area' in sqft, which is in m2 now"),
        ("sqft", "sqft", ""),
        (None, "sqft", ""),
        ("sqft", None, ""),
    ],
)
def test_a_champion_whose_column_has_another_unit_is_not_scored(
    was: str | None, now: str | None, told: str, model: PortableModel, tmp_path: Path
) -> None:
    champion = replace(model, contract=houses(columns=in_unit("area", was)))
    release = released(tmp_path, data_of(houses()), champion)
    data = data_of(houses(columns=in_unit("area", now)))
    assert contest(data, model, "c" * 64, release).unscored == told


def test_a_champion_of_another_unit_is_not_scored(model: PortableModel, champion: Path) -> None:
    data = data_of(houses(target={"column": "price", "unit": "1000 EUR"}))
    assert contest(data, model, "c" * 64, champion).unscored == "it estimates price in EUR"


def test_a_champion_whose_estimate_is_not_a_number_is_not_scored(
    model: PortableModel, tmp_path: Path
) -> None:
    data = data_of(houses())
    high = released(tmp_path, data, replace(model, level=1000.0))
    found = contest(data, model, "c" * 64, high)
    assert "the estimate of row 0 is not a finite number" in found.unscored


IDENTITY = {"target": {"column": "price", "unit": "EUR", "scale": "identity"}}


@pytest.fixture(scope="module")
def straight() -> PortableModel:
    """A model on the identity scale, which prices every holdout row above 0."""
    return model_of(data_of(houses(**IDENTITY)))


def lowered(model: PortableModel, data: TrainingData) -> PortableModel:
    """Return the model with its cheapest estimate of the holdout at 0."""
    rows = take(data.columns, data.split.holdout)
    return replace(model, level=model.level - float(model.estimate(rows).estimate.min()))


def test_a_champion_that_prices_a_row_at_nothing_is_not_scored(
    straight: PortableModel, tmp_path: Path
) -> None:
    data = data_of(houses(**IDENTITY))
    found = contest(data, straight, "c" * 64, released(tmp_path, data, lowered(straight, data)))
    assert found.unscored.startswith("it gives 1 of 80 rows no price above 0 (first row ")
    assert (found.scores, found.comparison) == (None, None)
    plain = contest(data, straight, "c" * 64, released(tmp_path, data, straight))
    assert plain.scores is not None
    assert np.isfinite(plain.scores.champion).all()


def test_a_candidate_that_prices_a_row_at_nothing_is_refused_and_not_compared(
    straight: PortableModel, tmp_path: Path
) -> None:
    data = data_of(houses(**IDENTITY))
    found = contest(data, lowered(straight, data), "c" * 64, released(tmp_path, data, straight))
    assert found.comparison is None
    assert found.scores is not None
    verdict = decide(data.contract.gate, {}, found.scores, candidate="c" * 64, champion=found.champion)
    assert (verdict.kind, [one.check for one in verdict.issues]) == ("refused", ["finite-losses"])


def test_a_column_that_the_champion_does_not_read_may_go(model: PortableModel, champion: Path) -> None:
    columns = [column for column in COLUMNS if column["name"] not in ("agent", "note")]
    assert contest(data_of(houses(columns=columns)), model, "c" * 64, champion).scores is not None


# How often a holdout decided


def judged(candidate: str, holdout: str | None, kind: str = "kept") -> Record:
    verdict = Verdict(promoted=kind == "promoted", kind=kind, reasons=(), holdout=holdout)  # type: ignore[arg-type]
    return Record(
        dataset="houses", kind=kind, candidate=candidate * 64, verdict=verdict, actor="a", reason="r", seq=1,
        at="now", previous="0" * 64, hash="0" * 64,
    )  # type: ignore[arg-type]  # fmt: skip


def test_looks_are_the_other_candidates_that_the_same_rows_judged() -> None:
    records = [
        judged("a", "h"), judged("a", "h", "refused"), judged("b", "h", "promoted"), judged("c", "other"),
        judged("d", None), judged("e", "h", "kept"),
        judged("f", "h").model_copy(update={"verdict": None}),
        judged("9", "h").model_copy(update={"kind": "rolled_back"}),
    ]  # fmt: skip
    assert count_looks(records, "h", "e" * 64) == 2
    assert count_looks(records, "h", "0" * 64) == 3
    assert count_looks([], "h", "a" * 64) == 0


def test_the_same_holdout_has_the_same_digest_whatever_its_order_and_values() -> None:
    contract, frame = houses(split={"method": "time"}), house_frame()
    data = data_of(contract, frame)
    dearer = data_of(contract, frame.assign(price=frame["price"] * 2))
    shuffled = data_of(contract, frame.iloc[::-1].reset_index(drop=True))
    assert data.holdout_digest == dearer.holdout_digest == shuffled.holdout_digest
    assert data.holdout_digest != data_of(contract, later(contract)).holdout_digest

"""What is served equals what was estimated offline: every holdout row, both data sets, every family."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from hedonic.data.contract import Contract, Family
from hedonic.data.contract_file import load_contract
from hedonic.data.snapshot import SnapshotStore
from hedonic.data.table import take
from hedonic.data.training_data import TrainingData, open_training_data
from hedonic.data.validation import validate
from hedonic.model.artifact import Estimates, PortableModel
from hedonic.model.manifest import Golden, ManifestFacts
from hedonic.model.recipe import Recipe
from hedonic.model.training import fit_candidate
from hedonic.model.tuning import make_folds
from hedonic.promotion.release import ReleaseContent, write_release
from hedonic.serving.predictor import Predictor, Release, load_release
from hedonic.serving.responses import JSON_TYPE, predict_response
from hedonic.settings import Settings
from tests.drills import FULL, DrillTable, count
from tests.endpoints import start_endpoint

pytestmark = [pytest.mark.slow, pytest.mark.drill]

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-9
N_SINGLES = count(few=200, promised=100_000)
SMALL: dict[str, dict[str, Any]] = {
    "network": {"hidden_units": 16, "max_iter": 6},
    "forest": {"n_estimators": 40},
    "boosting": {"n_estimators": 60, "objective": "huber", "alpha": 0.3, "colsample_bytree": 0.4},
}
FAMILIES = get_args(Family)
DATA_SETS = ("king_county", "california")
OVER_HTTP = "boosting"


@dataclass(frozen=True)
class Sales:
    """Validated rows of a data set, and the folds that candidates of every family share."""

    data: TrainingData
    folds: list[Any]

    @property
    def holdout(self) -> pd.DataFrame:
        return self.data.frame.iloc[self.data.split.holdout]


@dataclass(frozen=True)
class Offline:
    """A release, and what its model estimated of the snapshot's own rows before it was saved."""

    folder: Path
    estimates: Estimates
    instances: list[dict[str, Any]]


@pytest.fixture(scope="module")
def sales_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sales]:
    return functools.cache(lambda name: prepared(name, tmp_path_factory.mktemp(name)))


def prepared(name: str, home: Path) -> Sales:
    contract = load_contract(ROOT / "expectations" / f"{name}.yaml")
    settings = Settings(root=ROOT, home=home)
    store = SnapshotStore(settings.snapshots)
    validated = validate(
        contract,
        store=store,
        snapshot=store.ingest(contract, ROOT),
        gx_folder=home / "gx",
        docs_folder=home / "docs",
        report_folder=settings.validations,
        as_of=date(2026, 1, 1),
        run_name="a test",
    )
    whole = open_training_data(settings, contract, validated)
    # A quarter of the training rows makes a candidate in seconds; the holdout stays whole.
    few = replace(whole.split, train=whole.split.train[::4], calibration=whole.split.calibration[::2])
    data = replace(whole, split=few)
    return Sales(data, make_folds(data, n_clusters=6, seed=1, workers=1))


@pytest.fixture(
    scope="module", params=[(name, family) for name in DATA_SETS for family in FAMILIES], ids="-".join
)
def offline(
    request: pytest.FixtureRequest, sales_of: Callable[[str], Sales], tmp_path_factory: pytest.TempPathFactory
) -> Offline:
    name, family = request.param
    sales = sales_of(name)
    data = sales.data
    recipe = Recipe(family=family, parameters=SMALL.get(family, {}), n_clusters=6, seed=1)
    model = fit_candidate(data.contract, data.columns, data.split, recipe, sales.folds).model
    instances = as_callers_send_them(data.contract, sales.holdout)
    folder = write_release(
        tmp_path_factory.mktemp("home") / "releases", content_of(model, data, instances[:3])
    )
    return Offline(folder, model.estimate(take(data.columns, data.split.holdout)), instances)


def content_of(model: PortableModel, data: TrainingData, rows: list[dict[str, Any]]) -> ReleaseContent:
    answers = Predictor(model).predict(rows)
    return ReleaseContent(
        model=model,
        judged=None,
        seen_rows=data.seen,
        golden=Golden(instances=tuple(rows), answers=tuple(answers)),
        facts=ManifestFacts(
            dataset=data.contract.name, snapshot="a" * 64, split=data.split.digest, seed=1, lock="c" * 64,
            code="d" * 64, configuration={"family": model.family},
        ),
    )  # fmt: skip


def as_callers_send_them(contract: Contract, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows of the snapshot as a caller writes them: JSON's own types, nothing for what is missing."""
    kinds = {"integer": int, "number": float, "boolean": bool, "category": str, "text": str}
    rows = []
    for sold in frame.to_dict("records"):
        row: dict[str, Any] = {}
        for column in contract.inputs:
            if column.type == "date":
                row[column.name] = sold[column.name].date().isoformat()
            elif not pd.isna(sold[column.name]):
                row[column.name] = kinds[column.type](sold[column.name])
        if contract.time_column:
            row["valuation_date"] = sold[contract.time_column].date().isoformat()
        rows.append(row)
    return rows


def predictions(body: bytes) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(body)["predictions"]
    return told


def answered(release: Release, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the predictions in the bytes of the response to a request of these rows."""
    status, body = predict_response(release, JSON_TYPE, json.dumps({"instances": rows}).encode(), "an-id")
    assert status == 200, body
    return predictions(body)


def batches(rows: list[dict[str, Any]], size: int = 100) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def furthest_apart(served: list[dict[str, Any]], estimates: Estimates) -> float:
    """Return the greatest relative difference of an estimate or a bound."""
    wanted = np.column_stack([estimates.estimate, estimates.interval_80, estimates.interval_90])
    got = np.array([[one["estimate"], *one["interval_80"], *one["interval_90"]] for one in served])
    assert got.shape == wanted.shape
    return float(np.max(np.abs(got - wanted) / np.abs(wanted)))


def test_every_holdout_row_is_answered_as_it_was_estimated_offline(
    offline: Offline, drill_table: DrillTable
) -> None:
    release = load_release(offline.folder)
    served = [one for batch in batches(offline.instances) for one in answered(release, batch)]
    apart = furthest_apart(served, offline.estimates)
    assert apart <= TOLERANCE
    alone = offline.instances[:: max(1, len(offline.instances) // N_SINGLES)]
    singles = [answered(release, [row])[0] for row in alone]
    assert singles == served[:: max(1, len(offline.instances) // N_SINGLES)]
    facts = release.facts
    drill_table.add(
        f"served equals offline: {facts['dataset']}, {facts['configuration']['family']}",
        len(served),
        f"furthest apart {apart:.1e} relative; {len(singles):,} singles are their batch, bit for bit",
    )


@pytest.mark.parametrize("offline", [(name, OVER_HTTP) for name in DATA_SETS], ids="-".join, indirect=True)
def test_every_holdout_row_is_answered_over_http_as_it_was_estimated_offline(
    offline: Offline, drill_table: DrillTable
) -> None:
    home = offline.folder.parents[2]
    with contextlib.ExitStack() as stack:
        endpoint, _ = start_endpoint(stack, home, offline.folder)
        answers = [endpoint.predict(*batch) for batch in batches(offline.instances)]
        assert {answer.status for answer in answers} == {200}
        alone = offline.instances if FULL else offline.instances[::100]
        singles = [predictions(endpoint.predict(row).body)[0] for row in alone]
    served = [one for answer in answers for one in predictions(answer.body)]
    apart = furthest_apart(served, offline.estimates)
    assert apart <= TOLERANCE
    assert singles == (served if FULL else served[::100])
    told = f"furthest apart {apart:.1e} relative; {len(singles):,} singles are their batch, bit for bit"
    drill_table.add(f"served equals offline over HTTP: {offline.folder.parent.name}", len(served), told)

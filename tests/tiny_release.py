"""A tiny data set's contract, model and release, made in a second: for tests of what serves."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hedonic.data.contract import Contract
from hedonic.data.table import columns_from_records
from hedonic.model.artifact import PortableModel
from hedonic.model.booster import Booster
from hedonic.model.features import Derivation, FeatureMap
from hedonic.model.intervals import Conformal
from hedonic.model.manifest import Golden, ManifestFacts
from hedonic.model.scorers import ConstantScorer, TreeScorer
from hedonic.promotion.release import ReleaseContent, write_release
from hedonic.serving.predictor import Predictor

CONTRACT: dict[str, Any] = {
    "format_version": 1,
    "name": "tiny_town",
    "title": "Sales of a town that does not exist",
    "source": {"uri": "data/tiny_town.parquet"},
    "target": {"column": "price", "unit": "USD", "scale": "log"},
    "columns": [
        {"name": "id", "type": "integer", "role": "id", "description": "Parcel"},
        {"name": "sold", "type": "date", "role": "time", "description": "Date of sale"},
        {"name": "price", "type": "number", "role": "target", "description": "Sale price"},
        {"name": "bedrooms", "type": "integer", "minimum": 0, "maximum": 10, "description": "Bedrooms",
         "example": 3},
        {"name": "area", "type": "number", "unit": "sqft", "minimum": 100, "maximum": 10000,
         "description": "Living area", "example": 1350.5},
        {"name": "built", "type": "integer", "unit": "year", "minimum": 1850, "maximum": 2100,
         "description": "Year of construction", "example": 1950},
        {"name": "lake", "type": "boolean", "description": "On the lake", "example": False},
        {"name": "quarter", "type": "category", "categories": ["Old Town", "Hill"], "description": "Quarter",
         "example": "Hill"},
        {"name": "garden", "type": "number", "nullable": True, "description": "Garden", "unit": "sqft"},
        {"name": "listed", "type": "date", "nullable": True, "description": "First listed"},
    ],
    "rules": [
        {"name": "room-for-bedrooms", "rule": "bedrooms == 0 or area / bedrooms >= 50",
         "description": "A bedroom has 50 sqft"},
        {"name": "built-before-sale", "rule": "built <= 1971 + sold / 365.2425",
         "description": "A house is sold a year before it is finished at most"},
        {"name": "has-a-bedroom", "rule": "bedrooms >= 1", "severity": "warning",
         "description": "A house without bedrooms is odd"},
        {"name": "small-on-the-lake", "rule": "lake == 0 or area >= 150", "severity": "info",
         "description": "Houses on the lake are large"},
        {"name": "price-per-area", "rule": "price / area >= 1", "description": "A price is not a gift"},
    ],
    "features": {"ages": [{"name": "age", "year": "built"}]},
    "search": {"families": {"median": {}}},
    "split": {"method": "time"},
    "gate": {"limits": []},
    "serve": {"port": 3999, "max_rows": 5},
}  # fmt: skip

ROW: dict[str, Any] = {
    "bedrooms": 3, "area": 1350.5, "built": 1950, "lake": False, "quarter": "Hill", "garden": 200,
    "listed": "2014-12-24",
}  # fmt: skip
LAST_DAY = 16_500.0  # 2015-03-06


def tiny_contract(**changes: Any) -> Contract:
    """Return the contract, some of its keys replaced."""
    return Contract.model_validate({**CONTRACT, **changes})


@functools.cache
def _trees(name: str, seed: int) -> str:
    import lightgbm

    rng = np.random.default_rng(seed)
    matrix = rng.uniform(0, 1, (400, 8))
    matrix *= [10, 5000, 150, 1, 1, 3000, 900, 100]
    matrix += [0, 100, 1860, 0, 0, 0, 16000, 0]
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    score = 12 + np.nan_to_num(matrix[:, 1]) / 4000 + rng.normal(0, 0.1, 400)
    target = score if name == "point" else np.full(400, -2.0) + rng.normal(0, 0.2, 400)
    parameters = {"num_threads": 1, "verbose": -1, "num_leaves": 7, "deterministic": True, "seed": seed}
    return str(lightgbm.train(parameters, lightgbm.Dataset(matrix, target), 12).model_to_string())


def tiny_model(seed: int = 0, **changes: Any) -> PortableModel:
    """Return a model of the tiny town: trees for the point and for the width."""
    contract = tiny_contract(**changes)
    names = ("bedrooms", "area", "built", "lake", "quarter", "garden", "listed", "age")
    derivation = Derivation(
        contract=contract,
        categories={"quarter": ("Hill", "Old Town")},
        origin_latitude=0.0,
        centres_km=np.empty((0, 2)),
        reach_km=1.0,
    )
    return PortableModel(
        contract=contract,
        family="boosting",
        features=FeatureMap(derivation, None, None, names, (4,)),
        point=TreeScorer(Booster.from_text(_trees("point", seed))),
        width=TreeScorer(Booster.from_text(_trees("width", seed))),
        conformal=Conformal(q_80=1.2, q_90=1.7, epsilon=0.01),
        level=0.0,
        training_ranges={"bedrooms": (0.0, 6.0), "area": (150.0, 5000.0), "built": (1860.0, 2015.0),
                         "garden": (0.0, 3000.0), "sold": (16_000.0, LAST_DAY)},
        valuation_date_default=LAST_DAY,
    )  # fmt: skip


def constant_model(value: float) -> PortableModel:
    """Return a model that answers ``value`` on the log scale for every row."""
    return replace(tiny_model(), family="median", point=ConstantScorer(value), width=ConstantScorer(-2.0))


def tiny_content(model: PortableModel | None = None, **facts: Any) -> ReleaseContent:
    """Return what goes into a release of ``model``, some of the facts replaced."""
    model = model or tiny_model()
    instances = (ROW, {**ROW, "quarter": "Old Town", "garden": None}, {**ROW, "area": 9000, "lake": True})
    answers = tuple(Predictor(model).predict([instance])[0] for instance in instances)
    return ReleaseContent(
        model=model,
        judged=tiny_model(seed=1),
        seen_rows=np.array([7, 3, 5], dtype=np.uint64),
        golden=Golden(instances=instances, answers=answers),
        facts=ManifestFacts(
            **{
                "dataset": "tiny_town", "snapshot": "a" * 64, "split": "b" * 64, "seed": 42, "lock": "c" * 64,
                "code": "d" * 64, "configuration": {"family": model.family, "rounds": 12}, **facts,
            }
        ),
    )  # fmt: skip


def tiny_release(store: Path, model: PortableModel | None = None) -> Path:
    """Return the folder of a release written into ``store``."""
    return write_release(store, tiny_content(model))


def tiny_columns(*rows: dict[str, Any]) -> dict[str, Any]:
    """Return canonical columns of rows, as training makes them."""
    renamed = [{("sold" if k == "valuation_date" else k): v for k, v in row.items()} for row in rows]
    return columns_from_records(tiny_contract(), renamed)

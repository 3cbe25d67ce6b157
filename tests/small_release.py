"""Small models and releases of the real contracts: a tenth of the rows and few trees, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hedonic.data.contract_file import load_contract
from hedonic.data.snapshot import SnapshotStore
from hedonic.data.split import split_rows
from hedonic.data.table import columns_from_frame
from hedonic.data.training_data import TrainingData
from hedonic.model.artifact import PortableModel
from hedonic.model.manifest import Golden, ManifestFacts
from hedonic.model.recipe import Recipe
from hedonic.model.training import fit_candidate
from hedonic.model.tuning import make_folds
from hedonic.promotion.making import golden_instances
from hedonic.promotion.release import ReleaseContent, write_release
from hedonic.serving.predictor import Predictor
from tests.project import ROOT

DATA_SETS = ("king_county", "california")
FAMILIES: dict[str, dict[str, Any]] = {
    "boosting": {"n_estimators": 40, "num_leaves": 15, "learning_rate": 0.1},
    "ridge": {"alpha": 1.0},
}


def small_data(name: str, folder: Path) -> TrainingData:
    """Return 2,000 rows of a data set, ingested into ``folder``."""
    contract, store = load_contract(ROOT / "expectations" / f"{name}.yaml"), SnapshotStore(folder)
    frame = store.frame(store.ingest(contract, ROOT))
    frame = frame.sample(2000, random_state=0).sort_index(ignore_index=True)
    return TrainingData(contract, frame, columns_from_frame(contract, frame), split_rows(contract, frame))


def small_model(data: TrainingData, family: str = "boosting") -> PortableModel:
    """Return a model of a family, with features and intervals as a run makes them."""
    recipe = Recipe(family=family, parameters=FAMILIES[family], n_clusters=8, seed=1)  # type: ignore[arg-type]
    folds = make_folds(data, n_clusters=recipe.n_clusters, seed=recipe.seed, workers=1)
    return fit_candidate(data.contract, data.columns, data.split, recipe, folds).model


def small_release(name: str, home: Path) -> Path:
    """Return the folder of a data set's release below ``home``."""
    data = small_data(name, home / "snapshots")
    model, instances = small_model(data), golden_instances(data)
    facts = ManifestFacts(
        dataset=name,
        snapshot="a" * 64,
        split="b" * 64,
        seed=1,
        lock="c" * 64,
        code="d" * 64,
        configuration={},
    )
    content = ReleaseContent(
        model=model,
        judged=model,
        seen_rows=data.columns["id" if name == "king_county" else "block_id"][:3].astype("uint64"),
        golden=Golden(instances=tuple(instances), answers=tuple(Predictor(model).predict(instances))),
        facts=facts,
    )
    return write_release(home / "releases", content)

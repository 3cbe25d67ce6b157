"""A release with every kind of file: trees, a network, a price surface, comparable sales; made in seconds."""

from __future__ import annotations

from pathlib import Path

from hedonic.data.contract import Family
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
from tests.contracts import TREES, house_contract, house_frame


def house_release(store: Path) -> Path:
    """Return the folder of a release of houses: trees are served, a network was judged."""
    contract, frame = house_contract(), house_frame()
    data = TrainingData(contract, frame, columns_from_frame(contract, frame), split_rows(contract, frame))
    folds = make_folds(data, n_clusters=4, seed=1, workers=1)

    def model(family: Family, parameters: dict[str, int]) -> PortableModel:
        recipe = Recipe(family=family, parameters=parameters, n_clusters=4, seed=1)
        return fit_candidate(contract, data.columns, data.split, recipe, folds).model

    served = model("boosting", TREES)
    instances = golden_instances(data)
    content = ReleaseContent(
        model=served,
        judged=model("network", {"hidden_units": 8, "max_iter": 5}),
        seen_rows=data.seen,
        golden=Golden(instances=tuple(instances), answers=tuple(Predictor(served).predict(instances))),
        facts=ManifestFacts(
            dataset=contract.name, snapshot="a" * 64, split=data.split.digest, seed=1, lock="c" * 64,
            code="d" * 64, configuration={"family": "boosting"},
        ),
    )  # fmt: skip
    return write_release(store, content)

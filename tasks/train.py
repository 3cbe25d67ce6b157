"""Train: the best recipe, fitted and calibrated; the holdout is not touched."""

from __future__ import annotations

from prefect import task

from hedonic.data.contract import Contract
from hedonic.data.training_data import open_training_data
from hedonic.data.validated import ValidatedSnapshot
from hedonic.flow_record import FlowRecord
from hedonic.model.candidate import CandidateName, CandidateStore
from hedonic.model.study import Tuning
from hedonic.settings import load_settings
from tasks.caching import by_content
from tasks.recording import recorded
from tasks.run_page import logger, show_table


@task(name="train", persist_result=True, cache_key_fn=by_content("train"))
@recorded("train")
def train_candidate(
    contract: Contract, validated: ValidatedSnapshot, tuning: Tuning, run_id: str
) -> CandidateName:
    """Return the candidate that the recipe gives."""
    from hedonic.model.training import fit_candidate
    from hedonic.model.tuning import make_folds

    settings, recipe = load_settings(), tuning.recipe
    data = open_training_data(settings, contract, validated)
    folds = make_folds(data, n_clusters=recipe.n_clusters, seed=recipe.seed, workers=settings.workers)
    candidate = fit_candidate(contract, data.columns, data.split, recipe, folds)
    name = CandidateStore(settings.candidates).save(candidate, recipe)
    FlowRecord(settings, contract, run_id).trained(candidate, recipe)
    show_table(
        "importances",
        contract.name,
        [{"feature": feature, "gain": gain} for feature, gain in candidate.importances.items()]
        or [{"feature": feature, "gain": None} for feature in candidate.model.features.names],
        f"What {recipe.family} candidate {name.digest[:12]} splits on: {name.n_trees} trees",
    )
    logger().info(
        "%s candidate %s on %s rows, %d features",
        recipe.family,
        name.digest[:12],
        f"{len(data.split.train):,}",
        len(candidate.model.features.names),
    )
    return name

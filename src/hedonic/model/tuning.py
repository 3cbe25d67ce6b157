"""Tuning: from training data to the recipe that a study found best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from joblib import Parallel, delayed

from hedonic.data.table import take
from hedonic.data.training_data import TrainingData
from hedonic.model.budget import Budget
from hedonic.model.feature_fitting import cluster_curves
from hedonic.model.recipe import Recipe
from hedonic.model.search import Fold, free_name, open_storage, tune
from hedonic.model.study import Clusters, Trial, Tuning
from hedonic.model.training import fold_rows, make_fold


def make_folds(data: TrainingData, *, n_clusters: int | None, seed: int, workers: int) -> list[Fold]:
    """Return the folds of the training rows, features learnt within each."""
    columns = take(data.columns, data.split.train)
    rows = fold_rows(data.contract, columns, seed)
    jobs = (
        delayed(make_fold)(data.contract, columns, train, valid, n_clusters=n_clusters, seed=seed)
        for train, valid in rows
    )
    return list(Parallel(n_jobs=workers)(jobs))


def search_recipe(
    data: TrainingData,
    *,
    budget: Budget,
    seed: int,
    studies: Path | str,
    name: str,
    attributes: Mapping[str, str],
    workers: int,
    on_trial: Callable[[Trial], None] | None = None,
) -> Tuning:
    """Return the recipe that a seeded study finds on folds of the training rows.

    Args:
        data: validated rows; calibration and holdout are not touched.
        budget: trials, time and families.
        seed: of everything random.
        studies: the journal that holds every study, or the URL of a database.
        name: the study's; a number is appended where it is taken.
        attributes: put on the study and on every trial, such as links to MLflow and Prefect.
        workers: processes.
        on_trial: called with each finished trial, in number order.
    """
    curves = cluster_curves(data.contract, take(data.columns, data.split.train), seed)
    chosen = curves.chosen if curves else None
    folds = make_folds(data, n_clusters=chosen, seed=seed, workers=workers)
    storage = open_storage(studies)
    study = tune(
        data.contract,
        folds,
        budget=budget,
        seed=seed,
        storage=storage,
        name=free_name(storage, name),
        attributes=attributes,
        workers=workers,
        on_trial=on_trial,
    )
    best = study.best
    return Tuning(
        study=study,
        recipe=Recipe(family=best.family, parameters=best.parameters, n_clusters=chosen, seed=seed),
        clusters=Clusters(
            k=curves.k, inertia=curves.inertia, silhouette=curves.silhouette, chosen=curves.chosen
        )
        if curves
        else None,
        split_digest=data.split.digest,
    )

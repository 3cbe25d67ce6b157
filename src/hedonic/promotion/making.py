"""The making of a release's content from a judged candidate: refit, golden rows, facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hedonic.data.contract import Contract
from hedonic.data.split import identity_columns
from hedonic.data.table import day, n_rows, take
from hedonic.data.training_data import TrainingData
from hedonic.model.artifact import PortableModel
from hedonic.model.manifest import Golden, ManifestFacts
from hedonic.model.recipe import Recipe
from hedonic.model.study import Study
from hedonic.model.training import refit
from hedonic.promotion.comparison import KNOWN_BY
from hedonic.promotion.release import ReleaseContent
from hedonic.promotion.served_refit import require_fit_to_serve

N_GOLDEN = 20

Answers = Callable[[PortableModel, Sequence[dict[str, Any]]], list[dict[str, Any]]]


def make_content(
    data: TrainingData,
    judged: PortableModel,
    recipe: Recipe,
    study: Study,
    *,
    snapshot: str,
    lock: str,
    code: str,
    answers: Answers,
) -> ReleaseContent:
    """Return what goes into the release of a promoted candidate.

    Args:
        data: the rows it was judged on.
        judged: the model that the gate promoted.
        recipe: by which a refit follows.
        study: in which the recipe was found.
        snapshot: digest of the rows.
        lock: digest of the hash-locked requirements.
        code: digest of the code that made it.
        answers: the served answers of a model to rows as a caller sends them.

    Raises:
        RefitDisagrees: the refitted model differs from the judged one beyond the contract's band, or fails
            a budget or a behaviour that the gate asks of a model.
    """
    policy = data.contract.refit
    served, kept = judged, None
    if policy.policy == "latest":
        served, kept = refit(data.contract, data.columns, recipe, judged), judged
        require_fit_to_serve(data, served, judged)
    instances = golden_instances(data)
    return ReleaseContent(
        model=served,
        judged=kept,
        seen_rows=data.seen,
        golden=Golden(instances=tuple(instances), answers=tuple(answers(served, instances))),
        facts=ManifestFacts(
            dataset=data.contract.name,
            snapshot=snapshot,
            split=data.split.digest,
            configuration={
                "recipe": recipe.model_dump(mode="json"),
                "trials": study.n_trials,
                "families": list(study.families),
                "metric": study.metric,
                "refit": policy.model_dump(mode="json"),
                KNOWN_BY: list(identity_columns(data.contract)),
            },
            seed=recipe.seed,
            lock=lock,
            code=code,
            reproducible=not study.cut_by_time,
        ),
    )


def golden_instances(data: TrainingData) -> list[dict[str, Any]]:
    """Return 20 holdout rows, evenly spread over its prices, as a caller sends them."""
    holdout = take(data.columns, data.split.holdout)
    order = np.argsort(holdout[data.contract.target.column], kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, N_GOLDEN).astype(int))]
    rows = take(holdout, chosen)
    return [_instance(data.contract, rows, n) for n in range(n_rows(rows))]


def _instance(contract: Contract, rows: dict[str, Any], n: int) -> dict[str, Any]:
    instance: dict[str, Any] = {}
    for column in contract.inputs:
        value = rows[column.name][n]
        if value is None or value != value:
            continue
        convert = {"integer": int, "number": float, "boolean": bool}.get(column.type, str)
        instance[column.name] = day(value).isoformat() if column.type == "date" else convert(value)
    if contract.time_column is not None:
        instance["valuation_date"] = day(rows[contract.time_column][n]).isoformat()
    return instance

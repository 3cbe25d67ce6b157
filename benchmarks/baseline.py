"""Quality on the holdout of each embedded data set, with the naive median and ridge beside it.

Run it as ``python -m benchmarks.baseline``. It does what ``hedonic run`` does up to the evaluation (the
contract's default budget, seed 0), in a folder of its own, so that no release is touched.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT
from hedonic.settings import Settings, find_root

if TYPE_CHECKING:
    from hedonic.promotion.evaluation import Evaluation

DATASETS = ("king_county", "california")
SEED = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the default budget came to on one data set."""

    title: str
    family: str
    n_trees: int
    max_leaves: int
    evaluation: Evaluation


def measure(settings: Settings, dataset: str) -> Outcome:
    """Return the evaluation of the recipe that the contract's default budget finds."""
    from hedonic.data.contract import Family
    from hedonic.data.contract_file import load_contract
    from hedonic.data.snapshot import SnapshotStore
    from hedonic.data.table import take
    from hedonic.data.training_data import open_training_data
    from hedonic.data.validation import validate
    from hedonic.model.budget import Budget
    from hedonic.model.training import fit_baselines, fit_candidate
    from hedonic.model.tuning import make_folds, search_recipe
    from hedonic.promotion.evaluation import evaluate

    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    store = SnapshotStore(settings.snapshots)
    snapshot = store.ingest(contract, settings.root)
    validated = validate(
        contract,
        store=store,
        snapshot=snapshot,
        gx_folder=settings.gx,
        docs_folder=settings.data_docs,
        report_folder=settings.validations,
        as_of=datetime.now(UTC).date(),
        run_name="baseline",
    )
    data = open_training_data(settings, contract, validated)
    tuning = search_recipe(
        data,
        budget=Budget(trials=contract.search.trials),
        seed=SEED,
        studies=settings.studies,
        name="baseline",
        attributes={},
        workers=settings.workers,
    )
    recipe = tuning.recipe
    folds = make_folds(data, n_clusters=recipe.n_clusters, seed=SEED, workers=settings.workers)
    model = fit_candidate(contract, data.columns, data.split, recipe, folds).model
    holdout = take(data.columns, data.split.holdout)
    naive: dict[Family, dict[str, Any]] = {"median": {}, "ridge": tuning.ridge_parameters}
    evaluation = evaluate(
        contract,
        holdout,
        holdout[contract.target.column],
        model.estimate(holdout),
        fit_baselines(contract, data.columns, data.split, naive, SEED),
        candidate_digest="0" * 64,
    )
    return Outcome(contract.title, recipe.family, model.n_trees, model.max_leaves, evaluation)


def table(outcomes: list[Outcome]) -> str:
    """Return the README's table."""
    lines = [
        "| data set | model | log-RMSE | MdAPE % | RMSE, 100k USD | R2 | 90 % interval covers % |",
        "|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        evaluation = outcome.evaluation
        served = f"**{outcome.family}**, {outcome.n_trees} trees of {outcome.max_leaves} leaves"
        for name, metrics in ({served: evaluation.overall} | evaluation.baselines).items():
            coverage = f"{evaluation.figures['coverage_90_pct']:.1f}" if name == served else ""
            lines.append(
                f"| {outcome.title} | {name} | {metrics.log_rmse:.4f} | {metrics.mdape_pct:.2f} "
                f"| {metrics.rmse / 1e5:.4f} | {metrics.r2:.3f} | {coverage} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure both data sets and print the table, or one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    asked = parser.parse_args()
    root = find_root(Path.cwd())
    with tempfile.TemporaryDirectory(prefix="hedonic-baseline-") as home:
        settings = Settings(root=root, home=Path(home))
        outcomes = [measure(settings, dataset) for dataset in DATASETS]
    print(table(outcomes))
    if asked.json:
        king_county, california = (outcome.evaluation.figures for outcome in outcomes)
        print(
            json.dumps(
                {
                    "king_county": {
                        name: king_county[name] for name in ("log_rmse", "mdape_pct", "coverage_90_pct")
                    },
                    "california": {"rmse_100k_usd": california["rmse"] / 1e5},
                }
            )
        )


if __name__ == "__main__":
    os.environ.update(NUMERIC_ENVIRONMENT | QUIET_ENVIRONMENT)
    main()

"""Tune: an Optuna study over the contract's families, on folds of the training rows."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run

from hedonic.data.contract import Contract
from hedonic.data.training_data import open_training_data
from hedonic.data.validated import ValidatedSnapshot
from hedonic.flow_record import FlowRecord
from hedonic.model.budget import Budget
from hedonic.model.study import Trial, Tuning
from hedonic.settings import load_settings
from tasks.caching import by_content


@task(
    name="tune",
    persist_result=True,
    cache_key_fn=by_content("tasks/tune.py", "contract", "validated", "budget", "seed"),
)
def tune(contract: Contract, validated: ValidatedSnapshot, budget: Budget, seed: int, run_id: str) -> Tuning:
    """Return the best recipe that the budget finds."""
    from hedonic.model.tuning import search_recipe

    settings, logger = load_settings(), get_run_logger()
    data = open_training_data(contract, validated, snapshots=settings.snapshots, reports=settings.validations)

    def tell(trial: Trial) -> None:
        logger.info(
            "trial %d of %d: %s, %s %s",
            trial.number + 1,
            budget.trials,
            trial.family,
            contract.search.metric,
            f"{trial.loss:.5g}" if trial.state == "COMPLETE" else trial.state.lower(),
        )

    tuning = search_recipe(
        data,
        budget=budget,
        seed=seed,
        journal=settings.studies,
        name=f"{contract.name}-{datetime.now(UTC):%Y-%m-%d}-{validated.snapshot.digest[:8]}",
        attributes={"mlflow_run": run_id, "prefect_flow_run": str(flow_run.id)},
        workers=settings.workers,
        on_trial=tell,
    )
    FlowRecord(settings, contract, run_id).tuned(tuning)
    create_table_artifact(
        key=f"leaderboard-{contract.name.replace('_', '-')}",
        table=[
            {"family": t.family, contract.search.metric: t.loss, "trial": t.number, **t.parameters}
            for t in tuning.study.leaderboard
        ],
        description=f"Best trial of each family in study {tuning.study.name}",
    )
    logger.info(
        "%s is best of %d trials and %d baselines: %s %.5g",
        tuning.recipe.family,
        tuning.study.n_trials,
        len(tuning.study.baselines),
        contract.search.metric,
        tuning.study.best.loss,
    )
    return tuning

"""Tune: an Optuna study over the contract's families, on folds of the training rows."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task
from prefect.runtime import flow_run

from hedonic.data.contract import Contract
from hedonic.data.training_data import open_training_data
from hedonic.data.validated import ValidatedSnapshot
from hedonic.flow_record import FlowRecord
from hedonic.model.budget import Budget
from hedonic.model.study import Study, Trial, Tuning
from hedonic.model.study_name import study_name
from hedonic.settings import load_settings
from tasks.caching import by_content
from tasks.recording import recorded
from tasks.run_page import Progress, logger, show_image, show_table


@task(name="tune", persist_result=True, cache_key_fn=by_content("tune"))
@recorded("tune")
def tune(contract: Contract, validated: ValidatedSnapshot, budget: Budget, seed: int, run_id: str) -> Tuning:
    """Return the best recipe that the budget finds."""
    from hedonic.model.tuning import search_recipe

    settings, log = load_settings(), logger()
    data = open_training_data(settings, contract, validated)

    progress = Progress("tune", contract.name, f"Trials of {budget.trials}")

    def tell(trial: Trial) -> None:
        progress.reach(trial.number + 1, budget.trials)
        log.info(
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
        studies=settings.studies,
        name=study_name(contract.name, datetime.now(UTC), validated.snapshot.digest),
        attributes={"mlflow_run": run_id, "prefect_flow_run": str(flow_run.id)},
        workers=settings.workers,
        on_trial=tell,
    )
    plot = FlowRecord(settings, contract, run_id).tuned(tuning)
    progress.reach(1, 1)
    _show(contract, tuning.study, plot)
    log.info(
        "%s is best of %d trials and %d baselines: %s %.5g",
        tuning.recipe.family,
        tuning.study.n_trials,
        len(tuning.study.baselines),
        contract.search.metric,
        tuning.study.best.loss,
    )
    return tuning


def _show(contract: Contract, study: Study, plot: str) -> None:
    rows = [
        {
            "family": t.family,
            study.metric: t.loss,
            "trial": t.number,
            "state": t.state.lower(),
            **t.parameters,
        }
        for t in (*study.trials, *study.baselines)
    ]
    best = [next(row for row in rows if row["trial"] == t.number and row["family"] == t.family)
            for t in study.leaderboard]  # fmt: skip
    show_table("leaderboard", contract.name, best, f"Best trial of each family in study {study.name}")
    show_table("trials", contract.name, rows, f"Every trial of study {study.name}; -1 is a baseline")
    show_image("study", contract.name, plot, f"Loss of each trial of study {study.name}")

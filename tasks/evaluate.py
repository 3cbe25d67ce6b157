"""Evaluate: the candidate and the naive models on the holdout, overall and per slice."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from hedonic.data.contract import Contract
from hedonic.data.table import take
from hedonic.data.training_data import open_training_data
from hedonic.data.validated import ValidatedSnapshot
from hedonic.flow_record import FlowRecord
from hedonic.model.candidate import CandidateName, CandidateStore
from hedonic.model.study import Tuning
from hedonic.promotion.evaluation import Evaluation
from hedonic.settings import load_settings
from tasks.caching import by_content


@task(
    name="evaluate",
    persist_result=True,
    cache_key_fn=by_content("tasks/evaluate.py", "contract", "validated", "candidate"),
)
def evaluate_candidate(
    contract: Contract, validated: ValidatedSnapshot, candidate: CandidateName, tuning: Tuning, run_id: str
) -> Evaluation:
    """Return the candidate's evaluation, which is also kept as an immutable report."""
    from hedonic.model.training import fit_baseline
    from hedonic.promotion.description import figures_markdown
    from hedonic.promotion.evaluation import evaluate

    settings, seed = load_settings(), candidate.recipe.seed
    data = open_training_data(contract, validated, snapshots=settings.snapshots, reports=settings.validations)
    holdout = take(data.columns, data.split.holdout)
    actual = holdout[contract.target.column]
    estimates = CandidateStore(settings.candidates).load(candidate).estimate(holdout)
    evaluation = evaluate(
        contract,
        holdout,
        actual,
        estimates,
        {
            "median": fit_baseline(contract, data.columns, data.split, "median", {}, seed),
            "ridge": fit_baseline(contract, data.columns, data.split, "ridge", tuning.ridge_parameters, seed),
        },
        candidate_digest=candidate.digest,
    )
    report = evaluation.write(settings.reports)
    FlowRecord(settings, contract, run_id).evaluated(evaluation, holdout, estimates.estimate, report)
    create_markdown_artifact(
        key=f"evaluation-{contract.name.replace('_', '-')}",
        markdown=figures_markdown(evaluation),
        description=f"Candidate {candidate.digest[:12]} on {evaluation.n_rows:,} holdout rows",
    )
    get_run_logger().info(
        "log-RMSE %.4f, MdAPE %.2f %%, R2 %.3f on %s holdout rows",
        evaluation.overall.log_rmse,
        evaluation.overall.mdape_pct,
        evaluation.overall.r2,
        f"{evaluation.n_rows:,}",
    )
    return evaluation

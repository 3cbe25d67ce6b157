"""Evaluate: the candidate and the naive models on the holdout, overall and per slice."""

from __future__ import annotations

from prefect import task

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
from tasks.recording import recorded
from tasks.run_page import logger, show_markdown, show_table


@task(name="evaluate", persist_result=True, cache_key_fn=by_content("evaluate"))
@recorded("evaluate")
def evaluate_candidate(
    contract: Contract, validated: ValidatedSnapshot, candidate: CandidateName, tuning: Tuning, run_id: str
) -> Evaluation:
    """Return the candidate's evaluation, which is also kept as an immutable report."""
    from hedonic.model.training import fit_baselines
    from hedonic.promotion.description import figures_markdown, ratio_rows
    from hedonic.promotion.evaluation import evaluate

    settings, seed = load_settings(), candidate.recipe.seed
    data = open_training_data(settings, contract, validated)
    holdout = take(data.columns, data.split.holdout)
    actual = holdout[contract.target.column]
    estimates = CandidateStore(settings.candidates).load(candidate).estimate(holdout)
    evaluation = evaluate(
        contract,
        holdout,
        actual,
        estimates,
        fit_baselines(
            contract, data.columns, data.split, {"median": {}, "ridge": tuning.ridge_parameters}, seed
        ),
        candidate_digest=candidate.digest,
    )
    report = evaluation.write(settings.reports)
    FlowRecord(settings, contract, run_id).evaluated(evaluation, holdout, estimates.estimate, report)
    told = f"candidate {candidate.digest[:12]} on {evaluation.n_rows:,} holdout rows"
    show_markdown("evaluation", contract.name, figures_markdown(evaluation), f"Figures of {told}")
    show_table("ratio-study", contract.name, ratio_rows(evaluation), f"Ratio study of {told}")
    logger().info(
        "log-RMSE %.4f, MdAPE %.2f %%, R2 %.3f on %s holdout rows",
        evaluation.overall.log_rmse,
        evaluation.overall.mdape_pct,
        evaluation.overall.r2,
        f"{evaluation.n_rows:,}",
    )
    return evaluation

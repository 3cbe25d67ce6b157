"""Decide: the gate's verdict on the candidate, against the champion on the same rows."""

from __future__ import annotations

from prefect import task

from hedonic.data.contract import Contract
from hedonic.data.training_data import open_training_data
from hedonic.data.validated import ValidatedSnapshot
from hedonic.flow_record import FlowRecord
from hedonic.model.candidate import CandidateName, CandidateStore
from hedonic.promotion.evaluation import Evaluation
from hedonic.promotion.verdict import Verdict
from hedonic.settings import load_settings
from tasks.recording import recorded
from tasks.run_page import logger, show_markdown


@task(name="decide", persist_result=True)
@recorded("decide")
def decide_promotion(
    contract: Contract,
    validated: ValidatedSnapshot,
    candidate: CandidateName,
    evaluation: Evaluation,
    champion: str | None,
    run_id: str,
) -> Verdict:
    """Return whether the candidate replaces the champion (a release digest), and why."""
    from hedonic.promotion.comparison import contest
    from hedonic.promotion.description import verdict_markdown
    from hedonic.promotion.gate import decide
    from hedonic.promotion.latency import latency_ms

    settings = load_settings()
    data = open_training_data(settings, contract, validated)
    model = CandidateStore(settings.candidates).load(candidate)
    folder = settings.releases / contract.name / champion if champion else None
    rival = contest(data, model, candidate.digest, folder)
    verdict = decide(
        contract.gate,
        evaluation.figures,
        rival.scores,
        candidate=candidate.digest,
        champion=rival.champion,
        n_leaked=rival.n_leaked,
        n_trees=candidate.n_trees,
        max_leaves=candidate.max_leaves,
        latency_ms=latency_ms(model, data),
        seed=candidate.recipe.seed,
    )
    report = rival.comparison.write(settings.reports) if rival.comparison else None
    if rival.comparison:
        verdict = verdict.model_copy(update={"comparison": rival.comparison.sha256})
    FlowRecord(settings, contract, run_id).decided(verdict, rival.comparison, report)
    told = f"Verdict on candidate {candidate.digest[:12]}: {verdict.kind}"
    show_markdown("verdict", contract.name, verdict_markdown(verdict), told)
    logger().info(verdict.summary)
    return verdict

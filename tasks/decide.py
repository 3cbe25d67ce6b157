"""Decide: the gate's verdict on the candidate, against the champion on the same rows."""

from __future__ import annotations

from contextlib import closing

from prefect import task

from hedonic.data.contract import Contract
from hedonic.data.training_data import open_training_data
from hedonic.data.validated import ValidatedSnapshot
from hedonic.flow_record import FlowRecord
from hedonic.model.candidate import CandidateStore
from hedonic.promotion.evaluation import Evaluation
from hedonic.promotion.simplicity import Choice
from hedonic.promotion.verdict import Verdict
from hedonic.settings import load_settings
from tasks.recording import recorded
from tasks.run_page import logger, show_markdown


@task(name="decide", persist_result=True)
@recorded("decide")
def decide_promotion(
    contract: Contract,
    validated: ValidatedSnapshot,
    choice: Choice,
    evaluation: Evaluation,
    champion: str | None,
    run_id: str,
) -> Verdict:
    """Return whether the candidate replaces the champion (a release digest), and why."""
    from hedonic.promotion.description import verdict_markdown
    from hedonic.promotion.history import open_history
    from hedonic.promotion.judging import judge

    settings = load_settings()
    data = open_training_data(settings, contract, validated)
    folder = settings.releases / contract.name / champion if champion else None
    with closing(open_history(settings)) as history:
        records = history.records(contract.name)
    judged = judge(data, CandidateStore(settings.candidates), choice, evaluation, folder, records)
    verdict, comparison = judged.verdict, judged.comparison
    report = comparison.write(settings.reports) if comparison else None
    if comparison:
        verdict = verdict.model_copy(update={"comparison": comparison.sha256})
    FlowRecord(settings, contract, run_id).decided(verdict, comparison, report)
    told = f"Verdict on candidate {choice.candidate.digest[:12]}: {verdict.kind}"
    show_markdown("verdict", contract.name, verdict_markdown(verdict), told)
    logger().info(verdict.summary)
    return verdict

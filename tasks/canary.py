"""Canary: a new release answers a share of the champion's requests before it is champion."""

from __future__ import annotations

from prefect import task

from hedonic.data.contract import Contract
from hedonic.flow_record import FlowRecord
from hedonic.promotion.verdict import Verdict
from hedonic.settings import load_settings
from tasks.run_page import logger, show_table


@task(name="canary")
def try_canary(
    contract: Contract, release: str, champion: str | None, verdict: Verdict, version: int, run_id: str
) -> Verdict:
    """Return the verdict once the release was tried as the contract asks: it may be a refusal by now."""
    from hedonic.canary_stage import run_canary
    from hedonic.promotion.registry.model_version import reject_version

    if contract.gate.canary is None:
        logger().info("the contract asks for none")
        return verdict
    settings = load_settings()
    trial = run_canary(settings, contract, release, champion)
    joined = verdict.joined_by(trial.finding)
    figures = {"requests": trial.n, "errors": trial.errors, "disagreement": trial.disagreement}
    FlowRecord(settings, contract, run_id).canaried(joined, figures)
    if not joined.promoted:
        reject_version(settings, contract.name, version)
    show_table(
        "canary",
        contract.name,
        [{**figures, "seconds": round(trial.duration_s, 1), "outcome": trial.finding.outcome}],
        f"Release {release[:12]} as a canary: {trial.finding.sentence}",
    )
    logger().info(trial.finding.sentence)
    return joined

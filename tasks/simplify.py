"""Simplify: ridge is judged in place of what the study found, where it is as good."""

from __future__ import annotations

from prefect import task

from hedonic.data.contract import Contract
from hedonic.data.training_data import open_training_data
from hedonic.data.validated import ValidatedSnapshot
from hedonic.model.candidate import CandidateName, CandidateStore
from hedonic.model.study import Tuning
from hedonic.promotion.simplicity import Choice
from hedonic.settings import load_settings
from tasks.caching import by_content
from tasks.recording import recorded
from tasks.run_page import logger, show_markdown


@task(name="simplify", persist_result=True, cache_key_fn=by_content("simplify"))
@recorded("simplify")
def prefer_simple(
    contract: Contract, validated: ValidatedSnapshot, candidate: CandidateName, tuning: Tuning
) -> Choice:
    """Return the candidate that is judged, with the recipe that it was made by."""
    from hedonic.promotion.simplicity import choose

    settings = load_settings()
    data = open_training_data(settings, contract, validated)
    choice = choose(data, CandidateStore(settings.candidates), candidate, tuning, workers=settings.workers)
    told = f"What is judged: candidate {choice.candidate.digest[:12]}"
    show_markdown("simplify", contract.name, choice.sentence, told)
    logger().info(choice.finding.sentence if choice.finding else f"{candidate.recipe.family} as it is")
    return choice

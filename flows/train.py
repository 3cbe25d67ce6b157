"""Train: from a table of sales to a gated, released and served price model."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from hedonic.data.contract import Family
from hedonic.model.budget import Budget
from tasks.caching import Step, renewed
from tasks.decide import decide_promotion
from tasks.evaluate import evaluate_candidate
from tasks.ingest import ingest, read_contract
from tasks.outcome import TrainResult, ask, conclude
from tasks.promote import Ending, abandon_run, begin, find_champion, record_verdict, register, roll_out
from tasks.recognise import find_verdict, name_undertaking
from tasks.release import build, make_release
from tasks.train import train_candidate
from tasks.tune import tune
from tasks.validate import validate_snapshot


@flow(name="train", flow_run_name="{dataset}: {reason}", on_failure=[abandon_run], on_crashed=[abandon_run])
def train(
    dataset: Annotated[str, Field(description="A contract in expectations/, without .yaml")] = "king_county",
    trials: Annotated[
        int | None, Field(description="Trials of the study; default: the contract's", ge=1)
    ] = None,
    time_budget_s: Annotated[float | None, Field(description="Begin no trial after this long", gt=0)] = None,
    families: Annotated[tuple[Family, ...] | None, Field(description="Default: the contract's")] = None,
    seed: Annotated[int, Field(description="Of everything random", ge=0)] = 0,
    from_step: Annotated[Step | None, Field(description="Do this step and all after it again")] = None,
    reason: Annotated[str, Field(description="Why this run, for the history")] = "by hand",
) -> TrainResult:
    """Check the data, tune, train, gate, release, roll out and verify a price model.

    A candidate that does not pass the gate is kept on record, and the champion stays.
    """
    contract = read_contract(dataset)
    budget = Budget(trials=trials or contract.search.trials, time_s=time_budget_s, families=families)
    snapshot = ingest(contract)
    undertaking = name_undertaking(contract, snapshot, budget, seed)
    known = find_verdict(contract, undertaking)
    if known and from_step is None:
        return conclude(contract, known, None, unchanged=True)

    run_id = begin(contract, snapshot, reason)
    champion = find_champion(contract)
    validated = renewed(validate_snapshot, "validate", from_step)(contract, snapshot, run_id)
    tuning = renewed(tune, "tune", from_step)(contract, validated, budget, seed, run_id)
    candidate = renewed(train_candidate, "train", from_step)(contract, validated, tuning, run_id)
    evaluation = renewed(evaluate_candidate, "evaluate", from_step)(
        contract, validated, candidate, tuning, run_id
    )
    verdict = decide_promotion(contract, validated, candidate, evaluation, champion, run_id)

    release = make_release(contract, validated, candidate, tuning) if verdict.promoted else None
    version = register(contract, snapshot, candidate, tuning, evaluation, verdict, release, run_id)
    bento = build(contract, release, verdict, tuning, evaluation, version, run_id) if release else None
    record = record_verdict(
        contract,
        snapshot,
        candidate,
        evaluation,
        verdict,
        Ending(undertaking=undertaking, champion=champion, release=release, bento=bento, reason=reason),
        run_id,
    )
    answer = ask(contract, roll_out(contract)) if release else None
    return conclude(contract, record, answer, unchanged=False)

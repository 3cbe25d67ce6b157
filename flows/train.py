"""Train: from a table of sales to a gated, released and served price model."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from hedonic.data.contract import Family
from hedonic.model.budget import Budget
from tasks.alerting import alert_of_failure
from tasks.caching import Selection, Step
from tasks.canary import try_canary
from tasks.decide import decide_promotion
from tasks.difference import show_difference
from tasks.evaluate import evaluate_candidate
from tasks.ingest import ingest, read_contract
from tasks.outcome import TrainResult, ask, conclude, stop
from tasks.promote import Ending, abandon_run, begin, find_champion, record_verdict, register, roll_out
from tasks.recognise import find_verdict, is_unfinished, name_undertaking
from tasks.release import Made, build, make_release
from tasks.simplify import prefer_simple
from tasks.train import train_candidate
from tasks.tune import tune
from tasks.turn import end_turn, take_turn
from tasks.validate import validate_snapshot


@flow(
    name="train",
    flow_run_name="{dataset}: {reason}",
    on_running=[take_turn],
    on_completion=[end_turn],
    on_failure=[abandon_run, alert_of_failure, end_turn],
    on_crashed=[abandon_run, alert_of_failure, end_turn],
    on_cancellation=[abandon_run, end_turn],
)
def train(
    dataset: str = "king_county",
    trials: Annotated[int | None, Field(ge=1)] = None,
    time_budget_s: Annotated[float | None, Field(gt=0)] = None,
    families: tuple[Family, ...] | None = None,
    seed: Annotated[int, Field(ge=0)] = 0,
    from_step: Step | None = None,
    steps: tuple[Step, ...] | None = None,
    reason: str = "by hand",
    since: str | None = None,
) -> TrainResult:
    """Check the data, tune, train, gate, release, roll out and verify a price model.

    A candidate that does not pass the gate is kept on record, and the champion stays. Where the contract
    asks for a canary, the release first answers a share of the champion's requests.

    Args:
        dataset: A contract in expectations/, without .yaml.
        trials: Trials of the study; default: the contract's.
        time_budget_s: Begin no trial after this many seconds.
        families: Families to try; default: the contract's.
        seed: Of everything random.
        from_step: Do this step and all after it again.
        steps: Do these steps alone, on what the others left, and end with the last of them.
        reason: Why this run, for the history.
        since: Digest of the snapshot to compare the data with; default: the champion's.
    """
    contract = read_contract(dataset)
    budget = Budget(trials=trials or contract.search.trials, time_s=time_budget_s, families=families)
    selection = Selection(from_step, steps)
    snapshot = ingest(contract, reason)
    undertaking = name_undertaking(contract, snapshot, budget, seed)
    known = find_verdict(contract, undertaking)
    if known and not selection.is_made:
        unfinished = is_unfinished(known)
        answer = ask(contract, roll_out(contract)) if unfinished else None
        return conclude(contract, known, answer, unchanged=not unfinished)

    run_id = begin(contract, snapshot, reason)
    champion = find_champion(contract)
    show_difference(contract, snapshot, since)
    validated = selection.apply("validate", validate_snapshot)(contract, snapshot, run_id)
    if selection.ends_with("validate"):
        return stop(contract, run_id, "validate")
    tuning = selection.apply("tune", tune)(contract, validated, budget, seed, run_id)
    if selection.ends_with("tune"):
        return stop(contract, run_id, "tune")
    candidate = selection.apply("train", train_candidate)(contract, validated, tuning, run_id)
    if selection.ends_with("train"):
        return stop(contract, run_id, "train")
    choice = selection.apply("simplify", prefer_simple)(contract, validated, candidate, tuning)
    if selection.ends_with("simplify"):
        return stop(contract, run_id, "simplify")
    candidate, tuning = choice.candidate, choice.tuning
    evaluation = selection.apply("evaluate", evaluate_candidate)(
        contract, validated, candidate, tuning, run_id
    )
    if selection.ends_with("evaluate"):
        return stop(contract, run_id, "evaluate")
    verdict = decide_promotion(contract, validated, choice, evaluation, champion, run_id)

    made = Made(verdict=verdict)
    if verdict.promoted:
        made = make_release(contract, validated, candidate, tuning, verdict, run_id)
    release, verdict = made.release, made.verdict
    version = register(contract, snapshot, candidate, tuning, evaluation, verdict, release, run_id)
    bento = None
    if release:
        bento = build(contract, validated, release, verdict, tuning, evaluation, version, run_id)
        verdict = try_canary(contract, release, champion, verdict, version, run_id)
    if not verdict.promoted:
        release = bento = None
    record = record_verdict(
        contract,
        snapshot,
        candidate,
        evaluation,
        verdict,
        Ending(
            undertaking=undertaking if verdict.is_about_the_candidate else None,
            champion=champion,
            release=release,
            bento=bento,
            tuning=tuning,
            version=version,
            reason=reason,
        ),
        run_id,
    )
    answer = ask(contract, roll_out(contract)) if record.crowns else None
    return conclude(contract, record, answer, unchanged=False)

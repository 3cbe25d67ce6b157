"""Recognise: has this very undertaking been judged before? Then nothing is trained."""

from __future__ import annotations

from contextlib import closing

from prefect import task
from prefect.runtime import flow_run

from hedonic.data.contract import Contract
from hedonic.data.snapshot import Snapshot
from hedonic.model.budget import Budget
from hedonic.monitoring.repair import repair_if_behind
from hedonic.promotion.history import open_history
from hedonic.promotion.record import Record
from hedonic.settings import load_settings
from hedonic.step_key import StepBook, StepKey, StepRecord
from tasks.run_page import logger

FLOW = "flows/train.py"


@task(name="name-undertaking")
def name_undertaking(contract: Contract, snapshot: Snapshot, budget: Budget, seed: int) -> str:
    """Return the digest of all that shapes the outcome: contract, rows, budget, seed, code and lock."""
    key = undertaking_key(contract, snapshot, budget, seed)
    StepBook(load_settings()).write(
        StepRecord(key=key, arguments=key.inputs, output=key.digest, seconds=0.0, flow_run=flow_run.id)
    )
    return key.digest


@task(name="recognise")
def find_verdict(contract: Contract, undertaking: str) -> Record | None:
    """Return the record of an earlier verdict on the same undertaking, None when it is new.

    What a run that was killed did not write any more is written first: an end may come right after this.
    """
    settings = load_settings()
    repair_if_behind(settings, contract.name)
    with closing(open_history(settings)) as history:
        record = history.find_recipe(contract.name, undertaking)
    logger().info(
        "unchanged since %s: nothing to train" if record else "new: not judged before%.0s",
        record.at if record else "",
    )
    return record


def is_unfinished(record: Record) -> bool:
    """Return whether this very run made the present champion before it was interrupted."""
    if record.flow_run is None or record.flow_run != flow_run.id:
        return False
    with closing(open_history(load_settings())) as history:
        champion = history.champion(record.dataset)
    return champion is not None and champion.seq == record.seq


def undertaking_key(contract: Contract, snapshot: Snapshot, budget: Budget, seed: int) -> StepKey:
    """Return all that shapes the outcome, under the name ``run``; outside any flow run, too."""
    inputs = {
        "contract": contract.model_dump(mode="json"),
        "snapshot": snapshot.digest,
        "budget": budget.model_dump(mode="json"),
        "seed": seed,
    }
    return StepKey.make(load_settings().root, "run", contract.name, FLOW, inputs)

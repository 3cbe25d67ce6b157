"""Recognise: has this very undertaking been judged before? Then nothing is trained."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger, task

from hedonic.data.contract import Contract
from hedonic.data.snapshot import Snapshot
from hedonic.lineage import undertaking_digest
from hedonic.model.budget import Budget
from hedonic.promotion.history import History
from hedonic.promotion.record import Record
from hedonic.settings import load_settings

FLOW = "flows/train.py"


@task(name="name-undertaking")
def name_undertaking(contract: Contract, snapshot: Snapshot, budget: Budget, seed: int) -> str:
    """Return the digest of all that shapes the outcome: contract, rows, budget, seed, code and lock."""
    return undertaking(contract, snapshot, budget, seed)


@task(name="recognise")
def find_verdict(contract: Contract, undertaking: str) -> Record | None:
    """Return the record of an earlier verdict on the same undertaking, None when it is new."""
    record = History(load_settings().history).find_recipe(contract.name, undertaking)
    get_run_logger().info(
        "unchanged since %s: nothing to train" if record else "new: not judged before%.0s",
        record.at if record else "",
    )
    return record


def undertaking(contract: Contract, snapshot: Snapshot, budget: Budget, seed: int) -> str:
    """Return the digest, outside any flow run."""
    inputs: dict[str, Any] = {
        "contract": contract.digest,
        "snapshot": snapshot.digest,
        "budget": budget.model_dump(mode="json"),
        "seed": seed,
    }
    return undertaking_digest(load_settings().root, FLOW, **inputs)

"""Ingest: from a contract's source to an immutable snapshot."""

from __future__ import annotations

from prefect import get_run_logger, task

from hedonic.data.contract import Contract, load_contract
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.settings import load_settings


@task(name="read-contract")
def read_contract(dataset: str) -> Contract:
    """Return the contract of the data set."""
    contract = load_contract(load_settings().expectations / f"{dataset}.yaml")
    get_run_logger().info("%s: contract %s", contract.title, contract.digest[:12])
    return contract


@task(name="ingest")
def ingest(contract: Contract) -> Snapshot:
    """Return the snapshot of the source as it is now; never cached, since the source may have changed."""
    settings = load_settings()
    snapshot = SnapshotStore(settings.snapshots).ingest(contract, settings.root)
    get_run_logger().info("%s rows, snapshot %s", f"{snapshot.n_rows:,}", snapshot.digest[:12])
    return snapshot

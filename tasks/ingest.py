"""Ingest: from a contract's source to an immutable snapshot."""

from __future__ import annotations

from prefect import task

from hedonic.data.contract import Contract
from hedonic.data.contract_file import load_contract
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.settings import load_settings
from tasks.recording import recorded
from tasks.run_page import logger, name_run, relay_logs, show_markdown


@task(name="read-contract")
def read_contract(dataset: str) -> Contract:
    """Return the contract of the data set."""
    relay_logs()
    contract = load_contract(load_settings().expectations / f"{dataset}.yaml")
    logger().info("%s: contract %s", contract.title, contract.digest[:12])
    return contract


@task(name="ingest")
@recorded("ingest")
def ingest(contract: Contract, reason: str) -> Snapshot:
    """Return the snapshot of the source as it is now; never cached, since the source may have changed."""
    settings = load_settings()
    snapshot = SnapshotStore(settings.snapshots).ingest(contract, settings.root)
    name_run(contract.name, reason, snapshot.digest)
    show_markdown(
        "snapshot",
        contract.name,
        f"{snapshot.n_rows:,} rows of `{snapshot.source_uri}` ({contract.title})\n\n"
        f"- snapshot `{snapshot.digest}`\n- contract `{contract.digest}`\n- reason of the run: {reason}\n",
        f"Snapshot {snapshot.digest[:12]}: {snapshot.n_rows:,} rows",
    )
    logger().info("%s rows, snapshot %s", f"{snapshot.n_rows:,}", snapshot.digest[:12])
    return snapshot

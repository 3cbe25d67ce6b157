"""Difference: what differs between the rows that a run trains on and those before, as its artifact."""

from __future__ import annotations

from prefect import task

from hedonic.data.contract import Contract
from hedonic.data.difference import Difference, compare, open_snapshot
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.promotion.history import History
from hedonic.settings import load_settings
from tasks.run_page import logger, show_markdown


@task(name="show-difference")
def show_difference(contract: Contract, snapshot: Snapshot, since: str | None = None) -> Difference | None:
    """Return what differs from an earlier snapshot, shown as an artifact; None when there is no other.

    Args:
        contract: of the data set.
        snapshot: the rows of this run.
        since: digest of the earlier snapshot; by default the one that the champion was judged on.
    """
    settings = load_settings()
    store = SnapshotStore(settings.snapshots)
    if not since:
        champion = History(settings.history).champion(contract.name)
        since = champion.snapshot if champion else None
    if since in (None, snapshot.digest):
        logger().info("the same rows as before" if since else "no earlier rows to compare with")
        return None
    before = open_snapshot(store, contract.name, str(since))
    if before is None:
        logger().warning("snapshot %.12s is gone: what differs from it is not known", since)
        return None
    difference = compare(contract, store, before, snapshot)
    show_markdown("difference", contract.name, difference.markdown, difference.summary)
    logger().info("%s", difference.summary)
    return difference

"""Watch: has the content of a source changed? For sources that do not tell, such as one across a network."""

from __future__ import annotations

from prefect import flow

from hedonic.watching.look import Look
from tasks.alerting import alert_of_failure
from tasks.watch import look


@flow(
    name="watch",
    flow_run_name="{dataset}: watch",
    on_failure=[alert_of_failure],
)
def watch(
    dataset: str = "king_county",
) -> Look:
    """Look at the source of a data set, and tell it as `dataset.changed` when it holds new content.

    Files on this machine are watched by the watcher, at once; both keep the same record, so new content
    is told once.

    Args:
        dataset: A contract in expectations/, without .yaml.
    """
    return look(dataset)

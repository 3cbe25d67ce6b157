"""Score: from a table of houses to the same table with estimates."""

from __future__ import annotations

from prefect import flow

from hedonic.scoring.table_scoring import Scoring
from tasks.alerting import alert_of_failure
from tasks.score import score_table


@flow(
    name="score",
    flow_run_name="{dataset}: {source}",
    on_failure=[alert_of_failure],
)
def score(
    dataset: str,
    source: str,
    target: str,
    keep_refused: bool = False,
) -> Scoring:
    """Answer every row of a table by the champion, as its endpoint does, whatever the table's length.

    A row that breaks the contract refuses the table, unless such rows are to be kept.

    Args:
        dataset: A contract in expectations/, without .yaml.
        source: Table to be read: .csv, .parquet or .jsonl; a path or a URI.
        target: Table to be written, in the format that its suffix names.
        keep_refused: Write rows that break the contract, without an estimate and with the reason.
    """
    return score_table(dataset, source, target, keep_refused=keep_refused)

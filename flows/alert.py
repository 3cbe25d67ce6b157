"""Alert: what no flow can tell by itself, because it is gone or never began."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from prefect import flow

from tasks.alert import raise_alert


@flow(name="alert", flow_run_name="{title}")
def alert(
    kind: Literal["run-failed", "automation-failed", "data-refused"],
    subject: str,
    title: str,
    text: str,
    dataset: str | None = None,
    run: UUID | None = None,
) -> bool:
    """Raise an alert; it is new unless one about the same subject is open.

    Args:
        kind: What kind of thing.
        subject: What it is about: one alert about it is open at a time.
        title: What happened, in a few words.
        text: What happened, where, and what to do.
        dataset: The data set concerned.
        run: The flow run concerned: the alert links to it.
    """
    return raise_alert(kind, subject, title, text, dataset, run)

"""Alert: into the book of alerts, and to those who want to be told."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from hedonic.monitoring.alerts import Alert, AlertBook
from hedonic.settings import load_settings
from tasks.run_page import run_url


@task(name="raise-alert", cache_policy=NO_CACHE)
def raise_alert(
    kind: Literal["run-failed", "automation-failed", "data-refused"],
    subject: str,
    title: str,
    text: str,
    dataset: str | None = None,
    run: UUID | None = None,
) -> bool:
    """Return whether the alert is new: none about the same subject was open."""
    told = Alert(
        kind=kind,
        severity="critical",
        key=f"{kind}:{subject}",
        title=title,
        text=text,
        dataset=dataset,
        link=run_url(run) if run else None,
    )
    new = AlertBook(load_settings()).raise_(told)
    get_run_logger().info("%s: %s", "raised" if new else "open already", told.key)
    return new

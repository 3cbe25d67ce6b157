"""Alert: what no flow can tell by itself, because it is gone or never began."""

from __future__ import annotations

from typing import Literal

from prefect import flow

from tasks.alert import raise_alert


@flow(name="alert", flow_run_name="{title}")
def alert(
    kind: Literal["run-failed", "automation-failed"],
    subject: str,
    title: str,
    text: str,
    dataset: str | None = None,
    link: str | None = None,
) -> bool:
    """Raise an alert; it is new unless one about the same subject is open.

    Args:
        kind: What kind of thing.
        subject: What it is about: one alert about it is open at a time.
        title: What happened, in a few words.
        text: What happened, where, and what to do.
        dataset: The data set concerned.
        link: Where to look.
    """
    return raise_alert(kind, subject, title, text, dataset, link)

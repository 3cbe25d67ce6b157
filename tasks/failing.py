"""Failing: an attempt to promote that came to nothing after its verdict, for the history."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from prefect import State
from prefect.client.schemas.objects import FlowRun

from hedonic.lineage import actor
from hedonic.monitoring.alerts import never_failing
from hedonic.promotion.history import open_history
from hedonic.promotion.record import Entry
from hedonic.promotion.simplicity import Choice
from hedonic.promotion.verdict import Verdict
from hedonic.settings import Settings
from hedonic.step_key import StepBook
from tasks.alerting import stated


@never_failing
def record_failure(settings: Settings, dataset: str, flow_run: FlowRun, state: State[Any]) -> None:
    """Record that a run came to nothing after its verdict; before one there was nothing to promote."""
    decided = StepBook(settings).latest(dataset, "decide")
    if decided is None or decided.flow_run != str(flow_run.id):
        return
    choice = Choice.model_validate(decided.arguments["choice"])
    with closing(open_history(settings)) as history:
        judged = [
            r for r in history.records(dataset) if r.flow_run == decided.flow_run and r.kind != "failed"
        ]
        history.append(
            Entry(
                dataset=dataset,
                kind="failed",
                release=judged[-1].release if judged else None,
                candidate=choice.candidate.digest,
                verdict=Verdict.model_validate(decided.output),
                actor=actor(),
                reason=str(flow_run.parameters.get("reason", "by hand")),
                flow_run=decided.flow_run,
                failure=_failure(state),
            )
        )


def _failure(state: State[Any]) -> str:
    """Return why an attempt came to nothing, in words."""
    if state.is_cancelled():
        return f"cancelled: {state.message}" if state.message else "cancelled"
    error = stated(state)
    return str(error) if error is not None else (state.message or state.name or "unknown")

"""Alerting: what came of a run, as alerts; nothing here fails a run."""

from __future__ import annotations

from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun

from hedonic.data.contract import Contract
from hedonic.errors import HedonicError, SourceError, ValidationRefused
from hedonic.monitoring.alerts import Alert, AlertBook, failure_key, never_failing
from hedonic.promotion.record import Record
from hedonic.promotion.verdict import CANARY, Verdict
from hedonic.rollback.alerts import settle_champion
from hedonic.settings import Settings, load_settings
from tasks.run_page import own_url, run_url


@never_failing
def alert_of_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Raise the alert of a run that failed or crashed: a hook of the flow."""
    settings, dataset = load_settings(), str(flow_run.parameters.get("dataset", flow.name))
    error, trains = stated(state), flow.name == "train"
    refused = trains and isinstance(error, (ValidationRefused, SourceError))
    told = str(error) if error is not None else (state.message or state.name or "no reason is known")
    how = "crashed" if state.is_crashed() else "failed"
    link = run_url(flow_run.id)
    if link is None and trains:
        link = _mlflow_url(settings, dataset, str(flow_run.id))
    AlertBook(settings).raise_(
        Alert(
            kind="data-refused" if refused else "run-failed",
            severity="critical",
            key=f"data-refused:{dataset}" if refused else failure_key(flow.name, dataset),
            dataset=dataset,
            title=f"{dataset}: the data were refused" if refused else f"{dataset}: {flow.name} {how}",
            text=told,
            link=link,
        )
    )


@never_failing
def tell_outcome(settings: Settings, contract: Contract, record: Record, *, unchanged: bool) -> None:
    """Settle what a run that ended disproves, and raise what its verdict is worth telling."""
    dataset, book, verdict = contract.name, AlertBook(settings), record.verdict
    for key in (failure_key("train", dataset), f"data-refused:{dataset}"):
        book.settle(key)
    if unchanged or verdict is None:
        return
    stopped = _stopped_as_canary(verdict)
    link = own_url() or _mlflow_url(settings, dataset, record.flow_run or "")
    if not stopped:
        book.settle(f"canary-stopped:{dataset}")
    if verdict.kind != "refused" or stopped:
        book.settle(f"verdict-refused:{dataset}")
    if record.kind == "parked":
        told = Alert(
            kind="approval-awaited",
            severity="warning",
            key=f"approval-awaited:{dataset}",
            dataset=dataset,
            title=f"{dataset}: release {(record.release or '')[:12]} waits for approval",
            text=f"{verdict.summary}. The champion stays until somebody decides: "
            f"hedonic approve {dataset} --reason … or hedonic reject {dataset} --reason …",
            link=link,
        )
    elif verdict.promoted:
        settle_champion(settings, dataset)
        book.settle(f"approval-awaited:{dataset}")
        told = Alert(
            kind="champion-promoted",
            severity="info",
            key=f"champion-promoted:{dataset}",
            dataset=dataset,
            title=f"{dataset}: release {(record.release or '')[:12]} is champion",
            text=f"{verdict.summary} ({record.reason})",
            link=link,
        )
    elif verdict.kind == "refused":
        kind = "canary-stopped" if stopped else "verdict-refused"
        told = Alert(
            kind="canary-stopped" if stopped else "verdict-refused",
            severity="warning",
            key=f"{kind}:{dataset}",
            dataset=dataset,
            title=f"{dataset}: the candidate was " + ("stopped as a canary" if stopped else "refused"),
            text=f"{verdict.summary}. The champion stays.",
            link=link,
        )
    else:
        return
    book.raise_(told)


def _stopped_as_canary(verdict: Verdict) -> bool:
    return any(finding.check == CANARY for finding in verdict.issues)


def stated(state: State[Any]) -> BaseException | None:
    """Return what the run raised, as far as it is known here."""
    found = state.data if isinstance(state.data, BaseException) else None
    if found is None and state.is_failed():
        result = state.result(raise_on_failure=False)
        found = result if isinstance(result, BaseException) else None
    cause = found
    while cause is not None and not isinstance(cause, HedonicError):
        cause = cause.__cause__ or cause.__context__
    return cause or found


def _mlflow_url(settings: Settings, dataset: str, flow_run: str) -> str | None:
    from hedonic.tracking import Tracking

    tracking = Tracking(settings, dataset)
    runs = tracking.find_flow_runs(flow_run)
    return tracking.url(runs[0]) if runs else None

"""The outcome of a training flow, as the command line and the Prefect UI show it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from prefect import task
from prefect.runtime import flow_run

from hedonic.data.contract import Contract, Family, Frozen
from hedonic.data.contract_file import load_contract
from hedonic.data.gate_policy import VerdictRecord
from hedonic.data.snapshot import SnapshotStore
from hedonic.endpoint import Endpoint
from hedonic.external_endpoint import image_to_set
from hedonic.flow_record import FlowRecord
from hedonic.model.budget import Budget
from hedonic.monitoring.repair import repair_if_behind
from hedonic.promotion.history import open_history
from hedonic.promotion.record import Record
from hedonic.promotion.standing import Standing
from hedonic.promotion.verdict import Verdict
from hedonic.settings import Settings, load_settings
from tasks.alerting import tell_outcome
from tasks.recognise import undertaking_key
from tasks.run_page import logger, show_markdown, tag_run


class TrainResult(Frozen):
    """What a training flow came to.

    Attributes:
        outcome: ``promoted``, ``parked`` (it awaits approval), ``kept`` (the champion stays), ``refused``,
            ``unchanged``, or ``stopped`` after the last step that was asked for.
        standing: of the judged model by now; None where nothing was judged.
        prediction: the endpoint's answer to the contract's example, where it was rolled out.
        to_do: what somebody must do before the champion serves; None where nothing is left to do.
        written: what was written, by name, relative to the project root where it is below it.
    """

    outcome: Literal["promoted", "parked", "kept", "refused", "unchanged", "stopped"]
    standing: Standing | None = None
    verdict: Verdict | None = None
    release: str | None = None
    bento: str | None = None
    endpoint: str | None = None
    prediction: dict[str, Any] | None = None
    to_do: str | None = None
    figures: dict[str, float | None]
    written: dict[str, str]


@task(name="verify")
def ask(contract: Contract, endpoint: Endpoint) -> dict[str, Any] | None:
    """Return the endpoint's answer to the contract's example row; None where it is yet to be rolled out.

    Where it fails at it, the champion before is champion again, and the run fails.
    """
    from hedonic.rollback.fallback import ask_or_fall_back

    if endpoint.to_do:
        return None

    answer = ask_or_fall_back(load_settings(), contract, flow_run=flow_run.id)
    show_markdown(
        "answer",
        contract.name,
        f"`{endpoint.url}` serves release `{endpoint.release}`\n\n"
        f"```json\n{json.dumps(answer, indent=1, ensure_ascii=False)}\n```\n",
        f"{endpoint.url} answers",
    )
    logger().info("%s answers", endpoint.url)
    return answer


@task(name="conclude")
def conclude(
    contract: Contract, record: Record, answer: dict[str, Any] | None, *, unchanged: bool
) -> TrainResult:
    """Return the outcome that a record of the history stands for."""
    result = outcome_of(contract, record, answer, unchanged=unchanged)
    tag_run(result.outcome, *([record.kind] if unchanged else []))
    show_markdown("outcome", contract.name, _markdown(contract, result, record), f"The run: {result.outcome}")
    tell_outcome(load_settings(), contract, record, unchanged=unchanged)
    return result


@task(name="stop")
def stop(contract: Contract, run_id: str, step: str) -> TrainResult:
    """Return the outcome of a run that ends with a step before the verdict."""
    FlowRecord(load_settings(), contract, run_id).finish("FINISHED")
    tag_run("stopped")
    logger().info("%s was the last step that was asked for", step)
    return TrainResult(outcome="stopped", figures={}, written={})


def recognise(
    dataset: str,
    trials: int | None = None,
    time_budget_s: float | None = None,
    families: tuple[Family, ...] | None = None,
    seed: int = 0,
    **_: object,
) -> TrainResult | None:
    """Return the outcome of an unchanged undertaking, outside any flow run; None when it is new."""
    settings = load_settings()
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    budget = Budget(trials=trials or contract.search.trials, time_s=time_budget_s, families=families)
    snapshot = SnapshotStore(settings.snapshots).ingest(contract, settings.root)
    digest = undertaking_key(contract, snapshot, budget, seed).digest
    with closing(open_history(settings)) as history:
        record = history.find_recipe(dataset, digest)
    repair_if_behind(settings, dataset)
    if record is None:
        return None
    tell_outcome(settings, contract, record, unchanged=True)
    return outcome_of(contract, record, None, unchanged=True)


def outcome_of(
    contract: Contract, record: Record, answer: dict[str, Any] | None, *, unchanged: bool
) -> TrainResult:
    """Return the outcome, outside any flow run."""
    settings = load_settings()
    snapshot = settings.snapshots / contract.name / (record.snapshot or "")
    written: dict[str, Path | str] = {"snapshot": snapshot}
    written |= {"study": settings.written_studies, "Data Docs": settings.data_docs / "index.html"}
    written |= {"reports": settings.reports, "MLflow": settings.written_tracking}
    if record.release:
        written["release"] = settings.releases / contract.name / record.release
    return TrainResult(
        outcome="unchanged" if unchanged else _outcome(record),
        standing=_standing(settings, record),
        verdict=record.verdict,
        release=record.release,
        bento=record.bento,
        endpoint=settings.endpoint_page(contract.name, contract.serve.port) if answer else None,
        prediction=answer,
        to_do=_to_do(settings, record) if not unchanged else None,
        figures=dict(record.figures),
        written={name: str(path) for name, path in written.items()},
    )


def _outcome(record: Record) -> VerdictRecord:
    if record.kind in ("promoted", "parked", "kept", "refused"):
        return record.kind
    raise ValueError(f"a record of kind {record.kind} is no verdict")


def _to_do(settings: Settings, record: Record) -> str | None:
    """Return what is left to do for a record by which a release is champion."""
    if settings.roll_out != "external" or not record.crowns or record.release is None:
        return None
    return image_to_set(settings, record.dataset, record.release, record.bento)


def _standing(settings: Settings, record: Record) -> Standing | None:
    judged = record.release or record.candidate
    if judged is None:
        return None
    with closing(open_history(settings)) as history:
        return history.standing(record.dataset, judged)


def _markdown(contract: Contract, result: TrainResult, record: Record) -> str:
    told = record.verdict.summary if record.verdict else record.kind
    since = f" since {record.at[:16].replace('T', ' ')} UTC" if result.outcome == "unchanged" else ""
    figures = [f"| {name} | {value:,.4g} |" for name, value in result.figures.items() if value is not None]
    lines = [f"**{contract.title}: {result.outcome}**{since}", "", told, ""]
    lines += [result.to_do, ""] if result.to_do else []
    lines += ["| figure | value |", "|---|---:|", *figures] if figures else []
    lines += ["", *[f"- {name}: `{path}`" for name, path in result.written.items()]]
    return "\n".join(lines) + "\n"

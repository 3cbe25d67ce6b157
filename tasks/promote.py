"""Promote: register, record, roll out and verify; the history is the truth, all else follows it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from prefect import Flow, State, task
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from hedonic.data.contract import Contract, Frozen
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.endpoint import Endpoint
from hedonic.flow_record import FlowRecord, abandon
from hedonic.model.candidate import CandidateName, CandidateStore
from hedonic.model.study import Tuning
from hedonic.promotion.evaluation import Evaluation
from hedonic.promotion.history import open_history
from hedonic.promotion.record import Entry, Record
from hedonic.promotion.verdict import Verdict
from hedonic.settings import load_settings
from tasks.failing import record_failure
from tasks.run_page import logger, show_link


class Ending(Frozen):
    """How a run ended.

    Attributes:
        undertaking: digest of all that shaped its outcome; None where it is to be tried again.
        champion: the release that the verdict was about, None for none.
        release, bento: what was made behind a promoting verdict.
        tuning: the alternatives, which are kept as a report.
        version: of the registered model.
        reason: why the run was.
    """

    undertaking: str | None
    champion: str | None
    release: str | None
    bento: str | None
    tuning: Tuning
    version: int
    reason: str


def abandon_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """End the MLflow run of a run that failed, crashed or was cancelled, and tell the history."""
    settings, dataset = load_settings(), str(flow_run.parameters["dataset"])
    abandon(settings, dataset, str(flow_run.id))
    record_failure(settings, dataset, flow_run, state)


@task(name="begin")
def begin(contract: Contract, snapshot: Snapshot, reason: str) -> str:
    """Return the id of the flow's MLflow run, once all projections follow the history again."""
    from hedonic.monitoring.repair import require_repaired

    settings = load_settings()
    require_repaired(settings, contract.name)
    record = FlowRecord.begin(settings, contract, flow_run=str(flow_run.id), reason=reason)
    record.ingested(snapshot, SnapshotStore(settings.snapshots).file(snapshot))
    url = record.tracking.url(record.run_id)
    show_link(
        "mlflow-run", contract.name, url, f"MLflow run {record.run_id[:12]}", "Figures, curves and plots"
    )
    logger().info("MLflow run %s", record.run_id)
    return record.run_id


@task(name="find-champion")
def find_champion(contract: Contract) -> str | None:
    """Return the release digest of the champion, None when there is none."""
    with closing(open_history(load_settings())) as history:
        champion = history.champion(contract.name)
    logger().info("champion: %s", champion.release[:12] if champion and champion.release else "none")
    return champion.release if champion else None


@task(name="register", persist_result=True)
def register(
    contract: Contract,
    snapshot: Snapshot,
    candidate: CandidateName,
    tuning: Tuning,
    evaluation: Evaluation,
    verdict: Verdict,
    release: str | None,
    run_id: str,
) -> int:
    """Return the number of the model version that holds the release's model, or the rejected candidate's."""
    from hedonic.promotion.model_card import describe
    from hedonic.promotion.registry.model_version import link_release, register_version
    from hedonic.promotion.registry.store import model_name

    settings = load_settings()
    folder = CandidateStore(settings.candidates).folder(candidate) / "model"
    if release is not None:
        folder = settings.releases / contract.name / release / "model"
    links = {"MLflow run": FlowRecord(settings, contract, run_id).tracking.url(run_id)}
    version = register_version(
        settings,
        folder,
        run_id=run_id,
        decision="challenger" if verdict.promoted else "rejected",
        example=SnapshotStore(settings.snapshots).frame(snapshot).head(),
        description=describe(
            evaluation,
            verdict=verdict.kind,
            reasons=[finding.sentence for finding in verdict.reasons],
            family=candidate.recipe.family,
            study=tuning.study.name,
            trial=tuning.trial.number,
            links=links,
        ),
        figures=evaluation.figures,
        tags={"hedonic.candidate": candidate.digest, "prefect.flow_run_id": str(flow_run.id)},
    )
    if release is not None:
        link_release(settings, contract.name, version, release)
    show_link(
        "model-version",
        contract.name,
        f"{settings.page('mlflow')}/#/models/{model_name(contract.name)}/versions/{version}",
        f"{model_name(contract.name)} version {version}",
        f"The model as MLflow has it: {'challenger' if verdict.promoted else 'rejected'}",
    )
    logger().info("model version %d", version)
    return version


@task(name="record-verdict", persist_result=True)
def record_verdict(
    contract: Contract,
    snapshot: Snapshot,
    candidate: CandidateName,
    evaluation: Evaluation,
    verdict: Verdict,
    ending: Ending,
    run_id: str,
) -> Record:
    """Return the verdict's record, appended in one transaction; pointer and aliases follow it.

    A promoting verdict waits for a person where the contract asks for approval.
    """
    from hedonic.lineage import actor
    from hedonic.promotion.bento import stored_bento, tree_digest
    from hedonic.promotion.projection import project
    from hedonic.promotion.registry.model_version import reject_version
    from hedonic.promotion.study_report import StudyReport
    from hedonic.promotion.verdict_record import record_entry

    settings = load_settings()
    alternatives = StudyReport(dataset=contract.name, tuning=ending.tuning)
    alternatives.write(settings.reports)
    entry = Entry(
        dataset=contract.name,
        kind=contract.gate.recorded_as(verdict.kind),
        release=ending.release,
        bento=ending.bento,
        bento_files=tree_digest(stored_bento(settings.bentos, ending.bento)) if ending.bento else None,
        candidate=candidate.digest,
        verdict=verdict,
        figures=evaluation.figures,
        actor=actor(),
        reason=ending.reason,
        recipe=ending.undertaking,
        snapshot=snapshot.digest,
        flow_run=flow_run.id,
        mlflow_run=run_id,
        evaluation=evaluation.sha256,
        study=alternatives.sha256,
        version=ending.version,
    )
    with closing(open_history(settings)) as history:
        record = record_entry(history, entry, verdict, ending.champion)
    if verdict.promoted and record.kind == "refused":
        reject_version(settings, contract.name, ending.version)
    project(settings, contract.name)
    tracked = FlowRecord(settings, contract, run_id)
    tracked.revised(record.verdict or verdict)
    tracked.finish("FINISHED")
    logger().info("%s %s", record.kind, (record.release or candidate.digest)[:12])
    return record


@task(name="roll-out")
def roll_out(contract: Contract) -> Endpoint:
    """Return the endpoint once it serves the champion and has answered its golden rows.

    Where it does not, the champion before is champion again, and the run fails.
    """
    from hedonic.promotion.projection import project
    from hedonic.rollback.fallback import roll_out_or_fall_back

    settings = load_settings()
    project(settings, contract.name)  # again, for a run that was interrupted before it had
    endpoint = roll_out_or_fall_back(settings, contract, flow_run=flow_run.id)
    logger().info(endpoint.told)
    return endpoint

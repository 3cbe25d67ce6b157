"""Release: what a promoting verdict brings into being: a refitted model, a release, a bento."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task

from hedonic.data.contract import Contract, Frozen
from hedonic.data.training_data import open_training_data
from hedonic.data.validated import ValidatedSnapshot, read_report
from hedonic.flow_record import FlowRecord
from hedonic.lineage import commit
from hedonic.model.candidate import CandidateName, CandidateStore
from hedonic.model.study import Tuning
from hedonic.promotion.evaluation import Evaluation
from hedonic.promotion.verdict import Verdict
from hedonic.settings import load_settings
from tasks.recording import recorded
from tasks.run_page import logger, show_markdown

FLOW = "flows/train.py"


class Made(Frozen):
    """What a verdict brought into being: a release behind a promoting one, unless its refit disagreed."""

    release: str | None = None
    verdict: Verdict


@task(name="release", persist_result=True)
@recorded("release")
def make_release(
    contract: Contract,
    validated: ValidatedSnapshot,
    candidate: CandidateName,
    tuning: Tuning,
    verdict: Verdict,
    run_id: str,
) -> Made:
    """Return the release: of the judged model, or of its recipe refitted by the contract's policy."""
    from hedonic.lineage import code_digest, lock_digest, step_sources
    from hedonic.promotion.making import make_content
    from hedonic.promotion.release import write_release
    from hedonic.promotion.served_refit import RefitDisagrees
    from hedonic.serving.predictor import Predictor

    settings = load_settings()
    data = open_training_data(settings, contract, validated)
    judged = CandidateStore(settings.candidates).load(candidate)
    try:
        content = make_content(
            data,
            judged,
            candidate.recipe,
            tuning.study,
            snapshot=validated.snapshot.digest,
            lock=lock_digest(settings.root),
            code=code_digest(settings.root, step_sources(settings.root, FLOW)),
            answers=lambda model, instances: Predictor(model).predict(instances),
        )
    except RefitDisagrees as err:
        refused = verdict.joined_by(*err.findings)
        FlowRecord(settings, contract, run_id).revised(refused)
        logger().info(refused.summary)
        return Made(verdict=refused)
    folder = write_release(settings.releases, content)
    logger().info("release %s%s", folder.name[:12], " (refitted)" if content.judged is not None else "")
    return Made(release=folder.name, verdict=verdict)


@task(name="build-bento", persist_result=True)
def build(
    contract: Contract,
    validated: ValidatedSnapshot,
    release: str,
    verdict: Verdict,
    tuning: Tuning,
    evaluation: Evaluation,
    version: int,
    run_id: str,
) -> str:
    """Return the tag of the release's bento, which carries the record of who made it, when and how."""
    from hedonic.lineage import actor
    from hedonic.model.manifest import ReleaseRecord
    from hedonic.promotion.bento import build_bento
    from hedonic.promotion.description import release_markdown
    from hedonic.promotion.release import write_record
    from hedonic.promotion.release_store import publish_release
    from hedonic.toolchain import toolchain
    from tasks.links import tool_links

    settings = load_settings()
    folder, known = settings.releases / contract.name / release, commit(settings.root)
    record = ReleaseRecord(
        dataset=contract.name,
        release=release,
        created_by=actor(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=str(version),
        mlflow_run_id=run_id,
        study=tuning.study.name,
        trial=tuning.trial.number,
        commit=f"{known.sha}{'-dirty' if known.dirty else ''}" if known else None,
        figures=evaluation.figures,
        contract=contract.digest,
        source_uri=validated.snapshot.source_uri,
        source_sha256=validated.snapshot.source_sha256,
        validation=validated.report_sha256,
        as_of=read_report(settings.validations, validated.report_sha256).as_of,
        toolchain=toolchain(),
    )
    write_record(folder, record)
    if settings.store_url:
        logger().info("release copied to %s", publish_release(folder, settings.store_url))
    bento = build_bento(settings.root, folder, settings.bentos, promoted=verdict.promoted)
    FlowRecord(settings, contract, run_id).released(release, bento.tag, version)
    facts = {
        "release": release,
        "bento": bento.tag,
        "model version": str(version),
        "study": f"{tuning.study.name}, trial {tuning.trial.number}",
        "commit": record.commit or "none",
        "folder": str(folder),
    }
    card = release_markdown(facts, tool_links(settings, contract, tuning.study.name, run_id), evaluation)
    show_markdown("release", contract.name, card, f"Release {release[:12]} of {contract.title}")
    logger().info("bento %s", bento.tag)
    return bento.tag

"""Validate: only rows that pass the contract reach training."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task

from hedonic.data.contract import Contract
from hedonic.data.report_rows import check_rows, failing_rows
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.data.validated import ValidatedSnapshot, ValidationReport, read_report
from hedonic.errors import ValidationRefused
from hedonic.flow_record import FlowRecord
from hedonic.settings import load_settings
from tasks.caching import by_content
from tasks.recording import recorded
from tasks.run_page import logger, show_table


@task(name="validate", persist_result=True, cache_key_fn=by_content("validate"))
@recorded("validate")
def validate_snapshot(contract: Contract, snapshot: Snapshot, run_id: str) -> ValidatedSnapshot:
    """Return the validated snapshot; a critical failure stops the run here."""
    from hedonic.data.validation import validate

    settings, now = load_settings(), datetime.now(UTC)
    try:
        validated = validate(
            contract,
            store=SnapshotStore(settings.snapshots),
            snapshot=snapshot,
            gx_folder=settings.gx,
            docs_folder=settings.data_docs,
            report_folder=settings.validations,
            as_of=now.date(),
            run_name=f"{contract.name} {now:%Y-%m-%d %H.%M.%S} {snapshot.digest[:12]}",
        )
    except ValidationRefused as err:
        if err.report:
            _show(contract, run_id, err.report)
        raise
    report = _show(contract, run_id, validated.report_sha256)
    logger().info(
        "%d checks passed, %d reported, %d rows in quarantine",
        sum(check.action == "passed" for check in report.checks),
        sum(check.action == "reported" for check in report.checks),
        len(validated.quarantined),
    )
    return validated


def _show(contract: Contract, run_id: str, sha256: str) -> ValidationReport:
    """Return the report of that digest, shown in MLflow and in Prefect, whether it passed or not."""
    settings = load_settings()
    report = read_report(settings.validations, sha256)
    FlowRecord(settings, contract, run_id).validated(report, settings.validations / f"{sha256}.json")
    told = f"snapshot {report.snapshot.digest[:12]}"
    show_table("validation", contract.name, check_rows(report), f"{len(report.checks)} checks of {told}")
    broken = failing_rows(report)
    if broken:
        show_table("failing-rows", contract.name, broken, f"First rows of {told} that break each check")
    return report

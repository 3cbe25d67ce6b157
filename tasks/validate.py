"""Validate: only rows that pass the contract reach training."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact

from hedonic.data.contract import Contract
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.data.validated import ValidatedSnapshot, read_report
from hedonic.flow_record import FlowRecord
from hedonic.settings import load_settings
from tasks.caching import by_content


@task(
    name="validate", persist_result=True, cache_key_fn=by_content("tasks/validate.py", "contract", "snapshot")
)
def validate_snapshot(contract: Contract, snapshot: Snapshot, run_id: str) -> ValidatedSnapshot:
    """Return the validated snapshot; a critical failure stops the run here."""
    from hedonic.data.validation import validate

    settings, now = load_settings(), datetime.now(UTC)
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
    report = read_report(settings.validations, validated.report_sha256)
    file = settings.validations / f"{validated.report_sha256}.json"
    FlowRecord(settings, contract, run_id).validated(report, file)
    create_table_artifact(
        key=f"validation-{contract.name.replace('_', '-')}",
        table=[
            {
                "check": check.name,
                "severity": check.severity.value,
                "outcome": check.action,
                "rows": check.n_unexpected,
                "problem": check.problem or "",
            }
            for check in report.checks
        ],
        description=f"{len(report.checks)} checks of snapshot {snapshot.digest[:12]}",
    )
    get_run_logger().info(
        "%d checks passed, %d reported, %d rows in quarantine",
        sum(check.action == "passed" for check in report.checks),
        sum(check.action == "reported" for check in report.checks),
        len(validated.quarantined),
    )
    return validated

"""Validation: a contract's checks, run by Great Expectations on a snapshot."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import ProgressBarsConfig

from hedonic.data import data_docs
from hedonic.data.contract import Contract
from hedonic.data.gx_project import COMPLETE, SITE, build_suite, open_project, write_checkpoint
from hedonic.data.judgement import Finding, judge, observed_text
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.data.suite import Check, derive_checks
from hedonic.data.validated import ValidatedSnapshot, ValidationReport, open_validated
from hedonic.errors import ValidationRefused

__all__ = ["ValidatedSnapshot", "check_frame", "open_project", "open_validated", "validate"]


def validate(
    contract: Contract,
    *,
    store: SnapshotStore,
    snapshot: Snapshot,
    gx_folder: Path,
    docs_folder: Path,
    report_folder: Path,
    as_of: date,
    run_name: str,
) -> ValidatedSnapshot:
    """Return the snapshot as one that training may use, once it has passed its contract.

    The suite, validation definition and checkpoint are left in ``gx_folder`` as a Great Expectations
    project, the run's page in ``docs_folder``, and the report in ``report_folder``, on refusal too.

    Args:
        contract: the data set's contract.
        store: holds the snapshot.
        snapshot: the rows to check.
        gx_folder: the Great Expectations project, one for all data sets; made if it is not there.
        docs_folder: the Data Docs, which keep every run.
        report_folder: the reports, each named by its digest.
        as_of: the date after which no row may be dated.
        run_name: names the run in the Data Docs.

    Raises:
        ContractError: the contract states an expectation that Great Expectations does not know.
        ValidationRefused: a critical check failed beyond what may be set aside.
    """
    frame = _for_gx(store.frame(snapshot))
    checks = derive_checks(contract, as_of)
    run = RunIdentifier(
        run_name=re.sub(r"[^A-Za-z0-9._-]", "-", run_name) or "run", run_time=datetime.now(UTC)
    )
    with _only_one(gx_folder):
        checkpoint = write_checkpoint(contract, checks, gx_folder, docs_folder)
        outcome = checkpoint.run(batch_parameters={"dataframe": frame}, run_id=run)
        (found,) = outcome.run_results.values()
        judgement = judge(contract, frame, _findings(checks, found.results))
        page = _publish_docs(contract, docs_folder, run, passed=judgement.passed)
    report = ValidationReport(
        snapshot=snapshot,
        contract_digest=contract.digest,
        as_of=as_of,
        run_name=run_name,
        passed=judgement.passed,
        checks=judgement.results,
        quarantined=judgement.quarantined,
        quarantine_fraction=contract.quarantine_fraction,
        page=page,
    )
    report.write(report_folder)
    if not report.passed:
        raise ValidationRefused("\n".join(report.problems), report.sha256)
    return ValidatedSnapshot(
        snapshot=snapshot,
        contract_digest=contract.digest,
        quarantined=report.quarantined,
        report_sha256=report.sha256,
    )


def check_frame(contract: Contract, frame: pd.DataFrame, as_of: date) -> tuple[Finding, ...]:
    """Return what the contract's checks find in a frame of canonical types; nothing is written."""
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    checks = derive_checks(contract, as_of)
    source = context.data_sources.add_pandas(SITE).add_dataframe_asset(contract.name)
    batch = source.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": _for_gx(frame)})
    return _findings(checks, batch.validate(build_suite(contract, checks), result_format=COMPLETE).results)


def _findings(checks: Sequence[Check], results: Sequence[Any]) -> tuple[Finding, ...]:
    """Return what Great Expectations found, in the order of the checks."""
    by_name = {result.expectation_config.meta["check"]: result for result in results}
    return tuple(_finding(check, by_name[check.name]) for check in checks)


def _finding(check: Check, result: Any) -> Finding:
    rows = result.result.get("unexpected_index_list")
    error = _exception(result.exception_info)
    return Finding(
        check=check,
        success=bool(result.success) and error is None,
        observed=observed_text(result.result),
        rows=None if error or rows is None else tuple(sorted(int(row) for row in rows)),
        error=error,
    )


def _exception(info: Mapping[str, Any] | None) -> str | None:
    """Return the message of a check that could not be computed.

    ``info`` is one exception, or several by the metric that raised them (a missing column).
    """
    if not info:
        return None
    several = [info] if "raised_exception" in info else list(info.values())
    return next((str(one["exception_message"]) for one in several if one.get("raised_exception")), None)


def _for_gx(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with dates in nanoseconds, the only unit that GX compares with bounds."""
    dates = [name for name in frame if pd.api.types.is_datetime64_dtype(frame[name])]
    return frame.astype(dict.fromkeys(dates, "datetime64[ns]"))


def _publish_docs(contract: Contract, folder: Path, run: RunIdentifier, *, passed: bool) -> str | None:
    """Return the run's page, relative to ``folder``, after making the pages of this run local."""
    time = run.run_time.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    pages = sorted((folder / "validations" / contract.name / str(run.run_name) / time).glob("*.html"))
    outcome = f"{contract.name} {run.run_name}: {'passed' if passed else 'refused'}"
    for page in pages:
        data_docs.make_local(page, outcome)
    suite = folder / "expectations" / f"{contract.name}.html"
    if suite.is_file():
        data_docs.make_local(suite, f"{contract.name}: what is expected")
    data_docs.write_index(folder)
    return pages[0].relative_to(folder).as_posix() if pages else None


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Let one process at a time write the project; the lock goes with its holder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

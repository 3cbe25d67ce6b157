"""Validated snapshots: the only rows that training accepts, and the report that vouches for them."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hedonic.data.contract import Contract, Frozen, Severity
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.durable_file import write_durably
from hedonic.errors import HedonicError

if TYPE_CHECKING:
    import pandas as pd

Value = str | int | float | bool | None
Action = Literal["passed", "quarantined", "reported", "refused"]


class FailingRow(Frozen):
    """A row that breaks a check: its number, its id, and the values that the check looks at."""

    row: int
    id: int | str | None = None
    values: dict[str, Value]


class CheckResult(Frozen):
    """What a check found, and what was done about it.

    ``n_unexpected`` counts the rows that break a row-level check; ``observed`` is what a check of a
    whole column or table saw; ``rows`` are the first failing rows; ``error`` says why a check could
    not be computed at all.
    """

    name: str
    type: str
    description: str
    severity: Severity
    success: bool
    action: Action
    observed: str | None = None
    n_unexpected: int | None = None
    rows: tuple[FailingRow, ...] = ()
    error: str | None = None
    problem: str | None = None


class ValidationReport(Frozen):
    """Everything that a validation found; immutable, and named by the sha256 of its JSON."""

    format_version: Literal[1] = 1
    snapshot: Snapshot
    contract_digest: str
    as_of: date
    run_name: str
    passed: bool
    checks: tuple[CheckResult, ...]
    quarantined: tuple[int, ...]
    quarantine_fraction: float
    page: str | None
    """The run's Data Docs page, relative to the folder of the Data Docs."""

    @property
    def content(self) -> bytes:
        """Return the report's JSON, the bytes that its digest is about."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    @property
    def sha256(self) -> str:
        """Return the digest of the report, which is also its file's name."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what stopped the run, one sentence a check."""
        return tuple(c.problem for c in self.checks if c.action == "refused" and c.problem)

    def write(self, folder: Path) -> Path:
        """Return the file in ``folder`` that now holds the report: all of it, or nothing."""
        target = folder / f"{self.sha256}.json"
        write_durably(target, self.content.decode())
        return target


class ValidatedSnapshot(Frozen):
    """A snapshot that passed its contract, the rows set aside, and the report that says so."""

    snapshot: Snapshot
    contract_digest: str
    quarantined: tuple[int, ...]
    report_sha256: str


def read_report(folder: Path, sha256: str) -> ValidationReport:
    """Return the report of that digest.

    Raises:
        HedonicError: it is not there, or its bytes are not those that were named.
    """
    path = folder / f"{sha256}.json"
    again = "Run again from the step 'validate'."
    try:
        content = path.read_bytes()
    except FileNotFoundError as err:
        raise HedonicError(f"validation report {sha256[:16]} is gone from {folder}. {again}") from err
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise HedonicError(f"validation report {path} was altered: its sha256 is {found}. {again}")
    return ValidationReport.model_validate_json(content)


def open_validated(
    validated: ValidatedSnapshot, store: SnapshotStore, contract: Contract, report_folder: Path
) -> pd.DataFrame:
    """Return the rows that passed; the index is the row number in the snapshot.

    Raises:
        HedonicError: the report is missing or altered, did not pass, or is about another snapshot,
            contract or quarantine than ``validated`` says.
    """
    report = read_report(report_folder, validated.report_sha256)
    agreements = {
        "it did not pass": report.passed,
        "it is about another snapshot": report.snapshot == validated.snapshot,
        "it is about another contract": report.contract_digest
        == validated.contract_digest
        == contract.digest,
        "it sets other rows aside": report.quarantined == validated.quarantined,
    }
    broken = [what for what, agrees in agreements.items() if not agrees]
    if broken:
        raise HedonicError(
            f"{contract.name}: validation report {validated.report_sha256[:16]} does not vouch for these "
            f"rows: {'; '.join(broken)}. Run again from the step 'validate'."
        )
    return store.frame(validated.snapshot).drop(index=list(validated.quarantined))

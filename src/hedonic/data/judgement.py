"""The judgement over what the checks of a contract found: pass, set rows aside, report, or refuse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hedonic.data.contract import Contract, Severity
from hedonic.data.suite import Check
from hedonic.data.validated import Action, CheckResult, FailingRow, Value

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; ``rows`` is None unless the check looks at rows one by one."""

    check: Check
    success: bool
    observed: str | None = None
    rows: tuple[int, ...] | None = None
    error: str | None = None

    @property
    def sets_rows_aside(self) -> bool:
        """Return whether this is a failed critical check whose rows can be set aside."""
        return not self.success and self.check.severity == Severity.CRITICAL and self.rows is not None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the table passes, the rows that were set aside (ascending), and every result."""

    passed: bool
    quarantined: tuple[int, ...]
    results: tuple[CheckResult, ...]


def judge(contract: Contract, frame: pd.DataFrame, findings: Sequence[Finding]) -> Judgement:
    """Return the judgement on a table of which these are the findings.

    Rows that break critical row-level checks are set aside as long as all of them together are at
    most ``quarantine_fraction`` of the table; any other critical failure refuses the table.
    """
    aside = sorted({row for f in findings if f.sets_rows_aside for row in f.rows or ()})
    affordable = len(aside) <= contract.quarantine_fraction * len(frame)
    stopped = any(
        not f.success and f.check.severity == Severity.CRITICAL and not (f.sets_rows_aside and affordable)
        for f in findings
    )
    results = tuple(_result(contract, frame, finding, len(aside), affordable) for finding in findings)
    return Judgement(passed=not stopped, quarantined=() if stopped else tuple(aside), results=results)


def _result(
    contract: Contract, frame: pd.DataFrame, finding: Finding, n_aside: int, affordable: bool
) -> CheckResult:
    action: Action
    if finding.success:
        action = "passed"
    elif finding.check.severity != Severity.CRITICAL:
        action = "reported"
    else:
        action = "quarantined" if finding.sets_rows_aside and affordable else "refused"
    rows = () if finding.success else (finding.rows or ())
    shown = tuple(_failing_row(contract, frame, finding.check, row) for row in rows[:SHOWN_ROWS])
    problem = None
    if not finding.success and finding.rows is not None:
        problem = _row_problem(contract, frame, finding, shown, n_aside, refused=action == "refused")
    elif not finding.success:
        problem = _table_problem(contract, finding)
    return CheckResult(
        name=finding.check.name,
        type=finding.check.type,
        description=finding.check.description,
        severity=finding.check.severity,
        success=finding.success,
        action=action,
        observed=finding.observed,
        n_unexpected=None if finding.rows is None else len(finding.rows),
        rows=shown,
        error=finding.error,
        problem=problem,
    )


def _row_problem(
    contract: Contract,
    frame: pd.DataFrame,
    finding: Finding,
    shown: Sequence[FailingRow],
    n_aside: int,
    *,
    refused: bool,
) -> str:
    """Return the sentence about failing rows; the fix where the run stops over them."""
    rows = finding.rows or ()
    n = len(rows)
    complaint = finding.check.complaint
    if len(finding.check.columns) == 1 and finding.check.columns[0] in frame:
        name = finding.check.columns[0]
        if all(_is_infinite(value) for value in frame[name].to_numpy()[list(rows)]):
            complaint = f"have an infinite {name}"
    first = shown[0]
    identity = f" ({contract.id_column} {first.id})" if first.id is not None else ""
    seen = ", ".join(
        f"{name}={_text(value)}" if len(first.values) > 1 else _text(value)
        for name, value in first.values.items()
        if name != contract.id_column or len(first.values) == 1
    )
    sentence = (
        f"{contract.name}: {n} {'rows' if n > 1 else 'row'} {_singular(complaint) if n == 1 else complaint} "
        f"(first at row {first.row}{identity}: {seen})."
    )
    if not refused:
        return sentence
    needed = n_aside / len(frame)
    if needed > 0.05:
        return f"{sentence} Fix the source."
    rounded = math.ceil(needed * 1e6) / 1e6
    return f"{sentence} Fix the rows or raise quarantine_fraction to {rounded:g} ({n_aside} rows in all)."


def _table_problem(contract: Contract, finding: Finding) -> str:
    check = finding.check
    asked = ", ".join(f"{key}={value!r}" for key, value in check.kwargs.items() if key != "column_set")
    got = f"it could not be computed: {finding.error}" if finding.error else f"got {finding.observed}"
    return (
        f"{contract.name}: {check.description}: {check.type}({asked}): {got}. "
        f"Fix the source, or this expectation in expectations/{contract.name}.yaml."
    )


def _failing_row(contract: Contract, frame: pd.DataFrame, check: Check, row: int) -> FailingRow:
    name = contract.id_column
    identity = _value(frame[name].iloc[row]) if name is not None and name in frame else None
    return FailingRow(
        row=row,
        id=identity if isinstance(identity, int | str) else None,
        values={column: _value(frame[column].iloc[row]) for column in check.columns if column in frame},
    )


def _value(value: Any) -> Value:
    """Return a cell as JSON can hold it: no NaN, no infinity, no numpy."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else str(value)
    text = str(value)
    return None if text in ("NaT", "<NA>") else text.removesuffix(" 00:00:00")


def _text(value: Value) -> str:
    return "nothing" if value is None else f"{value}"


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _singular(complaint: str) -> str:
    """Return the complaint about one row: "have no price" becomes "has no price"."""
    verbs = {"have": "has", "repeat": "repeats", "break": "breaks", "fail": "fails"}
    verb, _, rest = complaint.partition(" ")
    return f"{verbs.get(verb, verb)} {rest}"


def observed_text(result: Mapping[str, Any]) -> str | None:
    """Return what a check of a column or table saw, shortened to a line."""
    if "observed_value" not in result:
        return None
    details = result.get("details") or {}
    if isinstance(mismatched := details.get("mismatched"), Mapping):
        return "; ".join(f"{kind}: {', '.join(map(str, names))}" for kind, names in mismatched.items())
    text = str(_plain(result["observed_value"]))
    return text if len(text) <= 200 else f"{text[:200]}…"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value

"""A validation report as tables that people read: its checks, and the rows that break them."""

from __future__ import annotations

from typing import Any

from hedonic.data.validated import ValidationReport


def check_rows(report: ValidationReport) -> list[dict[str, Any]]:
    """Return a row a check; those that did not pass come first."""
    checks = sorted(report.checks, key=lambda check: check.action == "passed")
    return [
        {
            "check": check.name,
            "severity": check.severity.value,
            "outcome": check.action,
            "rows": check.n_unexpected,
            "observed": check.observed or "",
            "problem": check.problem or check.error or "",
        }
        for check in checks
    ]


def failing_rows(report: ValidationReport) -> list[dict[str, Any]]:
    """Return the first rows that break each check: number, id and the values that the check looks at."""
    return [
        {
            "check": check.name,
            "outcome": check.action,
            "row": row.row,
            "id": row.id,
            "values": ", ".join(f"{name} = {value}" for name, value in row.values.items()),
        }
        for check in report.checks
        for row in check.rows
    ]

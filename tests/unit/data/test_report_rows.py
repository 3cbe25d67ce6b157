"""A validation report as tables that people read."""

from __future__ import annotations

from datetime import date

from hedonic.data.contract import Severity
from hedonic.data.report_rows import check_rows, failing_rows
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.data.validated import CheckResult, FailingRow, ValidationReport
from tests.contracts import house_contract, house_frame


def report(snapshot: Snapshot) -> ValidationReport:
    common = {"type": "rule", "description": "", "severity": Severity.CRITICAL}
    row = FailingRow(row=7, id=12, values={"price": -1, "sold": None})
    return ValidationReport(
        snapshot=snapshot,
        contract_digest="0" * 64,
        as_of=date(2026, 1, 1),
        run_name="a test",
        passed=False,
        checks=(
            CheckResult(name="area", success=True, action="passed", observed="0 missing", **common),
            CheckResult(
                name="price", success=False, action="refused", n_unexpected=1, rows=(row,),
                problem="1 row has price <= 0", **common,
            ),
        ),
        quarantined=(),
        quarantine_fraction=0.0,
        page=None,
    )  # fmt: skip


def test_what_did_not_pass_comes_first_and_each_failing_row_is_told(tmp_path) -> None:
    frame = house_frame(20)
    (tmp_path / "data").mkdir()
    frame.to_parquet(tmp_path / "houses.parquet", index=False)
    snapshot = SnapshotStore(tmp_path / "snapshots").ingest(house_contract(), tmp_path)
    found = report(snapshot)
    checks = check_rows(found)
    assert [(row["check"], row["outcome"], row["problem"]) for row in checks] == [
        ("price", "refused", "1 row has price <= 0"),
        ("area", "passed", ""),
    ]
    assert failing_rows(found) == [
        {"check": "price", "outcome": "refused", "row": 7, "id": 12, "values": "price = -1, sold = None"}
    ]

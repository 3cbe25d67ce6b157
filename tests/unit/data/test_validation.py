from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
import pytest

from hedonic.data.contract import Contract
from hedonic.data.judgement import Finding, judge
from hedonic.data.snapshot import Snapshot
from hedonic.data.suite import derive_checks
from hedonic.data.validated import (
    ValidatedSnapshot,
    ValidationReport,
    open_validated,
    read_report,
)
from hedonic.data.validation import check_frame, open_project, validate
from hedonic.errors import ContractError, HedonicError, UserError, ValidationRefused

# A real store of the vendor's: make test, not make check.
pytestmark = pytest.mark.slow

AS_OF = date(2026, 11, 20)
N_ROWS = 200


def contract_of(**changes: Any) -> Contract:
    columns = [
        {"name": "id", "type": "integer", "role": "id", "description": "Sale"},
        {"name": "sold", "type": "date", "role": "time", "description": "Date of sale"},
        {"name": "price", "type": "number", "role": "target", "minimum": 1, "description": "Price"},
        {"name": "area", "type": "number", "minimum": 10, "maximum": 500, "description": "Area"},
        {"name": "lot", "type": "number", "nullable": True, "description": "Lot"},
        {"name": "garden", "type": "boolean", "description": "Garden"},
        {
            "name": "town",
            "type": "category",
            "categories": ["Ash", "Birch"],
            "nullable": True,
            "description": "Town",
        },
    ]
    content = {
        "format_version": 1,
        "name": "cottages",
        "title": "Cottages",
        "source": {"uri": "cottages.parquet"},
        "target": {"column": "price", "unit": "EUR"},
        "columns": columns,
        "rules": [
            {"name": "fits-the-lot", "rule": "area <= 3 * lot", "description": "The house fits on its lot"},
            {
                "name": "is-not-tiny",
                "rule": "area >= 25",
                "severity": "warning",
                "description": "Few live in less than 25 square metres",
            },
        ],
        "expectations": [
            {
                "type": "expect_column_mean_to_be_between",
                "kwargs": {"column": "price", "min_value": 50_000, "max_value": 900_000},
                "description": "The mean price is in euros",
            }
        ],
        "quarantine_fraction": 0.02,
        "search": {"families": {"median": {}}},
        "split": {"method": "time"},
        "gate": {"limits": []},
    }
    return Contract.model_validate({**content, **changes})


def cottages() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": np.arange(N_ROWS, dtype=np.int64) + 1000,
            "sold": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N_ROWS), unit="D"),
            "price": rng.uniform(100_000, 400_000, N_ROWS).round(),
            "area": rng.uniform(40, 200, N_ROWS).round(),
            "lot": rng.uniform(100, 900, N_ROWS).round(),
            "garden": rng.random(N_ROWS) < 0.5,
            "town": np.where(rng.random(N_ROWS) < 0.5, "Ash", "Birch"),
        }
    )
    return frame.astype({"town": "str"})


class FakeStore:
    """Holds one frame; the real store's interface as far as validation needs it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.rows = frame

    def frame(self, snapshot: Snapshot, columns: list[str] | None = None) -> pd.DataFrame:
        return self.rows.copy()


def snapshot_of(frame: pd.DataFrame) -> Snapshot:
    return Snapshot(
        dataset="cottages",
        digest="0" * 64,
        n_rows=len(frame),
        source_uri="cottages.parquet",
        source_sha256="1" * 64,
    )


Runner = Callable[..., ValidatedSnapshot]


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    """Return a function that validates a frame into folders below ``tmp_path``."""

    def validate_frame(
        frame: pd.DataFrame, contract: Contract | None = None, run_name: str = "run"
    ) -> ValidatedSnapshot:
        return validate(
            contract or contract_of(),
            store=FakeStore(frame),  # type: ignore[arg-type]
            snapshot=snapshot_of(frame),
            gx_folder=tmp_path / "gx",
            docs_folder=tmp_path / "docs",
            report_folder=tmp_path / "reports",
            as_of=AS_OF,
            run_name=run_name,
        )

    return validate_frame


def last_report(folder: Path) -> ValidationReport:
    newest = max((folder / "reports").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return read_report(folder / "reports", newest.stem)


def test_a_clean_table_passes_with_every_check_passed(run: Runner, tmp_path: Path) -> None:
    validated = run(cottages())
    report = read_report(tmp_path / "reports", validated.report_sha256)
    assert report.passed
    assert {check.action for check in report.checks} == {"passed"}
    assert [check.name for check in report.checks] == [c.name for c in derive_checks(contract_of(), AS_OF)]
    assert validated.quarantined == ()


def test_rows_that_break_critical_row_checks_are_set_aside_up_to_the_stated_fraction(
    run: Runner, tmp_path: Path
) -> None:
    frame = cottages()
    frame.loc[7, "area"] = 5.0
    frame.loc[9, ["area", "lot"]] = [120.0, 20.0]
    frame.loc[11, "price"] = np.nan
    validated = run(frame)
    assert validated.quarantined == (7, 9, 11)
    kept = open_validated(validated, FakeStore(frame), contract_of(), tmp_path / "reports")
    assert list(kept.index[:10]) == [0, 1, 2, 3, 4, 5, 6, 8, 10, 12]
    assert len(kept) == N_ROWS - 3


def test_one_row_that_breaks_several_checks_counts_once(run: Runner) -> None:
    frame = cottages()
    frame.loc[[0, 1, 2, 3], "area"] = 600.0
    frame.loc[[0, 1, 2, 3], "lot"] = 1.0
    assert run(frame).quarantined == (0, 1, 2, 3)


def test_more_broken_rows_than_the_fraction_allows_stop_the_run_and_are_named(
    run: Runner, tmp_path: Path
) -> None:
    frame = cottages()
    frame.loc[[118, 120, 122, 124, 126], "price"] = -1.0
    with pytest.raises(
        ValidationRefused,
        match=r"cottages: 5 rows have price < 1 \(first at row 118 \(id 1118\): -1.0\)\. "
        r"Fix the rows or raise quarantine_fraction to 0.025 \(5 rows in all\)\.",
    ) as refusal:
        run(frame)
    assert refusal.value.exit_code == 2
    report = last_report(tmp_path)
    assert not report.passed
    assert report.quarantined == ()
    (refused,) = [check for check in report.checks if check.action == "refused"]
    assert [row.row for row in refused.rows] == [118, 120, 122, 124, 126]
    assert report.problems == tuple(str(refusal.value).splitlines())


def test_a_failed_warning_is_reported_and_stops_nothing(run: Runner, tmp_path: Path) -> None:
    frame = cottages()
    frame["area"] = 20.0
    validated = run(frame)
    report = read_report(tmp_path / "reports", validated.report_sha256)
    (reported,) = [check for check in report.checks if not check.success]
    assert (reported.name, reported.action, reported.n_unexpected) == ("rule-is-not-tiny", "reported", N_ROWS)
    assert validated.quarantined == ()


def test_a_failed_check_of_a_whole_column_stops_the_run(run: Runner) -> None:
    frame = cottages()
    frame["price"] /= 1000
    with pytest.raises(
        ValidationRefused, match=r"The mean price is in euros: expect_column_mean_to_be_between\(.*got 2\d\d"
    ):
        run(frame)


def broken(**columns: Any) -> pd.DataFrame:
    frame = cottages()
    for name, values in columns.items():
        frame[name] = values
    return frame


def doubled() -> pd.DataFrame:
    return pd.concat([cottages(), cottages()], ignore_index=True)


BAD_TABLES = {
    "negative prices": (
        lambda: broken(price=-cottages()["price"]),
        r"200 rows have price < 1 .*Fix the source\.",
    ),
    "duplicate rows": (doubled, r"400 rows repeat id and sold \(first at row 0 \(id 1000\): sold=2024-01-01"),
    "an all-NaN target": (lambda: broken(price=np.nan), r"200 rows have no price \(first at row 0"),
    "an infinite value": (
        lambda: broken(lot=[np.inf] * 5 + [500.0] * (N_ROWS - 5)),
        r"5 rows have an infinite lot \(first at row 0 \(id 1000\): inf\)",
    ),
    "an infinite value where there are bounds": (
        lambda: broken(area=[np.inf] * 5 + [50.0] * (N_ROWS - 5)),
        r"5 rows have an infinite area",
    ),
    "a date in the future": (
        lambda: broken(sold=cottages()["sold"] + pd.Timedelta(days=900)),
        r"\d+ rows have a sold after 2026-11-20 \(first at row 155 \(id 1155\): 2026-11-21\)",
    ),
    "a category never seen": (
        lambda: broken(town="Cedar"),
        r"200 rows have a town that is none of the 2 in the contract \(first at row 0 \(id 1000\): Cedar\)",
    ),
    "an empty table": (lambda: cottages().head(0), r"The table has rows: .*got 0"),
    "a missing column": (
        lambda: cottages().drop(columns="lot"),
        r"The table has the columns of the contract and no others: .*got missing: lot",
    ),
    "a retyped column": (lambda: broken(area=cottages()["area"].astype("str")), "area is of type number: "),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_bad_input_is_the_users_error_and_says_what_is_wrong(what: str, run: Runner, tmp_path: Path) -> None:
    make, message = BAD_TABLES[what]
    with pytest.raises(ValidationRefused, match=message) as refusal:
        run(make())
    assert isinstance(refusal.value, UserError)
    assert "Traceback" not in str(refusal.value)
    assert not last_report(tmp_path).passed


def test_missing_values_are_fine_where_the_contract_allows_them(run: Runner) -> None:
    frame = cottages()
    frame.loc[:50, ["lot", "town"]] = None
    assert run(frame).quarantined == ()


def test_the_project_opens_in_great_expectations_and_its_checkpoint_runs(run: Runner, tmp_path: Path) -> None:
    run(cottages())
    context = gx.get_context(mode="file", context_root_dir=tmp_path / "gx")
    frame = cottages()
    assert context.checkpoints.get("cottages").run(batch_parameters={"dataframe": frame}).success
    frame.loc[3, "price"] = -1.0
    assert not context.checkpoints.get("cottages").run(batch_parameters={"dataframe": frame}).success
    assert len(context.suites.get("cottages").expectations) == len(derive_checks(contract_of(), AS_OF))
    assert context.validation_definitions.get("cottages").suite.name == "cottages"


def test_repeated_runs_leave_one_suite_and_keep_every_page(run: Runner, tmp_path: Path) -> None:
    run(cottages(), run_name="monday")
    run(cottages(), run_name="tuesday")
    run(cottages(), contract_of(quarantine_fraction=0.1, rules=()), run_name="wednesday")
    context = open_project(tmp_path / "gx")
    assert [suite.name for suite in context.suites.all()] == ["cottages"]
    assert len(context.suites.get("cottages").expectations) == len(
        derive_checks(contract_of(rules=()), AS_OF)
    )
    index = (tmp_path / "docs" / "index.html").read_text()
    assert all(day in index for day in ("monday", "tuesday", "wednesday"))
    assert len(list((tmp_path / "docs" / "validations").rglob("*.html"))) == 3


def test_two_data_sets_share_a_project(run: Runner, tmp_path: Path) -> None:
    run(cottages())
    run(cottages(), contract_of(name="barns"))
    context = open_project(tmp_path / "gx")
    assert context.checkpoints.get("cottages").run(batch_parameters={"dataframe": cottages()}).success
    assert context.checkpoints.get("barns").run(batch_parameters={"dataframe": cottages()}).success


def test_the_page_says_how_the_run_ended_and_asks_no_other_host(run: Runner, tmp_path: Path) -> None:
    with pytest.raises(ValidationRefused, match="have no price"):
        run(broken(price=np.nan), run_name="nightly 1")
    page = last_report(tmp_path).page
    assert page is not None
    text = (tmp_path / "docs" / page).read_text()
    assert "<title>cottages nightly-1: refused</title>" in text
    assert "The mean price is in euros" in text
    for each in (tmp_path / "docs").rglob("*.html"):
        loaded = [
            part for part in each.read_text().split("<")[1:] if part.startswith(("script", "link", "img"))
        ]
        assert not [part for part in loaded if "http" in part.split(">")[0]]


def test_an_expectation_that_great_expectations_does_not_know_is_refused(run: Runner, tmp_path: Path) -> None:
    unknown = contract_of(expectations=[{"type": "expect_column_to_be_pretty", "kwargs": {"column": "area"}}])
    with pytest.raises(
        ContractError, match=r"expectations/cottages.yaml: expectation expect_column_to_be_pretty is unknown"
    ):
        run(cottages(), unknown)
    assert not (tmp_path / "reports").exists()


def test_an_expectation_with_wrong_arguments_is_refused(run: Runner) -> None:
    wrong = contract_of(
        expectations=[{"type": "expect_column_mean_to_be_between", "kwargs": {"kolumn": "area"}}]
    )
    with pytest.raises(ContractError, match=r"expect_column_mean_to_be_between: .*mend its kwargs"):
        run(cottages(), wrong)


def test_an_expectation_that_cannot_be_computed_stops_the_run(run: Runner) -> None:
    about_nothing = contract_of(
        expectations=[
            {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "pool", "min_value": 0}}
        ]
    )
    with pytest.raises(ValidationRefused, match=r"it could not be computed: .*pool"):
        run(cottages(), about_nothing)


def test_quantiles_are_checked_and_written_as_json(run: Runner) -> None:
    quantiles = {"quantiles": [0.5], "value_ranges": [[1, 2]]}
    stated = {
        "type": "expect_column_quantile_values_to_be_between",
        "kwargs": {"column": "area", "quantile_ranges": quantiles},
    }
    with pytest.raises(ValidationRefused, match="expect_column_quantile_values_to_be_between"):
        run(cottages(), contract_of(expectations=[stated]))


def test_a_table_without_a_date_may_not_repeat_an_id() -> None:
    contract = contract_of(
        columns=[
            {"name": "id", "type": "integer", "role": "id", "description": "Sale"},
            {"name": "price", "type": "number", "role": "target", "description": "Price"},
        ],
        rules=(),
        expectations=(),
        split={"method": "hash"},
    )
    frame = pd.DataFrame({"id": [1, 1, 2], "price": [1.0, 2.0, 3.0]})
    failed = [f for f in check_frame(contract, frame, AS_OF) if not f.success]
    assert [(f.check.name, f.rows) for f in failed] == [("no-duplicates", (0, 1))]


def test_the_rows_are_refused_when_the_report_was_altered(run: Runner, tmp_path: Path) -> None:
    validated = run(cottages())
    path = tmp_path / "reports" / f"{validated.report_sha256}.json"
    path.write_text(path.read_text().replace('"quarantined": []', '"quarantined": [1]'))
    with pytest.raises(HedonicError, match="was altered"):
        open_validated(validated, FakeStore(cottages()), contract_of(), tmp_path / "reports")


def test_the_rows_are_refused_when_the_report_is_gone(run: Runner, tmp_path: Path) -> None:
    validated = run(cottages())
    (tmp_path / "reports" / f"{validated.report_sha256}.json").unlink()
    with pytest.raises(HedonicError, match=r"is gone from .*Run again from the step 'validate'"):
        open_validated(validated, FakeStore(cottages()), contract_of(), tmp_path / "reports")


def test_a_refused_report_opens_no_rows(run: Runner, tmp_path: Path) -> None:
    frame = broken(price=np.nan)
    with pytest.raises(ValidationRefused, match="have no price"):
        run(frame)
    forged = ValidatedSnapshot(
        snapshot=snapshot_of(frame),
        contract_digest=contract_of().digest,
        quarantined=(),
        report_sha256=last_report(tmp_path).sha256,
    )
    with pytest.raises(HedonicError, match="it did not pass"):
        open_validated(forged, FakeStore(frame), contract_of(), tmp_path / "reports")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quarantined": (1,)}, "it sets other rows aside"),
        ({"contract_digest": "2" * 64}, "it is about another contract"),
        (
            {"snapshot": snapshot_of(cottages()).model_copy(update={"digest": "3" * 64})},
            "it is about another snapshot",
        ),
    ],
)
def test_a_report_vouches_for_its_own_snapshot_contract_and_quarantine_alone(
    change: dict[str, Any], message: str, run: Runner, tmp_path: Path
) -> None:
    validated = run(cottages()).model_copy(update=change)
    with pytest.raises(HedonicError, match=message):
        open_validated(validated, FakeStore(cottages()), contract_of(), tmp_path / "reports")


def test_rows_of_another_contract_are_refused(run: Runner, tmp_path: Path) -> None:
    validated = run(cottages())
    with pytest.raises(HedonicError, match="it is about another contract"):
        open_validated(
            validated, FakeStore(cottages()), contract_of(quarantine_fraction=0.5), tmp_path / "reports"
        )


def test_exactly_the_stated_fraction_may_be_set_aside() -> None:
    contract, frame = contract_of(quarantine_fraction=0.02), cottages()
    check = next(c for c in derive_checks(contract, AS_OF) if c.name == "area-bounds")
    allowed = judge(contract, frame, [Finding(check, success=False, rows=(1, 2, 3, 4))])
    beyond = judge(contract, frame, [Finding(check, success=False, rows=(1, 2, 3, 4, 5))])
    assert (allowed.passed, allowed.quarantined) == (True, (1, 2, 3, 4))
    assert (beyond.passed, beyond.quarantined) == (False, ())

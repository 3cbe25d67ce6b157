"""Training data: validated rows and nothing else, with their split and their hashes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hedonic.data.contract import Contract
from hedonic.data.snapshot import SnapshotStore
from hedonic.data.training_data import TrainingData, open_training_data
from hedonic.data.validated import ValidatedSnapshot, ValidationReport
from hedonic.errors import HedonicError, UserError
from hedonic.settings import Settings
from tests.contracts import house_contract, house_frame


def vouched(
    tmp_path: Path, n_rows: int = 400, quarantined: tuple[int, ...] = ()
) -> tuple[Contract, ValidatedSnapshot, dict[str, Any]]:
    """Return a validated snapshot as validation leaves it, without the seconds that validation takes."""
    contract = house_contract()
    house_frame(n_rows).to_parquet(tmp_path / "houses.parquet")
    snapshot = SnapshotStore(tmp_path / "snapshots").ingest(contract, tmp_path)
    report = ValidationReport(
        snapshot=snapshot,
        contract_digest=contract.digest,
        as_of=date(2026, 11, 20),
        run_name="by hand",
        passed=True,
        checks=(),
        quarantined=quarantined,
        quarantine_fraction=len(quarantined) / n_rows,
        page=None,
    )
    report.write(tmp_path / "validations")
    validated = ValidatedSnapshot(
        snapshot=snapshot,
        contract_digest=contract.digest,
        quarantined=quarantined,
        report_sha256=report.sha256,
    )
    return contract, validated, Settings(root=tmp_path, home=tmp_path)


def opened(tmp_path: Path, **options: Any) -> TrainingData:
    contract, validated, settings = vouched(tmp_path, **options)
    return open_training_data(settings, contract, validated)


def test_rows_in_quarantine_reach_neither_columns_nor_split(tmp_path: Path) -> None:
    data = opened(tmp_path, quarantined=(0, 17, 399))
    assert len(data.frame) == len(data.columns["price"]) == len(data.hashes) == 397
    assert not {0, 17, 399} & set(data.frame.index)
    assert max(part.max() for part in data.split.parts) < 397


def test_positions_of_the_split_mean_the_same_rows_in_frame_and_columns(tmp_path: Path) -> None:
    data = opened(tmp_path, quarantined=(3, 4))
    for part in data.split.parts:
        assert data.frame["price"].to_numpy()[part].tolist() == data.columns["price"][part].tolist()


def test_seen_are_train_and_calibration_rows_sorted_and_never_the_holdout(tmp_path: Path) -> None:
    data = opened(tmp_path)
    assert (np.diff(data.seen.astype(object)) > 0).all()
    assert np.isin(data.hashes[data.split.train], data.seen).all()
    assert np.isin(data.hashes[data.split.calibration], data.seen).all()
    assert not np.isin(data.hashes[data.split.holdout], data.seen).any()


def test_rows_that_no_report_vouches_for_are_refused(tmp_path: Path) -> None:
    contract, validated, settings = vouched(tmp_path)
    forged = validated.model_copy(update={"quarantined": (1,)})
    with pytest.raises(HedonicError, match="does not vouch for these rows: it sets other rows aside"):
        open_training_data(settings, contract, forged)


def test_too_few_rows_are_the_user_s_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="20 are needed"):
        opened(tmp_path, n_rows=50)

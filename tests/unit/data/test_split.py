"""Splits: no row in two parts, no later row in train, and none that moves for no reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from hedonic.data.contract import Contract
from hedonic.data.split import Split, identity_columns, row_hashes, split_rows
from hedonic.errors import UserError
from tests.contracts import DESCRIBED, HOUSE_COLUMNS, car_contract, car_frame, house_contract, house_frame

HASHED = {"split": {"method": "hash", "seed": 3}}


def parts_are_disjoint(split: Split, n_rows: int) -> bool:
    everything = np.concatenate(split.parts)
    ascending = all((np.diff(part) > 0).all() for part in split.parts)
    return ascending and len(np.unique(everything)) == len(everything) and everything.max() < n_rows


def split_houses(frame: pd.DataFrame, **changes: Any) -> Split:
    return split_rows(house_contract(**changes), frame)


# ---- by time


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_rows=st.integers(400, 700))
def test_by_time_days_stay_whole_and_no_id_of_the_holdout_is_elsewhere(seed: int, n_rows: int) -> None:
    frame = house_frame(n_rows, seed).sample(frac=1, random_state=seed, ignore_index=True)
    split = split_houses(frame)
    train, calibration, holdout = (frame.iloc[part] for part in split.parts)
    assert parts_are_disjoint(split, n_rows)
    assert train["sold"].max() < calibration["sold"].min()
    assert calibration["sold"].max() < holdout["sold"].min()
    assert not set(holdout["id"]) & (set(train["id"]) | set(calibration["id"]))
    assert not set(calibration["id"]) & set(train["id"])


def test_by_time_the_parts_are_the_stated_fractions_and_only_resold_ids_are_left_out() -> None:
    frame = house_frame(1000).assign(id=np.arange(1000))
    split = split_houses(frame)
    assert sum(map(len, split.parts)) == 1000
    assert 0.195 <= len(split.holdout) / 1000 <= 0.21
    assert 0.145 <= len(split.calibration) / (1000 - len(split.holdout)) <= 0.16
    resold = frame.assign(id=np.where(np.arange(1000) == 0, 999, frame["id"]))
    again = split_houses(resold)
    assert again.holdout.tolist() == split.holdout.tolist()
    assert again.train.tolist() == split.train.tolist()[1:]


def test_by_time_a_day_at_the_edge_goes_whole_into_the_later_part() -> None:
    frame = house_frame(200).assign(id=np.arange(200))
    days = np.concatenate([np.zeros(100), np.ones(60), np.full(40, 2)]) + 16_000
    frame["sold"] = days.astype(np.int64).astype("datetime64[D]")
    split = split_houses(frame, split={"method": "time", "holdout": 0.1, "calibration": 0.2})
    assert [part.tolist() for part in split.parts] == [
        list(range(100)),
        list(range(100, 160)),
        list(range(160, 200)),
    ]


def test_by_time_works_without_ids() -> None:
    columns = [c.model_dump() for c in house_contract().columns if c.name != "id"]
    split = split_houses(house_frame(), columns=columns)
    assert sum(map(len, split.parts)) == 400


# ---- by hash


def test_by_hash_a_row_never_moves_when_rows_are_added() -> None:
    contract = house_contract(**HASHED)
    frame = house_frame(2000).assign(id=np.arange(2000) * 17)
    few, many = (split_rows(contract, part) for part in (frame.iloc[500:1000], frame))
    for before, after in zip(few.parts, many.parts, strict=True):
        inside = after[(after >= 500) & (after < 1000)]
        assert (before + 500).tolist() == inside.tolist()


def test_by_hash_sales_of_one_id_stay_together_and_fractions_are_about_right() -> None:
    frame = house_frame(3000)
    split = split_houses(frame, **HASHED)
    ids = [set(frame["id"].to_numpy()[part]) for part in split.parts]
    assert parts_are_disjoint(split, 3000)
    assert sum(map(len, split.parts)) == 3000
    assert not ids[0] & ids[1]
    assert not (ids[0] | ids[1]) & ids[2]
    assert len(split.holdout) / 3000 == pytest.approx(0.2, abs=0.03)
    assert len(split.calibration) / 3000 == pytest.approx(0.8 * 0.15, abs=0.03)


def test_by_hash_another_seed_is_another_split() -> None:
    frame = house_frame(500)
    seeds = [split_houses(frame, split={"method": "hash", "seed": seed}) for seed in (3, 4)]
    assert seeds[0].digest != seeds[1].digest


# ---- at random


def test_at_random_is_the_literature_s_split() -> None:
    frame = car_frame(500)
    split = split_rows(car_contract(), frame)
    rest, holdout = train_test_split(frame, test_size=0.2, random_state=42)
    assert split.holdout.tolist() == sorted(holdout.index)
    assert sorted([*split.train, *split.calibration]) == sorted(rest.index)
    assert parts_are_disjoint(split, 500)


# ---- any


def test_the_digest_names_the_split() -> None:
    frame = house_frame()
    assert split_houses(frame).digest == split_houses(frame).digest
    moved = Split(*(np.arange(n, n + 3) for n in (0, 3, 6)))
    other = Split(np.arange(0, 4), np.arange(4, 6), np.arange(6, 9))
    assert len({split_houses(frame).digest, moved.digest, other.digest}) == 3
    assert len(moved.digest) == 64


@pytest.mark.parametrize("method", ["time", "hash", "random"])
def test_too_few_rows_are_refused_with_the_part_and_the_fix(method: str) -> None:
    contract: Contract = house_contract(split={"method": method})
    with pytest.raises(
        UserError, match=r"houses: the split leaves \d+ of 60 rows for .*20 are needed\. Give"
    ):
        split_rows(contract, house_frame(60))


# ---- the hash of a row


def test_a_row_is_known_by_its_id_and_its_date() -> None:
    contract, frame = house_contract(), house_frame(100)
    hashes = row_hashes(contract, frame)
    assert hashes.dtype == np.uint64
    assert len(np.unique(hashes)) == 100
    shuffled = frame.iloc[::-1]
    assert row_hashes(contract, shuffled).tolist() == hashes[::-1].tolist()
    corrected = frame.assign(price=frame["price"] * 1.01, rooms=frame["rooms"] + 1)
    assert row_hashes(contract, corrected).tolist() == hashes.tolist()
    fifth = np.arange(100) == 5
    sold_again = frame.assign(sold=frame["sold"] + np.where(fifth, 400, 0).astype("timedelta64[D]"))
    assert np.flatnonzero(row_hashes(contract, sold_again) != hashes).tolist() == [5]
    another = frame.assign(id=frame["id"] + np.where(fifth, 1_000_000, 0))
    assert np.flatnonzero(row_hashes(contract, another) != hashes).tolist() == [5]


def test_a_row_without_an_id_is_known_by_its_whole_content() -> None:
    contract, frame = car_contract(), car_frame(100)
    assert identity_columns(contract) == ("price", "age", "mileage", "make", "electric")
    hashes = row_hashes(contract, frame)
    dearer = frame.assign(price=frame["price"] * np.where(np.arange(100) == 5, 1.01, 1))
    assert np.flatnonzero(row_hashes(contract, dearer) != hashes).tolist() == [5]


def test_without_a_date_an_id_alone_tells_a_row() -> None:
    columns = [{**DESCRIBED, **c} for c in HOUSE_COLUMNS if c["name"] != "sold"]
    assert identity_columns(house_contract(columns=columns, features={}, split={"method": "hash"})) == ("id",)
    assert identity_columns(house_contract()) == ("id", "sold")


def test_a_null_elsewhere_in_a_column_leaves_a_row_s_hash() -> None:
    contract, frame = house_contract(), house_frame(100)
    names = [column.name for column in contract.columns]
    hashes = row_hashes(contract, frame, names)
    holed = frame.assign(
        rooms=frame["rooms"].astype(float).where(np.arange(100) != 7),
        lake=frame["lake"].astype(object).where(np.arange(100) != 7, None),
    )
    assert np.flatnonzero(row_hashes(contract, holed, names) != hashes).tolist() == [7]

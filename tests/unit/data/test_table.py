"""Canonical columns: the same arrays whether rows come as a frame or as JSON."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedonic.data.table import columns_from_frame, columns_from_records, day, days, n_rows, take
from tests.contracts import car_contract, contract_of, house_contract, house_frame

CONTRACT = contract_of(
    "mixed",
    [
        {"name": "id", "type": "integer", "role": "id"},
        {"name": "sold", "type": "date", "role": "time"},
        {"name": "price", "type": "number", "role": "target"},
        {"name": "rooms", "type": "integer", "nullable": True},
        {"name": "area", "type": "number", "nullable": True},
        {"name": "lake", "type": "boolean", "nullable": True},
        {"name": "town", "type": "category", "nullable": True},
        {"name": "note", "type": "text", "nullable": True},
        {"name": "agent", "type": "text", "role": "attribute"},
    ],
)
ROWS: list[dict[str, Any]] = [
    {"sold": "1970-01-02", "rooms": 3, "area": 80.5, "lake": True, "town": "Ash", "note": "quiet"},
    {"sold": "2014-05-02", "rooms": None, "area": None, "lake": None, "town": None, "note": None},
    {"sold": "1969-12-31", "rooms": 1, "area": 1e9, "lake": False, "town": "Ulm", "note": ""},
]


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype, name
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def frame() -> pd.DataFrame:
    table = pd.DataFrame(ROWS).convert_dtypes()
    table["sold"] = pd.to_datetime(table["sold"])
    return table


def test_records_become_numbers_with_nan_and_objects_with_none() -> None:
    columns = columns_from_records(CONTRACT, ROWS)
    assert list(columns) == ["rooms", "area", "lake", "town", "note", "sold"]  # inputs, then the time
    np.testing.assert_array_equal(columns["rooms"], [3.0, np.nan, 1.0])
    np.testing.assert_array_equal(columns["lake"], [1.0, np.nan, 0.0])
    np.testing.assert_array_equal(columns["sold"], [1.0, 16192.0, -1.0])
    assert columns["town"].tolist() == ["Ash", None, "Ulm"]


def test_a_frame_and_records_of_the_same_rows_give_the_same_columns() -> None:
    names = ["sold", "rooms", "area", "lake", "town", "note"]
    assert_same(columns_from_frame(CONTRACT, frame(), names), columns_from_records(CONTRACT, ROWS, names))


def test_a_key_that_a_record_lacks_is_a_missing_value() -> None:
    columns = columns_from_records(CONTRACT, [{}])
    assert np.isnan(columns["rooms"][0])
    assert np.isnan(columns["sold"][0])
    assert columns["town"][0] is None


def test_a_contract_without_time_asks_for_none() -> None:
    assert list(columns_from_records(car_contract(), [{}])) == ["age", "mileage", "make", "electric"]


def test_a_date_may_be_given_as_one() -> None:
    columns = columns_from_records(CONTRACT, [{"sold": date(1970, 1, 11)}], ["sold"])
    assert columns["sold"].tolist() == [10.0]


def test_a_frame_gives_what_the_contract_knows_and_the_frame_has() -> None:
    table = frame().assign(id=[7, 2**60 + 1, 9], stranger=1)
    columns = columns_from_frame(CONTRACT, table)
    assert list(columns) == ["id", "sold", "rooms", "area", "lake", "town", "note"]
    assert columns["id"].dtype == np.int64
    assert columns["id"][1] == 2**60 + 1


def test_a_missing_date_in_a_frame_is_nan() -> None:
    table = frame()
    table.loc[1, "sold"] = pd.NaT
    assert np.isnan(columns_from_frame(CONTRACT, table)["sold"][1])


def test_the_frame_is_left_as_it_was() -> None:
    table = house_frame(30)
    before = table.copy(deep=True)
    columns = columns_from_frame(house_contract(), table)
    columns["quarter"][:] = "Elsewhere"
    pd.testing.assert_frame_equal(table, before)


def test_rows_are_counted_and_taken_by_position_or_mask() -> None:
    columns = columns_from_records(CONTRACT, ROWS)
    assert n_rows(columns) == 3
    assert take(columns, np.array([2, 0]))["town"].tolist() == ["Ulm", "Ash"]
    assert take(columns, np.array([False, True, False]))["sold"].tolist() == [16192.0]


@given(st.dates())
def test_a_date_is_its_days_and_back(when: date) -> None:
    assert day(days(when)) == when
    assert days(when) == (when - date(1970, 1, 1)).days


def test_a_column_that_the_contract_does_not_know_is_not_found() -> None:
    with pytest.raises(StopIteration):
        columns_from_records(CONTRACT, ROWS, ["stranger"])
